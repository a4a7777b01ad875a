"""A chain whose past is written by SQL: scans, joins, evidence; and an independent recount
of what its orders should be matched to, in Python, from what was sent."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from service import accounts, catalog, db, importing, members, order_rows, orders, rollups, tabular
from service.domain import uuid7

STORES = {"S1": (121.4737, 31.2304), "S2": (121.4837, 31.2304)}
CITIES = {"S1": "上海市", "S2": "杭州市"}
ENTRY = "tea"
PLACEMENTS = {"poster": "poster", "card": "card", "sms": "sms"}  # placement -> channel
SECRET = b"a secret of the tests"
KINDS = ("unionid", "external_userid", "phone", "member")


@dataclass(slots=True)
class Join:
    scan_id: uuid.UUID
    store: str | None
    joined_at: datetime
    join_id: uuid.UUID
    keys: dict[str, str] = field(default_factory=dict)  # by kind


@dataclass(slots=True)
class Scan:
    scan_id: uuid.UUID
    visitor_id: uuid.UUID
    placement: str | None
    scanned_at: datetime
    joins: list[Join] = field(default_factory=list)

    @property
    def store(self) -> str | None:
        """The one under which the funnel counts it, once it has joined."""
        return max((join.store for join in self.joins if join.store), default=None)


@dataclass(slots=True)
class World:
    """A chain: what was done there is in the database, and here."""

    connection: db.Connection
    chain_id: uuid.UUID
    timezone: ZoneInfo
    window: timedelta
    entry: str
    scans: list[Scan] = field(default_factory=list)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def matching(self) -> orders.Matching:
        return orders.Matching(SECRET, self.window)

    # Doing

    async def scan(
        self, at: datetime, placement: str | None = None, visitor: uuid.UUID | None = None
    ) -> Scan:
        made = Scan(uuid7(at), visitor or uuid.uuid4(), placement, at)
        await self.connection.execute(
            "INSERT INTO scans (chain_id, scan_id, entry, placement, visitor_id, scanned_at, via)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'page')",
            self.chain_id, made.scan_id, self.entry, placement, made.visitor_id, at,
        )  # fmt: skip
        await rollups.touch(self.connection, self.chain_id, [made.scan_id])
        self.scans.append(made)
        return made

    async def join(self, scan: Scan, store: str | None, at: datetime) -> Join:
        """Its evidence is of now, as the database's clock has it."""
        made = Join(scan.scan_id, store, at, uuid7(at))
        code_id, hold_id = uuid7(), uuid7(at)
        async with self.connection.transaction():
            await self.connection.execute(
                "INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source,"
                " store, city, code_id, hold_id, routed_at)"
                " VALUES ($1, $2, $3, 'code', 'nearest', 'gps', $4, '苏州市', $5, $6, $7)",
                self.chain_id, uuid7(at), scan.scan_id, store, code_id, hold_id, at,
            )  # fmt: skip
            await self.connection.execute(
                "INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, code_id, store,"
                " kind, counts, seen_at) VALUES ($1, $2, $3, $4, $5, $6, 'verified', true, $7)",
                self.chain_id, uuid7(), scan.scan_id, hold_id, code_id, store, at,
            )  # fmt: skip
            await self.connection.execute(
                "INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry,"
                " placement, code_id, store, evidence, joined_at)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'verified', $10)",
                self.chain_id, made.join_id, scan.scan_id, hold_id, scan.visitor_id, self.entry,
                scan.placement, code_id, store, at,
            )  # fmt: skip
            await rollups.touch(self.connection, self.chain_id, [scan.scan_id])
        scan.joins.append(made)
        return made

    async def send(self, *sent: dict[str, Any], dry_run: bool = False) -> orders.Put:
        parsed = order_rows.orders(sent, tz=self.timezone, currency="CNY")
        assert parsed.rejected == ()
        done = await orders.put(
            self.connection, self.chain_id, parsed.rows, self.matching, dry_run=dry_run
        )
        assert done.rejected == ()
        if not dry_run:
            self.sent |= {each["order"]: each for each in sent}
        return done

    async def tell(self, join: Join, **keys: str | None) -> orders.Told:
        parsed = order_rows.joined([{"join_id": str(join.join_id), **keys}])
        assert parsed.rejected == ()
        told = await orders.tell_members(self.connection, self.chain_id, parsed.rows, self.matching)
        for kind, key in keys.items():
            join.keys.pop(kind, None)
            if key is not None:
                join.keys[kind] = key
        return told

    async def catch_up(self) -> int:
        return await orders.catch_up(self.connection, self.matching)

    # What should be

    def matches(self) -> dict[str, tuple[uuid.UUID, str] | None]:
        """By order: the join and the rule."""
        found = {
            number: self._match(each)
            for number, each in self.sent.items()
            if each.get("kind", "order") == "order"
        }
        for number, each in self.sent.items():
            if each.get("kind") == "refund":
                order = self._order_of(each, found)
                rule = "refunds" if each.get("refunds") else "last_order"
                match = found[order] if order else None
                found[number] = (match[0], rule) if match else None
        return found

    def _match(self, order: Mapping[str, Any]) -> tuple[uuid.UUID, str] | None:
        at = _instant(order)

        def last_first(join: Join) -> tuple[Any, ...]:
            return join.joined_at, join.store == order.get("store"), join.join_id

        of_scan = [j for s in self.scans for j in s.joins if str(j.scan_id) == order.get("scan_id")]
        before = [join for join in of_scan if join.joined_at <= at]
        if before:
            return max(before, key=last_first).join_id, "scan_id"
        if of_scan:
            first = min(join.joined_at for join in of_scan)
            return max((j for j in of_scan if j.joined_at == first), key=last_first).join_id, (
                "scan_id"
            )
        kinds, key = _named(order)
        for kind in kinds:
            candidates = [
                join
                for s in self.scans
                for join in s.joins
                if join.keys.get(kind) == key
                and join.joined_at <= at
                and (not self.window or join.joined_at >= at - self.window)
            ]
            if candidates:
                return max(candidates, key=last_first).join_id, kind
        return None

    def _order_of(
        self, refund: Mapping[str, Any], found: Mapping[str, tuple[uuid.UUID, str] | None]
    ) -> str | None:
        """The order that a refund belongs to."""
        matched = {
            number: order
            for number, order in self.sent.items()
            if order.get("kind", "order") == "order"
            and found[number] is not None
            and order.get("currency", "CNY") == refund.get("currency", "CNY")
        }
        if refund.get("refunds"):
            return refund["refunds"] if refund["refunds"] in matched else None
        for name in ("scan_id", "member"):
            value = refund.get(name) if name == "scan_id" else _named(refund)[1]
            if value is None:
                continue
            before = [
                (_instant(order), number)
                for number, order in matched.items()
                if (order.get(name) if name == "scan_id" else _named(order)[1]) == value
                and _instant(order) <= _instant(refund)
            ]
            if before:
                return max(before)[1]
        return None

    def scan_of(self, join_id: uuid.UUID) -> Scan:
        return next(s for s in self.scans for join in s.joins if join.join_id == join_id)


