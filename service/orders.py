"""Orders: what members buy, matched to the joins that made them members.

A chain sends its orders and refunds under its own numbers, and tells who joins became
(`member_keys`). What an order is matched to is a function of the orders, the keys and the joins as
they are now, and of nothing else: whatever comes, in whatever order, ends in the same state. So
each change is followed, in its own transaction, by matching anew whatever it may concern; and all
changes of one chain take turns, by the lock of its ledger. The rules stand in `sql/orders.sql`:
`match_orders`, `match_refunds`.

A join can come later than its order, when the visitor pays before they join, or after an outage:
`catch_up` looks for such.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from service import audit, db, members, outbox, rollups
from service.importing import Rejected
from service.order_rows import MemberRow, OrderRow

_sql = db.load("orders")

BATCH = 5_000
"""Orders that one transaction takes of a longer list."""

_READ = ("scans", "routings", "evidence", "joins", "member_keys")
_DATED_AT_ONCE = 20_000
_FEW = 50  # rows that are soon matched by any plan
_CENT = Decimal("0.01")
_EVIDENCE = 20_000  # looked at in one transaction; few of it concerns orders


class Rule(StrEnum):
    """Why an order is matched to a join, best first."""

    SCAN_ID = "scan_id"  # it names the scan
    UNIONID = "unionid"
    EXTERNAL_USERID = "external_userid"
    PHONE = "phone"
    MEMBER = "member"  # the chain's own number
    REFUNDS = "refunds"  # as the order that this refund names
    LAST_ORDER = "last_order"  # as the member's last order before this refund


CONFIDENCE = {
    Rule.SCAN_ID: 1.0,
    Rule.UNIONID: 0.98,
    Rule.EXTERNAL_USERID: 0.98,
    Rule.PHONE: 0.9,  # numbers are shared in families, and given out again
    Rule.MEMBER: 0.95,
}
"""How sure a match is: by convention, and not measured. A refund has its order's."""

_KINDS = [kind.value for kind in members.Kind]
_CONFIDENCES = [CONFIDENCE[Rule(kind)] for kind in _KINDS]


@dataclass(frozen=True, slots=True)
class Matching:
    """What matching needs to know: the installation's secret, and how long before an order a join
    still counts (0: however long)."""

    secret: bytes
    window: timedelta


@dataclass(frozen=True, slots=True)
class Put:
    """What became of the orders that were sent."""

    created: int
    updated: int
    unchanged: int
    matched: int
    rejected: tuple[Rejected, ...]

    @property
    def accepted(self) -> int:
        return self.created + self.updated + self.unchanged

    @property
    def unmatched(self) -> int:
        return self.accepted - self.matched

    def __add__(self, other: "Put") -> "Put":
        return Put(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.matched + other.matched,
            self.rejected + other.rejected,
        )


async def terms(connection: db.Connection, chain_id: uuid.UUID) -> tuple[tzinfo, str]:
    """What the chain's times and amounts are in that do not say it: time zone and currency."""
    row = await _sql.chain_of_orders(connection, chain_id=chain_id)
    return ZoneInfo(row["timezone"]), row["currency"]


async def put(
    connection: db.Connection,
    chain_id: uuid.UUID,
    rows: Sequence[OrderRow],
    matching: Matching,
    *,
    dry_run: bool = False,
) -> Put:
    """Keep these orders, no number twice, in one transaction. A number that is known is corrected:
    nothing of what was sent before stays. A store that is not the chain's is rejected."""
    await _look_at(connection, len(rows), *_READ)
    transaction = connection.transaction()
    await transaction.start()
    try:
        done = await _put(connection, chain_id, rows, matching)
    except BaseException:
        await transaction.rollback()
        raise
    await (transaction.rollback() if dry_run else transaction.commit())
    return done


async def put_all(
    connection: db.Connection,
    chain_id: uuid.UUID,
    rows: Sequence[OrderRow],
    matching: Matching,
    *,
    rejected: tuple[Rejected, ...] = (),
    dry_run: bool = False,
    done: Callable[[int], object] = lambda rows: None,
) -> Put:
    """A long list, in transactions of `BATCH`: what was kept before a failure stays, and sending it
    all again is safe. `done` is told how many rows have been dealt with.

    A dry run counts as matched what would be by itself: not by another row of the list.
    """
    total = Put(0, 0, 0, 0, rejected)
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        total += await put(connection, chain_id, batch, matching, dry_run=dry_run)
        done(len(batch))
    return total


