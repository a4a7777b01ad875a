"""Warnings: raised once, closed when it is mended, whoever changed what."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service import catalog, db, importing, tabular, warnings
from service.domain import Event, uuid7
from service.settings import Settings
from service.steps import join
from service.warnings import Kind
from service.web import warning_words
from tests.service import auditing

STORES = {"S1": (121.4737, 31.2304), "S2": (121.4837, 31.2304)}
FULL = {Kind.FILLING, Kind.NEARLY_FULL, Kind.FULL}
EXPIRED = {Kind.EXPIRING, Kind.EXPIRING_SOON, Kind.EXPIRED}
SETTINGS = Settings()


class Shop:
    """A chain with S1 and S2, each with a code for 100; the clock is ours."""

    def __init__(self, pool: asyncpg.Pool, connection: db.Connection, chain_id: uuid.UUID) -> None:
        self.pool, self.connection, self.chain_id = pool, connection, chain_id
        self.now = datetime.now(UTC)
        self.codes: dict[str, uuid.UUID] = {}

    async def look(self, settings: Settings = SETTINGS) -> tuple[int, int]:
        return await warnings.check(self.connection, settings, self.now)

    async def open(self, subject: str = "S1", settings: Settings = SETTINGS) -> set[Kind]:
        """What is open of a store and its codes, after a look."""
        await self.look(settings)
        rows = await warnings.listed(self.connection, self.chain_id, [subject], most=1000)
        kinds = [Kind(row["kind"]) for row in rows]
        assert len(kinds) == len(set(kinds)), "open twice"
        return set(kinds)

    async def raised(self) -> int:
        """How many there ever were."""
        return int(await self.connection.fetchval("SELECT count(*) FROM warnings"))

    async def change(self, store: str = "S1", **change: Any) -> None:
        await catalog.change_code(
            self.connection, self.chain_id, self.codes[store], change, SETTINGS
        )

    async def seats(self, members: int, held: int, store: str = "S1") -> None:
        """As visitors' seats change them: nobody has edited the code."""
        await self.connection.execute(
            "UPDATE codes SET members = $1, held = $2, revision = revision + 1 WHERE code_id = $3",
            members,
            held,
            self.codes[store],
        )

    async def put_code(self, store: str = "S1") -> uuid.UUID:
        return await auditing.put_code(self.connection, self.chain_id, store, 100)

    async def put_store(self, store: str, **values: Any) -> None:
        lon, lat = STORES.get(store, (121.5, 31.3))
        row = {"store": store, "name": store, "lon": lon, "lat": lat, **values}
        rows = importing.stores(tabular.one(row)).rows
        await catalog.put_stores(self.connection, self.chain_id, rows)


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=8, init=db.prepare) as pool,
        pool.acquire() as connection,
    ):
        chain_id = await auditing.build(connection, "tea", STORES)
        made = Shop(pool, connection, chain_id)
        for store in STORES:
            made.codes[store] = await made.put_code(store)
        yield made


@pytest.mark.parametrize(
    ("taken", "kinds"),
    [
        (79, set()),
        (80, {Kind.FILLING}),
        (94, {Kind.FILLING}),
        (95, {Kind.FILLING, Kind.NEARLY_FULL}),
        (99, {Kind.FILLING, Kind.NEARLY_FULL}),
        (100, FULL | {Kind.NOT_SERVING}),
        (120, FULL | {Kind.NOT_SERVING}),  # a head count tells what is
    ],
)
async def test_a_code_is_warned_of_at_80_95_and_100_percent(
    shop: Shop, taken: int, kinds: set[Kind]
) -> None:
    await shop.change(members=taken)
    assert await shop.open() == kinds
    assert await shop.open("S2") == set()
    assert await shop.raised() == len(kinds)
    await shop.change(members=10)
    assert await shop.open() == set()
    assert await shop.raised() == len(kinds)


@pytest.mark.parametrize(
    ("left", "kinds"),
    [
        (timedelta(hours=48, seconds=1), set()),
        (timedelta(hours=48), {Kind.EXPIRING}),
        (timedelta(hours=12, seconds=1), {Kind.EXPIRING}),
        (timedelta(hours=12), {Kind.EXPIRING, Kind.EXPIRING_SOON}),
        (timedelta(seconds=1), {Kind.EXPIRING, Kind.EXPIRING_SOON}),
        (timedelta(0), EXPIRED | {Kind.NOT_SERVING}),
        (timedelta(days=-9), EXPIRED | {Kind.NOT_SERVING}),
    ],
)
async def test_a_code_is_warned_of_48_and_12_hours_before_it_expires_and_when_it_has(
    shop: Shop, left: timedelta, kinds: set[Kind]
) -> None:
    await shop.change(expires_at=shop.now + left)
    assert await shop.open() == kinds


