"""Workers and PostgreSQL are killed under load, again and again; what was answered must be there.

Visitors scan, tell where they are, press, and start anew, at two workers; nothing of that waits for
a kill. Each of their requests carries a mark of its own, so that what was done twice is seen: an
answered scan is there once, one that was not answered once at the most.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from service import db, embedded
from tests.service import auditing, processes

STORES = {f"S{number}": (121.40 + number / 100, 31.2304) for number in range(6)}
SEATS = 25  # of a code: few enough that codes fill up, and seats run out and are taken anew
VISITORS = 12
TARGETS = ("worker and postgres", "backend", "worker", "postgres")
SETTINGS = {
    "hold_s": "2",
    "sweep_s": "0.2",
    "database_pool": "8",
    "max_holds_per_address": "0",
    "max_holds_per_subnet": "0",
    "log_level": "WARNING",
}
_AGAIN_WITHIN_S = 60
_PAUSE_S = 0.05


@dataclass(slots=True)
class Told:
    """What visitors were told, and what they asked."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    marks: dict[str, str | None] = field(default_factory=dict)  # of scans: the answered id
    codes: list[tuple[str, str]] = field(default_factory=list)  # scan, code
    pressed: list[str] = field(default_factory=list)  # scans
    wrong: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Report:
    """What came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    rows: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    log: str = ""  # of the workers, if there are faults

    def __str__(self) -> str:
        def listed(counts: dict[str, int]) -> str:
            return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))

        return (
            f"killed: {listed(self.kills)}\nasked: {listed(self.asked)}\n"
            f"answered: {listed(self.answered)}\nrows: {listed(self.rows)}\n"
            f"faults: {self.faults or 'none'}{self.log}"
        )


class Postgres:
    """The embedded PostgreSQL, as its user and its murderer."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._server = embedded.EmbeddedPostgres(data_dir)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        """Also of what was killed: its user is not told, and asks for it anew."""
        again = embedded.EmbeddedPostgres(self._data_dir)
        again.start()
        self._server.stop()
        self._server = again

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """The postmaster first, so that it starts nothing anew, and all that it has started."""
        postmaster = self._postmaster()
        children = self._children(postmaster)
        for process_id in (postmaster, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    async def kill_backend(self, rng: random.Random) -> None:
        """One that serves a worker; PostgreSQL then ends all of them, and recovers."""
        connection = await asyncpg.connect(self.url)
        try:
            found = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() ORDER BY pid"
            )
            if found:
                os.kill(rng.choice(found)["pid"], signal.SIGKILL)
        finally:
            connection.terminate()

    def _postmaster(self) -> int:
        return int((self._data_dir / "postgresql" / "postmaster.pid").read_text().split()[0])

    def _children(self, process_id: int) -> list[int]:
        said = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process_id)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(child) for child in said.stdout.split()]


def run(seed: int, rounds: int) -> Report:
    """So many kills; what came of them."""
    with tempfile.TemporaryDirectory(prefix="nearcode-tests-") as folder:
        postgres = Postgres(Path(folder) / "data")
        postgres.start()
        workers: list[processes.Server] = []
        try:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                chain_id = runner.run(_prepare(postgres.url))
                logs = Path(folder) / "workers"
                logs.mkdir()
                workers = [
                    processes.Server(postgres.url, logs, settings=SETTINGS) for _ in range(2)
                ]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.wait_until_ready()
                return runner.run(_run(seed, rounds, postgres, workers, chain_id))
        finally:
            for worker in workers:
                worker.stop()
            postgres.stop()


async def _prepare(url: str) -> uuid.UUID:
    await db.migrate(url)
    connection = await db.connect(url)
    try:
        chain_id = await auditing.build(connection, "tea", STORES)
        for store in STORES:
            await auditing.put_code(connection, chain_id, store, SEATS)
        return chain_id
    finally:
        await connection.close()


async def _run(
    seed: int,
    rounds: int,
    postgres: Postgres,
    workers: list[processes.Server],
    chain_id: uuid.UUID,
) -> Report:
    rng = random.Random(seed)
    report, told, stop = Report(), Told(), asyncio.Event()
    async with _visitors(seed, workers, told, stop):
        for number in range(rounds):
            target = TARGETS[number % len(TARGETS)]
            await asyncio.sleep(rng.uniform(0.1, 0.8))
            report.kills[target] += 1
            await _kill(target, postgres, workers, rng)
            await _until_ready(workers)
        await asyncio.sleep(0.2)
    await _until_written(workers)
    report.asked, report.answered = told.asked, told.answered
    connection = await db.connect(postgres.url)
    try:
        report.faults = await auditing.faults(connection, chain_id)
        for code_id, (members, joined) in (await auditing.members(connection, chain_id)).items():
            if members != joined:
                report.faults[f"members of {code_id}"] = [f"{members}, joined {joined}"]
        await _compare(connection, told, report)
    finally:
        await connection.close()
    if report.faults:
        report.log = "".join(f"\n{worker.log.read_text()[-20_000:]}" for worker in workers)
    return report


async def _kill(
    target: str, postgres: Postgres, workers: list[processes.Server], rng: random.Random
) -> None:
    if "worker" in target:
        worker = rng.choice(workers)
        worker.kill()
        worker.start()
    if "postgres" in target:
        postgres.kill()
        await asyncio.sleep(rng.uniform(0, 0.5))
        await asyncio.to_thread(postgres.start)
    if target == "backend":
        await postgres.kill_backend(rng)


async def _until_ready(workers: list[processes.Server]) -> None:
    async with asyncio.timeout(_AGAIN_WITHIN_S):
        for worker in workers:
            while not await asyncio.to_thread(worker.is_ready):  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE_S)


async def _until_written(workers: list[processes.Server]) -> None:
    """What workers kept on the disk while the database was away is in it now."""
    folder = workers[0].log.parent / "spool"
    async with asyncio.timeout(_AGAIN_WITHIN_S):
        while any(file.stat().st_size for file in folder.glob("*")):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_S)


# ---------------------------------------------------------------- visitors


@contextlib.asynccontextmanager
async def _visitors(
    seed: int, workers: list[processes.Server], told: Told, stop: asyncio.Event
) -> AsyncIterator[None]:
    async with (
        httpx.AsyncClient(timeout=15, trust_env=False) as client,
        asyncio.TaskGroup() as all_,
    ):
        for number in range(VISITORS):
            visitor = _Visitor(number, random.Random(f"{seed}/{number}"), client, workers, told)
            all_.create_task(visitor.visit_until(stop))
        try:
            yield
        finally:
            stop.set()


class _Visitor:
    def __init__(
        self,
        number: int,
        rng: random.Random,
        client: httpx.AsyncClient,
        workers: list[processes.Server],
        told: Told,
    ) -> None:
        self._number, self._rng, self._client = number, rng, client
        self._workers, self._told = workers, told
        self._visits = 0

    async def visit_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            # Now and then somebody who was here before.
            who = f"{self._number}/{self._visits - self._rng.choice((0, 0, 0, 1, 5))}"
            self._visits += 1
            await self._visit(who)

    async def _visit(self, who: str) -> None:
        scan_id = await self._scan(who)
        if scan_id is None:
            return
        lon, lat = STORES[self._rng.choice([*STORES])]
        path = f"/api/v1/scans/{scan_id}/position"
        routing = await self._ask("position", path, {"lon": lon, "lat": lat, "accuracy_m": 10})
        if routing is None or routing["outcome"] != "code":
            return
        self._told.codes.append((scan_id, routing["code"]["code_id"]))
        if self._rng.random() < 0.3:
            path = f"/api/v1/scans/{scan_id}/events"
            if await self._ask("event", path, {"event": "pressed"}) is not None:
                self._told.pressed.append(scan_id)

    async def _scan(self, who: str) -> str | None:
        """Each attempt with a mark of its own, which is kept with the scan as its placement."""
        for attempt in range(200):
            mark = f"{self._number}-{self._visits}-{attempt}"
            self._told.marks[mark] = None
            answer = await self._post(
                "scan", "/api/v1/scans", {"entry": "tea", "placement": mark}, who
            )
            if answer is not None:
                self._told.marks[mark] = answer["scan_id"]
                return str(answer["scan_id"])
        self._told.wrong["scan: never answered"] += 1
        return None

    async def _ask(self, kind: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The same request until it is answered, as the page does it."""
        for _ in range(200):
            answer = await self._post(kind, path, body)
            if answer is not None:
                return answer
        self._told.wrong[f"{kind}: never answered"] += 1
        return None

    async def _post(
        self, kind: str, path: str, body: dict[str, Any], who: str = ""
    ) -> dict[str, Any] | None:
        worker = self._rng.choice(self._workers)
        self._told.asked[kind] += 1
        try:
            answer = await self._client.post(
                worker.base_url + path, json=body, headers={"X-Visitor": who} if who else None
            )
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.is_success:
            self._told.answered[kind] += 1
            found: dict[str, Any] = answer.json()
            return found
        if answer is not None and answer.status_code != 503:
            self._told.wrong[f"{kind}: {answer.status_code} {answer.text[:200]}"] += 1
        await asyncio.sleep(_PAUSE_S)
        return None


