"""Roll-ups say what the raw rows say, whatever happens, in whichever order and time zone."""

import asyncio
import dataclasses
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import hypothesis
import hypothesis.strategies as st
import pytest

from service import accounts, chunks, db, errors, retention, rollups, tallies
from service.domain import Event, uuid7
from service.settings import Settings
from service.shelf import SHELF
from service.steps import report
from service.steps.report import By, Which
from tests import conftest, running
from tests.service import auditing

STORES = {
    "S1": ("茶", "上海市", "上海市", "黄浦区"),
    "S2": ("茶", "上海市", "上海市", None),
    "S3": ("咖啡", "北京市", "北京市", "朝阳区"),
    "S4": (None, None, None, None),
}
PLACEMENTS = {
    ("a", "door"): ("poster", "A"),
    ("a", "card"): ("card", None),
    ("b", "door"): ("sms", "B"),
}
PLACES = ((None, None, None), ("上海市", "上海市", "静安区"), ("江苏省", None, None))
# When clocks are set, and a month's end; Lord Howe's by half an hour, Havana's at midnight.
ZONES = {
    "America/New_York": ("2025-03-09T07:00", "2025-11-02T06:00"),
    "Europe/London": ("2025-03-30T01:00", "2025-10-26T01:00"),
    "Asia/Shanghai": ("2025-12-31T16:00",),
    "Australia/Lord_Howe": ("2025-04-05T15:00", "2025-10-04T15:30"),
    "America/Havana": ("2025-03-09T05:00", "2025-11-02T05:00"),
}
COUNTS = (*report.COUNTS, *report.BESIDE)


@dataclasses.dataclass(frozen=True)
class Routing:
    minutes: int  # after the scan
    outcome: str
    reason: str
    source: str | None
    store: str | None
    place: tuple[str | None, str | None, str | None]


@dataclasses.dataclass(frozen=True)
class Evidence:
    minutes: int
    kind: str
    counts: bool
    store: str | None
    leaves: bool


@dataclasses.dataclass(frozen=True)
class Story:
    """What happened to one scan, from which everything is counted independently."""

    scanned_at: datetime
    visitor: int
    entry: str
    placement: str | None
    bot: bool
    routings: tuple[Routing, ...]
    evidence: tuple[Evidence, ...]
    denied: bool
    scan_id: uuid.UUID

    @property
    def best(self) -> Routing | None:
        """The decision that counts: the last that showed a code, else the last."""
        ordered = sorted(self.routings, key=lambda each: (each.outcome == "code", each.minutes))
        return ordered[-1] if ordered else None

    @property
    def store(self) -> str | None:
        joined = [each.store for each in self.evidence if each.counts and each.store]
        return max(joined) if joined else (self.best.store if self.best else None)

    def saw(self, stage: str) -> bool:
        kinds = {each.kind for each in self.evidence}
        return {
            "located": any(each.source for each in self.routings),
            "shown": any(each.outcome == "code" for each in self.routings),
            "pressed": "pressed" in kinds,
            "reported": "reported" in kinds,
            "verified": "verified" in kinds,
            "joined": any(each.counts for each in self.evidence),
            "left": any(each.leaves for each in self.evidence),
            "ordered": False,
        }[stage]

    def key(self, by: str, zone: ZoneInfo) -> str | None:
        local = self.scanned_at.astimezone(zone)
        placement = PLACEMENTS.get((self.entry, self.placement or ""), (None, None))
        shop = STORES.get(self.store or "", (None, None, None, None))
        place = self.best.place if self.best else (None, None, None)
        return {
            "store": self.store,
            "brand": shop[0],
            "province": shop[1] or place[0],
            "city": shop[2] or place[1],
            "district": shop[3] or place[2],
            "entry": self.entry,
            "placement": self.placement,
            "channel": placement[0],
            "variant": placement[1],
            "source": self.best.source if self.best else None,
            "day": f"{local:%Y-%m-%d}",
            "week": f"{local:%G-W%V}",
            "month": f"{local:%Y-%m}",
            "hour": f"{local:%Y-%m-%dT%H}",
            "none": "all",
        }[by]

    @property
    def lost(self) -> str | None:
        last = max(self.routings, key=lambda each: each.minutes, default=None)
        if last is None or self.bot:
            return None
        if last.outcome == "unserved":
            return last.reason
        return "denied" if last.outcome == "choose" and self.denied else None