async def test_time_alone_raises_them_one_after_the_other_and_a_renewal_closes_all(
    shop: Shop,
) -> None:
    await shop.change(expires_at=shop.now + timedelta(days=3))
    assert await shop.open() == set()
    seen = []
    for _ in range(75):
        shop.now += timedelta(hours=1)
        seen.append(len(await shop.open()))
    assert seen == [0] * 23 + [1] * 36 + [2] * 12 + [4] * 4
    assert await shop.raised() == 4
    payload = f"https://work.weixin.qq.com/gm/{uuid.uuid4().hex}"
    await catalog.renew_code(
        shop.connection, shop.chain_id, shop.codes["S1"], payload, shop.now, SETTINGS
    )
    assert await shop.open() == set()


async def _nothing(shop: Shop) -> None: ...


async def _fill(shop: Shop) -> None:
    await shop.seats(100, 0)


async def _pause(shop: Shop) -> None:
    await shop.change(status="paused")


async def _expire(shop: Shop) -> None:
    await shop.change(expires_at=shop.now - timedelta(minutes=1))


async def _flag(shop: Shop) -> None:
    """Three visitors say that it does not work."""
    for _ in range(3):
        await shop.connection.execute(
            "INSERT INTO complaints (chain_id, complaint_id, scan_id, visitor_id, code_id, store,"
            " kind, said_at) VALUES ($1, $2, $3, $4, $5, 'S1', 'broken', now())",
            shop.chain_id,
            uuid7(),
            uuid7(),
            uuid.uuid4(),
            shop.codes["S1"],
        )
    code_id = shop.codes["S1"]
    assert await catalog.heed_complaints(shop.connection, shop.chain_id, code_id, SETTINGS)


async def _flag_and_pause(shop: Shop) -> None:
    await _flag(shop)
    await _pause(shop)


async def _retire(shop: Shop) -> None:
    await shop.change(status="retired")


async def _count_heads(shop: Shop) -> None:
    await shop.change(members=50)


async def _enlarge(shop: Shop) -> None:
    await shop.change(capacity=200)


async def _resume(shop: Shop) -> None:
    await shop.change(status="active")


async def _postpone(shop: Shop) -> None:
    await shop.change(expires_at=shop.now + timedelta(days=30))


async def _renew(shop: Shop) -> None:
    payload = f"https://work.weixin.qq.com/gm/{uuid.uuid4().hex}"
    await catalog.renew_code(
        shop.connection, shop.chain_id, shop.codes["S1"], payload, shop.now, SETTINGS
    )


async def _close_store(shop: Shop) -> None:
    await shop.put_store("S1", status="closed")


async def _delete_store(shop: Shop) -> None:
    await catalog.delete_store(shop.connection, shop.chain_id, "S1")


async def _second_code(shop: Shop) -> None:
    await shop.put_code()


Step = Callable[[Shop], Awaitable[None]]


@pytest.mark.parametrize(
    ("breaks", "kinds", "mends", "left"),
    [
        (_nothing, set(), _nothing, set()),
        (_fill, FULL | {Kind.NOT_SERVING}, _count_heads, set()),
        (_fill, FULL | {Kind.NOT_SERVING}, _enlarge, set()),
        (_fill, FULL | {Kind.NOT_SERVING}, _renew, set()),
        (_fill, FULL | {Kind.NOT_SERVING}, _second_code, FULL),
        (_fill, FULL | {Kind.NOT_SERVING}, _pause, {Kind.NOT_SERVING}),
        (_fill, FULL | {Kind.NOT_SERVING}, _retire, {Kind.NOT_SERVING}),
        (_fill, FULL | {Kind.NOT_SERVING}, _close_store, set()),
        (_fill, FULL | {Kind.NOT_SERVING}, _delete_store, set()),
        (_expire, EXPIRED | {Kind.NOT_SERVING}, _postpone, set()),
        (_expire, EXPIRED | {Kind.NOT_SERVING}, _renew, set()),
        (_expire, EXPIRED | {Kind.NOT_SERVING}, _second_code, EXPIRED),
        (_expire, EXPIRED | {Kind.NOT_SERVING}, _close_store, set()),
        (_pause, {Kind.NOT_SERVING}, _resume, set()),
        (_pause, {Kind.NOT_SERVING}, _second_code, set()),
        (_retire, {Kind.NOT_SERVING}, _second_code, set()),
        (_retire, {Kind.NOT_SERVING}, _close_store, set()),
        (_flag, {Kind.REPORTED, Kind.NOT_SERVING}, _resume, set()),
        (_flag, {Kind.REPORTED, Kind.NOT_SERVING}, _count_heads, set()),
        (_flag, {Kind.REPORTED, Kind.NOT_SERVING}, _renew, set()),
        (_flag, {Kind.REPORTED, Kind.NOT_SERVING}, _retire, {Kind.NOT_SERVING}),
        (_flag, {Kind.REPORTED, Kind.NOT_SERVING}, _second_code, {Kind.REPORTED}),
        (_flag_and_pause, {Kind.REPORTED, Kind.NOT_SERVING}, _resume, set()),
        (_close_store, set(), _nothing, set()),
        (_delete_store, set(), _nothing, set()),
    ],
)
async def test_what_breaks_is_raised_once_and_closed_by_what_mends_it(
    shop: Shop, breaks: Step, kinds: set[Kind], mends: Step, left: set[Kind]
) -> None:
    await breaks(shop)
    assert await shop.open() == kinds
    for _ in range(3):
        shop.now += timedelta(seconds=5)
        assert await shop.look() == (0, 0)
    await mends(shop)
    assert await shop.open() == left
    assert await shop.open("S2") == set()
    assert await shop.raised() == len(kinds | left)


