"""Whatever happens in whatever order: a machine that tries, on the real PostgreSQL.

Two workers, either of which may lag behind what the other and HQ do, or start anew. After each step
every counter, seat and answer is compared with what PostgreSQL has, and with what was there before.
"""

import asyncio
import itertools
import os
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import asyncpg
import hypothesis
import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from service import catalog, db, errors, importing, tabular
from service.domain import CountedBy, Event, Fix, HoldState, Outcome, Routing, Scan
from service.settings import Settings
from tests import running
from tests.service import auditing

T = TypeVar("T")

# More for a long hunt: then every run tries something else.
EXAMPLES = int(os.environ.get("NEARCODE_TEST_EXAMPLES", "0"))
STEPS = 40

NEAR = {"S1": (121.4737, 31.2304), "S2": (121.4837, 31.2304), "S3": (121.4937, 31.2304)}
STORES = {**NEAR, "FAR": (120.1551, 30.2741)}
FIXES: dict[str, Fix | None] = {
    **{store: auditing.fix_at(*at) for store, at in STORES.items()},
    "vague": auditing.fix_at(121.4787, 31.2304, 900),
    "nowhere": auditing.fix_at(95.0, 35.0),
    "unknown": None,
}
CODES = (("S1", 2, "pressed"), ("S1", 1, "joined"), ("S2", 2, "joined"), ("S3", 2, "pressed"))
MOVES = {
    HoldState.HELD: set(HoldState),
    HoldState.RELEASED: {HoldState.RELEASED, HoldState.JOINED},
    HoldState.EXPIRED: {HoldState.EXPIRED, HoldState.JOINED},
    HoldState.JOINED: {HoldState.JOINED},
}
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) Mobile/15E148 MicroMessenger/8.0.60(0x18003c2b) NetType/4G Language/zh_CN"
)
CRAWLER = "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"

WORKER = st.integers(0, 1)
VISITOR = st.integers(0, 5)
WHERE = st.sampled_from([*NEAR, *NEAR, "FAR", "vague", "nowhere", "unknown"])
CODE = st.integers(0, len(CODES) + 1)
COMPLAINT = st.sampled_from([Event.FULL, Event.EXPIRED, Event.BROKEN])
CHANGE = st.one_of(
    st.builds(lambda value: {"capacity": value}, st.integers(1, 4)),
    st.builds(lambda value: {"members": value}, st.integers(0, 5)),
    st.builds(lambda value: {"capacity": value, "members": value}, st.integers(1, 3)),
    st.builds(
        lambda value: {"status": value}, st.sampled_from(["paused", "active", "active", "retired"])
    ),
    st.builds(lambda value: {"counted_by": value}, st.sampled_from(["pressed", "joined"])),
    st.builds(lambda value: {"expires_at": value}, st.sampled_from([None, -1, 1])),
    st.just({"payload": ""}),
)


@dataclass(slots=True)
class Seen:
    """A scan, and what its visitor was shown."""

    scan: Scan
    shown: list[Routing] = field(default_factory=list)


