"""Scan-to-join conversion."""

import json
import sys
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape

from service import accounts, db, moments
from service.cli import arguments, installation, terminal
from service.cli.terminal import out
from service.steps import report


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


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
    chain: arguments.ChainOption = None,
    form: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Scan-to-join conversion."""
    settings = installation.settings()

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

    found = installation.run(settings, work)
    if form is Format.JSON:
        out.print_json(json.dumps(found, ensure_ascii=False, default=str))
    elif form is Format.CSV:
        sys.stdout.write(report.as_csv(found["rows"], report.COLUMNS))
    else:
        _tell_funnel(found, by)


def _tell_funnel(found: dict[str, Any], by: report.By) -> None:
    table = terminal.table(by.value, *report.COUNTS, "conversion", "95 %")
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
    terminal.show(table)
