"""A crowd of visitors who scan, say where they are, press, join and complain, whatever becomes of
the database; what they were told, and whether it is there afterwards, once.

Each retries as the page does: what is answered 503, or not at all, is asked again.
"""

import contextlib
import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx

from service import db
from tests import running
from tests.running import CHAIN, ENTRY, Running
from tests.service import auditing

# Of services that such a crowd comes to: no limit of theirs is what is asked about.
UNLIMITED: dict[str, Any] = {
    "sweep_s": 0.2,
    "poll_s": 0.2,
    "database_pool": 5,
    "max_capacity": 100_000,
    "max_holds_per_address": 0,
    "max_holds_per_subnet": 0,
    "complaints_to_pause": 0,
}

HERE = {"lon": 121.4737, "lat": 31.2304, "accuracy_m": 10}
_PAUSE_S = 0.05
_PATIENCE_S = 90
_KINDS = {"pressed": "pressed", "joined": "reported"}


@dataclass(slots=True)
class _Scan:
    """One scan that was answered, and what its visitor was told since."""

    scan_id: str
    done: Counter[str] = field(default_factory=Counter)  # by what was asked; answered
    perhaps: Counter[str] = field(default_factory=Counter)  # not answered: done or not
    codes: list[str] = field(default_factory=list)  # shown, in order
    witnessed: list[str] = field(default_factory=list)  # codes that were pressed or joined


def put_up_stores(service: Running) -> None:
    """S1, near which all visitors stand, with three seats; S2 and S3, which have room for all."""
    service.put_entry()
    service.put_code("S1", "one", capacity=3)
    service.put_code("S2", "two", capacity=100_000)
    service.put_store("S3", 121.4937, 31.2304)
    service.put_code("S3", "three", capacity=100_000)


