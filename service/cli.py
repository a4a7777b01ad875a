"""The `nearcode` command.

What serves HTTP is imported by the commands that serve: the others start in half the time.
"""

import asyncio
import contextlib
import functools
import getpass
import itertools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import rich.box
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from geo import datum as datums
from geo.point import InvalidPoint, Point
from service import (
    accounts,
    audit,
    bulk,
    catalog,
    db,
    decoding,
    doctor,
    embedded,
    errors,
    explanation,
    importing,
    invitations,
    logs,
    moments,
    order_rows,
    orders,
    people,
    pictures,
    posters,
    printing,
    printrun,
    qr,
    retention,
    rollups,
    sheets,
    tabular,
    throttle,
    visits,
)
from service import map as maps
from service.directory import Directory
from service.domain import (
    ENTRY_PATTERN,
    PLACEMENT_PATTERN,
    Entry,
    IpPolicy,
    Role,
    Routing,
    Store,
)
from service.settings import Settings
from service.steps import locate, report, show
from service.steps import route as step_route
from service.web.poster import Paper, Poster
from service.web.words import Lang

app = typer.Typer(
    name="nearcode",
    help="One QR code on every poster of a chain; every visitor gets the nearest store's group.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
import_app = typer.Typer(no_args_is_help=True, help="Stores and group codes from files.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
person_app = typer.Typer(no_args_is_help=True, help="People who sign in.")
chain_app = typer.Typer(no_args_is_help=True, help="Chains: the tenants of this installation.")
entry_app = typer.Typer(no_args_is_help=True, help="Entries: the unified codes that are printed.")
rollup_app = typer.Typer(no_args_is_help=True, help="Roll-ups: what reports are read from.")
placement_app = typer.Typer(no_args_is_help=True, help="Placements: where an entry is put up.")
app.add_typer(import_app, name="import")
app.add_typer(key_app, name="key")
app.add_typer(person_app, name="person")
app.add_typer(chain_app, name="chain")
app.add_typer(entry_app, name="entry")
app.add_typer(placement_app, name="placement")
app.add_typer(rollup_app, name="rollup")

# A file or a pipe has no width: lines are then as long as they need to be.
_WIDTH = None if sys.stdout.isatty() else 250
out = Console(highlight=False, soft_wrap=True, width=_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)

T = TypeVar("T")

ChainOption = Annotated[str | None, typer.Option("--chain", help="Needed if there are several.")]
DatumOption = Annotated[
    str | None, typer.Option(help="wgs84, gcj02 (Amap, Tencent) or bd09 (Baidu).")
]


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class PosterFormat(StrEnum):
    SVG = "svg"
    PNG = "png"
    PDF = "pdf"


def main() -> None:
    """Run the command; what goes wrong is one line on stderr and exit code 1."""
    try:
        app()
    except errors.BadInput as error:
        for mistake in error.errors:
            err.print(f"[red]{escape(mistake.field)}:[/red] {escape(mistake.detail)}")
        sys.exit(1)
    except errors.NearcodeError as error:
        err.print(f"[red]{escape(error.detail)}[/red]")
        sys.exit(1)
    except ValidationError as error:
        for found in error.errors():
            name = "NEARCODE_" + "_".join(map(str, found["loc"])).upper()
            err.print(f"[red]{name}:[/red] {escape(found['msg'])}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the database: the setting's, or the embedded one, started if it is not running."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with embedded.start(settings.data_dir) as postgres:
        yield postgres.url


def _settings(**changes: Any) -> Settings:
    settings = Settings(**changes)
    logs.configure(settings)
    return settings


def _run(
    settings: Settings, work: Callable[[db.Connection], Awaitable[T]], *, patient: bool = False
) -> T:
    """Run `work(connection)` on the database, whose schema must be current; `patient`: each query
    may take as long as it does."""

    async def connected(url: str) -> T:
        connection = await (db.connect(url, command_timeout_s=None) if patient else db.connect(url))
        try:
            await db.check_schema(connection)
            with audit.acting(audit.Actor(audit.ActorKind.CLI, _user())):
                return await work(connection)
        finally:
            await connection.close()

    with database(settings) as url:
        return asyncio.run(connected(url))


def _user() -> str:
    """Who sits at this machine, for the log of changes."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return f"user {os.getuid()}"


# ---------------------------------------------------------------- serving


@app.command("demo")
def run_demo(
    port: int = 8000,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets phones in the same network try it.")
    ] = "127.0.0.1",
    history: Annotated[
        bool, typer.Option(help="A few weeks of visitors, so that HQ's pages are full of life.")
    ] = True,
) -> None:
    """Serve the sample chain: what `make run` does."""
    from service import demo, server

    with server.terminable(), server.listen(host, port) as listener:
        name = demo.network_address() if host in ("0.0.0.0", "::") else None  # noqa: S104
        plain = Settings(log_format="text", log_level="WARNING")
        settings = plain
        if "public_url" not in plain.model_fields_set:
            settings = plain.model_copy(
                update={"public_url": f"http://{name or 'localhost'}:{port}"}
            )
        logs.configure(settings)
        err.print("Starting the database ...")
        with database(settings) as url, demo.alone(settings.data_dir):
            told, is_new = asyncio.run(_prepare_demo(settings, url))
            if history:
                _write_past(settings, url, told, is_new=is_new)
            _announce(told, settings)
            server.serve(settings, url, listener)


async def _prepare_demo(settings: Settings, url: str) -> tuple[dict[str, Any], bool]:
    """What demo.json says, and whether the sample chain was loaded now."""
    from service import demo

    await db.migrate(url)
    connection = await db.connect(url)
    try:
        if is_new := await demo.load(connection, settings):
            err.print("Loaded the sample chain.")
        told = await demo.card(connection, settings)
    finally:
        await connection.close()
    demo.write(settings.data_dir, told)
    return told, is_new


def _write_past(settings: Settings, url: str, told: dict[str, Any], *, is_new: bool) -> None:
    """The demo's history: whole when the chain is new, and what days are missing later."""
    from service.simulate import command

    span = asyncio.run(
        command.demo_span(url, settings, chain=told["chain"], entry=told["entry"], is_new=is_new)
    )
    if span is not None:
        written = command.write_history(url, span, settings, err)
        err.print(f"Wrote {written.scans:,} scans of the past (--no-history goes without).")


def _announce(told: dict[str, Any], settings: Settings) -> None:
    out.print(printing.terminal_code(told["visitor_url"]), soft_wrap=False, no_wrap=True)
    person = told["hq_person"]
    for who, url, what in (
        ("Visitors", told["visitor_url"], "scan the code, or open it"),
        ("HQ", told["hq_url"], f"{person['email']}, password {person['password']}"),
        ("", "or with the key", told["keys"]["hq"]),
        ("Managers", told["manager_url"], told["keys"]["manager"]),
        ("", "or by invitation, once", told["invitation_url"]),
        ("Readers", f"{told['base_url']}/api/v1", told["keys"]["read"]),
    ):
        out.print(f"{who:<9} {url:<35} {escape(what)}")
    out.print(f"\nThe same stands in {settings.data_dir / 'demo.json'}. Ctrl-C stops it all.")


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
) -> None:
    """The service alone. The database must have been migrated."""
    from service import server

    settings = _settings()
    with (
        server.terminable(),
        server.listen(host, port) as listener,
        database(settings) as url,
    ):
        asyncio.run(_check(url))
        server.serve(settings, url, listener, workers)


async def _check(url: str) -> None:
    connection = await db.connect(url)
    try:
        await db.check_schema(connection)
    finally:
        await connection.close()


@app.command()
def migrate() -> None:
    """Bring the database to the current schema."""
    settings = _settings()
    with database(settings) as url:
        done = asyncio.run(db.migrate(url))
    out.print(f"Migrated: {', '.join(done)}" if done else "The schema is current.")


# ---------------------------------------------------------------- imports


@import_app.command("stores")
def import_stores(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    chain: ChainOption = None,
    datum: DatumOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
) -> None:
    """Stores from CSV (UTF-8 or GB18030), XLSX or GeoJSON."""
    settings = _settings()
    default = _datum(datum)
    table = _read_table(file)

    async def work(
        connection: db.Connection,
    ) -> tuple[catalog.Imported, tuple[importing.Warned, ...]]:
        chain_id = await accounts.chain_id_of(connection, chain)
        with _progress() as progress:
            checking = progress.add_task("Checking", total=len(table))
            parsed = importing.stores(table, datum=default, done=lambda: progress.advance(checking))
            writing = progress.add_task("Writing", total=len(parsed.rows))
            done = await catalog.put_stores(
                connection,
                chain_id,
                parsed.rows,
                rejected=parsed.rejected,
                dry_run=dry_run,
                done=lambda rows: progress.advance(writing, rows),
            )
        return done, parsed.warnings

    done, warnings = _run(settings, work)
    _tell_import(done, dry_run=dry_run)
    _tell_rows("warning", warnings)


@import_app.command("codes")
def import_codes(
    source: Annotated[Path, typer.Argument(exists=True, help="A folder, ZIP, CSV or XLSX.")],
    chain: ChainOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
    report_to: Annotated[
        Path | None,
        typer.Option("--report", help="Write what became of each file or row to this CSV."),
    ] = None,
) -> None:
    """Group codes: pictures named by their store's number (SH001.png, SH001-2.jpg), or a table.

    Safe to repeat: what is up already stays as it is.
    """
    settings = _settings()
    done = bulk.Progress()

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        of_chain = known.chains[chain_id]
        connect = functools.partial(contextlib.nullcontext, connection)
        doing = bulk.Bulk(connect, chain_id, settings, dry_run=dry_run)
        with contextlib.ExitStack() as stack, _progress() as progress:
            doing_files = progress.add_task("Reading", total=None)

            def tell() -> None:
                progress.update(doing_files, total=done.total, completed=len(done.lines))

            done.told = tell
            files = _pictures_in(source, stack)
            if files is None:
                table = await asyncio.to_thread(_read_table, source)
                parsed = await asyncio.to_thread(
                    importing.codes, table, tz=ZoneInfo(of_chain.timezone)
                )
                await doing.table(parsed, done)
                return
            async with decoding.running(settings, alone=True) as decoder:
                await doing.pictures(decoder, files, of_chain.stores, done)

    _run(settings, work)
    if report_to is not None:
        _write_report(report_to, done.lines)
    refused = [line for line in done.lines if line.became is bulk.Became.REJECTED]
    _tell_import(
        catalog.Imported(
            done.count(bulk.Became.CREATED),
            0,
            done.count(bulk.Became.UNCHANGED),
            tuple(
                importing.Rejected(line.row, line.field or "", line.why, line.reason)
                for line in refused
            ),
        ),
        dry_run=dry_run,
    )


def _pictures_in(source: Path, stack: contextlib.ExitStack) -> list[pictures.File] | None:
    """The pictures of a folder or ZIP, which is open as long as the stack; None for a table."""
    if source.is_dir():
        return pictures.in_folder(source)
    file = stack.enter_context(source.open("rb"))
    return pictures.in_zip(file) if pictures.is_archive(file) else None


def _write_report(path: Path, lines: Sequence[bulk.Line]) -> None:
    header = ("row", "file", "store", "became", "field", "reason", "detail")
    rows = [
        (line.row, line.file, line.store, line.became.value, line.field, line.reason, line.detail)
        for line in lines
    ]
    path.write_bytes(sheets.as_csv(header, rows))


@import_app.command("placements")
def import_placements(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    entry: Annotated[str | None, typer.Option(help="Needed if there are several.")] = None,
    chain: ChainOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
) -> None:
    """Placements from CSV or XLSX: 投放编号, 名称, 渠道, 门店, 印数, 成本, 版本."""
    settings = _settings()
    table = _read_table(file)

    async def work(connection: db.Connection) -> catalog.Imported:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        name = _entry_among(known.chains[chain_id].entries, entry)
        with _progress() as progress:
            checking = progress.add_task("Checking", total=len(table))
            parsed = importing.placements(table, done=lambda: progress.advance(checking))
            writing = progress.add_task("Writing", total=len(parsed.rows))
            return await catalog.import_placements(
                connection,
                chain_id,
                name,
                parsed.rows,
                rejected=parsed.rejected,
                dry_run=dry_run,
                done=lambda rows: progress.advance(writing, rows),
            )

    _tell_import(_run(settings, work), dry_run=dry_run)


@import_app.command("orders")
def import_orders(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    chain: ChainOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
) -> None:
    """Orders and refunds from CSV or XLSX: 订单号, 下单时间, 金额, 门店编号, 手机号, 类型, 原单号.
    The same again changes nothing."""
    settings = _settings()
    table = _read_table(file)

    async def work(connection: db.Connection) -> orders.Put:
        chain_id = await accounts.chain_id_of(connection, chain)
        tz, currency = await orders.terms(connection, chain_id)
        secret = await accounts.installation_secret(connection)
        window = timedelta(days=settings.order_window_days)
        with _progress() as progress:
            checking = progress.add_task("Checking", total=len(table))
            parsed = order_rows.order_table(
                table, tz=tz, currency=currency, done=lambda: progress.advance(checking)
            )
            writing = progress.add_task("Matching", total=len(parsed.rows))
            return await orders.put_all(
                connection,
                chain_id,
                parsed.rows,
                orders.Matching(secret, window),
                rejected=parsed.rejected,
                dry_run=dry_run,
                done=lambda rows: progress.advance(writing, rows),
            )

    done = _run(settings, work)
    rejected = tuple(sorted(done.rejected, key=lambda rejection: rejection.row))
    _tell_import(
        catalog.Imported(done.created, done.updated, done.unchanged, rejected), dry_run=dry_run
    )
    out.print(f"matched to joins {done.matched}, unmatched {done.unmatched}")


def _entry_among(entries: Collection[str], named: str | None) -> str:
    """The one that is named, or else the only one. Raises `errors.BadInput`."""
    if named is not None and named in entries:
        return named
    if named is None and len(entries) == 1:
        return next(iter(entries))
    if not entries:
        raise errors.BadInput.of("entry", f"there is none yet. {_MAKE_ENTRY}")
    raise errors.BadInput.of("entry", f"name one of: {', '.join(sorted(entries))}")


def _read_table(file: Path) -> tabular.Table:
    try:
        return tabular.read(file.read_bytes(), file.name)
    except tabular.UnreadableTable as error:
        raise errors.BadInput.of(str(file), str(error)) from error


def _datum(text: str | None) -> datums.Datum | None:
    try:
        return datums.parse(text) if text else None
    except datums.UnknownDatum as error:
        raise errors.BadInput.of("datum", str(error)) from error


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
    )


def _tell_import(done: catalog.Imported, *, dry_run: bool) -> None:
    if dry_run:
        out.print("Nothing was changed (--dry-run). It would have been:")
    out.print(
        f"created {done.created}, updated {done.updated}, unchanged {done.unchanged}, "
        f"rejected {len(done.rejected)}"
    )
    _tell_rows("reason", done.rejected)


def _tell_rows(
    heading: str,
    rows: Sequence[importing.Rejected] | Sequence[importing.Warned],
    console: Console = out,
) -> None:
    if not rows:
        return
    table = Table("row", "field", heading, box=rich.box.SIMPLE)
    for row in rows:
        table.add_row(str(row.row), row.field, escape(row.detail))
    console.print(table, soft_wrap=False)


# ---------------------------------------------------------------- asking


# West and south are below zero: "-73.9" is a longitude, and no option.
@app.command(context_settings={"ignore_unknown_options": True})
def route(
    lon: float,
    lat: float,
    datum: DatumOption = None,
    entry: Annotated[str | None, typer.Option(help="Needed if there are several.")] = None,
    accuracy_m: Annotated[float | None, typer.Option(min=0, help="Radius in metres.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    picture: Annotated[
        Path | None, typer.Option("--map", help="Also draw it: FILE.html or FILE.svg.")
    ] = None,
) -> None:
    """The decision for a visitor at LON LAT, explained; no seat is taken."""
    settings = _settings()
    if picture is not None and picture.suffix.lower() not in _DRAWN:
        raise errors.BadInput.of("--map", f"{picture.name} ends neither in .html nor in .svg")
    try:
        point = Point(lon, lat)
    except InvalidPoint as error:
        raise errors.BadInput.of(error.field, str(error)) from error
    fix = locate.by_phone(
        point,
        datum=_datum(datum) or datums.Datum.WGS84,
        accuracy_m=accuracy_m or settings.gps_accuracy_m,
    )

    async def work(connection: db.Connection) -> tuple[Directory, str]:
        known = Directory()
        await known.refresh(connection)
        return known, _entry_among(known.entries, entry)

    known, name = _run(settings, work)
    found = known.entries[name]
    asked = step_route.Route(known, found, visits.rules(settings), datetime.now(UTC), fix)
    routing = asked.explain()
    if as_json:
        out.print_json(json.dumps(show.public(known, found.chain_id, routing)))
    else:
        _tell_routing(asked, routing)
    if picture is not None:
        _draw(picture, asked, routing)


_DRAWN = {".html": maps.html, ".svg": maps.svg}


def _draw(file: Path, asked: step_route.Route, routing: Routing) -> None:
    drawn = _DRAWN[file.suffix.lower()](asked, routing)
    try:
        file.write_text(drawn, "utf-8")
    except OSError as error:
        raise errors.BadInput.of("--map", f"{file}: {error.strerror}") from error
    err.print(f"Map: {escape(str(file))}")


def _tell_routing(asked: step_route.Route, routing: Routing) -> None:
    def named(shop: Store | None) -> str:
        return escape(f"{shop.name} ({shop.store})") if shop else "the entry's fallback"

    def far(metres: float | None) -> str:
        return "" if metres is None else f"{metres:,.0f} m"

    place = routing.located
    if place:
        where = " ".join(
            dict.fromkeys(part for part in (place.province, place.city, place.district) if part)
        )
        out.print(f"Visitor: {where or 'abroad or at sea'}, within {place.accuracy_m:,.0f} m")
    table = Table("", "store", "distance", "why", box=rich.box.SIMPLE)
    for row in explanation.rows(asked, routing):
        part = f"[bold]{row.part}[/bold]" if row.part is explanation.Part.SHOWN else row.part.value
        table.add_row(part, named(row.store), far(row.distance_m), row.why.value)
    out.print(table, soft_wrap=False)
    _, because = explanation.REASONS[routing.reason]
    out.print(f"Outcome: [bold]{routing.outcome}[/bold], {routing.reason}: {because}.")
    code = asked.directory.codes.get(routing.code_id) if routing.code_id else None
    if code is not None:
        out.print(
            f"Code: {code.code_id}, {code.kind}, {code.members} members and {code.held} held "
            f"of {code.capacity}"
        )


@app.command()
def simulate(
    history: Annotated[
        str | None,
        typer.Option(help="Write past days into the database instead: 6m (months) or 90d (days)."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="The service; else the demo's.")] = None,
    entry: Annotated[str | None, typer.Option(help="Else the demo's, or the only one.")] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="An hq key, to leave and to buy; else the demo's.", envvar="NEARCODE_KEY"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same crowd.")] = 1,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="Visitors a second.")] = 5.0,
    visitors: Annotated[
        int | None, typer.Option(min=1, help="How many; else for a minute.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="How long they come.")] = None,
    joins: Annotated[
        float, typer.Option(min=0, max=1, help="Share of those who are shown a code.")
    ] = 0.48,
    haste: Annotated[
        float, typer.Option(min=0.1, help="How many times quicker than people they are.")
    ] = 1.0,
    scans_a_day: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Of a history; else 5 a store.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where it is not this machine that is asked.")
    ] = False,
    chain: ChainOption = None,
) -> None:
    """A crowd to try it on: visitors who scan, ask, join, complain, leave and buy."""
    from service.simulate import command, crowd, drive

    settings = _settings()
    if history is not None:
        _simulate_past(
            settings, history, entry=entry, seed=seed, scans_a_day=scans_a_day, yes=yes, chain=chain
        )
        return
    told = command.demo_of(settings.data_dir)
    url = base_url or told.get("base_url")
    if url is None:
        raise errors.BadInput.of("--base-url", "there is no demo here: name a service")
    if not command.is_loopback(url) and not yes:
        raise errors.BadInput.of(
            "--yes", f"{url} is not this machine: say --yes if no real visitors go there"
        )
    of_demo = url == told.get("base_url")
    name = entry or (told.get("entry") if of_demo else None)
    if name is None:
        raise errors.BadInput.of("--entry", "which unified code do they scan?")
    run = drive.Run(
        base_url=url,
        entry=name,
        seed=seed,
        rate=rate,
        visitors=visitors,
        seconds=60 * minutes if minutes else None if visitors else 60.0,
        key=key or (told["keys"]["hq"] if of_demo else None),
        haste=haste,
    )
    figures = command.drive_crowd(run, crowd.Habits(joins=joins, late=0), err)
    out.print(command.table_of(figures), soft_wrap=False)


def _simulate_past(
    settings: Settings,
    history: str,
    *,
    entry: str | None,
    seed: int,
    scans_a_day: int | None,
    yes: bool,
    chain: str | None,
) -> None:
    from service.simulate import command

    with database(settings) as url:
        if not command.is_loopback(url) and not yes:
            raise errors.BadInput.of(
                "--yes", "the database is on another machine: say --yes if it is no real one"
            )
        span = asyncio.run(
            command.span_of(
                url,
                settings,
                chain=chain,
                entry=entry,
                seed=seed,
                days=history,
                scans_a_day=scans_a_day,
            )
        )
        try:
            written = command.write_history(url, span, settings, err)
        except KeyboardInterrupt:
            err.print("Stopped. What is written stays; the same command goes on from there.")
            raise
    out.print(
        f"{written.scans:,} scans, {written.joins:,} joins, {written.left:,} left, "
        f"{written.orders:,} orders, "
        f"from {written.since:%Y-%m-%d} to {written.until:%Y-%m-%d}"
    )


@app.command("report")
def run_report(
    by: report.By = report.By.NONE,
    since: Annotated[str | None, typer.Option(help="ISO 8601 date or time.")] = None,
    until: Annotated[
        str | None, typer.Option(help="A date counts whole, a time is excluded.")
    ] = None,
    entry: str | None = None,
    store: str | None = None,
    city: str | None = None,
    channel: str | None = None,
    chain: ChainOption = None,
    form: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Scan-to-join conversion."""
    settings = _settings()

    async def work(connection: db.Connection) -> dict[str, Any]:
        chain_id = await accounts.chain_id_of(connection, chain)
        zones = {row["chain_id"]: row["timezone"] for row in await accounts.chains(connection)}
        zone = ZoneInfo(zones[chain_id])
        return await report.funnel(
            connection,
            chain_id,
            by=by,
            since=moments.instant(since, "since", zone),
            until=moments.instant(until, "until", zone, end_of_day=True),
            entry=entry,
            store=store,
            city=city,
            channel=channel,
        )

    found = _run(settings, work)
    if form is Format.JSON:
        out.print_json(json.dumps(found, ensure_ascii=False, default=str))
    elif form is Format.CSV:
        sys.stdout.write(report.as_csv(found["rows"], report.COLUMNS))
    else:
        _tell_funnel(found, by)


def _tell_funnel(found: dict[str, Any], by: report.By) -> None:
    table = Table(by.value, *report.COUNTS, "conversion", "95 %", box=rich.box.SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [] if by is report.By.NONE else found["rows"]
    for row in [*rows, found["total"]]:
        share = "" if row["conversion"] is None else f"{row['conversion']:.1%}"
        spread = ""
        if row["conversion"] is not None:
            spread = f"{row['conversion_low']:.1%} - {row['conversion_high']:.1%}"
        counts = (f"{row[name]:,}" for name in report.COUNTS)
        table.add_row(escape(row["key"] or "-"), *counts, share, spread)
    out.print(table, soft_wrap=False)


@app.command()
def poster(
    entry: Annotated[
        str | None, typer.Argument(help="With --store, needed if several lead there.")
    ] = None,
    placement: str | None = None,
    every: Annotated[
        bool, typer.Option("--all", help="The codes of all placements, as one ZIP.")
    ] = False,
    channel: Annotated[str | None, typer.Option(help="With --all: of this channel alone.")] = None,
    store: Annotated[
        str | None, typer.Option(help="A shop's own poster, as PDF, with its placement.")
    ] = None,
    paper: Annotated[Paper, typer.Option(help="With --store.")] = Paper.A4,
    lang: Annotated[Lang, typer.Option(help="With --store: zh or en.")] = "zh",
    chain: ChainOption = None,
    form: Annotated[PosterFormat | None, typer.Option("--format")] = None,
    out_file: Annotated[Path | None, typer.Option("--out")] = None,
    logo: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
    size: Annotated[int, typer.Option(min=100, max=4000, help="Pixels of a PNG's side.")] = 1200,
) -> None:
    """The print-ready unified code; with --store, on a page for that shop."""
    if store is not None:
        if placement or logo or every or form not in (None, PosterFormat.PDF):
            raise errors.BadInput.of("--store", "makes a PDF with the shop's own placement")
        _shop_poster(store, entry, paper, lang, out_file, chain)
        return
    if entry is None:
        raise errors.BadInput.of("entry", "say which; `nearcode entry list` names them")
    if every and (placement or logo):
        raise errors.BadInput.of("--all", "goes neither with --placement nor with --logo")
    if channel is not None and not every:
        raise errors.BadInput.of("--channel", "goes with --all")
    settings = _settings()

    async def work(connection: db.Connection) -> Entry:
        known = Directory()
        await known.refresh(connection)
        found = known.entries.get(entry)
        if found is None:
            raise _no_entry(entry)
        if placement and placement not in found.placements:
            raise errors.NotFound(f"The entry {entry} has no placement {placement}")
        return found

    found = _run(settings, work)
    if every:
        drawing = printrun.Drawing((form or PosterFormat.SVG).value, size)
        _print_all(
            printrun.pieces(found, settings.public_url, channel),
            drawing,
            out_file or Path(f"{entry}-codes.zip"),
        )
        return
    suffix = out_file.suffix.lstrip(".").lower() if out_file else ""
    if form is None:
        form = PosterFormat(suffix) if suffix in set(PosterFormat) else PosterFormat.SVG
    if out_file is None:
        stem = "-".join(part for part in (entry, placement) if part)
        out_file = Path(f"{stem}.{form}")
    url = printing.entry_url(settings.public_url, entry, placement)
    try:
        picture = printing.draw(
            url, form.value, size=size, logo=logo.read_bytes() if logo else None, name=found.name
        )
    except qr.QrError as error:
        raise errors.BadInput.of("logo" if logo else "size", str(error)) from error
    _write(out_file, picture)
    out.print(escape(f"{out_file}: {url}"))


def _print_all(pieces: Sequence[printrun.Piece], drawing: printrun.Drawing, out_file: Path) -> None:
    """A ZIP of all these; complete, or none at all."""
    if not pieces:
        raise errors.NotFound("There are no such placements")
    draft = out_file.with_name(f".{out_file.name}.part")
    try:
        with _progress() as progress, draft.open("wb") as file:
            drawn = progress.add_task("Drawing", total=len(pieces))
            for part in printrun.written(pieces, drawing, lambda: progress.advance(drawn)):
                file.write(part)
        draft.replace(out_file)
    except qr.QrError as error:
        raise errors.BadInput.of("size", str(error)) from error
    except OSError as error:
        raise errors.SetupError(f"Cannot write {out_file}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    out.print(escape(f"{out_file}: {len(pieces)} codes"))


def _shop_poster(
    store: str,
    entry: str | None,
    paper: Paper,
    lang: Lang,
    out_file: Path | None,
    chain: str | None,
) -> None:
    settings = _settings()

    async def work(connection: db.Connection) -> Poster:
        known = Directory()
        await known.refresh(connection)
        if entry in known.entries and chain is None:
            chain_id = known.entries[entry].chain_id
        else:
            chain_id = await accounts.chain_id_of(connection, chain)
        return await posters.of_store(
            connection, known, chain_id, store, entry=entry, public_url=settings.public_url
        )

    wanted = _run(settings, work)
    out_file = out_file or Path(f"{wanted.placement}-{paper}.pdf")
    _write(out_file, posters.drawn(wanted, paper, lang))
    out.print(escape(f"{out_file}: {wanted.url}"))


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise errors.SetupError(f"Cannot write {file}: {error.strerror}") from error


# ---------------------------------------------------------------- entries and placements

_MAKE_ENTRY = "Make one: `nearcode entry create ENTRY --name NAME`"
_MOST_RADIUS_M = 20_100_000  # half of the way round the Earth, and a little more
_MOST_COST = 1e11


def _no_entry(entry: str) -> errors.NotFound:
    return errors.NotFound(f"There is no entry {entry}. {_MAKE_ENTRY}")


def _check_text(field: str, text: str, most: int) -> None:
    if not 0 < len(text) <= most:
        raise errors.BadInput.of(field, f"1 to {most} characters")


@entry_app.command("create")
def create_entry(
    entry: str,
    name: Annotated[str, typer.Option(help="For people: 我的活码.")],
    radius_m: Annotated[
        float | None, typer.Option(help="Metres; else NEARCODE_RADIUS_M counts.")
    ] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option(help="Shown when no store can serve: a payload or code id; again for more."),
    ] = None,
    ip_policy: Annotated[
        IpPolicy, typer.Option(help="What to make of a position known by IP alone.")
    ] = IpPolicy.CHOOSE,
    chain: ChainOption = None,
) -> None:
    """A new unified code. Its name is part of what is printed, and stays."""
    if not ENTRY_PATTERN.fullmatch(entry):
        raise errors.BadInput.of(
            "entry", "letters, digits, - and _, 64 at most; a letter or digit first"
        )
    _check_text("--name", name, 200)
    # Written so that NaN is refused, too.
    if radius_m is not None and not 0 < radius_m <= _MOST_RADIUS_M:
        raise errors.BadInput.of("--radius-m", f"above 0, {_MOST_RADIUS_M:,} at most")
    settings = _settings()

    async def work(connection: db.Connection) -> None:
        await catalog.create_entry(
            connection,
            await accounts.chain_id_of(connection, chain),
            entry,
            catalog.EntryValues(
                name=name, radius_m=radius_m, ip_policy=ip_policy, fallback=tuple(fallback or ())
            ),
            datetime.now(UTC),
            settings,
        )

    _run(settings, work)
    out.print(escape(f"{entry}: {printing.entry_url(settings.public_url, entry)}"))


@entry_app.command("list")
def list_entries(chain: ChainOption = None) -> None:
    """Every entry of a chain, with its URL."""
    settings = _settings()

    async def work(connection: db.Connection) -> list[Entry]:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        return [found for found in known.entries.values() if found.chain_id == chain_id]

    table = Table(
        "entry", "name", "radius", "by IP", "fallbacks", "placements", "URL", box=rich.box.SIMPLE
    )
    for found in sorted(_run(settings, work), key=lambda found: found.entry):
        table.add_row(
            found.entry,
            escape(found.name),
            f"{found.radius_m or settings.radius_m:,.0f} m",
            found.ip_policy.value,
            str(len(found.fallback)),
            escape(", ".join(sorted(found.placements))),
            escape(printing.entry_url(settings.public_url, found.entry)),
        )
    out.print(table, soft_wrap=False)


@placement_app.command("create")
def create_placement(
    entry: str,
    placement: str,
    name: Annotated[str, typer.Option(help="For people: 陆家嘴门店门口海报.")],
    channel: Annotated[str, typer.Option(help="poster, sticker, receipt ...: reports go by it.")],
    store: Annotated[str | None, typer.Option(help="Where it hangs, if in one store.")] = None,
    printed: Annotated[
        int | None, typer.Option(min=0, max=2_000_000_000, help="How many were printed.")
    ] = None,
    cost: Annotated[float | None, typer.Option(help="Of all that were printed.")] = None,
    variant: Annotated[str | None, typer.Option(help="Of an A/B test, say.")] = None,
    chain: ChainOption = None,
) -> None:
    """A place where an entry is put up, so that reports tell it apart; again to change it."""
    if not PLACEMENT_PATTERN.fullmatch(placement):
        raise errors.BadInput.of(
            "placement", "letters, digits, -, _ and ., 64 at most; a letter or digit first"
        )
    _check_text("--name", name, 200)
    _check_text("--channel", channel, 64)
    if variant is not None:
        _check_text("--variant", variant, 64)
    if cost is not None and not 0 <= cost <= _MOST_COST:
        raise errors.BadInput.of("--cost", f"0 or more, {_MOST_COST:,.0f} at most")
    settings = _settings()

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        found = known.entries.get(entry)
        if found is None or found.chain_id != chain_id:
            raise _no_entry(entry)
        await catalog.put_placement(
            connection,
            chain_id,
            entry,
            {
                "placement": placement,
                "name": name,
                "channel": channel,
                "store": store,
                "printed": printed,
                "cost": cost,
                "variant": variant,
            },
        )

    _run(settings, work)
    url = printing.entry_url(settings.public_url, entry, placement)
    out.print(escape(f"{placement}: {url}"))


# ---------------------------------------------------------------- keys and chains


@chain_app.command("create")
def create_chain(chain: str, name: str | None = None, timezone: str = "Asia/Shanghai") -> None:
    """A new chain: lower-case letters, digits and dashes."""

    async def work(connection: db.Connection) -> None:
        await accounts.create_chain(connection, chain, name or chain, timezone)

    _run(_settings(), work)
    out.print(f"There is a chain {chain}.")


@chain_app.command("list")
def list_chains() -> None:
    """Every chain."""
    table = Table("chain", "name", "time zone", box=rich.box.SIMPLE)
    for row in _run(_settings(), accounts.chains):
        table.add_row(row["chain"], row["name"], row["timezone"])
    out.print(table, soft_wrap=False)


@key_app.command("create")
def create_key(
    role: Annotated[Role, typer.Option()],
    store: Annotated[list[str] | None, typer.Option(help="Of a manager; again for more.")] = None,
    name: str | None = None,
    chain: ChainOption = None,
) -> None:
    """A new key. It is printed once and cannot be read again."""

    async def work(connection: db.Connection) -> tuple[UUID, str]:
        return await accounts.create_key(
            connection,
            await accounts.chain_id_of(connection, chain),
            role,
            name=name or role.value,
            stores=frozenset(store or ()),
        )

    key_id, key = _run(_settings(), work)
    err.print(f"Key {key_id} ({role}), shown this once:")
    out.print(key)


@key_app.command("list")
def list_keys(chain: ChainOption = None) -> None:
    """Every key of a chain, without the key itself."""

    async def work(connection: db.Connection) -> list[Any]:
        return await accounts.keys(connection, await accounts.chain_id_of(connection, chain))

    table = Table("key", "role", "name", "stores", "created", "revoked", box=rich.box.SIMPLE)
    for row in _run(_settings(), work):
        table.add_row(
            str(row["key_id"]),
            row["role"],
            escape(row["name"]),
            escape(", ".join(row["stores"])),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            f"{row['revoked_at']:%Y-%m-%d %H:%M}" if row["revoked_at"] else "",
        )
    out.print(table, soft_wrap=False)


@key_app.command("revoke")
def revoke_key(key_id: UUID, chain: ChainOption = None) -> None:
    """End a key at once."""

    async def work(connection: db.Connection) -> None:
        await accounts.revoke_key(connection, await accounts.chain_id_of(connection, chain), key_id)

    _run(_settings(), work)
    out.print(f"Key {key_id} is revoked.")


# ---------------------------------------------------------------- people

_MOST_PEOPLE = 100_000
PersonArgument = Annotated[str, typer.Argument(help="Their e-mail address, or their id.")]


@person_app.command("create")
def create_person(
    role: Annotated[Role, typer.Option(help="hq or read; managers are invited.")],
    name: Annotated[str, typer.Option()],
    email: Annotated[str, typer.Option(help="What they sign in with.")],
    chain: ChainOption = None,
) -> None:
    """Somebody at HQ. Hand them the link that is printed: they choose their password there."""
    settings = _settings()

    async def work(connection: db.Connection) -> people.Link:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await people.create(
            connection, chain_id, role, name=name, email=email, settings=settings
        )

    _tell_link(_run(settings, work), settings)


@person_app.command("list")
def list_people(chain: ChainOption = None) -> None:
    """Everybody who may sign in, managers too."""

    async def work(connection: db.Connection) -> list[Any]:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await people.people(connection, chain_id, most=_MOST_PEOPLE)

    table = Table(
        "person", "role", "name", "e-mail", "stores", "signed in on", "active", box=rich.box.SIMPLE
    )
    for row in _run(_settings(), work):
        table.add_row(
            str(row["person_id"]),
            row["role"],
            escape(row["name"]),
            escape(row["email"] or ""),
            escape(", ".join(row["stores"])),
            f"{row['sessions']} devices" if row["sessions"] != 1 else "1 device",
            "yes" if row["deactivated_at"] is None else "no",
        )
    out.print(table, soft_wrap=False)


@person_app.command("reset")
def reset_password(person: PersonArgument, chain: ChainOption = None) -> None:
    """A link to choose another password, for who has forgotten theirs. An older one ends."""
    settings = _settings()

    async def work(connection: db.Connection) -> people.Link:
        chain_id = await accounts.chain_id_of(connection, chain)
        person_id = await _person(connection, chain_id, person)
        made = await people.password_link(connection, chain_id, person_id, settings)
        secret = await accounts.installation_secret(connection)
        await throttle.forget_account(connection, secret, made.person["email"])
        return made

    _tell_link(_run(settings, work), settings)


@person_app.command("deactivate")
def deactivate_person(person: PersonArgument, chain: ChainOption = None) -> None:
    """Sign somebody out everywhere, and for good."""
    _set_active(person, chain, False)
    out.print("They are signed out and cannot come back.")


@person_app.command("activate")
def activate_person(person: PersonArgument, chain: ChainOption = None) -> None:
    """Let somebody come back."""
    _set_active(person, chain, True)
    out.print("They may sign in again; a manager needs a new invitation.")


def _set_active(person: str, chain: str | None, active: bool) -> None:
    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        person_id = await _person(connection, chain_id, person)
        await people.change(connection, chain_id, person_id, {"active": active})

    _run(_settings(), work)


async def _person(connection: db.Connection, chain_id: UUID, named: str) -> UUID:
    """Raises `errors.NotFound`."""
    with contextlib.suppress(ValueError):
        return UUID(named)
    return await people.id_of(connection, chain_id, named)


def _tell_link(made: people.Link, settings: Settings) -> None:
    until = made.expires_at.astimezone()
    err.print(f"Works once, until {until:%Y-%m-%d %H:%M %Z}, for {escape(made.person['name'])}:")
    out.print(made.link(settings))


@app.command()
def invite(
    store: Annotated[list[str] | None, typer.Option(help="Again for more.")] = None,
    name: Annotated[str, typer.Option(help="Of the manager; else that of the stores.")] = "",
    person: Annotated[
        UUID | None, typer.Option(help="A manager who is there, on another phone.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", exists=True, dir_okay=False, help="Many: CSV or XLSX, store, name."),
    ] = None,
    chain: ChainOption = None,
) -> None:
    """Invite a manager to stores: a link and its QR code, that sign in one phone, once.

    With --file one for each row; what is printed then is a CSV with the links.
    """
    settings = _settings()
    if file is not None:
        if store or name or person:
            raise errors.BadInput.of("--file", "the stores and names are in the file")
        _invite_many(file, chain, settings)
        return

    async def work(connection: db.Connection) -> invitations.Made:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await invitations.create(
            connection, chain_id, settings, stores=store or (), name=name, person_id=person
        )

    made = _run(settings, work)
    link = made.link(settings)
    until = made.expires_at.astimezone()
    err.print(printing.terminal_code(link), soft_wrap=False, no_wrap=True)
    err.print(f"Works once, until {until:%Y-%m-%d %H:%M %Z}, for {escape(made.name)}:")
    out.print(link)


def _invite_many(file: Path, chain: str | None, settings: Settings) -> None:
    parsed = importing.managers(_read_table(file))

    async def work(connection: db.Connection) -> invitations.ManyMade:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await invitations.create_many(
            connection, chain_id, parsed.rows, settings, rejected=parsed.rejected
        )

    done = _run(settings, work)
    rows = [
        {
            "row": row,
            "name": made.name,
            "store": ",".join(made.stores),
            "link": made.link(settings),
            "expires_at": made.expires_at.isoformat(),
        }
        for row, made in done.created
    ]
    sys.stdout.write(report.as_csv(rows, ("row", "name", "store", "link", "expires_at")))
    err.print(f"invited {len(rows)}, rejected {len(done.rejected)}")
    _tell_rows("reason", done.rejected, err)


# ---------------------------------------------------------------- roll-ups and retention


@rollup_app.command("check")
def check_rollups(
    since: Annotated[str | None, typer.Option(help="A date; the first scan's by default.")] = None,
    until: Annotated[str | None, typer.Option(help="A date, counted whole; today.")] = None,
    chain: ChainOption = None,
) -> None:
    """Compare the roll-ups of each day with its raw rows; exit code 1 if any differs."""

    async def work(connection: db.Connection) -> list[tuple[str, rollups.Compared | None]]:
        chain_id = await accounts.chain_id_of(connection, chain)
        await rollups.follow(connection)
        days = await _days(connection, chain_id, since, until)
        found: list[tuple[str, rollups.Compared | None]] = []
        with _progress() as progress:
            checking = progress.add_task("Checking days", total=len(days))
            for first, after in days:
                dropped = await rollups.is_dropped(connection, first, after)
                compared = None
                if not dropped:
                    compared = await rollups.check(connection, chain_id, first, after)
                found.append((first.date().isoformat(), compared))
                progress.advance(checking)
        return found

    found = _run(_settings(), work, patient=True)
    checked = [compared for _, compared in found if compared is not None]
    wrong = [(day, compared) for day, compared in found if compared and not compared.equal]
    if wrong:
        table = Table(
            "day", "scans", "missing", "too many", "wrong", "wrong chunks", "in no chunk",
            box=rich.box.SIMPLE,
        )  # fmt: skip
        for day, each in wrong:
            figures = (each.scans, each.missing, each.surplus, each.wrong, each.chunks)
            table.add_row(day, *(f"{figure:,}" for figure in (*figures, each.outside)))
        out.print(table, soft_wrap=False)
    scans = sum(compared.scans for compared in checked)
    out.print(
        f"{len(checked):,} days, {scans:,} scans: {len(wrong)} days differ from the raw rows."
        + (" `nearcode rollup rebuild` mends them." if wrong else "")
    )
    if dropped := len(found) - len(checked):
        out.print(f"Of {dropped:,} days the raw rows are gone: their roll-ups stand.")
    if wrong:
        sys.exit(1)


@rollup_app.command("rebuild")
def rebuild_rollups(
    since: Annotated[str | None, typer.Option(help="A date; the first scan's by default.")] = None,
    until: Annotated[str | None, typer.Option(help="A date, counted whole; today.")] = None,
    chain: ChainOption = None,
) -> None:
    """Make the roll-ups of each day anew from its raw rows. Days whose raw rows are gone stay."""

    async def work(connection: db.Connection) -> tuple[int, int]:
        chain_id = await accounts.chain_id_of(connection, chain)
        days = await _days(connection, chain_id, since, until)
        done = 0
        with _progress() as progress:
            building = progress.add_task("Rebuilding days", total=len(days))
            for first, after in days:
                if not await rollups.is_dropped(connection, first, after):
                    await rollups.rebuild(connection, chain_id, first, after)
                    done += 1
                progress.advance(building)
        return done, len(days) - done

    done, dropped = _run(_settings(), work, patient=True)
    out.print(f"{done:,} days rebuilt.")
    if dropped:
        out.print(f"Of {dropped:,} days the raw rows are gone: their roll-ups stay as they are.")


async def _days(
    connection: db.Connection, chain_id: UUID, since: str | None, until: str | None
) -> list[tuple[datetime, datetime]]:
    """The days of the chain's time zone from `since` to `until`, each with the first moment after
    it; by default all that have raw rows."""
    zone = await report.timezone_of(connection, chain_id)
    span = await rollups.span(connection, chain_id)
    first = moments.instant(since, "--since", zone) or (span[0] if span else None)
    last = moments.instant(until, "--until", zone) or (span[1] if span else None)
    if first is None or last is None:
        return []
    day, end = first.astimezone(zone).date(), last.astimezone(zone).date()
    starts = [
        datetime(each.year, each.month, each.day, tzinfo=zone)
        for each in (day + timedelta(days=place) for place in range((end - day).days + 2))
    ]
    return list(itertools.pairwise(starts))


@app.command("retention")
def run_retention(
    months: Annotated[
        int | None,
        typer.Option(min=1, help="Kept beside the current one; NEARCODE_RETENTION_MONTHS."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Drop nothing.")] = False,
) -> None:
    """Drop the raw rows of months that are too old; the reports of them stay. `serve` does it by
    itself."""
    settings = _settings()
    keep = months or settings.retention_months
    if not keep:
        raise errors.BadInput.of("--months", "say how many, or set NEARCODE_RETENTION_MONTHS")
    before = retention.first_kept(datetime.now(UTC), keep)

    async def work(connection: db.Connection) -> None:
        for month in await retention.due(connection, before):
            if dry_run:
                out.print(f"{month:%Y-%m} would be dropped.")
                continue
            dropped = await retention.drop(connection, month)
            out.print(
                f"{month:%Y-%m} dropped: {dropped.size_bytes / 1e6:,.1f} MB, "
                f"{', '.join(dropped.tables)}"
            )
        out.print(f"Raw rows are there from {before:%Y-%m} on.")

    _run(settings, work, patient=True)


# ---------------------------------------------------------------- the installation


@app.command("doctor")
def run_doctor() -> None:
    """Check settings, database, clock, IP database and proxies; say what to mend."""
    settings = _settings()
    colours = {
        doctor.Verdict.OK: "green",
        doctor.Verdict.WARNING: "yellow",
        doctor.Verdict.FAILED: "red",
    }

    async def work(url: str) -> bool:
        failed = False
        async for finding in doctor.examine(settings, url):
            verdict = f"[{colours[finding.verdict]}]{finding.verdict:>7}[/]"
            out.print(f"{verdict}  {finding.subject}: {escape(finding.detail)}")
            failed |= finding.verdict is doctor.Verdict.FAILED
        return failed

    with database(settings) as url:
        failed = asyncio.run(work(url))
    if failed:
        sys.exit(1)


@app.command("settings")
def list_settings() -> None:
    """Every setting with its default, value and meaning."""
    settings = _settings()
    table = Table("setting", "value", "default", "meaning", box=rich.box.SIMPLE)
    for name, field in Settings.model_fields.items():
        value, default = getattr(settings, name), field.default
        table.add_row(
            f"NEARCODE_{name.upper()}",
            "" if value == default else _plain(value),
            _plain(default),
            field.description or "",
        )
    out.print(table, soft_wrap=False)


def _plain(value: object) -> str:
    """A setting's value as it is typed; secrets stay hidden."""
    if value is None or value == ():
        return "-"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
