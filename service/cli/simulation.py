"""A crowd to try it on, now or in the past."""

import asyncio
from typing import Annotated

import typer

from service import errors
from service.cli import arguments, installation
from service.cli.terminal import err, out
from service.settings import Settings


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
        int | None, typer.Option(min=1, help="How many; else for a minute, or a day.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="How long they come.")] = None,
    day_in: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="A day passes in so many minutes, with a night and a noon; else all come evenly.",
        ),
    ] = None,
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
    chain: arguments.ChainOption = None,
) -> None:
    """A crowd to try it on: visitors who scan, ask, join, complain, leave and buy."""
    from service.simulate import command, crowd, drive

    settings = installation.settings()
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
    span = minutes or (None if visitors else day_in)
    run = drive.Run(
        base_url=url,
        entry=name,
        seed=seed,
        rate=rate,
        visitors=visitors,
        seconds=60 * span if span else None if visitors else 60.0,
        day_s=60 * day_in if day_in else None,
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

    with installation.database(settings) as url:
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