async def test_a_store_that_never_had_a_code_is_warned_of_only_if_a_placement_is_there(
    shop: Shop,
) -> None:
    await shop.put_store("S3")
    assert await shop.open("S3") == set()
    await catalog.put_placement(
        shop.connection,
        shop.chain_id,
        "tea",
        {"placement": "p", "name": "p", "channel": "poster", "store": "S3", "printed": None,
         "cost": None, "variant": None},
    )  # fmt: skip
    assert await shop.open("S3") == {Kind.NOT_SERVING}
    await shop.put_code("S3")
    assert await shop.open("S3") == set()


async def test_an_entrys_fallback_is_warned_of_to_hq_alone(shop: Shop) -> None:
    code_id = await auditing.put_code(shop.connection, shop.chain_id, None, 10)
    await catalog.change_code(shop.connection, shop.chain_id, code_id, {"members": 10}, SETTINGS)
    await shop.look()
    (row,) = await warnings.open_for(shop.connection, shop.chain_id, None)
    assert (row["kind"], row["code_id"], row["store"]) == ("full", code_id, None)
    assert await warnings.open_for(shop.connection, shop.chain_id, ["S1", "S2"]) == []


# ---------------------------------------------------------------- seats that come and go


async def test_held_seats_that_come_and_go_raise_it_once(shop: Shop) -> None:
    for _ in range(40):
        await shop.seats(75, 5)  # 80 %
        assert await shop.open() == {Kind.FILLING}
        await shop.seats(75, 4)  # one has run out
        shop.now += timedelta(minutes=5)
        assert await shop.open() == {Kind.FILLING}
    assert await shop.raised() == 1


async def test_seats_that_stay_free_close_it_after_a_quiet_time(shop: Shop) -> None:
    await shop.seats(0, 100)
    assert await shop.open() == FULL | {Kind.NOT_SERVING}
    await shop.seats(0, 0)
    started = shop.now
    while await shop.open():
        shop.now += timedelta(minutes=1)
    assert shop.now - started == timedelta(seconds=SETTINGS.warn_quiet_s)


async def test_an_edit_that_mends_nothing_does_not_end_the_quiet_time(shop: Shop) -> None:
    await shop.seats(75, 5)
    assert await shop.open() == {Kind.FILLING}
    await shop.change(label="新名字")
    assert await shop.open() == {Kind.FILLING}
    await shop.seats(75, 4)
    assert await shop.open() == {Kind.FILLING}
    await shop.change(members=74)
    assert await shop.open() == set()


async def test_visitors_who_join_and_leave_are_seen(shop: Shop) -> None:
    await shop.change(capacity=1)
    worker = auditing.Worker(shop.pool, SETTINGS, "tea")
    await worker.hears()
    scanned, _ = await worker.opened()
    await worker.journal.locate(scanned, auditing.fix_at(*STORES["S1"]))
    await worker.journal.tell(scanned, Event.PRESSED)
    assert await shop.open() == FULL | {Kind.NOT_SERVING}
    join_id = await shop.connection.fetchval("SELECT join_id FROM joins")
    async with shop.connection.transaction():
        await join.leave(shop.connection, shop.chain_id, join_id)
    no_waiting = Settings(warn_quiet_s=0)
    assert await shop.open(settings=no_waiting) == set()
    assert await shop.raised() == 4


