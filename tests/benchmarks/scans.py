"""Scans at full speed: positions that end in a durable hold, through HTTP, with fsync.

The floor (a) is a bare FastAPI app that answers the same request with a constant; (b) is the same
work with one transaction per scan. Load and servers share the machine's cores, so that a faster
client would make every figure, and the floor's most, a better one.
"""

import asyncio
import contextlib
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
from typing import Self, TypeAlias

import httpx
import numpy as np

from geo.datum import Datum
from service import accounts, catalog, db, embedded, rollups
from service.importing import StoreRow
from service.settings import Settings
from tests.benchmarks import measuring, processes, steady, worlds, wrk
from tests.benchmarks.options import Options
from tests.benchmarks.processes import Server
from tests.benchmarks.worlds import Degrees
from tests.benchmarks.wrk import Load

_STORES = 25_000
_ROUNDS = 3
_ROUND_S = 2
_CONNECTIONS = (32, 128)
_STEADY_S = 8
_ENTRY = "bench"
_PLENTY = 1_000_000  # seats of a code, so that none fills up
# Scans that are opened for a run: so many times what the run before has used.
_SPARE = 1.3
# A WeChat on Android: who names no browser is taken for a program.
_WECHAT = (
    "Mozilla/5.0 (Linux; Android 13; V2218A Build/TP1A.220624.014; wv) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 XWEB/1160117 "
    "MMWEBSDK/20231202 MicroMessenger/8.0.47.2560(0x28002F36) WeChat/arm64 Weixin NetType/WIFI "
    "Language/zh_CN ABI/arm64"
)

_BARE, _OURS, _SINGLE = "(a) bare FastAPI", "position: a durable hold", "(b) a transaction each"
_HOT, _TWO, _PAGE = "all at one store", "two workers", "the page, for a new visitor"
_TARGETS = ((_OURS, _BARE, 0.55), (_OURS, _SINGLE, 1.8), (_HOT, _OURS, 0.8), (_TWO, _OURS, 1.0))


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    server: Server
    script: str
    arguments: tuple[str | Path, ...]
    takes_seats: bool = False  # each answer is a scan's first, and a seat taken


@dataclass(slots=True)
class _Measured:
    loads: list[Load] = field(default_factory=list)
    cpu_s: list[tuple[float, float]] = field(default_factory=list)  # server, PostgreSQL

    @property
    def per_s(self) -> float:
        return statistics.median(load.per_s for load in self.loads)

    def ratio_to(self, other: "_Measured") -> float:
        """The median of the rounds' ratios."""
        pairs = zip(self.loads, other.loads, strict=True)
        return statistics.median(mine.per_s / theirs.per_s for mine, theirs in pairs)


_Measurements: TypeAlias = dict[tuple[str, int], _Measured]  # by name and connections


def run(options: Options) -> Iterator[str]:
    if not wrk.is_installed():
        yield wrk.MISSING
        return
    with tempfile.TemporaryDirectory(prefix="nearcode-bench-") as name:
        folder = Path(name)
        with embedded.EmbeddedPostgres(folder / "data") as postgres:
            stores = options.stores(_STORES)
            fsync = asyncio.run(_prepare(postgres.url, stores))
            yield (
                f"{len(stores):,} {options.stores_are}, a code each; PostgreSQL with fsync "
                f"{fsync}; {options.scaled(_ROUNDS, least=1)} rounds of {_ROUND_S} s each"
            )
            with (
                _without_rollups(postgres.url),
                _Bench(folder, postgres, stores, options) as bench,
            ):
                yield from bench.report()


@contextlib.contextmanager
def _without_rollups(url: str) -> Iterator[None]:
    """What roll-ups cost is measured by `reports`. Here they would follow the scans that were
    opened for one run while another, or the bare app, is measured; so it is this process's turn."""
    with asyncio.Runner() as runner:
        connection = runner.run(db.connect(url))
        runner.run(connection.execute("SELECT pg_advisory_lock($1)", rollups.KEEPER))
        try:
            yield
        finally:
            runner.run(connection.close())


