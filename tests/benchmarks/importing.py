"""30,000 stores from a CSV file into the embedded PostgreSQL.

The floors: Python's csv module over the same bytes, and COPY of the same rows into a bare table.
"""

import asyncio
import csv
import io
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import numpy as np

from service import accounts, catalog, db, embedded, importing, tabular
from tests.benchmarks import measuring, worlds
from tests.benchmarks.options import Options

_STORES = 30_000
_ROUNDS = 3


def run(options: Options) -> Iterator[str]:
    count = options.scaled(_STORES, least=1_000)
    data = _file(count, options.seed)
    taken: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="nearcode-bench-") as folder,
        embedded.EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        asyncio.run(db.migrate(server.url))
        for number in range(_ROUNDS):
            for name, seconds in asyncio.run(_round(server.url, data, number)).items():
                taken.setdefault(name, []).append(seconds)
    times = {name: measuring.Times(tuple(seconds)) for name, seconds in taken.items()}
    floors = {
        "parse: read and check": "floor: csv.DictReader",
        "write: new stores": "floor: COPY into a bare table",
        "write: nothing has changed": "floor: COPY into a bare table",
    }
    yield f"{count:,} stores, {len(data) / 1e6:.1f} MB of CSV in GCJ-02, {_ROUNDS} rounds"
    yield measuring.table(
        ("import", "all", "a row", "+-", "x floor"),
        [
            (
                name,
                measuring.duration(each.median_s),
                measuring.duration(each.median_s / count),
                f"{each.spread / 2:.0%}",
                f"{each.ratio_to(times[floors[name]]):.1f}" if name in floors else "1.0",
            )
            for name, each in times.items()
        ],
    )


async def _round(url: str, data: bytes, number: int) -> dict[str, float]:
    clock = _Clock()
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    clock.lap("floor: csv.DictReader")
    parsed = importing.stores(tabular.read(data, "stores.csv"))
    clock.lap("parse: read and check")
    assert len(parsed.rows) == len(rows), parsed.rejected[:3]
    connection = await db.connect(url)
    try:
        await _copy(connection, rows, clock)
        chain_id = await accounts.create_chain(connection, f"bench{number}", "bench")
        clock.start()
        done = await catalog.put_stores(connection, chain_id, parsed.rows)
        clock.lap("write: new stores")
        assert done.created == len(rows)
        done = await catalog.put_stores(connection, chain_id, parsed.rows)
        clock.lap("write: nothing has changed")
        assert done.unchanged == len(rows)
    finally:
        await connection.close()
    return clock.laps


async def _copy(
    connection: "asyncpg.Connection", rows: list[dict[str, str]], clock: "_Clock"
) -> None:
    columns = ", ".join(f"c{place} text" for place in range(1, len(rows[0])))
    await connection.execute(f"CREATE TABLE bare (store text PRIMARY KEY, {columns})")
    clock.start()
    await connection.copy_records_to_table("bare", records=[tuple(row.values()) for row in rows])
    clock.lap("floor: COPY into a bare table")
    await connection.execute("DROP TABLE bare")


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        self.laps[name] = time.perf_counter() - self._since
        self.start()


def _file(count: int, seed: int) -> bytes:
    """A spreadsheet as chains keep it: names, addresses, Chinese headings, GCJ-02."""
    stores = worlds.real_shaped(count, np.random.default_rng(seed))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("门店编号", "门店名称", "品牌", "地址", "经度", "纬度", "坐标系"))
    for number, (lon, lat) in zip(itertools.count(1), stores.tolist(), strict=False):
        name = f"近码茶社·{number}号店"
        row = (f"N{number:06d}", name, "近码茶社", f"人民路{number}号一层", lon, lat, "gcj02")
        writer.writerow(row)
    return out.getvalue().encode()