def counted(stories: list[Story]) -> dict[str, int]:
    people = [story for story in stories if not story.bot]
    return {
        "scans": len(people),
        "visitors": len({story.visitor for story in people}),
        **{
            name: sum(story.saw(name) for story in people)
            for name in COUNTS
            if name not in ("scans", "visitors", "bots", "orders")
        },
        "bots": len(stories) - len(people),
        "orders": 0,
    }


def counts_of(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in COUNTS}


ROUTINGS = st.builds(
    lambda minutes, outcome, source, store, place: Routing(
        minutes,
        outcome,
        {"code": "nearest", "choose": "ip_only", "unserved": "out_of_range"}[outcome],
        source,
        store if outcome == "code" else None,
        place,
    ),
    minutes=st.integers(0, 30),
    outcome=st.sampled_from(("code", "code", "choose", "unserved")),
    source=st.sampled_from((None, "gps", "ip", "chosen")),
    store=st.sampled_from((*STORES, None)),
    place=st.sampled_from(PLACES),
)
EVIDENCE = st.builds(
    Evidence,
    minutes=st.integers(1, 60 * 24 * 20),
    kind=st.sampled_from(("pressed", "reported", "verified")),
    counts=st.booleans(),
    store=st.sampled_from((*STORES, None)),
    leaves=st.booleans(),
)


@st.composite
def stories(draw: st.DrawFn, zone: str) -> Story:
    moment = datetime.fromisoformat(draw(st.sampled_from(ZONES[zone]))).replace(tzinfo=UTC)
    apart = draw(
        st.one_of(
            st.sampled_from((0, -1, 1, 3_600_000_000, -3_600_000_000)),
            st.integers(-3 * 86_400_000_000, 3 * 86_400_000_000),
        )
    )
    at = moment + timedelta(microseconds=apart)
    entry, placement = draw(st.sampled_from((*PLACEMENTS, ("a", None))))
    return Story(
        scanned_at=at,
        visitor=draw(st.integers(1, 8)),
        entry=entry,
        placement=placement,
        bot=draw(st.sampled_from((False, False, False, True))),
        # No two at once: which was the last would be for nobody to say.
        routings=tuple(draw(st.lists(ROUTINGS, max_size=3, unique_by=lambda each: each.minutes))),
        evidence=tuple(draw(st.lists(EVIDENCE, max_size=3))),
        denied=draw(st.booleans()),
        scan_id=uuid7(at),
    )