class Ground:
    """A database, and the event loop on which everything happens: one for all examples."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.numbers = itertools.count(1)
        self.pool = self.run(_pool(url))

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.pool.close())
        self.runner.close()


async def _pool(url: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(url, min_size=4, max_size=8, init=db.prepare)


@pytest.fixture
def ground(database_url: str) -> Iterator[Ground]:
    made = Ground(database_url)
    yield made
    made.close()


class Seats(RuleBasedStateMachine):
    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground, self.run = ground, ground.run
        self.name = f"chain{next(ground.numbers)}"
        self.settings = Settings(database_pool=8)
        self.visitors = [uuid.uuid4() for _ in range(6)]
        self.seen: list[Seen] = []
        self.evidence: set[tuple[uuid.UUID, str]] = set()
        self.holds: dict[uuid.UUID, HoldState] = {}
        self.run(self._build())

    async def _build(self) -> None:
        async with self.ground.pool.acquire() as connection:
            self.chain_id = await auditing.build(connection, self.name, STORES)
            self.codes = []
            for store, capacity, counted_by in CODES:
                code_id = await auditing.put_code(connection, self.chain_id, store, capacity)
                self.codes.append(code_id)
                await self._change(connection, code_id, {"counted_by": CountedBy(counted_by).value})
            self.codes.append(await auditing.put_code(connection, self.chain_id, "FAR", 1))
            self.codes.append(await auditing.put_code(connection, self.chain_id, None, 1))
            await catalog.change_entry(
                connection,
                self.chain_id,
                self.name,
                {"fallback": (str(self.codes[-1]),)},
                datetime.now(UTC),
                self.settings,
            )
        # What a head count said, less the joins until then: members = that + the joins.
        self.others = dict.fromkeys(self.codes, 0)
        self.workers = [await self._worker() for _ in range(2)]

    async def _worker(self) -> auditing.Worker:
        worker = auditing.Worker(self.ground.pool, self.settings, self.name)
        await worker.hears()
        return worker

    async def _change(
        self, connection: db.Connection, code_id: uuid.UUID, change: dict[str, Any]
    ) -> None:
        await catalog.change_code(connection, self.chain_id, code_id, change, self.settings)

    # Visitors

    @rule(worker=WORKER, visitor=VISITOR, page=st.booleans())
    def scans(self, worker: int, visitor: int, page: bool) -> None:
        self.run(self._scans(worker, visitor, page))

    async def _scans(self, worker: int, visitor: int, page: bool) -> Seen:
        scanned, routing = await self.workers[worker].opened(
            self.visitors[visitor], via="page" if page else "api", user_agent=PHONE
        )
        seen = Seen(scanned)
        self.seen.append(seen)
        self._shown(seen, routing)
        return seen

    def _shown(self, seen: Seen, routing: Routing) -> None:
        """An answer: what it says is there for good."""
        assert routing.scan_id == seen.scan.scan_id
        if routing.outcome is Outcome.CODE:
            assert routing.code_id is not None
            assert routing.hold_id is not None
        seen.shown.append(routing)

    def _some(self, number: int) -> Seen | None:
        """One of the last scans."""
        return self.seen[-1 - number % min(len(self.seen), 8)] if self.seen else None

    @rule(worker=WORKER)
    def a_crawler_scans(self, worker: int) -> None:
        async def scan() -> None:
            mine = self.workers[worker]
            scanned, routing = await mine.opened(via="page", user_agent=CRAWLER)
            assert routing.outcome is not Outcome.CODE
            located = await mine.journal.locate(scanned, FIXES["S1"])
            assert located.outcome is not Outcome.CODE

        self.run(scan())

    @rule(worker=WORKER, visitor=VISITOR, where=WHERE)
    def scans_and_tells_where(self, worker: int, visitor: int, where: str) -> None:
        async def come() -> None:
            seen = await self._scans(worker, visitor, True)
            self._shown(seen, await self.workers[worker].journal.locate(seen.scan, FIXES[where]))

        self.run(come())

    @rule(worker=WORKER, number=st.integers(0, 7), where=WHERE)
    def tells_where(self, worker: int, number: int, where: str) -> None:
        if seen := self._some(number):
            located = self.workers[worker].journal.locate(seen.scan, FIXES[where])
            self._shown(seen, self.run(located))

    @rule(worker=WORKER, number=st.integers(0, 7), where=WHERE)
    def asks_twice(self, worker: int, number: int, where: str) -> None:
        """Of either worker, one after the other: who has a seat has the same one."""
        if not (seen := self._some(number)):
            return

        async def ask() -> list[Routing]:
            answers = []
            for mine in (self.workers[worker], self.workers[1 - worker]):
                await mine.hears()
                answers.append(await mine.journal.locate(seen.scan, FIXES[where]))
                self._shown(seen, answers[-1])
            return answers

        first, second = self.run(ask())
        if first.outcome is Outcome.CODE:
            assert (second.code_id, second.hold_id) == (first.code_id, first.hold_id)

    @rule(worker=WORKER, number=st.integers(0, 7), store=st.sampled_from([*STORES, "NONE"]))
    def chooses(self, worker: int, number: int, store: str) -> None:
        if not (seen := self._some(number)):
            return
        chosen = self.workers[worker].journal.choose(seen.scan, store)
        if store == "NONE":
            with pytest.raises(errors.NotFound):
                self.run(chosen)
        else:
            self._shown(seen, self.run(chosen))

    @rule(worker=WORKER, visitor=VISITOR, store=st.sampled_from([*NEAR]))
    def nobody_is_sent_away_while_there_is_a_seat(
        self, worker: int, visitor: int, store: str
    ) -> None:
        async def come() -> None:
            mine = self.workers[worker]
            await mine.hears()
            async with self.ground.pool.acquire() as connection:
                await mine.directory.recount(connection)
            seen = await self._scans(worker, visitor, True)
            routing = await mine.journal.locate(seen.scan, FIXES[store])
            self._shown(seen, routing)
            if routing.outcome is not Outcome.CODE:
                free = await self._free_seats(self.visitors[visitor])
                assert not free, f"{routing.reason}, and {free} have seats"

        self.run(come())

    async def _free_seats(self, visitor: uuid.UUID) -> list[str]:
        return [
            str(dict(row))
            for row in await self.ground.pool.fetch(
                """SELECT c.store, c.code_id, c.capacity, c.members, c.held
                FROM codes c LEFT JOIN stores s USING (chain_id, store)
                WHERE c.chain_id = $1 AND c.status = 'active' AND c.members + c.held < c.capacity
                  AND (c.expires_at IS NULL OR c.expires_at > now())
                  AND (c.store IS NULL OR c.store = ANY($2) AND s.status = 'open')
                  AND NOT EXISTS (SELECT FROM visitors v WHERE v.chain_id = c.chain_id
                                  AND v.visitor_id = $3 AND c.code_id = ANY(v.reported))""",
                self.chain_id,
                list(NEAR),
                visitor,
            )
        ]

    # What they say

    @rule(
        worker=WORKER,
        number=st.integers(0, 7),
        event=st.sampled_from([Event.PRESSED, Event.JOINED]),
        before=st.integers(0, 2),
    )
    def joins(self, worker: int, number: int, event: Event, before: int) -> None:
        """Of the code that is shown now, or of one that was shown before."""
        if seen := self._some(number):
            self.run(self._joins(worker, seen, event, before))

    async def _joins(self, worker: int, seen: Seen, event: Event, before: int) -> None:
        mine = self.workers[worker]
        await mine.hears()
        codes = list(dict.fromkeys(r.code_id for r in reversed(seen.shown) if r.code_id))
        about = codes[before % len(codes)] if codes and before else None
        of = await mine.journal.current(seen.scan)
        if about is not None:
            of = next(r for r in reversed(seen.shown) if r.code_id == about)
        if of.code_id is None:
            with pytest.raises(errors.Conflict):
                await mine.journal.tell(seen.scan, event, about)
            return
        code = mine.directory.codes[of.code_id]
        state, room = await self._seat(of)
        self._shown(seen, await mine.journal.tell(seen.scan, event, about))
        counts = event is Event.JOINED or code.counted_by is CountedBy.PRESSED
        kind = "reported" if event is Event.JOINED else "pressed"
        self.evidence.add((seen.scan.scan_id, kind))
        after, _ = await self._seat(of)
        if state is HoldState.JOINED or (counts and (state is HoldState.HELD or room > 0)):
            assert after is HoldState.JOINED
        else:
            assert after is state

    async def _seat(self, of: Routing) -> tuple[HoldState, int]:
        """The state of the seat that was shown, and how many more its code has."""
        row = await self.ground.pool.fetchrow(
            """SELECT h.state, c.capacity - c.members - c.held AS room
            FROM holds h JOIN codes c USING (chain_id, code_id)
            WHERE chain_id = $1 AND hold_id = $2""",
            self.chain_id,
            of.hold_id,
        )
        return HoldState(row["state"]), row["room"]

    @rule(worker=WORKER, number=st.integers(0, 7), event=COMPLAINT)
    def complains(self, worker: int, number: int, event: Event) -> None:
        if seen := self._some(number):
            self.run(self._complains(worker, seen, event))

    async def _complains(self, worker: int, seen: Seen, event: Event) -> None:
        mine = self.workers[worker]
        await mine.hears()
        about = (await mine.journal.current(seen.scan)).code_id
        if about is None:
            with pytest.raises(errors.Conflict):
                await mine.journal.tell(seen.scan, event)
            return
        told = await mine.journal.tell(seen.scan, event)
        self._shown(seen, told)
        assert told.code_id != about

    @rule(worker=WORKER, number=st.integers(0, 7))
    def refuses_to_tell_where(self, worker: int, number: int) -> None:
        if seen := self._some(number):
            told = self.workers[worker].journal.tell(seen.scan, Event.DENIED)
            self._shown(seen, self.run(told))

    # Many at once

    @rule(who=st.lists(st.tuples(WORKER, VISITOR, st.sampled_from([*NEAR])), max_size=12))
    def many_come_at_once(self, who: list[tuple[int, int, str]]) -> None:
        async def come(worker: int, visitor: int, store: str) -> None:
            seen = await self._scans(worker, visitor, True)
            self._shown(seen, await self.workers[worker].journal.locate(seen.scan, FIXES[store]))

        async def all_of_them() -> None:
            await asyncio.gather(*(come(*one) for one in who))

        self.run(all_of_them())

    @rule(
        who=st.lists(
            st.tuples(WORKER, st.integers(0, 7), st.sampled_from([*Event, "S1", "S2", "S3"])),
            max_size=12,
        )
    )
    def all_sorts_at_once(self, who: list[tuple[int, int, str]]) -> None:
        async def one(worker: int, number: int, what: str) -> None:
            seen = self._some(number)
            if seen is None:
                return
            journal = self.workers[worker].journal
            if what in NEAR:
                self._shown(seen, await journal.choose(seen.scan, what))
                return
            try:
                self._shown(seen, await journal.tell(seen.scan, Event(what)))
            except errors.Conflict:
                return
            kind = {"pressed": "pressed", "joined": "reported"}.get(what)
            if kind:
                self.evidence.add((seen.scan.scan_id, kind))

        async def all_of_it() -> None:
            await asyncio.gather(*(one(*each) for each in who), self.workers[0].journal.sweep())

        self.run(all_of_it())

    # Time

    @rule(share=st.integers(1, 3))
    def seats_run_out(self, share: int) -> None:
        """Of all seats one in `share`; nobody has swept yet."""
        self.run(
            self.ground.pool.execute(
                """UPDATE holds SET held_until = now() - interval '1 second'
                WHERE chain_id = $1 AND state = 'held'
                  AND hashtext(hold_id::text) % $2 = 0""",
                self.chain_id,
                share,
            )
        )

    @rule(worker=WORKER)
    def sweeps(self, worker: int) -> None:
        async def sweep() -> None:
            await self.workers[worker].journal.sweep()
            late = await self.ground.pool.fetchval(
                """SELECT count(*) FROM holds
                WHERE chain_id = $1 AND state = 'held' AND held_until <= now()""",
                self.chain_id,
            )
            assert late == 0

        self.run(sweep())

    # HQ, managers

    @rule(code=CODE, change=CHANGE, heard=st.sets(WORKER))
    def a_code_is_changed(self, code: int, change: dict[str, Any], heard: set[int]) -> None:
        self.run(self._edit(self.codes[code], dict(change), heard))

    async def _edit(self, code_id: uuid.UUID, change: dict[str, Any], heard: set[int]) -> None:
        if "payload" in change:
            change["payload"] = running.payload(uuid.uuid4().hex[:16])
        if change.get("expires_at") is not None:
            change["expires_at"] = datetime.now(UTC) + timedelta(hours=change["expires_at"])
        async with self.ground.pool.acquire() as connection:
            try:
                await self._change(connection, code_id, change)
            except errors.Conflict:
                assert change.get("status") in ("active", "paused")
                return
            if "members" in change:
                members, joined = (await auditing.members(connection, self.chain_id))[code_id]
                assert members == change["members"]
                self.others[code_id] = members - joined
        for worker in heard:
            await self.workers[worker].hears()

    @rule(code=CODE)
    def a_code_is_put_up_anew(self, code: int) -> None:
        """In the place of one that is retired, so that the machine does not run dry."""

        async def put() -> None:
            async with self.ground.pool.acquire() as connection:
                before = await catalog.get_code(connection, self.chain_id, self.codes[code])
                if before["status"] != "retired" or before["store"] is None:
                    return
                made = await auditing.put_code(connection, self.chain_id, before["store"], 2)
                self.codes[code] = made
                self.others[made] = 0

        self.run(put())

    @rule(store=st.sampled_from([*NEAR]), status=st.sampled_from(["open", "closed", "open"]))
    def a_store_opens_or_closes(self, store: str, status: str) -> None:
        async def put() -> None:
            lon, lat = STORES[store]
            row = {"store": store, "name": store, "lon": lon, "lat": lat, "status": status}
            async with self.ground.pool.acquire() as connection:
                rows = importing.stores(tabular.one(row)).rows
                await catalog.put_stores(connection, self.chain_id, rows)

        self.run(put())

    # Workers

    @rule(worker=WORKER)
    def a_worker_hears_the_news(self, worker: int) -> None:
        self.run(self.workers[worker].hears())

    @rule(worker=WORKER)
    def a_worker_starts_anew(self, worker: int) -> None:
        self.workers[worker] = self.run(self._worker())

    # What must be true

    @invariant()
    def every_seat_is_accounted_for(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        async with self.ground.pool.acquire() as connection:
            assert await auditing.faults(connection, self.chain_id) == {}
            for code_id, counted in (await auditing.members(connection, self.chain_id)).items():
                assert counted[0] == counted[1] + self.others[code_id]
            rows = await connection.fetch(
                "SELECT hold_id, code_id, visitor_id, state FROM holds WHERE chain_id = $1",
                self.chain_id,
            )
            self._check_holds({row["hold_id"]: row for row in rows})
            evidence = await connection.fetch(
                "SELECT scan_id, kind FROM evidence WHERE chain_id = $1", self.chain_id
            )
            assert self.evidence <= {(row["scan_id"], row["kind"]) for row in evidence}
            scans = await connection.fetch(
                "SELECT scan_id FROM scans WHERE chain_id = $1", self.chain_id
            )
            assert {seen.scan.scan_id for seen in self.seen} <= {row["scan_id"] for row in scans}
            codes = await connection.fetch(
                "SELECT code_id, members, held, revision FROM codes WHERE chain_id = $1",
                self.chain_id,
            )
        for row in codes:
            for worker in self.workers:
                if known := worker.directory.codes.get(row["code_id"]):
                    assert known.revision <= row["revision"]
                    if known.revision == row["revision"]:
                        assert (known.members, known.held) == (row["members"], row["held"])

    def _check_holds(self, holds: dict[uuid.UUID, asyncpg.Record]) -> None:
        """No seat disappears, or goes where it cannot go; every answer's seat is there."""
        assert self.holds.keys() <= holds.keys()
        for hold_id, row in holds.items():
            state = HoldState(row["state"])
            assert state in MOVES[self.holds.get(hold_id, HoldState.HELD)]
            self.holds[hold_id] = state
        for seen in self.seen:
            for shown in seen.shown:
                if shown.outcome is Outcome.CODE:
                    assert shown.hold_id is not None
                    row = holds[shown.hold_id]
                    assert (row["code_id"], row["visitor_id"]) == (
                        shown.code_id,
                        seen.scan.visitor_id,
                    )


def test_whatever_happens_in_whatever_order_no_seat_is_oversold_or_lost(ground: Ground) -> None:
    run_state_machine_as_test(
        lambda: Seats(ground),  # type: ignore[arg-type]
        settings=hypothesis.settings(
            max_examples=EXAMPLES or 8,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=not EXAMPLES,
            # To find the shortest way to a failure takes minutes: only in a hunt.
            phases=(Phase.generate, Phase.shrink) if EXAMPLES else (Phase.generate,),
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