def _instant(order: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(order["at"])


def _named(order: Mapping[str, Any]) -> tuple[Sequence[str], str | None]:
    """The kinds to try, and the key."""
    text = order.get("member")
    if text is None:
        return (), None
    kind, colon, key = text.partition(":")
    return ((kind,), key) if colon else (KINDS, text)


# ---------------------------------------------------------------- making one


async def world(
    connection: db.Connection,
    *,
    timezone: str = "Asia/Shanghai",
    window: timedelta = timedelta(days=365),
    name: str | None = None,
) -> World:
    name = name or f"chain-{uuid.uuid4().hex[:12]}"
    chain_id = await accounts.create_chain(connection, name, name, timezone)
    for store, (lon, lat) in STORES.items():
        row = {"store": store, "name": store, "lon": lon, "lat": lat, "city": CITIES[store]}
        await catalog.put_stores(connection, chain_id, importing.stores(tabular.one(row)).rows)
    entry = f"{ENTRY}-{name}"
    await connection.execute(
        "INSERT INTO entries (chain_id, entry, name) VALUES ($1, $2, $2)", chain_id, entry
    )
    for placement, channel in PLACEMENTS.items():
        await connection.execute(
            "INSERT INTO placements (chain_id, entry, placement, name, channel)"
            " VALUES ($1, $2, $3, $3, $4)",
            chain_id, entry, placement, channel,
        )  # fmt: skip
    return World(connection, chain_id, ZoneInfo(timezone), window, entry)


# ---------------------------------------------------------------- what is there


async def kept(world: World) -> dict[str, tuple[uuid.UUID, str] | None]:
    """By order, what the database has of its match."""
    rows = await world.connection.fetch(
        "SELECT order_no, join_id, rule FROM orders WHERE chain_id = $1", world.chain_id
    )
    return {
        row["order_no"]: (row["join_id"], row["rule"]) if row["join_id"] else None for row in rows
    }


Sums = dict[tuple[Any, ...], tuple[Any, ...]]


def order_days(world: World) -> Sums:
    """(day, currency, store, matched) -> orders, refunds, sales, refunded: counted from what was
    sent."""
    sums: dict[tuple[Any, ...], list[Any]] = {}
    matches = world.matches()
    for number, each in world.sent.items():
        match = matches[number]
        joined = next(
            (j.store for s in world.scans for j in s.joins if match and j.join_id == match[0]), None
        )
        key = (
            _instant(each).astimezone(world.timezone).date(),
            each.get("currency", "CNY"),
            each.get("store") or joined or "",
            match is not None,
        )
        _add(sums.setdefault(key, [0, 0, Decimal(0), Decimal(0)]), each)
    return {key: tuple(values) for key, values in sums.items()}


def _add(sums: list[Any], order: Mapping[str, Any]) -> None:
    refund = order.get("kind") == "refund"
    sums[1 if refund else 0] += 1
    sums[3 if refund else 2] += Decimal(str(order["amount"]))


def scan_orders(world: World) -> Sums:
    """(scan, currency) -> day, placement, store, orders, refunds, sales, refunded, first."""
    matches = world.matches()
    of_scan: dict[tuple[uuid.UUID, str], list[str]] = {}
    for number, match in matches.items():
        if match is not None:
            currency = world.sent[number].get("currency", "CNY")
            of_scan.setdefault((world.scan_of(match[0]).scan_id, currency), []).append(number)
    found: Sums = {}
    for (scan_id, currency), numbers in of_scan.items():
        scan = next(s for s in world.scans if s.scan_id == scan_id)
        sums: list[Any] = [0, 0, Decimal(0), Decimal(0)]
        for number in numbers:
            _add(sums, world.sent[number])
        _, first = min(
            (_instant(world.sent[n]), n) for n in numbers if world.sent[n].get("kind") != "refund"
        )
        first_revenue = Decimal(str(world.sent[first]["amount"])) - sum(
            Decimal(str(world.sent[n]["amount"]))
            for n in numbers
            if world.sent[n].get("refunds") == first
        )
        day = scan.scanned_at.astimezone(world.timezone).date()
        key = (scan_id, currency)
        found[key] = (day, scan.placement or "", scan.store or "", *sums, first_revenue)
    return found


def revenue_sums(world: World, step: str) -> Sums:
    """(day, currency, placement, store) -> buyers, orders, refunds, sales, refunded, first."""
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for (_, currency), (day, placement, store, *rest) in scan_orders(world).items():
        key = {
            "day": (day, currency, placement, store),
            "month": (day.replace(day=1), currency, placement, store),
            "total": (day, currency, "", ""),
        }[step]
        kept_so_far = sums.setdefault(key, [0] * 6)
        for place, value in enumerate((1, *rest)):
            kept_so_far[place] += value
    return {key: tuple(values) for key, values in sums.items()}


async def audit(world: World) -> None:
    """All that is kept is what should be."""
    assert await kept(world) == world.matches()
    rows = await world.connection.fetch(
        "SELECT * FROM order_days WHERE chain_id = $1 AND orders + refunds <> 0", world.chain_id
    )
    assert {
        (row["day"], row["currency"], row["store"], row["matched"]): _row(
            row, "orders", "refunds", "sales", "refunded"
        )
        for row in rows
    } == order_days(world)
    rows = await world.connection.fetch(
        "SELECT * FROM scan_orders WHERE chain_id = $1", world.chain_id
    )
    assert {
        (row["scan_id"], row["currency"]): _row(
            row, "day", "placement", "store", "orders", "refunds", "sales", "refunded",
            "first_revenue",
        )
        for row in rows
    } == scan_orders(world)  # fmt: skip
    assert all(row["revenue"] == row["sales"] - row["refunded"] for row in rows)
    strange = await world.connection.fetch(
        "SELECT s.scan_id FROM scan_orders s JOIN scan_stories t USING (chain_id, scan_id)"
        " WHERE s.chain_id = $1 AND (s.store, s.entry, s.placement, s.city, s.scanned_at)"
        " <> (coalesce(t.store, ''), t.entry, coalesce(t.placement, ''), coalesce(t.city, ''),"
        "     t.scanned_at)",
        world.chain_id,
    )
    assert strange == [], "the funnel counts them elsewhere"
    for step in ("day", "month", "total"):
        rows = await world.connection.fetch(
            "SELECT * FROM revenue_sums WHERE chain_id = $1 AND step = $2 AND buyers <> 0",
            world.chain_id,
            step,
        )
        assert {
            (row["day"], row["currency"], row["placement"], row["store"]): _row(
                row, "buyers", "orders", "refunds", "sales", "refunded", "first_revenue"
            )
            for row in rows
        } == revenue_sums(world, step)
    empty = await world.connection.fetchval(
        "SELECT count(*) FROM revenue_sums WHERE chain_id = $1 AND buyers = 0"
        " AND (orders, refunds, sales, refunded, first_revenue) <> (0, 0, 0, 0, 0)",
        world.chain_id,
    )
    assert empty == 0


def _row(row: asyncpg.Record, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def hashed(world: World, key: str) -> bytes:
    """As a key is kept."""
    return members.parse(key).hashed(SECRET, world.chain_id)
