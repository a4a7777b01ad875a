"""Scans at full speed: positions that end in a durable hold, through HTTP, on PostgreSQL with fsync.

The floor (a) is a bare FastAPI app that answers the same request with a constant; (b) is the same
work with one transaction per scan. Load and servers share the machine's cores, so that a faster
client would make every figure, and the floor's most, a better one.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from geo.datum import Datum
from service import accounts, catalog, db, embedded
from service.importing import StoreRow
from service.settings import Settings
from tests.benchmarks import measuring, processes, worlds, wrk
from tests.benchmarks.options import Options
from tests.benchmarks.processes import Server
from tests.benchmarks.worlds import Degrees
from tests.benchmarks.wrk import Load

_STORES = 25_000
_ROUNDS = 4
_ROUND_S = 2
_CONNECTIONS = (32, 128)
_ENTRY = "bench"
_PLENTY = 1_000_000  # seats of a code, so that none fills up
# Scans that are opened for a run: so many times what the run before has used.
_SPARE = 1.3

OURS, BARE, SINGLE = "nearcode", "(a) bare FastAPI", "(b) a transaction per scan"
HOT, TWO = "hot poster: one store", "two workers"


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    connections: int
    server: Server
    bodies: Path
    holds: bool = True  # each answer is a seat taken


@dataclass(slots=True)
class _Measured:
    loads: list[Load] = field(default_factory=list)
    cpu_s: list[tuple[float, float]] = field(default_factory=list)  # server, PostgreSQL

    @property
    def per_s(self) -> float:
        return statistics.median(load.per_s for load in self.loads)

    def ratio_to(self, other: "_Measured") -> float:
        pairs = zip(self.loads, other.loads, strict=True)
        return statistics.median(mine.per_s / theirs.per_s for mine, theirs in pairs)


def run(options: Options) -> Iterator[str]:
    if not wrk.is_installed():
        yield wrk.MISSING
        return
    with tempfile.TemporaryDirectory(prefix="nearcode-bench-") as name:
        folder = Path(name)
        with embedded.EmbeddedPostgres(folder / "data") as postgres:
            stores = options.stores(_STORES)
            asyncio.run(_prepare(postgres.url, stores))
            bench = _Bench(folder, postgres, stores, options)
            with bench:
                yield from bench.report()


class _Bench(contextlib.ExitStack):
    def __init__(
        self, folder: Path, postgres: embedded.EmbeddedPostgres, stores: Degrees, options: Options
    ) -> None:
        super().__init__()
        self._folder, self._postgres, self._options = folder, postgres, options
        self._stores = stores
        self._runs = itertools.count()
        self._answered = self._cut_off = 0
        self._needed: dict[tuple[str, int], float] = {}
        self._opened_per_s: dict[str, float] = {}
        self._ids = folder / "ids.txt"
        # For who does not look at them.
        self._ids.write_text("".join(f"{uuid.uuid4()}\n" for _ in range(1000)), "ascii")

    def __enter__(self) -> "_Bench":
        super().__enter__()
        rng = np.random.default_rng(self._options.seed)
        self._spread = self._bodies("spread", _near(self._stores, 50_000, rng))
        self._ours = self._nearcode("ours")
        self._single = self._nearcode("single", NEARCODE_JOURNAL_BATCH="1")
        self._bare = self._bare_app()
        return self

    def report(self) -> Iterator[str]:
        jobs = [
            job
            for connections in _CONNECTIONS
            for job in (
                _Job(BARE, connections, self._bare, self._spread, holds=False),
                _Job(OURS, connections, self._ours, self._spread),
                _Job(SINGLE, connections, self._single, self._spread),
            )
        ]
        measured = {(job.name, job.connections): _Measured() for job in jobs}
        for turn in range(self._options.scaled(_ROUNDS, least=1) + 1):
            for job in jobs:
                load, cpu_s = self._measure(job, _ROUND_S if turn else 1)
                if turn:
                    measured[job.name, job.connections].loads.append(load)
                    measured[job.name, job.connections].cpu_s.append(cpu_s)
        yield _table(measured)

    # Servers

    def _nearcode(self, name: str, *, workers: int = 1, **environment: str) -> Server:
        port = processes.free_port()
        return self.enter_context(
            processes.serving(
                [
                    *(sys.executable, "-c", "from service import cli; cli.main()"),
                    *("serve", "--port", str(port), "--workers", str(workers)),
                ],
                port,
                _environment(
                    NEARCODE_DATABASE_URL=self._postgres.url,
                    # All visitors come from one address here.
                    NEARCODE_MAX_HOLDS_PER_ADDRESS="0",
                    **environment,
                ),
                self._folder / f"{name}.log",
            )
        )

    def _bare_app(self) -> Server:
        """It answers what nearcode has answered to a first visitor."""
        port = processes.free_port()
        answer = self._folder / "answer.json"
        answer.write_bytes(self._one_answer())
        return self.enter_context(
            processes.serving(
                [sys.executable, "-m", "tests.benchmarks.bare", str(port), str(answer)],
                port,
                _environment(),
                self._folder / "bare.log",
            )
        )

    def _one_answer(self) -> bytes:
        with httpx.Client(base_url=self._ours.base_url, trust_env=False) as client:
            opened = client.post("/api/v1/scans", json={"entry": _ENTRY})
            assert opened.is_success, opened.text
            body = self._spread.read_text("utf-8").partition("\n")[0]
            located = client.post(
                f"/api/v1/scans/{opened.json()['scan_id']}/position", json=json.loads(body)
            )
        assert located.json()["outcome"] == "code", located.text
        self._answered += 1
        return located.content

    # Runs

    def _measure(self, job: _Job, seconds: int) -> tuple[Load, tuple[float, float]]:
        if job.holds:
            self._open(job, seconds)
        postgres = self._postmaster_pid()
        before = job.server.cpu_s(), processes.cpu_s(postgres)
        load = wrk.run(
            self._folder,
            wrk.LOCATE,
            job.server.base_url,
            [self._ids, job.bodies, "once" if job.holds else "again"],
            connections=job.connections,
            seconds=seconds,
        )
        after = job.server.cpu_s(), processes.cpu_s(postgres)
        _check(load, job.name)
        if job.holds:
            self._answered += load.answered
            self._cut_off += job.connections
            self._needed[job.name, job.connections] = load.per_s
        return load, (after[0] - before[0], after[1] - before[1])

    def _open(self, job: _Job, seconds: int) -> None:
        """A scan for each request of the run that follows, of a visitor of its own."""
        needed = self._needed.get((job.name, job.connections), math.inf) * seconds * _SPARE
        opened_per_s = self._opened_per_s.get(job.server.base_url)
        opening_s = seconds + 1
        if opened_per_s is not None and needed < math.inf:
            opening_s = math.ceil(needed / opened_per_s)
        load = wrk.run(
            self._folder,
            wrk.OPEN,
            job.server.base_url,
            [f"{next(self._runs)}-", _ENTRY, self._ids],
            connections=job.connections,
            seconds=opening_s,
        )
        _check(load, f"{job.name}: scans opened")
        self._opened_per_s[job.server.base_url] = load.per_s

    def _postmaster_pid(self) -> int:
        file = self._postgres.data_dir / "postgresql" / "postmaster.pid"
        return int(file.read_text("ascii").split()[0])

    def _bodies(self, name: str, places: Degrees) -> Path:
        """A file of positions, a JSON body a line."""
        file = self._folder / f"{name}.jsonl"
        lines = (
            f'{{"lon":{lon:.6f},"lat":{lat:.6f},"accuracy_m":10}}\n'
            for lon, lat in places.tolist()
        )
        file.write_text("".join(lines), encoding="utf-8")
        return file


def _check(load: Load, what: str) -> None:
    if load.refused or load.broken or not load.answered:
        raise RuntimeError(f"{what}: {load}")


async def _prepare(url: str, stores: Degrees) -> None:
    """A chain with one code a store."""
    await db.migrate(url)
    connection = await db.connect(url)
    try:
        chain_id = await accounts.create_chain(connection, "bench", "bench")
        rows = (_store(number, *place) for number, place in enumerate(stores.tolist()))
        await catalog.put_stores(connection, chain_id, list(rows))
        await connection.execute(
            "INSERT INTO codes (chain_id, code_id, store, kind, payload, capacity)"
            " SELECT chain_id, gen_random_uuid(), store, 'wecom_group',"
            " 'https://work.weixin.qq.com/gm/' || md5(store), $2 FROM stores WHERE chain_id = $1",
            chain_id,
            _PLENTY,
        )
        values = catalog.EntryValues("bench")
        await catalog.create_entry(
            connection, chain_id, _ENTRY, values, datetime.now(UTC), Settings()
        )
        await connection.execute("VACUUM ANALYZE", timeout=None)
    finally:
        await connection.close()


def _store(number: int, lon: float, lat: float) -> StoreRow:
    return StoreRow(
        row=number,
        store=worlds.number_of(number),
        name=f"近码茶社·{number}号店",
        brand="近码茶社",
        address=f"人民路{number}号一层",
        province=None,
        city=None,
        district=None,
        lon=lon,
        lat=lat,
        given_lon=lon,
        given_lat=lat,
        datum=Datum.WGS84,
        tags=None,
        status=None,
        service_area=None,
    )


def _near(stores: Degrees, count: int, rng: np.random.Generator) -> Degrees:
    """Some steps from random stores."""
    return stores[rng.integers(len(stores), size=count)] + rng.normal(0, 0.0003, (count, 2))


def _environment(**settings: str) -> dict[str, str]:
    """Ours, but for settings of the service's: those are the defaults and what is said here."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith("NEARCODE_")
    }
    return plain | settings


def _table(measured: dict[tuple[str, int], _Measured]) -> str:
    rows = []
    for (name, connections), each in measured.items():
        answered = sum(load.answered for load in each.loads)
        cpu_us = [
            sum(used) / answered * 1e6
            for used in (*zip(*each.cpu_s, strict=True), [load.own_cpu_s for load in each.loads])
        ]
        rows.append(
            (
                name,
                str(connections),
                f"{each.per_s:,.0f}",
                f"{each.ratio_to(measured[BARE, connections]):.2f}",
                f"{each.ratio_to(measured[SINGLE, connections]):.2f}",
                *(f"{used:.0f}" for used in cpu_us),
            )
        )
    return measuring.table(
        ("", "connections", "a second", "x (a)", "x (b)", "server us", "PostgreSQL us", "wrk us"),
        rows,
    )