class Crowd:
    """Some visitors at once, at one or several workers, each request at the next one."""

    def __init__(self, base_urls: Sequence[str], *, visitors: int = 6) -> None:
        self._base_urls = base_urls
        self._visitors = visitors
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self.scans: list[_Scan] = []
        self.perhaps_scans = 0
        self.statuses: Counter[int | str] = Counter()
        self.wrong: list[str] = []
        # When a visitor was given a seat, and when one was shown a code without.
        self.seated_at: list[float] = []
        self.away_at: list[float] = []

    @contextlib.contextmanager
    def visiting(self) -> Iterator[None]:
        """Until the end of the block; then each finishes what they are at."""
        threads = [threading.Thread(target=self._visit_on) for _ in range(self._visitors)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def seated_after(self, moment: float) -> float:
        """Seconds until somebody was given a seat again."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            found = [at for at in self.seated_at if at > moment]
            if found:
                return found[0] - moment
            time.sleep(0.01)
        raise AssertionError(f"no seat for {_PATIENCE_S} s: {self}")

    def __str__(self) -> str:
        asked = sum((scan.done for scan in self.scans), Counter[str]())
        return (
            f"{len(self.scans)} scans, {dict(asked)}, answers {dict(self.statuses)}, "
            f"{len(self.seated_at)} with a seat, {len(self.away_at)} codes as last known"
        )

    # Visiting

    def _visit_on(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    self._visit(client, next(self._numbers))
                except Exception as error:
                    self.wrong.append(repr(error))
                    return

    def _visit(self, client: httpx.Client, number: int) -> None:
        perhaps: Counter[str] = Counter()
        opened = self._ask(
            client,
            "/api/v1/scans",
            {"entry": ENTRY},
            perhaps,
            "scan",
            {"X-Visitor": f"visitor {number}"},
        )
        self.perhaps_scans += perhaps["scan"]
        scan = _Scan(opened["scan_id"])
        self.scans.append(scan)
        path = f"/api/v1/scans/{scan.scan_id}"
        for _ in range(1 + (number % 5 == 0)):  # some ask twice
            if not self._shown(scan, self._ask_of(client, scan, f"{path}/position", HERE, "fix")):
                return
        for event in ((), ("pressed",), ("pressed", "joined"), ("full",))[number % 4]:
            body = {"event": event, "code_id": scan.codes[-1]}
            about = scan.codes[-1]
            routing = self._ask_of(client, scan, f"{path}/events", body, event)
            if event in _KINDS:
                scan.witnessed.append(about)
            elif self._shown(scan, routing) and scan.codes[-1] == about:
                self.wrong.append(f"{scan.scan_id} was shown what had failed them")

    def _shown(self, scan: _Scan, routing: dict[str, Any]) -> bool:
        if routing["outcome"] != "code":
            self.wrong.append(f"{scan.scan_id}: {routing['outcome']} {routing['reason']}")
            return False
        scan.codes.append(routing["code"]["code_id"])
        away = routing["code"]["held_until"] is None
        (self.away_at if away else self.seated_at).append(time.monotonic())
        return True

    def _ask_of(
        self, client: httpx.Client, scan: _Scan, path: str, body: dict[str, Any], what: str
    ) -> dict[str, Any]:
        routing = self._ask(client, path, body, scan.perhaps, what)
        scan.done[what] += 1
        return routing

    def _ask(
        self,
        client: httpx.Client,
        path: str,
        body: dict[str, Any],
        perhaps: Counter[str],
        what: str,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            base_url = self._base_urls[next(self._numbers) % len(self._base_urls)]
            try:
                answer = client.post(base_url + path, json=body, headers=headers)
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1
            else:
                self.statuses[answer.status_code] += 1
                if answer.is_success:
                    found: dict[str, Any] = answer.json()
                    return found
                if answer.status_code != 503 or "Retry-After" not in answer.headers:
                    raise AssertionError(f"{path} {body}: {answer.status_code} {answer.text}")
            perhaps[what] += 1
            time.sleep(_PAUSE_S)
        raise AssertionError(f"{path}: no answer for {_PATIENCE_S} s")

    # What is there

    def faults(self, url: str, *, away: bool) -> dict[str, list[str]]:
        """What is not as it was answered; `away`: codes were shown without a seat meanwhile."""
        return running.run(self._faults(url, away))

    async def _faults(self, url: str, away: bool) -> dict[str, list[str]]:
        connection = await db.connect(url)
        try:
            chain_id = await connection.fetchval(
                "SELECT chain_id FROM chains WHERE chain = $1", CHAIN
            )
            found = await auditing.faults(connection, chain_id)
            there = await _there(connection, chain_id)
        finally:
            await connection.close()
        if away:
            found.pop("a code shown without its seat", None)
        found |= {"a visitor": self.wrong} if self.wrong else {}
        for scan in self.scans:
            for fault in there.compare(scan):
                found.setdefault(fault, []).append(scan.scan_id)
        most = len(self.scans) + self.perhaps_scans
        if not len(self.scans) <= len(there.scans) <= most:
            found["scans"] = [f"{len(there.scans)} of at most {most}"]
        return found


@dataclass(slots=True)
class _There:
    """What the database has of each scan."""

    scans: set[str]
    rows: dict[str, Counter[str]]  # by scan: fixes, evidence and complaints by kind
    codes: dict[str, list[str]]  # by scan: the codes of its decisions, in order
    joins: Counter[tuple[str, str]]  # scan, code
    roomy: set[str]  # codes that are not full

    def compare(self, scan: _Scan) -> Iterator[str]:
        if scan.scan_id not in self.scans:
            yield "a scan that was answered is not there"
        rows = self.rows.get(scan.scan_id, Counter())
        for what, done in scan.done.items():
            kind = _KINDS.get(what, what)
            # The same evidence of the same code is kept once.
            least, most = (1, 1) if what in _KINDS else (done, done + scan.perhaps[what])
            if rows[kind] < least:
                yield f"{what}: was answered and is not there"
            if rows[kind] > most:
                yield f"{what}: is there too often"
        shown = self.codes.get(scan.scan_id, [])
        if scan.codes and scan.codes[-1] != (shown[-1] if shown else None):
            yield "the code that was shown last is not the last one there"
        for code in set(scan.witnessed):
            joins = self.joins[scan.scan_id, code]
            if joins > 1 or (joins == 0 and code in self.roomy):
                yield f"{joins} joins of one visitor"


async def _there(connection: db.Connection, chain_id: uuid.UUID) -> _There:
    async def fetch(query: str) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = await connection.fetch(query, chain_id)
        return found

    there = _There(set(), {}, {}, Counter(), set())
    for row in await fetch("SELECT scan_id FROM scans WHERE chain_id = $1"):
        there.scans.add(str(row["scan_id"]))
    for row in await fetch(
        "SELECT scan_id, 'fix' AS what FROM fixes WHERE chain_id = $1"
        " UNION ALL SELECT scan_id, kind FROM evidence WHERE chain_id = $1"
        " UNION ALL SELECT scan_id, kind FROM complaints WHERE chain_id = $1"
    ):
        there.rows.setdefault(str(row["scan_id"]), Counter())[row["what"]] += 1
    for row in await fetch(
        "SELECT scan_id, code_id FROM routings WHERE chain_id = $1 AND outcome = 'code'"
        " ORDER BY routing_id"
    ):
        there.codes.setdefault(str(row["scan_id"]), []).append(str(row["code_id"]))
    for row in await fetch("SELECT scan_id, code_id FROM joins WHERE chain_id = $1"):
        there.joins[str(row["scan_id"]), str(row["code_id"])] += 1
    for row in await fetch("SELECT code_id FROM codes WHERE chain_id = $1 AND members < capacity"):
        there.roomy.add(str(row["code_id"]))
    return there
