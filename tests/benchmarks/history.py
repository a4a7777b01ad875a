"""Months of past days, written by the code that serves today: scans a second, and what takes the
time.

One process decides, one PostgreSQL writes; orders and the roll-ups are in the whole.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from service import accounts, db, demo
from service.settings import Settings
from service.simulate import history
from tests import running
from tests.benchmarks import measuring
from tests.benchmarks.options import Options

_DAYS = 60
_SCANS_A_DAY = (140, 1000)  # the demo's, and a chain's that is busy


def run(options: Options) -> Iterator[str]:
    rows = []
    for scans_a_day in _SCANS_A_DAY:
        with running.own_server() as server:
            rows.append(asyncio.run(_write(server.url, options, scans_a_day)))
    yield measuring.table(
        ("sample chain", "scans", "joins", "orders", "all", "scans/s", "this process's part"),
        rows,
    )  # fmt: skip


async def _write(url: str, options: Options, scans_a_day: int) -> tuple[str, ...]:
    settings = Settings()
    await db.migrate(url)
    connection = await db.connect(url)
    await demo.load(connection, settings)
    (chain,) = await accounts.chains(connection)
    await connection.close()
    days = options.scaled(_DAYS, least=2)
    zone = ZoneInfo(chain["timezone"])
    since, until = history.bounds(datetime.now(UTC), days, zone, settings)
    span = history.Span(chain["chain_id"], "tea", options.seed, scans_a_day, since, until)
    cpu, started = time.process_time(), time.perf_counter()
    written = await history.write(url, span, settings)
    whole_s = time.perf_counter() - started
    return (
        f"{days} days of {scans_a_day}",
        f"{written.scans:,}",
        f"{written.joins:,}",
        f"{written.orders:,}",
        measuring.duration(whole_s),
        f"{written.scans / whole_s:,.0f}",
        f"{(time.process_time() - cpu) / whole_s:.0%}",
    )
