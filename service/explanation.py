"""A decision told: what was tried, in order, what would be tried next, and why, in words.

Pure: the command line prints the rows, `service.map` draws them. No seat is taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from service.domain import Code, Outcome, Reason, Routing, Skipped, Store, StoreStatus
from service.steps.route import Candidate, Route

_MOST_NEXT = 3


class Part(StrEnum):
    """What a row's store is in the decision."""

    SKIPPED = "skipped"
    SHOWN = "shown"
    CHOICE = "choice"
    NEXT = "next"  # would be tried if the one shown could not serve
    BEYOND = "beyond"  # could serve, but stands outside the radius


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the explanation. `number` counts stores in the order in which they were, or would
    be, tried: two codes of one store share it. Without a store, it is the entry's own code.
    `code` is the one that was skipped, shown or would be tried."""

    number: int
    part: Part
    store: Store | None
    distance_m: float | None
    why: Reason | Skipped
    code: Code | None = None


Words: TypeAlias = tuple[str, str]
"""The same in Chinese and in English."""

REASONS: dict[Reason, Words] = {
    Reason.NEAREST: ("离访客最近，有空位", "The nearest store, and it has room"),
    Reason.IN_AREA: (
        "访客在这家店的服务范围内",
        "The visitor is inside the store's service area",
    ),
    Reason.NEXT_CODE: (
        "这家店靠前的码不能用，换到它的下一个码",
        "The store's earlier codes cannot serve; this is its next one",
    ),
    Reason.NEXT_STORE: (
        "排在前面的门店不能接待，这是下一家",
        "The stores before it cannot serve; this is the next one",
    ),
    Reason.CHOSEN: ("访客自己选的门店", "The visitor picked this store"),
    Reason.RETURNING: ("访客以前来过", "The visitor was here before"),
    Reason.FALLBACK: (
        "范围内没有能接待的门店，用入口的备用码",
        "No store within reach can serve, so the entry's own code does",
    ),
    Reason.AMBIGUOUS_POSITION: (
        "定位不够准，几家门店都可能最近",
        "The position is too vague: several stores may be the nearest",
    ),
    Reason.IP_ONLY: (
        "只有网络位置，不替访客做选择",
        "An IP address alone does not choose a store",
    ),
    Reason.POSITION_NEEDED: (
        "不知道访客在哪里",
        "Nothing is known of where the visitor is",
    ),
    Reason.OUT_OF_RANGE: ("入口半径内没有门店", "No store stands within the entry's radius"),
    Reason.ALL_FULL: (
        "半径内的门店都不能接待",
        "None of the stores within the radius can serve",
    ),
    Reason.ADDRESS_LIMIT: (
        "访客所在网络占用的名额太多",
        "Too many seats are held from the visitor's address",
    ),
    Reason.NO_STORE: ("这个入口没有门店", "The entry has no store"),
}

SKIPS: dict[Skipped, Words] = {
    Skipped.FULL: ("已满", "full"),
    Skipped.EXPIRED: ("已过期", "expired"),
    Skipped.PAUSED: ("已暂停", "paused"),
    Skipped.CLOSED: ("停业", "closed"),
    Skipped.REPORTED: ("被反映不可用", "reported as not working"),
    Skipped.NO_CODE: ("没有码", "no code"),
}


def why(row: Row) -> Words:
    """Why this row is what it is."""
    if row.part is Part.NEXT:
        return "前面的若都不能接待，就轮到这家", "Would be tried if those before it could not serve"
    if row.part is Part.BEYOND:
        return "能接待，但在入口半径之外", "It can serve, but stands outside the entry's radius"
    return REASONS[row.why] if isinstance(row.why, Reason) else SKIPS[row.why]


def outcome(route: Route, routing: Routing) -> Words:
    """What the visitor gets."""
    if routing.outcome is Outcome.UNSERVED:
        return "没有可展示的码", "No code can be shown"
    if routing.outcome is Outcome.CHOOSE:
        count = len(routing.choices)
        return f"请访客从 {count} 家门店中选择", f"The visitor chooses among {count} stores"
    store = route.chain.stores.get(routing.store or "")
    if store is None:
        return "展示入口的备用码", "Shown: the entry's own code"
    away = "" if routing.distance_m is None else distance(routing.distance_m)
    return (
        f"展示 {store.name}（{store.store}）" + (f"，{away}" if away else ""),
        f"Shown: {store.store}" + (f", {away}" if away else ""),
    )


def distance(metres: float) -> str:
    """As a person would say it: `6 m`, `316 m`, `2.4 km`, `2,105 km`."""
    if round(metres) < 1000:
        return f"{metres:.0f} m"
    if metres < 99_950:
        return f"{metres / 1000:.1f}".removesuffix(".0") + " km"
    return f"{metres / 1000:,.0f} km"


def rows(route: Route, routing: Routing) -> list[Row]:
    """What was tried in order, then up to three stores that would be tried next; or, if no store
    is the answer, the nearest that could serve but stands too far."""
    stores = route.chain.stores
    numbers: dict[str | None, int] = {}

    def row(
        part: Part,
        store: str | None,
        distance_m: float | None,
        why: Reason | Skipped,
        code: UUID | None = None,
    ) -> Row:
        number = numbers.setdefault(store, len(numbers) + 1)
        known = route.directory.codes.get(code) if code else None
        return Row(number, part, stores.get(store or ""), distance_m, why, known)

    found = [
        row(Part.SKIPPED, hop.store, hop.distance_m, hop.skipped, hop.code_id)
        for hop in routing.hops
    ]
    found += [
        row(Part.CHOICE, offer.store, offer.distance_m, routing.reason) for offer in routing.choices
    ]
    if routing.outcome is Outcome.CODE:
        found.append(
            row(Part.SHOWN, routing.store, routing.distance_m, routing.reason, routing.code_id)
        )
        if routing.store is not None:
            found += [
                row(
                    Part.NEXT,
                    after.code.store,
                    after.distance_m,
                    after.reason,
                    after.code.code_id,
                )
                for after in _after(route, routing.store)
            ]
    if routing.outcome is not Outcome.CHOOSE and routing.store is None and route.fix is not None:
        open_ones = route.nearest_serving(route.fix.point)
        # A store on the way can have room and yet be none for this visitor, who reported it.
        near = next((near for near in open_ones if near.key not in numbers), None)
        if near is not None:
            found.append(row(Part.BEYOND, near.key, near.distance_m, Reason.OUT_OF_RANGE))
    return found


def cannot_serve(route: Route, store: Store) -> list[Skipped]:
    """Why a store cannot take a visitor, each reason once; empty if it can."""
    if store.status is not StoreStatus.OPEN:
        return [Skipped.CLOSED]
    whys = [code.skipped(route.now) for code in route.chain.codes_of(store.store)]
    if None in whys:
        return []
    return list(dict.fromkeys(why for why in whys if why is not None)) or [Skipped.NO_CODE]


def _after(route: Route, shown: str) -> Iterator[Candidate]:
    """The walk's next codes behind the store that is shown: one of each store."""
    met: set[str | None] = set()
    for step in route.walk():
        if step.code.store in met:
            continue
        met.add(step.code.store)
        if shown in met and step.code.store != shown:
            yield step
            if len(met) > _MOST_NEXT:
                return