class _Bench(contextlib.ExitStack):
    def __init__(
        self, folder: Path, postgres: embedded.EmbeddedPostgres, stores: Degrees, options: Options
    ) -> None:
        super().__init__()
        self._folder, self._postgres, self._options = folder, postgres, options
        rng = np.random.default_rng(options.seed)
        self._spread = self._bodies("spread", _near(stores, 50_000, rng))
        self._hot = self._bodies("hot", stores[:1])
        self._ids = folder / "ids.txt"
        # For who does not look at them.
        self._no_ids = folder / "no_ids.txt"
        self._no_ids.write_text("".join(f"{uuid.uuid4()}\n" for _ in range(1000)), "ascii")
        self._openings = itertools.count()
        # Of what takes seats: answers, and requests that were under way when a run ended.
        self._answered = self._cut_off = 0
        self._needed_per_s: dict[tuple[str, int], float] = {}
        self._opened_per_s: dict[str, float] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        self._ours = self._nearcode("ours")
        single = self._nearcode("single", NEARCODE_JOURNAL_BATCH="1")
        two = self._nearcode("two", workers=2)
        spread = (self._ids, self._spread, "once")
        bare = (self._no_ids, self._spread, "again")
        self._jobs = (
            _Job(_BARE, self._bare_app(), wrk.LOCATE, bare),
            _Job(_OURS, self._ours, wrk.LOCATE, spread, takes_seats=True),
            _Job(_SINGLE, single, wrk.LOCATE, spread, takes_seats=True),
            _Job(_HOT, self._ours, wrk.LOCATE, (self._ids, self._hot, "once"), takes_seats=True),
            _Job(_TWO, two, wrk.LOCATE, spread, takes_seats=True),
            _Job(_PAGE, self._ours, wrk.PAGE, (f"/q/{_ENTRY}", _WECHAT)),
        )
        return self

    def report(self) -> Iterator[str]:
        measured = self._measure_all()
        yield _table(measured)
        yield _targets(measured)
        yield self._steady(max(measured[_OURS, each].per_s for each in _CONNECTIONS) / 2)
        yield asyncio.run(self._audit())

    def _measure_all(self) -> _Measurements:
        measured: _Measurements = {
            (job.name, connections): _Measured()
            for connections in _CONNECTIONS
            for job in self._jobs
        }
        for turn in range(self._options.scaled(_ROUNDS, least=1) + 1):
            for connections in _CONNECTIONS:
                for job in self._jobs:
                    load, cpu_s = self._measure(job, connections, _ROUND_S if turn else 1)
                    if turn:  # the first round warms up
                        assert load.answered, f"{job.name}: nothing was answered"
                        measured[job.name, connections].loads.append(load)
                        measured[job.name, connections].cpu_s.append(cpu_s)
        return measured

    def _steady(self, per_s: float) -> str:
        """Positions at half of the rate that was reached, sent whether the others are answered or
        not."""
        count = int(per_s * max(2, _STEADY_S * min(1, self._options.scale)))
        self._open(self._ours, 32, count)
        ids = self._ids.read_text("ascii").splitlines()[:count]
        self._ids.write_text("".join(f"{scan_id}\n" for scan_id in ids), "ascii")
        waits_s = steady.run(self._ours.base_url, self._ids, self._spread, per_s)
        self._answered += len(waits_s)
        p50, p99, p999 = np.quantile(waits_s, (0.5, 0.99, 0.999))
        return (
            f"Open loop, {per_s:,.0f} positions a second, half of the most: {len(waits_s):,} "
            f"answered, p50 {measuring.duration(p50)}, p99 {measuring.duration(p99)}, "
            f"p99.9 {measuring.duration(p999)}"
        )

    async def _audit(self) -> str:
        """Whether PostgreSQL holds what was answered."""
        await asyncio.sleep(1)  # what was cut off is written by now
        connection = await db.connect(self._postgres.url)
        try:
            holds, wrong = await connection.fetchrow(_AUDIT)
        finally:
            await connection.close()
        more = holds - self._answered
        return (
            f"{self._answered:,} positions were answered, {holds:,} holds are kept: {more} more, "
            f"of {self._cut_off:,} that a run's end may have cut off: "
            f"{measuring.verdict(more, at_least=0, at_most=self._cut_off)}. Codes whose counters "
            f"are not their rows: {wrong}: {measuring.verdict(wrong, at_most=0)}"
        )

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
                    NEARCODE_MAX_HOLDS_PER_SUBNET="0",
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

    def _measure(
        self, job: _Job, connections: int, seconds: int
    ) -> tuple[Load, tuple[float, float]]:
        if job.takes_seats:
            # Unknown yet: about as many as can be opened in that time, and one more second.
            per_s = self._needed_per_s.get((job.name, connections), 0.0)
            count = int(per_s * seconds * _SPARE) + connections
            self._open(job.server, connections, count, least_s=0 if per_s else seconds + 1)
        postgres = self._postmaster_pid()
        before = job.server.cpu_s(), processes.cpu_s(postgres)
        load = wrk.run(
            self._folder,
            job.script,
            job.server.base_url,
            job.arguments,
            connections=connections,
            seconds=seconds,
        )
        after = job.server.cpu_s(), processes.cpu_s(postgres)
        if job.takes_seats:
            self._answered += load.answered - load.refused
            self._cut_off += connections
            self._needed_per_s[job.name, connections] = load.per_s
            if 0 < load.refused <= connections:
                # Faster than before, so that the scans did not last.
                self._needed_per_s[job.name, connections] *= 2
                return self._measure(job, connections, seconds)
        _check(load, job.name)
        return load, (after[0] - before[0], after[1] - before[1])

    def _open(self, server: Server, connections: int, count: int, least_s: int = 1) -> None:
        """At least so many scans, each of a visitor of its own, into the file of ids."""
        opened = ""
        while (missing := count - opened.count("\n")) > 0:
            per_s = self._opened_per_s.get(server.base_url, missing)
            load = wrk.run(
                self._folder,
                wrk.OPEN,
                server.base_url,
                (f"{next(self._openings)}-", _ENTRY, self._ids),
                connections=connections,
                seconds=max(least_s, math.ceil(missing / per_s)),
            )
            _check(load, "scans opened")
            self._opened_per_s[server.base_url] = max(load.per_s, 100)
            # The newest first; the oldest, if there are too many, are left.
            opened = self._ids.read_text("ascii") + opened
        self._ids.write_text(opened, "ascii")

    def _postmaster_pid(self) -> int:
        file = self._postgres.data_dir / "postgresql" / "postmaster.pid"
        return int(file.read_text("ascii").split()[0])

    def _bodies(self, name: str, places: Degrees) -> Path:
        """A file of positions, a JSON body a line."""
        file = self._folder / f"{name}.jsonl"
        lines = (
            f'{{"lon":{lon:.6f},"lat":{lat:.6f},"accuracy_m":10}}\n' for lon, lat in places.tolist()
        )
        file.write_text("".join(lines), encoding="utf-8")
        return file


