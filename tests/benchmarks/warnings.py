"""Warnings: what one look costs, of 30,000 stores with two codes each.

Beside the time that passes stands PostgreSQL's own processor time, which other programs on the
machine do not lengthen (much).
"""

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from service import db, warnings
from service.settings import Settings
from tests import conftest, running
from tests.benchmarks import measuring
from tests.benchmarks.options import Options

_STORES = 30_000
_LOOKS = 20
_MOST_S = 0.2
_FILL = """
INSERT INTO chains (chain_id, chain, name) VALUES (gen_random_uuid(), 'tea', 'tea');
INSERT INTO stores (chain_id, store, name, lon, lat, given_lon, given_lat)
SELECT chain_id, 'S' || n, 'S' || n, 120, 30, 120, 30 FROM chains, generate_series(1, {stores}) n;
INSERT INTO codes (chain_id, code_id, store, kind, payload, capacity, members, expires_at)
SELECT chain_id, gen_random_uuid(), store, 'wecom_group', store || '-' || n, 200,
       (random() * 180)::int, now() + random() * interval '20 days'
FROM stores, generate_series(1, 2) n;
ANALYZE;
"""
_CHANGE = "UPDATE codes SET members = 200 - members, version = version + 1 WHERE random() < {share}"


def run(options: Options) -> Iterator[str]:
    stores = max(100, round(_STORES * options.scale))
    with running.own_server() as server:
        rows = running.run(_measure(conftest.with_database(server.url, "postgres"), stores))
    yield measuring.table(
        ["of the codes changed", "differences", "a look takes", "processor time", "at most", ""],
        rows,
    )


async def _measure(maintenance_url: str, stores: int) -> list[list[str]]:
    await conftest.execute(maintenance_url, "CREATE DATABASE warned")
    url = conftest.with_database(maintenance_url, "warned")
    await db.migrate(url)
    connection = await db.connect(url)
    try:
        await connection.execute(_FILL.format(stores=stores))
        settings = Settings()
        while sum(await warnings.check(connection, settings)):
            pass
        rows = []
        backend = connection.get_server_pid()
        for share in (0, 0.001, 0.01):
            taken, worked, differences = [], [], []
            for _ in range(_LOOKS):
                await connection.execute(_CHANGE.format(share=share))
                start, before_s = time.perf_counter(), _processor_s(backend)
                raised, closed = await warnings.check(connection, settings)
                taken.append(time.perf_counter() - start)
                worked.append(_processor_s(backend) - before_s)
                differences.append(raised + closed)
            # The processor's clock ticks in hundredths of a second.
            took_s, worked_s = statistics.median(taken), statistics.mean(worked)
            rows.append(
                [
                    f"{share:.1%}",
                    f"{statistics.median(differences):,.0f}",
                    measuring.duration(took_s),
                    measuring.duration(worked_s),
                    measuring.duration(_MOST_S),
                    measuring.verdict(worked_s or took_s, at_most=_MOST_S),
                ]
            )
        return rows
    finally:
        await connection.close()


def _processor_s(process_id: int) -> float:
    """What this process has worked; 0 where nobody tells."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
