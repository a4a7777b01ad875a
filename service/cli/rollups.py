"""Roll-ups, which reports are read from: compared with the raw rows, and made anew."""

import itertools
import sys
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from service import accounts, db, moments, rollups
from service.cli import arguments, installation, terminal
from service.cli.terminal import out
from service.steps import report

app = typer.Typer(no_args_is_help=True, help="Roll-ups: what reports are read from.")


@app.command("check")
def check_rollups(
    since: Annotated[str | None, typer.Option(help="A date; the first scan's by default.")] = None,
    until: Annotated[str | None, typer.Option(help="A date, counted whole; today.")] = None,
    chain: arguments.ChainOption = None,
) -> None:
    """Compare the roll-ups of each day with its raw rows; exit code 1 if any differs."""

    async def work(connection: db.Connection) -> list[tuple[str, rollups.Compared | None]]:
        chain_id = await accounts.chain_id_of(connection, chain)
        await rollups.follow(connection)
        days = await _days(connection, chain_id, since, until)
        found: list[tuple[str, rollups.Compared | None]] = []
        with terminal.progress() as progress:
            checking = progress.add_task("Checking days", total=len(days))
            for first, after in days:
                dropped = await rollups.is_dropped(connection, first, after)
                compared = None
                if not dropped:
                    compared = await rollups.check(connection, chain_id, first, after)
                found.append((first.date().isoformat(), compared))
                progress.advance(checking)
        return found

    found = installation.run(installation.settings(), work, patient=True)
    checked = [compared for _, compared in found if compared is not None]
    wrong = [(day, compared) for day, compared in found if compared and not compared.equal]
    if wrong:
        table = terminal.table(
            "day", "scans", "missing", "too many", "wrong", "wrong chunks", "in no chunk"
        )
        for day, each in wrong:
            figures = (each.scans, each.missing, each.surplus, each.wrong, each.chunks)
            table.add_row(day, *(f"{figure:,}" for figure in (*figures, each.outside)))
        terminal.show(table)
    scans = sum(compared.scans for compared in checked)
    out.print(
        f"{len(checked):,} days, {scans:,} scans: {len(wrong)} days differ from the raw rows."
        + (" `nearcode rollup rebuild` mends them." if wrong else "")
    )
    if dropped := len(found) - len(checked):
        out.print(f"Of {dropped:,} days the raw rows are gone: their roll-ups stand.")
    if wrong:
        sys.exit(1)


@app.command("rebuild")
def rebuild_rollups(
    since: Annotated[str | None, typer.Option(help="A date; the first scan's by default.")] = None,
    until: Annotated[str | None, typer.Option(help="A date, counted whole; today.")] = None,
    chain: arguments.ChainOption = None,
) -> None:
    """Make the roll-ups of each day anew from its raw rows. Days whose raw rows are gone stay."""

    async def work(connection: db.Connection) -> tuple[int, int]:
        chain_id = await accounts.chain_id_of(connection, chain)
        days = await _days(connection, chain_id, since, until)
        done = 0
        with terminal.progress() as progress:
            building = progress.add_task("Rebuilding days", total=len(days))
            for first, after in days:
                if not await rollups.is_dropped(connection, first, after):
                    await rollups.rebuild(connection, chain_id, first, after)
                    done += 1
                progress.advance(building)
        return done, len(days) - done

    done, dropped = installation.run(installation.settings(), work, patient=True)
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
