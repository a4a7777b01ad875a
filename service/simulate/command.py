"""What `nearcode simulate` shows while it works: a crowd at a service, or in the past."""

import asyncio
import calendar
import json
import re
import signal
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import rich.box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from service import accounts, db, errors
from service.directory import Directory
from service.settings import Settings
from service.simulate import crowd, drive, history

_SCANS_A_STORE = 5
_TICK_S = 0.5
# Some 9,000 scans: what a first `make run` has patience for.
_DEMO_SEED, _DEMO_DAYS, _DEMO_SCANS_A_DAY = 1, "60d", 140
_WORTH_GOING_ON = timedelta(hours=30)
_LONGEST_DAYS = 5 * 366
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}


def is_loopback(url: str) -> bool:
    """Whether everything that this URL names is this machine. A socket's folder is."""
    parts = urlsplit(url)
    hosts = [host.rpartition("@")[2] for host in parts.netloc.split(",")]
    names = [re.sub(r":\d*$", "", host) for host in hosts]
    return all(name in _LOOPBACK or not name for name in names)


def days_of(text: str, today: date) -> int:
    """`6m` (months), `90d` or `90` (days) before today. Raises `errors.BadInput`."""
    found = re.fullmatch(r"(\d{1,4})([md]?)", text.strip())
    count = int(found[1]) if found else 0
    if found is None or not count:
        raise errors.BadInput.of("--history", f"6m (months) or 90d (days), not {text!r}")
    if found[2] == "m":
        months = today.year * 12 + today.month - 1 - count
        if months < 12 * 2000:
            raise errors.BadInput.of("--history", "that is too long ago")
        year, month = months // 12, months % 12 + 1
        last = calendar.monthrange(year, month)[1]
        count = (today - date(year, month, min(today.day, last))).days
    if count > _LONGEST_DAYS:
        raise errors.BadInput.of("--history", f"{_LONGEST_DAYS} days at most")
    return count


async def span_of(
    url: str,
    settings: Settings,
    *,
    chain: str | None,
    entry: str | None,
    seed: int,
    days: str,
    scans_a_day: int | None,
    now: datetime | None = None,
) -> history.Span:
    """What `--history` asks for. Raises `errors.BadInput`."""
    connection = await db.connect(url)
    try:
        await db.check_schema(connection)
        chain_id = await accounts.chain_id_of(connection, chain)
        known = Directory()
        await known.refresh(connection)
        begun = await history.begun(connection, chain_id)
    finally:
        await connection.close()
    found = known.chains[chain_id]
    name = entry or (next(iter(found.entries)) if len(found.entries) == 1 else None)
    if name is None or name not in found.entries:
        named = ", ".join(sorted(found.entries)) or "there is none yet"
        raise errors.BadInput.of("--entry", f"name one of: {named}")
    zone = ZoneInfo(found.timezone)
    moment = now or datetime.now(UTC)
    count = days_of(days, moment.astimezone(zone).date())
    since, until = history.bounds(moment, count, zone, settings)
    before = begun.get(name)
    if before is not None:
        # It goes on where it was, however long ago that is.
        since, scans_a_day = max(since, before.since), scans_a_day or before.scans_a_day
    return history.Span(
        chain_id=chain_id,
        entry=name,
        seed=seed,
        scans_a_day=scans_a_day or _SCANS_A_STORE * len(found.stores) or 1,
        since=since,
        until=until,
    )


async def demo_span(
    url: str, settings: Settings, *, chain: str, entry: str, is_new: bool
) -> history.Span | None:
    """The demo's weeks. Later only if a day or more is missing; not at all if it began without."""
    connection = await db.connect(url)
    try:
        begun = (
            await history.begun(connection, await accounts.chain_id_of(connection, chain))
        ).get(entry)
    finally:
        await connection.close()
    missing = begun is not None and datetime.now(UTC) - begun.written_until > _WORTH_GOING_ON
    if not is_new and not missing:
        return None
    return await span_of(
        url,
        settings,
        chain=chain,
        entry=entry,
        seed=begun.seed if begun else _DEMO_SEED,
        days=_DEMO_DAYS,
        scans_a_day=begun.scans_a_day if begun else _DEMO_SCANS_A_DAY,
    )


