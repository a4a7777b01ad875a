"""Entries and placements."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from service import accounts, catalog, db, errors, printing
from service.cli import arguments, installation, terminal
from service.cli.terminal import out
from service.directory import Directory
from service.domain import (
    ENTRY_PATTERN,
    PLACEMENT_PATTERN,
    Entry,
    IpPolicy,
)

entry_app = typer.Typer(no_args_is_help=True, help="Entries: the unified codes that are printed.")
placement_app = typer.Typer(no_args_is_help=True, help="Placements: where an entry is put up.")


_MOST_RADIUS_M = 20_100_000  # half of the way round the Earth, and a little more
_MOST_COST = 1e11


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
    chain: arguments.ChainOption = None,
) -> None:
    """A new unified code. Its name is part of what is printed, and stays."""
    if not ENTRY_PATTERN.fullmatch(entry):
        raise errors.BadInput.of(
            "entry", "letters, digits, - and _, 64 at most; a letter or digit first"
        )
    arguments.check_text("--name", name, 200)
    # Written so that NaN is refused, too.
    if radius_m is not None and not 0 < radius_m <= _MOST_RADIUS_M:
        raise errors.BadInput.of("--radius-m", f"above 0, {_MOST_RADIUS_M:,} at most")
    settings = installation.settings()

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

    installation.run(settings, work)
    out.print(escape(f"{entry}: {printing.entry_url(settings.public_url, entry)}"))


@entry_app.command("list")
def list_entries(chain: arguments.ChainOption = None) -> None:
    """Every entry of a chain, with its URL."""
    settings = installation.settings()

    async def work(connection: db.Connection) -> list[Entry]:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        return [found for found in known.entries.values() if found.chain_id == chain_id]

    table = terminal.table("entry", "name", "radius", "by IP", "fallbacks", "placements", "URL")
    for found in sorted(installation.run(settings, work), key=lambda found: found.entry):
        table.add_row(
            found.entry,
            escape(found.name),
            f"{found.radius_m or settings.radius_m:,.0f} m",
            found.ip_policy.value,
            str(len(found.fallback)),
            escape(", ".join(sorted(found.placements))),
            escape(printing.entry_url(settings.public_url, found.entry)),
        )
    terminal.show(table)


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
    chain: arguments.ChainOption = None,
) -> None:
    """A place where an entry is put up, so that reports tell it apart; again to change it."""
    if not PLACEMENT_PATTERN.fullmatch(placement):
        raise errors.BadInput.of(
            "placement", "letters, digits, -, _ and ., 64 at most; a letter or digit first"
        )
    arguments.check_text("--name", name, 200)
    arguments.check_text("--channel", channel, 64)
    if variant is not None:
        arguments.check_text("--variant", variant, 64)
    if cost is not None and not 0 <= cost <= _MOST_COST:
        raise errors.BadInput.of("--cost", f"0 or more, {_MOST_COST:,.0f} at most")
    settings = installation.settings()

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        found = known.entries.get(entry)
        if found is None or found.chain_id != chain_id:
            raise arguments.no_entry(entry)
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

    installation.run(settings, work)
    url = printing.entry_url(settings.public_url, entry, placement)
    out.print(escape(f"{placement}: {url}"))