# ---------------------------------------------------------------- settings


async def test_thresholds_are_settings_and_0_switches_one_off(shop: Shop) -> None:
    await shop.change(members=60, expires_at=shop.now + timedelta(hours=70))
    assert await shop.open() == set()
    eager = Settings(warn_filling_percent=50, warn_expiring_hours=72)
    assert await shop.open(settings=eager) == {Kind.FILLING, Kind.EXPIRING}
    await shop.change(members=100, expires_at=shop.now - timedelta(hours=1))
    off = Settings(
        warn_filling_percent=0,
        warn_nearly_full_percent=0,
        warn_expiring_hours=0,
        warn_expiring_soon_hours=0,
        warn_quiet_s=0,
    )
    assert await shop.open(settings=off) == {Kind.FULL, Kind.EXPIRED, Kind.NOT_SERVING}


# ---------------------------------------------------------------- workers and crashes


async def test_of_many_workers_that_look_at_once_one_raises(shop: Shop) -> None:
    await shop.seats(100, 0)
    await shop.seats(100, 0, "S2")

    async def look() -> tuple[int, int]:
        async with shop.pool.acquire() as connection:
            return await warnings.check(connection, SETTINGS)

    counts = await asyncio.gather(*(look() for _ in range(7)))
    assert sum(raised for raised, _ in counts) == 8
    assert await shop.raised() == 8


async def test_many_workers_look_no_more_often_than_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, looks = warnings.check, 0

    async def counted(connection: db.Connection, settings: Settings) -> tuple[int, int]:
        nonlocal looks
        looks += 1
        return await original(connection, settings)

    monkeypatch.setattr(warnings, "check", counted)
    monkeypatch.setattr(warnings, "_MOST_OF_TIME", 1000.0)

    async def each_looks() -> int:
        before = looks
        for _ in range(7):
            await warnings.check_if_due(shop.connection, SETTINGS)
        return looks - before

    assert await each_looks() == 1
    assert await each_looks() == 0
    await shop.change(label="edited")
    assert await each_looks() == 1
    await shop.connection.execute("UPDATE warning_looks SET looked_at = looked_at - interval '5 s'")
    assert await each_looks() == 1
    # Where a look takes long, the next waits.
    monkeypatch.setattr(warnings, "_MOST_OF_TIME", 1e-6)
    await shop.change(label="again")
    assert await each_looks() == 1
    await shop.change(label="and again")
    assert await each_looks() == 0


async def test_a_worker_that_dies_while_it_looks_leaves_it_to_the_next(shop: Shop) -> None:
    await shop.seats(100, 0)
    dying = await shop.pool.acquire()
    transaction = dying.transaction()
    await transaction.start()
    assert await warnings.check(dying, SETTINGS) == (4, 0)
    assert await shop.look() == (0, 0), "one looks at a time"
    await shop.connection.execute("SELECT pg_terminate_backend($1)", dying.get_server_pid())
    while await shop.look() == (0, 0):  # noqa: ASYNC110 (PostgreSQL ends it in its own time)
        await asyncio.sleep(0.01)
    assert await shop.open() == FULL | {Kind.NOT_SERVING}
    assert await shop.raised() == 4
    await shop.pool.release(dying)


async def test_two_cannot_be_open_of_the_same(shop: Shop) -> None:
    await shop.seats(100, 0)
    await shop.look()
    with pytest.raises(asyncpg.UniqueViolationError):
        await shop.connection.execute(
            "INSERT INTO warnings (chain_id, warning_id, kind, store, code_id, version, raised_at)"
            " SELECT chain_id, gen_random_uuid(), kind, store, code_id, version, now()"
            " FROM warnings"
        )


