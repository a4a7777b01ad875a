"""What members buy in a simulated history, and how the chain's till knows them. Pure: the same
members and the same seed, the same orders."""

import math
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal

from service import members
from service.order_rows import MemberRow, OrderKind, OrderRow
from service.simulate import crowd

# Members of whom nothing is bought after so long are not looked at any more.
REMEMBERED_DAYS = 150

_BUYERS = 0.55  # of the members; the others only read along
_KNOWN = 0.8  # of the members: the till knows who they became
_STRANGERS = 0.12  # of the orders: by members of whom nothing else is known
_REFUNDS = 0.025
_TEA = 32.0  # what half of the orders cost less than
_HOURS = (9, 21)


@dataclass(frozen=True, slots=True)
class Member:
    """A join."""

    join_id: uuid.UUID
    scan_id: uuid.UUID
    visitor_id: uuid.UUID
    store: str | None
    joined_at: datetime
    left_at: datetime | None

    @property
    def known(self) -> bool:
        return self._share(0) < _KNOWN

    @property
    def a_day(self) -> float:
        """Orders that they can be expected to make on a day."""
        share = self._share(4)
        return 0.0 if share >= _BUYERS else 0.005 + 0.22 * (1 - share / _BUYERS) ** 3

    @property
    def spends(self) -> float:
        """What their orders cost, against others'."""
        return 0.7 + 0.9 * self._share(8) ** 2

    @property
    def number(self) -> str:
        """As WeCom calls them."""
        return f"wm{self.visitor_id.hex[:20]}"

    def _share(self, place: int) -> float:
        # Four digits of an id that is drawn by hash; those from the twelfth on are not all drawn.
        return int(self.visitor_id.hex[place : place + 4], 16) / 16**4


def price(costly: float) -> Decimal:
    """What is paid for something so many times as costly as most."""
    return Decimal(max(6, round(_TEA * costly))) - Decimal("0.10")


def told(joined: Sequence[Member]) -> list[MemberRow]:
    """Who these became, where the till knows it."""
    kind = members.Kind.EXTERNAL_USERID
    return [
        MemberRow(row, member.join_id, None, {kind: members.of(kind, member.number)})
        for row, member in enumerate((each for each in joined if each.known), start=1)
    ]


def orders(
    roster: Sequence[Member],
    day: date,
    timezone: tzinfo,
    until: datetime,
    *,
    seed: int,
    currency: str,
) -> Iterator[OrderRow]:
    """The orders and refunds of a day before `until`. `roster`: who joined until the end of that
    day, oldest first."""
    rng = random.Random(f"{seed}/{day}/orders")
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone).astimezone(UTC)
    weekend = 1.25 if day.weekday() >= 5 else 1.0
    for place, member in enumerate(roster):
        # Drawn for everybody, so that nobody's orders depend on another's.
        chance, hour, costs = rng.random(), rng.uniform(*_HOURS), rng.gauss(0, 0.45)
        paid_back, named = rng.random(), rng.random()
        at = midnight + timedelta(hours=hour)
        age_days = (at - member.joined_at).total_seconds() / 86400
        if not 0 <= age_days <= REMEMBERED_DAYS or at >= until:
            continue
        if member.left_at is not None and member.left_at <= at:
            continue
        # Most eager at first.
        eager = 1 + 3 * math.exp(-age_days / 4)
        if chance >= member.a_day * eager * weekend:
            continue
        number = f"T{day:%y%m%d}-{place:06d}"
        amount = price(member.spends * math.exp(costs))
        key, scan_id = _naming(member, named, number)
        order = OrderRow(
            row=0,
            order=number,
            kind=OrderKind.ORDER,
            at=at,
            amount=amount,
            currency=currency,
            store=member.store,
            member=key,
            scan_id=scan_id,
            refunds=None,
        )
        yield order
        back_at = at + timedelta(hours=1 + 20 * paid_back / _REFUNDS)
        if paid_back < _REFUNDS and back_at < until:
            yield OrderRow(
                row=0,
                order=f"{number}R",
                kind=OrderKind.REFUND,
                at=back_at,
                amount=amount,
                currency=currency,
                store=member.store,
                member=key,
                scan_id=scan_id,
                refunds=number,
            )


def _naming(
    member: Member, named: float, order: str
) -> tuple[members.Key | None, uuid.UUID | None]:
    """How the order says whose it is: by the member's number, by the scan, or as nobody known."""
    kind = members.Kind.EXTERNAL_USERID
    if named < _STRANGERS:
        stranger = crowd.share_of(order, "stranger")
        return members.of(kind, f"wmx{int(stranger * 10**12)}"), None
    if member.known:
        return members.of(kind, member.number), None
    return None, member.scan_id