@st.composite
def months(draw: st.DrawFn) -> tuple[str, list[Story], int]:
    """A time zone, what happened around its clocks' changes, and chance's seed for the order in
    which it is written."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    return zone, draw(st.lists(stories(zone), max_size=25)), draw(st.integers(0, 2**32))


class World:
    """A chain whose raw rows are written here."""

    def __init__(self, connection: db.Connection, chain_id: uuid.UUID, zone: str) -> None:
        self.connection = connection
        self.chain_id = chain_id
        self.zone = ZoneInfo(zone)

    @classmethod
    async def made(cls, connection: db.Connection, zone: str) -> "World":
        name = f"chain-{uuid.uuid4().hex[:12]}"
        chain_id = await accounts.create_chain(connection, name, name, zone)
        for store, (brand, province, city, district) in STORES.items():
            await connection.execute(
                "INSERT INTO stores (chain_id, store, name, brand, province, city, district, lon,"
                " lat, given_lon, given_lat) VALUES ($1, $2, $2, $3, $4, $5, $6, 1, 1, 1, 1)",
                chain_id, store, brand, province, city, district,
            )  # fmt: skip
        for entry in ("a", "b"):
            await connection.execute(
                "INSERT INTO entries (chain_id, entry, name) VALUES ($1, $2, $2)",
                chain_id, f"{entry}-{name}",
            )  # fmt: skip
        for (entry, placement), (channel, variant) in PLACEMENTS.items():
            await connection.execute(
                "INSERT INTO placements (chain_id, entry, placement, name, channel, variant)"
                " VALUES ($1, $2, $3, $3, $4, $5)",
                chain_id, f"{entry}-{name}", placement, channel, variant,
            )  # fmt: skip
        world = cls(connection, chain_id, zone)
        world.suffix = f"-{name}"
        return world

    suffix = ""

    def writes(self, story: Story) -> list[Callable[[], Any]]:
        """What writes the story, a transaction each; the scan itself need not come first, as when
        a spool is written late."""
        return [
            lambda: self._scan(story),
            *(lambda each=each: self._routing(story, each) for each in story.routings),
            *(lambda each=each: self._evidence(story, each) for each in story.evidence),
            *([lambda: self._denied(story)] if story.denied else []),
        ]

    async def _touching(self, story: Story, *statements: tuple[Any, ...]) -> None:
        async with self.connection.transaction():
            for statement, *values in statements:
                await self.connection.execute(statement, self.chain_id, *values)
            await rollups.touch(self.connection, self.chain_id, [story.scan_id])

    async def _scan(self, story: Story) -> None:
        statement = (
            "INSERT INTO scans (chain_id, scan_id, entry, placement, visitor_id, scanned_at, via,"
            " bot) VALUES ($1, $2, $3, $4, $5, $6, 'api', $7)"
        )
        await self._touching(
            story,
            (statement, story.scan_id, story.entry + self.suffix, story.placement,
             uuid.UUID(int=story.visitor), story.scanned_at, "bot" if story.bot else None),
        )  # fmt: skip

    async def _routing(self, story: Story, each: Routing) -> None:
        at = story.scanned_at + timedelta(minutes=each.minutes)
        statement = (
            "INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, store,"
            " province, city, district, routed_at) VALUES"
            " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        )
        await self._touching(
            story,
            (statement, uuid7(at), story.scan_id, each.outcome, each.reason,
             each.source, each.store, *each.place, at),
        )  # fmt: skip

    async def _evidence(self, story: Story, each: Evidence) -> None:
        at = story.scanned_at + timedelta(minutes=each.minutes)
        told = (
            "INSERT INTO evidence (chain_id, evidence_id, scan_id, store, kind, counts, seen_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        )
        joined = (
            "INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, code_id,"
            " evidence, joined_at) VALUES ($1, $2, $3, $2, $2, $4, $2, $5, $6)"
        )
        join_id = uuid7(at)
        await self._touching(
            story,
            (told, uuid7(at), story.scan_id, each.store, each.kind, each.counts, at),
            (joined, join_id, story.scan_id, story.entry, each.kind, at),
        )
        if each.leaves:
            gone = "UPDATE joins SET left_at = now() WHERE chain_id = $1 AND join_id = $2"
            await self._touching(story, (gone, join_id))

    async def _denied(self, story: Story) -> None:
        statement = (
            "INSERT INTO complaints (chain_id, complaint_id, scan_id, visitor_id, kind, said_at)"
            " VALUES ($1, $2, $3, $3, 'denied', $4)"
        )
        at = story.scanned_at + timedelta(minutes=1)
        await self._touching(story, (statement, uuid7(at), story.scan_id, at))

    def expected(self, told: list[Story], by: By) -> dict[str | None, dict[str, int]]:
        groups: dict[str | None, list[Story]] = {}
        for story in told:
            key = story.key(by.value, self.zone)
            groups.setdefault(key + self.suffix if by is By.ENTRY and key else key, []).append(
                story
            )
        return {key: counted(stories) for key, stories in groups.items()}


async def equals(world: World, told: list[Story], which: Which, bys: tuple[By, ...]) -> None:
    """Every report of these scans is what is counted here."""
    for by in bys:
        found = await report.funnel_of(world.connection, world.chain_id, which, by=by)
        assert counts_of(found["total"]) == counted(told), by
        rows = {row["key"]: counts_of(row) for row in found["rows"]}
        if by is By.NONE:
            assert rows == {"all": counted(told)}
        else:
            assert rows == world.expected(told, by), by


@pytest.fixture(scope="module")
def months_url(postgres_url: str, template: str) -> str:
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE rolled TEMPLATE {template}"))
    url = conftest.with_database(postgres_url, "rolled")
    ensure = (
        "SELECT ensure_month(month::date)"
        " FROM generate_series('2025-01-01'::date, '2026-03-01', '1 month') AS month"
    )
    running.run(conftest.execute(url, ensure))
    return url


@hypothesis.settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    # An example takes a second: what fails is told as it is.
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
@hypothesis.given(month=months())
def test_reports_equal_an_independent_count(
    months_url: str, month: tuple[str, list[Story], int]
) -> None:
    _, told, seed = month
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        if chance.random() < 0.7:
            # As for many scans, of which some are young.
            patch.setattr(tallies, "FROM", 0)
            patch.setattr(tallies, "_APART", chance.choice((0, 3, 100)))
            patch.setattr(tallies, "_AT_ONCE", chance.choice((1, 5, 1000)))
            young = min(chance.choice(told).scanned_at for _ in range(3)) if told else NOW
            patch.setattr(tallies, "SETTLED_AFTER", NOW - young)
        patch.setattr(SHELF, "limit", chance.choice((0, 20_000, 10**9, 10**9)))
        SHELF.clear()
        running.run(_tried(months_url, *month))


NOW = datetime.now(UTC)


async def _tried(url: str, zone: str, told: list[Story], seed: int) -> None:
    connection = await db.connect(url)
    chance = random.Random(seed)
    try:
        world = await World.made(connection, zone)
        writes = [write for story in told for write in world.writes(story)]
        chance.shuffle(writes)
        for write in writes:
            await write()
            if chance.random() < 0.1:
                await rollups.follow(connection)
            if chance.random() < 0.05:
                await rollups.merge(connection)
            if chance.random() < 0.1:
                await _asked_meanwhile(world, chance)
        await equals(world, told, Which(), tuple(By))
        for which, kept in _some(world, told, chance):
            await equals(world, kept, which, (By.NONE, By.DAY, By.STORE, By.PLACEMENT, By.CITY))
        lost = [story.lost for story in told if story.lost]
        rows = await report.unserved(connection, world.chain_id)
        assert {r: sum(row["scans"] for row in rows if row["reason"] == r) for r in lost} == {
            reason: lost.count(reason) for reason in lost
        }
        assert sum(row["scans"] for row in rows) == len(lost)
        if (span := await rollups.span(connection, world.chain_id)) is not None:
            day = timedelta(days=1)
            compared = await rollups.check(connection, world.chain_id, span[0] - day, span[1] + day)
            assert compared.equal
            assert compared.scans == len(told)
    finally:
        await connection.close()


async def _asked_meanwhile(world: World, chance: random.Random) -> None:
    """What is kept of these reports must not be seen in later ones, nor where a store was then."""
    elsewhere = "UPDATE stores SET city = $3 WHERE chain_id = $1 AND store = $2"
    store = chance.choice(sorted(STORES))
    moves = chance.random() < 0.5
    if moves:
        await world.connection.execute(elsewhere, world.chain_id, store, "别处")
    for by in chance.sample(tuple(By), 4):
        which = Which(store="S1") if chance.random() < 0.3 else Which()
        await report.funnel_of(world.connection, world.chain_id, which, by=by)
    await report.unserved(world.connection, world.chain_id)
    if moves:
        await world.connection.execute(elsewhere, world.chain_id, store, STORES[store][2])


def _some(
    world: World, told: list[Story], chance: random.Random
) -> list[tuple[Which, list[Story]]]:
    """Periods and filters, each with the scans that it is about."""

    def kept(keep: Callable[[Story], bool]) -> list[Story]:
        return [story for story in told if keep(story)]

    found = [
        (Which(store="S1"), kept(lambda story: story.store == "S1")),
        (Which(city="上海市"), kept(lambda story: story.key("city", world.zone) == "上海市")),
        (Which(channel="poster"), kept(lambda story: story.key("channel", world.zone) == "poster")),
        (Which(entry="a" + world.suffix), kept(lambda story: story.entry == "a")),
        (Which(scope=["S2", "S3"]), kept(lambda story: story.store in ("S2", "S3"))),
        (Which(scope=[]), []),
    ]
    if told:
        # From one scan to before another, and a day of the chain's.
        since, until = sorted(chance.choice(told).scanned_at for _ in range(2))
        found.append((Which(since, until), kept(lambda story: since <= story.scanned_at < until)))
        day = chance.choice(told).scanned_at.astimezone(world.zone).date()
        first, next_day = (
            datetime(each.year, each.month, each.day, tzinfo=world.zone)
            for each in (day, day + timedelta(days=1))
        )
        found.append(
            (
                Which(first, next_day),
                kept(lambda story: story.scanned_at.astimezone(world.zone).date() == day),
            )
        )
    return found


# ---------------------------------------------------------------- one by one


async def _scanned(connection: db.Connection, chain_id: uuid.UUID, at: datetime) -> uuid.UUID:
    scan_id = uuid7(at)
    await connection.execute(
        "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
        " VALUES ($1, $2, 'a', $3, $4, 'api')",
        chain_id,
        scan_id,
        uuid.uuid4(),
        at,
    )
    await rollups.touch(connection, chain_id, [scan_id])
    return scan_id


async def test_what_commits_late_is_not_missed(conn: db.Connection, database_url: str) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    slow = await db.connect(database_url)
    try:
        late = slow.transaction()
        await late.start()
        await _scanned(slow, chain_id, datetime.now(UTC))
        await _scanned(conn, chain_id, datetime.now(UTC))
        assert await rollups.follow(conn) == 1
        fresh = await rollups.as_of(conn)
        await late.commit()
    finally:
        await slow.close()
    found = await report.funnel(conn, chain_id, by=By.NONE)
    assert found["total"]["scans"] == 2
    assert found["as_of"] > fresh


async def test_what_is_rolled_back_is_not_counted(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    aborted = conn.transaction()
    await aborted.start()
    await _scanned(conn, chain_id, datetime.now(UTC))
    await aborted.rollback()
    assert (await report.funnel(conn, chain_id, by=By.NONE))["total"]["scans"] == 0


async def test_workers_that_follow_at_once_count_each_scan_once(
    conn: db.Connection, database_url: str
) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    stopped = False

    async def writes() -> None:
        for _ in range(30):
            await _scanned(conn, chain_id, datetime.now(UTC))

    async def follows() -> None:
        connection = await db.connect(database_url)
        try:
            while not stopped:
                await rollups.follow(connection, most=7)
                await rollups.merge(connection)
                await asyncio.sleep(0)
        finally:
            await connection.close()

    followers = [asyncio.ensure_future(follows()) for _ in range(3)]
    await writes()
    stopped = True
    await asyncio.gather(*followers)
    assert (await report.funnel(conn, chain_id, by=By.NONE))["total"]["scans"] == 30
    now = datetime.now(UTC)
    compared = await rollups.check(conn, chain_id, now - timedelta(hours=1), now)
    assert (compared.scans, compared.equal) == (30, True)


async def test_a_report_of_many_that_wait_says_up_to_when_it_knows(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    await rollups.follow(conn)
    before = datetime.now(UTC)
    scan_ids = [await _scanned(conn, chain_id, datetime.now(UTC)) for _ in range(3)]
    for _ in range(200):
        await rollups.touch(conn, chain_id, scan_ids)
    found = await report.funnel(conn, chain_id, by=By.NONE)
    assert found["total"]["scans"] == 0
    assert found["as_of"] < before
    await rollups.keep_up(conn)
    found = await report.funnel(conn, chain_id, by=By.NONE)
    assert found["total"]["scans"] == 3
    assert found["as_of"] > before


BROKEN = {
    "missing": "DELETE FROM scan_facts WHERE scan_id = $1",
    "wrong": "UPDATE scan_facts SET stages = stages | 64 WHERE scan_id = $1",
    "surplus": "DELETE FROM scans WHERE scan_id = $1",
    "chunks": "UPDATE report_chunks SET stages = '' WHERE first_id <= $1 AND last_id > $1",
    "outside": "DELETE FROM report_chunks WHERE first_id <= $1 AND last_id > $1",
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_check_finds_what_differs_and_a_rebuild_mends_it(
    conn: db.Connection, fault: str
) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    now = datetime.now(UTC)
    scan_ids = [await _scanned(conn, chain_id, now - timedelta(hours=h)) for h in range(5)]
    await rollups.follow(conn)
    period = (now - timedelta(days=1), now + timedelta(hours=1))
    assert (await rollups.check(conn, chain_id, *period)).equal
    await conn.execute(BROKEN[fault], scan_ids[2])
    compared = await rollups.check(conn, chain_id, *period)
    assert not compared.equal
    assert getattr(compared, fault) >= 1
    await rollups.rebuild(conn, chain_id, *period)
    compared = await rollups.check(conn, chain_id, *period)
    assert compared.equal
    scans = 4 if fault == "surplus" else 5
    assert compared.scans == scans
    assert (await report.funnel(conn, chain_id, by=By.NONE))["total"]["scans"] == scans


async def test_quiet_hours_become_one_chunk_and_say_the_same(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for minute in range(0, 40, 10):
        await _scanned(conn, chain_id, hour + timedelta(minutes=minute))
    await rollups.follow(conn)
    chunks = "SELECT count(*) FROM report_chunks"
    assert await conn.fetchval(chunks) == 4
    while await rollups.merge(conn):
        pass
    assert await conn.fetchval(chunks) == 1
    assert (await report.funnel(conn, chain_id, by=By.NONE))["total"]["scans"] == 4
    # What comes late is in it, too.
    await _scanned(conn, chain_id, hour + timedelta(minutes=5))
    assert (await report.funnel(conn, chain_id, by=By.NONE))["total"]["scans"] == 5
    assert await conn.fetchval(chunks) == 1


async def test_a_report_reads_what_has_changed_and_is_never_stale(
    conn: db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "FROM", 0)
    monkeypatch.setattr(SHELF, "limit", 10**9)
    SHELF.clear()
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    now = datetime.now(UTC)
    day = timedelta(days=1)
    scan_ids = [await _scanned(conn, chain_id, now - place * day) for place in range(20)]
    await conn.execute("UPDATE scans SET placement = 'door' WHERE scan_id = $1", scan_ids[3])
    await conn.execute(
        "INSERT INTO entries (chain_id, entry, name) VALUES ($1, 'a', 'a')", chain_id
    )
    await conn.execute(
        "INSERT INTO placements (chain_id, entry, placement, name, channel)"
        " VALUES ($1, 'a', 'door', 'door', 'poster')",
        chain_id,
    )
    read: list[int] = []
    reading = chunks._read

    async def counting(*given: Any) -> None:
        read.append(len(given[3]))
        await reading(*given)

    monkeypatch.setattr(chunks, "_read", counting)

    async def told() -> list[Any]:
        bys = (By.NONE, By.DAY, By.CHANNEL)
        found = [await report.funnel(conn, chain_id, by=by) for by in bys]
        return [(each["total"], each["rows"]) for each in found]

    async def is_fresh() -> list[Any]:
        kept = await told()
        SHELF.clear()
        assert await told() == kept
        return kept

    await told()
    read.clear()
    await told()
    assert read == []
    # Of an old scan, what became of it; then its visitor comes again, an hour later.
    await conn.execute("UPDATE scans SET bot = 'bot' WHERE scan_id = $1", scan_ids[10])
    await rollups.touch(conn, chain_id, [scan_ids[10]])
    assert (await told())[0][0]["scans"] == 19
    assert read == [1, 1]  # then its placement
    assert (await is_fresh())[0][0]["visitors"] == 19
    again = await _scanned(conn, chain_id, now - 9 * day - timedelta(hours=1))
    await conn.execute(
        "UPDATE scans SET visitor_id = (SELECT visitor_id FROM scans WHERE scan_id = $1)"
        " WHERE scan_id = $2",
        scan_ids[9],
        again,
    )
    total = (await is_fresh())[0][0]
    assert (total["scans"], total["visitors"]) == (20, 19)
    # What was there is there no more.
    await conn.execute("DELETE FROM scans WHERE scan_id = $1", scan_ids[5])
    await told()
    await rollups.rebuild(conn, chain_id, now - 6 * day, now - 4 * day)
    total = (await told())[0][0]
    assert (total["scans"], total["visitors"]) == (19, 18)
    assert [row["key"] for row in (await told())[2][1]] == ["poster", None]
    await conn.execute("UPDATE placements SET channel = 'sms' WHERE chain_id = $1", chain_id)
    assert [row["key"] for row in (await told())[2][1]] == ["sms", None]
    while await rollups.merge(conn):
        pass
    await is_fresh()
    SHELF.clear()
    SHELF.limit = 0
    assert (await told())[0][0] == total
    assert SHELF.size == 0


async def test_months_are_dropped_and_their_reports_stay(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    now = datetime.now(UTC)
    old = now - timedelta(days=100)
    for at in (old, now):
        await conn.execute("SELECT ensure_month($1)", at.date())
    scan_id = await _scanned(conn, chain_id, old)
    await _scanned(conn, chain_id, now)
    months = await retention.due(conn, retention.first_kept(now, 1))
    assert old.date().replace(day=1) in months
    dropped = [await retention.drop(conn, month) for month in months]
    assert all("scans" in " ".join(each.tables) and each.size_bytes for each in dropped)
    assert await conn.fetchval("SELECT count(*) FROM scans") == 1
    assert await retention.due(conn, retention.first_kept(now, 1)) == []
    assert (await report.funnel(conn, chain_id, by=By.NONE))["total"]["scans"] == 2
    # Nothing that comes round takes away what is left of it.
    await rollups.touch(conn, chain_id, [scan_id])
    await rollups.keep_up(conn)
    day = (old - timedelta(days=1), old + timedelta(days=1))
    assert await rollups.is_dropped(conn, *day)
    with pytest.raises(errors.Conflict):
        await rollups.rebuild(conn, chain_id, *day)
    found = await report.funnel(conn, chain_id, by=By.DAY)
    assert [row["scans"] for row in found["rows"]] == [1, 1]


async def test_a_month_with_a_held_seat_is_not_dropped(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    old = datetime.now(UTC) - timedelta(days=100)
    month = old.date().replace(day=1)
    await conn.execute("SELECT ensure_month($1)", month)
    await conn.execute(
        "INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, held_at,"
        " held_until) VALUES ($1, $2, $2, $2, 'a', $2, $3, $3)",
        chain_id,
        uuid7(old),
        old,
    )
    with pytest.raises(errors.Conflict):
        await retention.drop(conn, month)
    assert month in await retention.due(conn, retention.first_kept(datetime.now(UTC), 1))


@pytest.mark.parametrize(
    ("now", "months", "first"),
    [
        ("2026-11-27", 1, "2026-10-01"),
        ("2026-01-05", 1, "2025-12-01"),
        ("2026-03-31", 13, "2025-02-01"),
    ],
)
def test_whole_months_are_kept_beside_the_current_one(now: str, months: int, first: str) -> None:
    found = retention.first_kept(datetime.fromisoformat(now).replace(tzinfo=UTC), months)
    assert found.isoformat() == first


async def test_what_visitors_do_through_the_journal_is_followed(database_url: str) -> None:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=5, init=db.prepare) as pool:
        async with pool.acquire() as connection:
            chain_id = await auditing.build(connection, "tea", {"S1": (121.4737, 31.2304)})
            await auditing.put_code(connection, chain_id, "S1", 5)
        worker = auditing.Worker(pool, Settings(), "tea")
        await worker.hears()
        scanned, _ = await worker.opened()
        await worker.journal.locate(scanned, auditing.fix_at(121.4737, 31.2304))
        await worker.journal.tell(scanned, Event.PRESSED)
        async with pool.acquire() as connection:
            total = (await report.funnel(connection, chain_id, by=By.NONE))["total"]
            assert [total[name] for name in ("scans", "located", "shown", "joined")] == [1] * 4
            join_id = await connection.fetchval("SELECT join_id FROM joins")
        await worker.journal.leave(chain_id, join_id)
        async with pool.acquire() as connection:
            total = (await report.funnel(connection, chain_id, by=By.NONE))["total"]
            assert (total["joined"], total["left"]) == (1, 1)