async def _put(
    connection: db.Connection, chain_id: uuid.UUID, rows: Sequence[OrderRow], matching: Matching
) -> Put:
    named = sorted({row.store for row in rows if row.store is not None})
    known = {
        row["store"]
        for row in await db.rows(_sql.known_stores(connection, chain_id=chain_id, stores=named))
    }
    rejected = tuple(
        Rejected(row.row, "store", f"there is no store {row.store}")
        for row in rows
        if row.store is not None and row.store not in known
    )
    taken = [row for row in rows if row.store is None or row.store in known]
    await take_turn(connection, chain_id)
    numbers = [row.order for row in taken]
    before = await _by_number(connection, chain_id, numbers)
    values = [_values(row, matching.secret, chain_id) for row in taken]
    changed = [each for each in values if _differs(each, before.get(each["order_no"]))]
    if changed:
        change = _Change(connection, chain_id, matching)
        await change.leave(each["order_no"] for each in changed)
        await _sql.upsert_orders(connection, chain_id=chain_id, **_columns(changed))
        await _look_at(connection, len(changed), "orders")
        await change.settle()
        new = [each["order_no"] for each in changed if each["order_no"] not in before]
        corrected = [each["order_no"] for each in changed if each["order_no"] in before]
        told = {"created": len(new), "corrected": audit.some(corrected)}
        subject = f"{len(changed)} orders"
        await audit.record(connection, chain_id, "orders.receive", subject, after=told)
    after = await _by_number(connection, chain_id, numbers)
    created = len(numbers) - len(before)
    return Put(
        created=created,
        updated=len(changed) - created,
        unchanged=len(taken) - len(changed),
        matched=sum(row["join_id"] is not None for row in after.values()),
        rejected=rejected,
    )


async def date_anew(connection: db.Connection, chain_id: uuid.UUID) -> None:
    """Sum all by the days of the chain's time zone, which has just changed, in a transaction that
    has its turn."""
    chain = {"chain_id": chain_id}
    await _sql.forget_days(connection, **chain)
    after = ""
    while numbers := await db.rows(
        _sql.next_numbers(connection, after=after, most=_DATED_AT_ONCE, **chain)
    ):
        orders = [row["order_no"] for row in numbers]
        await _sql.count_order_days(connection, orders=orders, sign=1, **chain)
        after = orders[-1]
    await _sql.forget_revenue(connection, **chain)
    await _sql.date_scans(connection, **chain)
    last = uuid.UUID(int=0)
    while scans := await db.rows(
        _sql.next_scans(connection, after=last, most=_DATED_AT_ONCE, **chain)
    ):
        scan_ids = [row["scan_id"] for row in scans]
        await _sql.count_revenue(connection, scan_ids=scan_ids, sign=1, **chain)
        last = scan_ids[-1]


async def _look_at(connection: db.Connection, rows: int, *tables: str) -> None:
    """So that plans know of what has come in bulk, too: see `by_key`."""
    if rows > _FEW:
        await db.analyze_grown(connection, *tables)


async def take_turn(connection: db.Connection, chain_id: uuid.UUID) -> uuid.UUID:
    """Take turns with all that changes this chain's orders, until the commit; the last evidence
    that was looked at."""
    await _sql.by_key(connection)
    seen: uuid.UUID = await _sql.lock_ledger(connection, chain_id=chain_id)
    return seen


async def _by_number(
    connection: db.Connection, chain_id: uuid.UUID, numbers: Iterable[str]
) -> dict[str, asyncpg.Record]:
    rows = await db.rows(_sql.orders_by_number(connection, chain_id=chain_id, orders=list(numbers)))
    return {row["order_no"]: row for row in rows}


# ---------------------------------------------------------------- what changes, and what follows