def wrong_with(row: asyncpg.Record, now: datetime) -> set[Kind]:
    """What ought to be open of a code, said another way than by the statement that is tested."""
    found = set()
    if row["status"] == "active" and row["store_status"] == "open":
        share = (row["members"] + row["held"]) / row["capacity"]
        found |= {Kind.FILLING} if share >= 0.8 else set()
        found |= {Kind.NEARLY_FULL} if share >= 0.95 else set()
        found |= {Kind.FULL} if share >= 1 else set()
        if row["expires_at"] is not None:
            left = row["expires_at"] - now
            found |= {Kind.EXPIRING} if left <= timedelta(hours=48) else set()
            found |= {Kind.EXPIRING_SOON} if left <= timedelta(hours=12) else set()
            found |= {Kind.EXPIRED} if left <= timedelta(0) else set()
    if row["flagged_at"] and row["status"] != "retired" and row["store_status"] == "open":
        found |= {Kind.REPORTED}
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_what_is_open_is_what_is_wrong(shop: Shop, seed: int) -> None:
    """Random edits and hours, with looks in between; each warning is raised as often as what it
    warns of has begun."""
    dice = random.Random(seed)
    no_waiting = Settings(warn_quiet_s=0)
    steps: list[Step] = [_pause, _resume, _count_heads, _renew, _postpone, _fill, _flag, _expire]
    before: set[Kind] = set()
    begun = 0
    for _ in range(60):
        step = dice.choice(steps)
        if step is _flag:
            await _resume(shop)
        await step(shop)
        if dice.random() < 0.3:
            await shop.change(members=dice.randrange(110))
        if dice.random() < 0.3:
            status = dice.choice(["open", "closed"])
            await shop.put_store("S1", status=status)
        if dice.random() < 0.3:
            hours = dice.uniform(-1, 60)
            await shop.change(expires_at=shop.now + timedelta(hours=hours))
        shop.now += timedelta(hours=dice.choice([0, 1, 13]))
        row = await catalog.get_code(shop.connection, shop.chain_id, shop.codes["S1"])
        expected = wrong_with(row, shop.now)
        stopped = (
            row["status"] != "active"
            or row["members"] + row["held"] >= row["capacity"]
            or (row["expires_at"] is not None and row["expires_at"] <= shop.now)
        )
        if row["store_status"] == "open" and stopped:
            expected.add(Kind.NOT_SERVING)
        assert await shop.open(settings=no_waiting) == expected
        begun += len(expected - before)
        before = expected
    rows = await warnings.listed(shop.connection, shop.chain_id, ["S1"], past=True, most=5000)
    assert len(rows) == begun


# ---------------------------------------------------------------- what pages are told


async def test_a_page_is_shown_the_gravest_of_a_kind_and_the_gravest_first(shop: Shop) -> None:
    await shop.change("S1", members=100, expires_at=shop.now + timedelta(hours=5))
    await shop.change("S2", members=96)
    await shop.look()
    shown = await warnings.open_for(shop.connection, shop.chain_id, None)
    assert [(row["store"], row["kind"]) for row in shown] == [
        ("S1", "not_serving"),
        ("S1", "full"),
        ("S1", "expiring_soon"),
        ("S2", "nearly_full"),
    ]
    own = await warnings.open_for(shop.connection, shop.chain_id, ["S2"])
    assert [row["kind"] for row in own] == ["nearly_full"]
    of_one = await warnings.open_for(shop.connection, shop.chain_id, None, store="S2")
    assert of_one == own
    assert await warnings.counts(shop.connection, shop.chain_id, ["S2"]) == {
        Kind.FILLING: 1,
        Kind.NEARLY_FULL: 1,
    }


async def test_every_warning_can_be_said_in_both_languages(shop: Shop) -> None:
    await _flag(shop)
    await shop.change("S2", members=100, expires_at=shop.now - timedelta(hours=1))
    await shop.look()
    rows = await warnings.listed(shop.connection, shop.chain_id, None, most=100)
    assert {row["kind"] for row in rows} == {kind.value for kind in Kind}
    for row in rows:
        for lang in ("zh", "en"):
            sentence = warning_words.sentence(lang, row, UTC)
            assert sentence
            assert "  " not in sentence
            assert warning_words.advice(lang, row)
            assert warning_words.say(lang, f"kind.{row['kind']}")
            assert warning_words.say(lang, f"severity.{Kind(row['kind']).severity}")
    full = next(row for row in rows if row["kind"] == "full")
    assert warning_words.sentence("zh", full, UTC) == "群码已满（100/100），不再展示给顾客"
    named = {**full, "label": "一群"}
    assert warning_words.sentence("en", named, UTC).startswith("The code “一群” is full")


async def test_what_was_closed_long_ago_is_forgotten(shop: Shop) -> None:
    await shop.change(members=100)
    await shop.look()
    await shop.change(members=0)
    await shop.look()
    await shop.change("S2", members=100)
    await shop.look()
    await warnings.forget(shop.connection, Settings(warnings_days=0))
    assert await shop.raised() == 8
    await shop.connection.execute(
        "UPDATE warnings SET raised_at = raised_at - interval '401 days',"
        " closed_at = closed_at - interval '401 days'"
    )
    await warnings.forget(shop.connection, SETTINGS)
    assert await shop.raised() == 4, "what is open stays"