# ---------------------------------------------------------------- what is there


async def _compare(connection: db.Connection, told: Told, report: Report) -> None:
    """What was answered with what is there."""

    def fault(name: str, found: list[str]) -> None:
        if found:
            report.faults[name] = found

    scans = await connection.fetch("SELECT scan_id, unknown_placement FROM scans")
    there = {str(row["scan_id"]) for row in scans}
    marked = Counter(row["unknown_placement"] for row in scans)
    answered = {mark: scan_id for mark, scan_id in told.marks.items() if scan_id is not None}
    fault("answered scans that are not there", sorted(set(answered.values()) - there))
    fault("scans that are there twice", [mark for mark, count in marked.items() if count > 1])
    fault("scans that nobody asked for", sorted(set(marked) - set(told.marks)))
    routings = await connection.fetch(
        "SELECT scan_id, code_id FROM routings WHERE outcome = 'code'"
    )
    shown = {(str(row["scan_id"]), str(row["code_id"])) for row in routings}
    fault("answered codes that are not there", [str(one) for one in set(told.codes) - shown])
    evidence = await connection.fetch("SELECT scan_id FROM evidence WHERE kind = 'pressed'")
    pressed = Counter(str(row["scan_id"]) for row in evidence)
    fault("answered evidence that is not there", sorted(set(told.pressed) - set(pressed)))
    wrong = [f"{count} times {answer}" for answer, count in sorted(told.wrong.items())]
    fault("answers that should not be", wrong)
    for table in ("scans", "holds", "routings", "evidence", "joins"):
        report.rows[table] = await connection.fetchval(f"SELECT count(*) FROM {table}")
