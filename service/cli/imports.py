"""Stores, group codes, placements and orders from files."""

import asyncio
import contextlib
import functools
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from service import (
    accounts,
    bulk,
    catalog,
    db,
    decoding,
    importing,
    order_rows,
    orders,
    pictures,
    sheets,
)
from service.cli import arguments, installation, terminal
from service.cli.terminal import out
from service.directory import Directory

app = typer.Typer(no_args_is_help=True, help="Stores and group codes from files.")


@app.command("stores")
def import_stores(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    chain: arguments.ChainOption = None,
    datum: arguments.DatumOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
) -> None:
    """Stores from CSV (UTF-8 or GB18030), XLSX or GeoJSON."""
    settings = installation.settings()
    default = arguments.datum(datum)
    table = arguments.read_table(file)

    async def work(
        connection: db.Connection,
    ) -> tuple[catalog.Imported, tuple[importing.Warned, ...]]:
        chain_id = await accounts.chain_id_of(connection, chain)
        with terminal.progress() as progress:
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

    done, warnings = installation.run(settings, work)
    _tell_import(done, dry_run=dry_run)
    terminal.tell_rows("warning", warnings)


@app.command("codes")
def import_codes(
    source: Annotated[Path, typer.Argument(exists=True, help="A folder, ZIP, CSV or XLSX.")],
    chain: arguments.ChainOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
    report_to: Annotated[
        Path | None,
        typer.Option("--report", help="Write what became of each file or row to this CSV."),
    ] = None,
) -> None:
    """Group codes: pictures named by their store's number (SH001.png, SH001-2.jpg), or a table.

    Safe to repeat: what is up already stays as it is.
    """
    settings = installation.settings()
    done = bulk.Progress()

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        of_chain = known.chains[chain_id]
        connect = functools.partial(contextlib.nullcontext, connection)
        doing = bulk.Bulk(connect, chain_id, settings, dry_run=dry_run)
        with contextlib.ExitStack() as stack, terminal.progress() as progress:
            doing_files = progress.add_task("Reading", total=None)

            def tell() -> None:
                progress.update(doing_files, total=done.total, completed=len(done.lines))

            done.told = tell
            files = _pictures_in(source, stack)
            if files is None:
                table = await asyncio.to_thread(arguments.read_table, source)
                parsed = await asyncio.to_thread(
                    importing.codes, table, tz=ZoneInfo(of_chain.timezone)
                )
                await doing.table(parsed, done)
                return
            async with decoding.running(settings, alone=True) as decoder:
                await doing.pictures(decoder, files, of_chain.stores, done)

    installation.run(settings, work)
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


@app.command("placements")
def import_placements(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    entry: Annotated[str | None, typer.Option(help="Needed if there are several.")] = None,
    chain: arguments.ChainOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
) -> None:
    """Placements from CSV or XLSX: 投放编号, 名称, 渠道, 门店, 印数, 成本, 版本."""
    settings = installation.settings()
    table = arguments.read_table(file)

    async def work(connection: db.Connection) -> catalog.Imported:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        name = arguments.entry_among(known.chains[chain_id].entries, entry)
        with terminal.progress() as progress:
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

    _tell_import(installation.run(settings, work), dry_run=dry_run)


@app.command("orders")
def import_orders(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    chain: arguments.ChainOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
) -> None:
    """Orders and refunds from CSV or XLSX: 订单号, 下单时间, 金额, 门店编号, 手机号, 类型, 原单号.
    The same again changes nothing."""
    settings = installation.settings()
    table = arguments.read_table(file)

    async def work(connection: db.Connection) -> orders.Put:
        chain_id = await accounts.chain_id_of(connection, chain)
        tz, currency = await orders.terms(connection, chain_id)
        secret = await accounts.installation_secret(connection)
        window = timedelta(days=settings.order_window_days)
        with terminal.progress() as progress:
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

    done = installation.run(settings, work)
    rejected = tuple(sorted(done.rejected, key=lambda rejection: rejection.row))
    _tell_import(
        catalog.Imported(done.created, done.updated, done.unchanged, rejected), dry_run=dry_run
    )
    out.print(f"matched to joins {done.matched}, unmatched {done.unmatched}")


def _tell_import(done: catalog.Imported, *, dry_run: bool) -> None:
    if dry_run:
        out.print("Nothing was changed (--dry-run). It would have been:")
    out.print(
        f"created {done.created}, updated {done.updated}, unchanged {done.unchanged}, "
        f"rejected {len(done.rejected)}"
    )
    terminal.tell_rows("reason", done.rejected)