class _Change:
    """One change of a chain's orders, keys or joins: what it concerns leaves the sums, is changed
    and matched anew, and is counted again."""

    def __init__(self, connection: db.Connection, chain_id: uuid.UUID, matching: Matching) -> None:
        self._connection = connection
        self._matching = matching
        self._chain: dict[str, Any] = {"chain_id": chain_id}
        self._before: dict[str, asyncpg.Record | None] = {}

    async def leave(self, numbers: Iterable[str]) -> None:
        """These orders, known or not, leave the sums as they are; those that have, once."""
        leaving = [number for number in dict.fromkeys(numbers) if number not in self._before]
        chain_id = self._chain["chain_id"]
        found = await _by_number(self._connection, chain_id, leaving)
        self._before |= {number: found.get(number) for number in leaving}
        if found:
            await _sql.count_order_days(
                self._connection, orders=sorted(found), sign=-1, **self._chain
            )

    async def settle(self, scan_ids: Iterable[uuid.UUID] = ()) -> list[asyncpg.Record]:
        """Match what has left, and the refunds that follow it, anew, and count it again; `scan_ids`
        are counted again in any case. The orders that were matched, or matched otherwise."""
        now = await _by_number(self._connection, self._chain["chain_id"], self._before)
        was = [row for row in self._before.values() if row is not None]
        follow = await db.rows(
            _sql.refunds_that_follow(
                self._connection,
                orders=list(self._before),
                **_known_by([*was, *now.values()]),
                **self._chain,
            )
        )
        await self.leave(row["order_no"] for row in follow)
        numbers = sorted(self._before)
        await _sql.match_orders(
            self._connection,
            orders=numbers,
            kinds=_KINDS,
            confidences=_CONFIDENCES,
            window_s=self._matching.window.total_seconds(),
            **self._chain,
        )
        await _sql.match_refunds(self._connection, orders=numbers, **self._chain)
        after = await _by_number(self._connection, self._chain["chain_id"], numbers)
        await _sql.count_order_days(self._connection, orders=numbers, sign=1, **self._chain)
        await self._recount({*scan_ids, *self._scans(after)})
        matched = [
            row
            for number, row in after.items()
            if row["join_id"] is not None and row["join_id"] != self._was(number)
        ]
        await self._tell(matched)
        return matched

    async def _tell(self, matched: list[asyncpg.Record]) -> None:
        """Tell other systems, if any wants to hear of it, with the joins' LBS tags."""
        chain_id, event = self._chain["chain_id"], outbox.Event.ORDER_MATCHED
        if not matched or chain_id not in await outbox.wanting(self._connection, [event]):
            return
        join_ids = list({row["join_id"] for row in matched})
        rows = await db.rows(_sql.joins_told(self._connection, join_ids=join_ids, **self._chain))
        joins = {row["join_id"]: dict(row) for row in rows}
        news = ({"order": public(row), "join": joins.get(row["join_id"])} for row in matched)
        await outbox.put(self._connection, chain_id, event, *news)

    def _was(self, number: str) -> uuid.UUID | None:
        before = self._before[number]
        return None if before is None else before["join_id"]

    def _scans(self, after: dict[str, asyncpg.Record]) -> Iterable[uuid.UUID]:
        """The scans whose orders these are or were."""
        for row in (*self._before.values(), *after.values()):
            if row is not None and row["joined_scan_id"] is not None:
                yield row["joined_scan_id"]

    async def _recount(self, scan_ids: set[uuid.UUID]) -> None:
        if not scan_ids:
            return
        scans = {**self._chain, "scan_ids": sorted(scan_ids)}
        await _sql.count_revenue(self._connection, sign=-1, **scans)
        await _sql.recount_scans(self._connection, **scans)
        await _look_at(self._connection, len(scan_ids), "scan_orders")
        await _sql.forget_scans(self._connection, **scans)
        await _sql.count_revenue(self._connection, sign=1, **scans)
        await rollups.touch(self._connection, self._chain["chain_id"], scans["scan_ids"])


def _known_by(rows: Iterable[asyncpg.Record]) -> dict[str, list[Any]]:
    """The members and scans that these orders name."""
    rows = list(rows)
    return {
        name: list({row[column] for row in rows if row[column] is not None})
        for name, column in (("hashes", "member_hash"), ("scan_ids", "scan_id"))
    }


# ---------------------------------------------------------------- columns

_COLUMNS = {
    "order_no": "orders",
    "kind": "kinds",
    "at": "ats",
    "amount": "amounts",
    "currency": "currencies",
    "store": "stores",
    "member": "members",
    "member_kind": "member_kinds",
    "member_hash": "member_hashes",
    "scan_id": "scan_ids",
    "refunds": "refunds",
}
"""What is sent of an order: column -> parameter."""