def write_history(
    url: str, span: history.Span, settings: Settings, console: Console, *, quiet: bool = False
) -> history.Written:
    """Write it with a progress bar. Raises KeyboardInterrupt when it was asked to stop: what is
    written until then stays, and the next run goes on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    started = time.perf_counter()
    total = history.Written(span.since, span.since)
    with Progress(*columns, console=console, disable=quiet) as progress:
        whole_s = (span.until - span.since).total_seconds()
        task = progress.add_task("Writing the past", total=whole_s, figures="")

        def done(slot: history.Written) -> None:
            nonlocal total
            total += slot
            rate = total.scans / (time.perf_counter() - started)
            progress.update(
                task,
                completed=(slot.until - span.since).total_seconds(),
                figures=f"{slot.until:%Y-%m-%d}  {total.scans:,} scans, {total.joins:,} joins, "
                f"{rate:,.0f} scans/s",
            )

        written = asyncio.run(history.write(url, span, settings, done=done))
        progress.update(task, completed=whole_s)
    return written


# ---------------------------------------------------------------- a crowd at a service


def demo_of(data_dir: Path) -> dict[str, Any]:
    """What the demo of this data folder has told of itself; nothing if there is none."""
    try:
        told = json.loads((data_dir / "demo.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def drive_crowd(run: drive.Run, habits: crowd.Habits, console: Console) -> drive.Figures:
    """Let the crowd come, and show what comes of it. Ctrl-C ends it well."""
    return asyncio.run(_drive(run, habits, console))


async def _drive(run: drive.Run, habits: crowd.Habits, console: Console) -> drive.Figures:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    figures = drive.Figures()
    world = await drive.world_of(run, habits)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        whole = run.visitors or (run.seconds or 0) * run.rate or None
        task = progress.add_task("Visitors", total=whole, figures="")
        crowd_comes = asyncio.create_task(drive.drive(run, world, figures=figures, stop=stop))
        while not crowd_comes.done():
            progress.update(task, completed=figures.visitors, figures=_in_short(figures))
            await asyncio.wait({crowd_comes}, timeout=_TICK_S)
        progress.update(task, completed=figures.visitors, figures=_in_short(figures))
        return await crowd_comes


def _in_short(told: drive.Figures) -> str:
    p50, p99 = (told.percentile_ms(share, latest=5000) for share in (0.5, 0.99))
    failed = told.errors.total()
    return "  ".join(
        (
            f"{told.scans:,} scans",
            f"{told.joined:,} joins",
            f"{told.conversion or 0:.1%}",
            f"p50 {p50 or 0:.0f} ms",
            f"p99 {p99 or 0:.0f} ms",
            f"{failed:,} errors",
            f"{told.there:,} there",
        )
    )


def table_of(told: drive.Figures) -> Table:
    """All figures in the end."""
    table = Table("", "count", "share", box=rich.box.SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    shares = (
        ("visitors", told.visitors, None),
        ("bots", told.bots, told.visitors),
        ("scans", told.scans, told.visitors),
        ("location refused", told.denied, told.scans),
        ("located", told.located, told.scans),
        ("shown a code", told.shown, told.scans),
        ("unserved", told.unserved, told.scans),
        ("complained", told.complained, told.shown),
        ("joined", told.joined, told.shown),
        ("said so", told.reported, told.joined),
        ("left", told.left, told.joined),
        ("orders", told.orders, told.joined),
    )
    for name, count, among in shares:
        table.add_row(name, f"{count:,}", f"{count / among:.1%}" if among else "")
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0)):
        taken_ms = told.percentile_ms(share)
        table.add_row(f"request, {name}", "" if taken_ms is None else f"{taken_ms:,.1f} ms", "")
    table.add_row("requests", f"{len(told.seconds):,}", "")
    for what, count in sorted(told.errors.items()):
        table.add_row(f"error {what}", f"{count:,}", "")
    return table
