"""What keeps an installation well: retention, the doctor, its settings."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from service import db, doctor, errors, retention
from service.cli import installation, terminal
from service.cli.terminal import out
from service.settings import Settings


def run_retention(
    months: Annotated[
        int | None,
        typer.Option(min=1, help="Kept beside the current one; NEARCODE_RETENTION_MONTHS."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Drop nothing.")] = False,
) -> None:
    """Drop the raw rows of months that are too old; the reports of them stay. `serve` does it by
    itself."""
    settings = installation.settings()
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

    installation.run(settings, work, patient=True)


def run_doctor() -> None:
    """Check settings, database, clock, IP database and proxies; say what to mend."""
    settings = installation.settings()
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

    with installation.database(settings) as url:
        failed = asyncio.run(work(url))
    if failed:
        sys.exit(1)


def list_settings() -> None:
    """Every setting with its default, value and meaning."""
    settings = installation.settings()
    table = terminal.table("setting", "value", "default", "meaning")
    for name, field in Settings.model_fields.items():
        value, default = getattr(settings, name), field.default
        table.add_row(
            f"NEARCODE_{name.upper()}",
            "" if value == default else plain(value),
            plain(default),
            field.description or "",
        )
    terminal.show(table)


def plain(value: object) -> str:
    """A setting's value as it is typed; secrets stay hidden."""
    if value is None or value == ():
        return "-"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