def _values(row: OrderRow, secret: bytes, chain_id: uuid.UUID) -> dict[str, Any]:
    key = row.member
    return {
        "order_no": row.order,
        "kind": row.kind.value,
        "at": row.at,
        "amount": row.amount,
        "currency": row.currency,
        "store": row.store,
        "member": key.shown if key else None,
        "member_kind": key.kind.value if key and key.kind else None,
        "member_hash": key.hashed(secret, chain_id) if key else None,
        "scan_id": row.scan_id,
        "refunds": row.refunds,
    }


def _differs(values: dict[str, Any], before: asyncpg.Record | None) -> bool:
    return before is None or any(before[column] != values[column] for column in values)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {parameter: [row[column] for row in rows] for column, parameter in _COLUMNS.items()}


# ---------------------------------------------------------------- members


@dataclass(frozen=True, slots=True)
class Told:
    """What became of what was told of joins; `orders` were matched by it, or matched otherwise."""

    accepted: int
    orders: int
    rejected: tuple[Rejected, ...]


async def tell_members(
    connection: db.Connection,
    chain_id: uuid.UUID,
    rows: Sequence[MemberRow],
    matching: Matching,
) -> Told:
    """Keep who these joins became, and match the orders that name them. Of two rows for the same
    join and kind the later counts."""
    await _look_at(connection, len(rows), *_READ)
    async with connection.transaction():
        await take_turn(connection, chain_id)
        joins = await _joins_of(connection, chain_id, rows)
        rejected: list[Rejected] = []
        wanted: dict[tuple[uuid.UUID, str], bytes | None] = {}
        found: dict[uuid.UUID, asyncpg.Record] = {}
        for row in rows:
            join = joins.get(row.join_id or row.scan_id)
            if join is None:
                field = "join_id" if row.join_id else "scan_id"
                rejected.append(Rejected(row.row, field, "there is no such join"))
                continue
            found[join["join_id"]] = join
            for kind, key in row.keys.items():
                hashed = key.hashed(matching.secret, chain_id) if key else None
                wanted[join["join_id"], kind.value] = hashed
        changed = await _keep_keys(connection, chain_id, wanted, found)
        matched: list[asyncpg.Record] = []
        if changed:
            change = _Change(connection, chain_id, matching)
            await change.leave(await _orders_known_by(connection, chain_id, hashes=changed))
            matched = await change.settle()
            told = {"joins": audit.some(found)}
            subject = f"{len(found)} joins"
            await audit.record(connection, chain_id, "members.tell", subject, after=told)
    return Told(len(rows) - len(rejected), len(matched), tuple(rejected))


async def _joins_of(
    connection: db.Connection, chain_id: uuid.UUID, rows: Sequence[MemberRow]
) -> dict[uuid.UUID | None, asyncpg.Record]:
    """By the join's id or the scan's, whichever a row names."""
    join_ids = [row.join_id for row in rows if row.join_id is not None]
    scan_ids = [row.scan_id for row in rows if row.scan_id is not None]
    by_id = await db.rows(_sql.joins_by_id(connection, chain_id=chain_id, join_ids=join_ids))
    by_scan = await db.rows(_sql.joins_by_scan(connection, chain_id=chain_id, scan_ids=scan_ids))
    return {
        **{row["join_id"]: row for row in by_id},
        **{row["scan_id"]: row for row in by_scan},
    }


async def _keep_keys(
    connection: db.Connection,
    chain_id: uuid.UUID,
    wanted: dict[tuple[uuid.UUID, str], bytes | None],
    joins: dict[uuid.UUID, asyncpg.Record],
) -> set[bytes]:
    """The keys that joins have gained or lost."""
    rows = await db.rows(_sql.keys_of_joins(connection, chain_id=chain_id, join_ids=list(joins)))
    had = {(row["join_id"], row["kind"]): row["key_hash"] for row in rows}
    lost = [key for key in wanted if key in had and had[key] != wanted[key]]
    gained = [(key, new) for key, new in wanted.items() if new is not None and had.get(key) != new]
    await _sql.forget_keys(
        connection,
        chain_id=chain_id,
        join_ids=[join_id for join_id, _ in lost],
        kinds=[kind for _, kind in lost],
    )
    of_join = [joins[join_id] for (join_id, _), _ in gained]
    await _sql.insert_keys(
        connection,
        chain_id=chain_id,
        key_hashes=[new for _, new in gained],
        kinds=[kind for (_, kind), _ in gained],
        join_ids=[join["join_id"] for join in of_join],
        scan_ids=[join["scan_id"] for join in of_join],
        stores=[join["store"] for join in of_join],
        joined_ats=[join["joined_at"] for join in of_join],
    )
    return {had[key] for key in lost} | {new for _, new in gained}