def _check(load: Load, what: str) -> None:
    if load.refused or load.broken:
        raise RuntimeError(f"{what}: {load}")


# Holds, and codes that do not count as many as there are.
_AUDIT = """
SELECT (SELECT count(*) FROM holds),
       (SELECT count(*) FROM codes c
        LEFT JOIN (SELECT code_id, count(*) AS held FROM holds WHERE state = 'held'
                   GROUP BY code_id) h USING (code_id)
        WHERE c.held <> coalesce(h.held, 0) OR c.members <> 0)
"""


async def _prepare(url: str, stores: Degrees) -> str:
    """A chain with one code a store; whether PostgreSQL writes with fsync."""
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
        await connection.execute("VACUUM ANALYZE", timeout=db.PATIENCE_S)
        return str(await connection.fetchval("SHOW fsync"))
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
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NEARCODE_")}
    return plain | settings


def _table(measured: _Measurements) -> str:
    """Processor time is microseconds an answer, of all threads and processes."""
    rows = []
    for (name, connections), each in measured.items():
        answered = sum(load.answered for load in each.loads)
        server_s, postgres_s = zip(*each.cpu_s, strict=True)
        wrk_s = [load.own_cpu_s for load in each.loads]
        rows.append(
            (
                name,
                str(connections),
                f"{each.per_s:,.0f}",
                f"{each.ratio_to(measured[_BARE, connections]):.2f}",
                *(
                    measuring.duration(statistics.median(waits))
                    for waits in (
                        [load.p50_s for load in each.loads],
                        [load.p99_s for load in each.loads],
                    )
                ),
                *(f"{sum(used) / answered * 1e6:.0f}" for used in (server_s, postgres_s, wrk_s)),
            )
        )
    headings = ("", "connections", "a second", "x (a)", "p50", "p99")
    return measuring.table((*headings, "server us", "PostgreSQL us", "wrk us"), rows)


def _targets(measured: _Measurements) -> str:
    rows = []
    for name, other, at_least in _TARGETS:
        for connections in _CONNECTIONS:
            ratio = measured[name, connections].ratio_to(measured[other, connections])
            rows.append(
                (
                    f"{name} / {other}",
                    str(connections),
                    f"{ratio:.2f}",
                    f"{at_least:g}",
                    measuring.verdict(ratio, at_least=at_least),
                )
            )
    return measuring.table(("target", "connections", "ratio", "at least", ""), rows)
