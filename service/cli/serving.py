"""Commands that serve: the demo, the service, and what brings its database to its schema.

What serves HTTP is imported in them: the other commands start in half the time.
"""

import asyncio
from typing import Annotated, Any

import typer
from rich.markup import escape

from service import db, logs, printing
from service.cli import installation
from service.cli.terminal import err, out
from service.settings import Settings


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
        with installation.database(settings) as url, demo.alone(settings.data_dir):
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


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
) -> None:
    """The service alone. The database must have been migrated."""
    from service import server

    settings = installation.settings()
    with (
        server.terminable(),
        server.listen(host, port) as listener,
        installation.database(settings) as url,
    ):
        asyncio.run(_check(url))
        server.serve(settings, url, listener, workers)


async def _check(url: str) -> None:
    connection = await db.connect(url)
    try:
        await db.check_schema(connection)
    finally:
        await connection.close()


def migrate() -> None:
    """Bring the database to the current schema."""
    settings = installation.settings()
    with installation.database(settings) as url:
        done = asyncio.run(db.migrate(url))
    out.print(f"Migrated: {', '.join(done)}" if done else "The schema is current.")