async def _orders_known_by(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    hashes: Collection[bytes] = (),
    scan_ids: Collection[uuid.UUID] = (),
) -> list[str]:
    rows = await db.rows(
        _sql.orders_known_by(
            connection, chain_id=chain_id, hashes=list(hashes), scan_ids=list(scan_ids)
        )
    )
    return [row["order_no"] for row in rows]


# ---------------------------------------------------------------- late joins


async def catch_up(connection: db.Connection, matching: Matching) -> int:
    """Match what waits for joins that have come meanwhile, in all chains; how many orders were
    matched, or matched otherwise. Several workers may do so at once: they take turns."""
    matched = 0
    for row in await db.rows(_sql.ledgers(connection)):
        more = True
        while more:
            more, count = await _catch_up(connection, row["chain_id"], matching)
            matched += count
    return matched


async def _catch_up(
    connection: db.Connection, chain_id: uuid.UUID, matching: Matching
) -> tuple[bool, int]:
    """Whether there is more to look at, and how many orders were matched."""
    async with connection.transaction():
        after = await take_turn(connection, chain_id)
        found = await _sql.new_evidence(connection, chain_id=chain_id, after=after, most=_EVIDENCE)
        matched = []
        if found["scan_ids"]:
            matched = await _match_scans(connection, chain_id, found["scan_ids"], matching)
        seen = min(found["last_id"] or after, found["settled_id"])
        if seen > after:
            await _sql.see_evidence(connection, chain_id=chain_id, seen=seen)
    return found["looked_at"] == _EVIDENCE and seen > after, len(matched)


async def _match_scans(
    connection: db.Connection,
    chain_id: uuid.UUID,
    scan_ids: Collection[uuid.UUID],
    matching: Matching,
) -> list[asyncpg.Record]:
    """Match the orders that name these scans, and count these scans again."""
    change = _Change(connection, chain_id, matching)
    await change.leave(await _orders_known_by(connection, chain_id, scan_ids=scan_ids))
    return await change.settle(scan_ids)


# ---------------------------------------------------------------- lists


async def listed(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    scope: list[str] | None = None,
    matched: bool | None = None,
    store: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after_at: datetime | None = None,
    after: str | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Orders by time and number, from behind `after_at`, `after`; `until` is excluded."""
    return await db.rows(
        _sql.list_orders(
            connection,
            chain_id=chain_id,
            scope=scope,
            matched=matched,
            store=store,
            since=since,
            until=until,
            after_at=after_at,
            after=after,
            most=most,
        )
    )


async def find(connection: db.Connection, chain_id: uuid.UUID, order: str) -> asyncpg.Record | None:
    return (await _by_number(connection, chain_id, [order])).get(order)


def public(row: asyncpg.Record) -> dict[str, Any]:
    """An order, as the API and webhooks tell it. Amounts are texts: no reader makes floats of them.
    Of a phone nothing is told."""
    match = None
    if row["join_id"] is not None:
        match = {
            "rule": row["rule"],
            "confidence": row["confidence"],
            "join_id": row["join_id"],
            "scan_id": row["joined_scan_id"],
            "store": row["join_store"],
            "matched_at": row["matched_at"],
        }
    return {
        "order": row["order_no"],
        "kind": row["kind"],
        "at": row["at"],
        "amount": money(row["amount"]),
        "currency": row["currency"],
        "store": row["store"],
        "member": row["member"],
        "scan_id": row["scan_id"],
        "refunds": row["refunds"],
        "match": match,
        "received_at": row["received_at"],
        "updated_at": row["updated_at"],
    }


def exact(amount: Decimal) -> Decimal:
    """An amount with two decimals, more where it has more."""
    rounded = amount.quantize(_CENT)
    return rounded if rounded == amount else amount.normalize()


def money(amount: Decimal) -> str:
    """An amount as people write it."""
    return f"{exact(amount):f}"
