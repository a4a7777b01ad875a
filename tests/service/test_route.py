"""Routing without a database: who is offered what, from any position, in any doubt."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import Geod

from geo import distance
from geo.point import Point
from service.directory import Chain, Directory
from service.domain import (
    Code,
    CodeStatus,
    CountedBy,
    Entry,
    Fix,
    IpPolicy,
    Outcome,
    Reason,
    Routing,
    Skipped,
    Source,
    Store,
    StoreStatus,
)
from service.steps import route

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHAIN = uuid.UUID(int=1)
MIDDLE = Point(121.4737, 31.2304)
RULES = route.Rules(radius_m=10_000, trusted_accuracy_m=150, max_choices=5, max_hops=20)
GEOD = Geod(ellps="WGS84")


def beside(point: Point, bearing: float, metres: float) -> Point:
    lon, lat, _ = GEOD.fwd(point.lon, point.lat, bearing, metres)
    return Point(lon, lat)


def store(number: str, point: Point, **values: object) -> Store:
    made = {
        "name": number, "brand": None, "address": None, "province": "上海市", "city": "上海市",
        "district": None, "service_area": None, "status": StoreStatus.OPEN,
    }  # fmt: skip
    return Store(chain_id=CHAIN, store=number, point=point, **{**made, **values})  # type: ignore[arg-type]


def code(number: str, *, seats: int = 10, **values: object) -> Code:
    made = {
        "kind": "wecom_group", "payload": number, "label": None, "capacity": seats or 1,
        "members": 0 if seats else 1, "held": 0, "counted_by": CountedBy.PRESSED,
        "status": CodeStatus.ACTIVE, "expires_at": None, "position": 0, "revision": 0,
    }  # fmt: skip
    return Code(chain_id=CHAIN, code_id=uuid.uuid4(), store=number, **{**made, **values})  # type: ignore[arg-type]


def world(
    stores: Sequence[Store], codes: Sequence[Code], fallback: Sequence[Code] = ()
) -> tuple[Directory, Entry]:
    """A directory as it would be read, with one entry."""
    directory = Directory()
    chain = directory.chains[CHAIN] = Chain(CHAIN, "tea", "茶", "Asia/Shanghai")
    for shop in stores:
        chain.replace_store(shop)
    for put_up in [*codes, *fallback]:
        directory.codes[put_up.code_id] = put_up
        chain.replace_code(put_up)
    for shop in stores:
        chain.settle(shop.store, NOW)
    own = tuple(put_up.code_id for put_up in fallback)
    entry = Entry(CHAIN, "tea", "茶", None, frozenset(), IpPolicy.CHOOSE, own)
    directory.entries["tea"] = chain.entries["tea"] = entry
    return directory, entry


def at(point: Point, accuracy_m: float = 10, source: Source = Source.GPS) -> Fix:
    return Fix(point=point, accuracy_m=accuracy_m, source=source)


def routed(known: tuple[Directory, Entry], fix: Fix | None, **values: object) -> Routing:
    directory, entry = known
    return route.Route(directory, entry, RULES, NOW, fix, **values).explain()  # type: ignore[arg-type]


# ---------------------------------------------------------------- the walk


def test_stores_are_tried_by_distance_and_then_by_number() -> None:
    twin = beside(MIDDLE, 90, 500)
    known = world(
        [store("B", twin), store("A", twin), store("C", beside(MIDDLE, 0, 499))],
        [code("A"), code("B"), code("C")],
    )
    directory, entry = known
    walk = route.Route(directory, entry, RULES, NOW, at(MIDDLE)).walk()
    assert [step.code.store for step in walk] == [
        "C",
        "A",
        "B",
    ]


def test_every_reason_for_passing_by_is_told_in_the_order_of_the_way() -> None:
    away = [store(name, beside(MIDDLE, 90, 100 * (i + 1))) for i, name in enumerate("ABCDEF")]
    away[3].status = StoreStatus.CLOSED
    past = NOW - timedelta(seconds=1)
    known = world(
        away,
        [
            code("A", seats=0),
            code("B", expires_at=past),
            code("C", status=CodeStatus.PAUSED),
            code("D"),
            code("F"),
        ],
    )
    routing = routed(known, at(MIDDLE))
    assert [(hop.store, hop.skipped) for hop in routing.hops] == [
        ("A", Skipped.FULL),
        ("B", Skipped.EXPIRED),
        ("C", Skipped.PAUSED),
        ("D", Skipped.CLOSED),
        ("E", Skipped.NO_CODE),
    ]
    assert (routing.store, routing.reason) == ("F", Reason.NEXT_STORE)


def test_a_code_that_expires_while_the_worker_runs_is_not_shown_any_more() -> None:
    shops = [store("A", MIDDLE), store("B", beside(MIDDLE, 90, 300))]
    directory, entry = world(shops, [code("A", expires_at=NOW + timedelta(minutes=1)), code("B")])
    later = NOW + timedelta(minutes=2)
    routing = route.Route(directory, entry, RULES, later, at(MIDDLE)).explain()
    assert routing.store == "B"
    assert "A" not in directory.chains[CHAIN].serving


def test_a_code_that_was_refused_is_told_once_and_not_asked_again() -> None:
    shops = [store("A", MIDDLE), store("B", beside(MIDDLE, 90, 300))]
    first = code("A", seats=1)
    known = world(shops, [first, code("B")])
    routing = routed(known, at(MIDDLE), refused=frozenset({first.code_id}))
    assert (routing.store, routing.reason) == ("B", Reason.NEXT_STORE)
    assert [(hop.store, hop.skipped) for hop in routing.hops] == [("A", Skipped.FULL)]
    # The worker has learned of it meanwhile: the same.
    first.members = 1
    known[0].chains[CHAIN].settle("A", NOW)
    again = routed(known, at(MIDDLE), refused=frozenset({first.code_id}))
    assert [(hop.store, hop.skipped) for hop in again.hops] == [("A", Skipped.FULL)]


def test_the_radius_of_the_entry_ends_the_walk() -> None:
    known = world([store("A", beside(MIDDLE, 0, 3000))], [code("A")])
    known[1].radius_m = 2999
    assert routed(known, at(MIDDLE)).reason == Reason.OUT_OF_RANGE
    known[1].radius_m = 3001
    assert routed(known, at(MIDDLE)).store == "A"


def test_only_the_entrys_brands_are_walked() -> None:
    shops = [store("A", MIDDLE, brand="茶"), store("B", beside(MIDDLE, 0, 900), brand="咖啡")]
    known = world(shops, [code("A"), code("B")])
    known[1].brands = frozenset({"咖啡"})
    routing = routed(known, at(MIDDLE))
    assert (routing.store, routing.hops) == ("B", ())


def test_the_fallback_comes_last() -> None:
    fallback = code("A", seats=5)
    fallback.store = None
    known = world([store("A", MIDDLE)], [code("A", seats=0)], [fallback])
    routing = routed(known, at(MIDDLE))
    assert (routing.reason, routing.code_id) == (Reason.FALLBACK, fallback.code_id)
    assert routed(known, at(Point(0, 0))).reason == Reason.FALLBACK


def test_in_several_areas_the_nearest_of_their_stores_goes_first() -> None:
    def square(half_deg: float) -> dict[str, object]:
        west, east = MIDDLE.lon - half_deg, MIDDLE.lon + half_deg
        south, north = MIDDLE.lat - half_deg, MIDDLE.lat + half_deg
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return {"type": "Polygon", "coordinates": [ring]}

    shops = [
        store("near", beside(MIDDLE, 90, 100)),
        store("mine", beside(MIDDLE, 90, 2000), service_area=square(0.05)),
        store("ours", beside(MIDDLE, 90, 1000), service_area=square(0.1)),
    ]
    known = world(shops, [code(shop.store) for shop in shops])
    routing = routed(known, at(MIDDLE))
    assert (routing.store, routing.reason) == ("ours", Reason.IN_AREA)
    # 7 km to the east only the larger area is left, and beyond it plain nearest.
    assert routed(known, at(Point(MIDDLE.lon + 0.07, MIDDLE.lat))).store == "ours"
    assert routed(known, at(Point(MIDDLE.lon + 0.101, MIDDLE.lat))).reason == Reason.NEAREST


def test_an_area_reaches_beyond_the_radius() -> None:
    """HQ drew it: whoever is inside belongs to that store, however far it is."""
    ring = [[121, 31], [122, 31], [122, 32], [121, 32], [121, 31]]
    area: dict[str, object] = {"type": "Polygon", "coordinates": [ring]}
    known = world([store("A", Point(121.1, 31.1), service_area=area)], [code("A")])
    assert routed(known, at(Point(121.9, 31.9))).reason == Reason.IN_AREA


# ---------------------------------------------------------------- doubt


def two_stores(metres: float) -> tuple[Directory, Entry]:
    shops = [store("A", MIDDLE), store("B", beside(MIDDLE, 90, metres))]
    return world(shops, [code("A"), code("B")])


@pytest.mark.parametrize(
    ("accuracy_m", "metres", "outcome"),
    [
        (0, 100, Outcome.CODE),  # exact
        (150, 100, Outcome.CODE),  # small enough not to matter
        (151, 100, Outcome.CHOOSE),
        (400, 801, Outcome.CODE),  # one alone can be the nearest
        (400, 799, Outcome.CHOOSE),
        (50_000, 900, Outcome.CHOOSE),
    ],
)
def test_a_radius_that_matters_makes_a_choice(
    accuracy_m: float, metres: float, outcome: Outcome
) -> None:
    assert routed(two_stores(metres), at(MIDDLE, accuracy_m)).outcome == outcome


def test_an_exact_tie_goes_to_the_lower_number() -> None:
    shops = [store("B", beside(MIDDLE, 90, 100)), store("A", beside(MIDDLE, 90, 100))]
    known = world(shops, [code("A"), code("B")])
    assert routed(known, at(MIDDLE)).store == "A"


def test_an_address_alone_chooses_only_where_one_store_is_possible() -> None:
    ip = at(MIDDLE, 40_000, Source.IP)
    assert routed(two_stores(900), ip).reason == Reason.IP_ONLY
    alone = world([store("A", MIDDLE)], [code("A")])
    assert routed(alone, ip).store == "A"


def test_hq_may_let_an_address_choose_the_nearest() -> None:
    known = two_stores(900)
    known[1].ip_policy = IpPolicy.NEAREST
    assert routed(known, at(MIDDLE, 40_000, Source.IP)).store == "A"


def test_of_a_position_that_nobody_knows_a_choice_is_offered() -> None:
    routing = routed(two_stores(900), None)
    assert (routing.outcome, routing.reason) == (Outcome.CHOOSE, Reason.POSITION_NEEDED)
    assert {offer.store for offer in routing.choices} == {"A", "B"}


@pytest.mark.parametrize(
    "point",
    [
        Point(0, 90),
        Point(0, -90),
        Point(180, 0),
        Point(-180, 10),
        Point(150, -20),
        Point(2.35, 48.85),
    ],
)
def test_at_sea_at_the_poles_and_abroad_nothing_is_in_range(point: Point) -> None:
    assert routed(two_stores(900), at(point)).reason == Reason.OUT_OF_RANGE


PLACES = st.builds(
    beside,
    st.just(MIDDLE),
    st.floats(0, 360, allow_nan=False),
    st.floats(0, 4000, allow_nan=False),
)


@given(
    shops=st.lists(st.tuples(PLACES, st.integers(0, 2)), min_size=1, max_size=12),
    accuracy_m=st.floats(0, 3000, allow_nan=False),
    error=st.tuples(st.floats(0, 360, allow_nan=False), st.floats(0, 0.999, allow_nan=False)),
    source=st.sampled_from([Source.GPS, Source.IP]),
)
def test_the_true_nearest_is_shown_or_among_the_choices(
    shops: list[tuple[Point, int]],
    accuracy_m: float,
    error: tuple[float, float],
    source: Source,
) -> None:
    """Whenever the visitor truly is within the stated radius, and it is a radius that matters. More
    than five stores can't be offered: then it is the five nearest to the fix's middle."""
    stores = [store(f"S{i:02}", point) for i, (point, _) in enumerate(shops)]
    known = world(stores, [code(f"S{i:02}", seats=seats) for i, (_, seats) in enumerate(shops)])
    truth = beside(MIDDLE, error[0], error[1] * accuracy_m)
    serving = {f"S{i:02}": point for i, (point, seats) in enumerate(shops) if seats}
    assume(serving)
    assume(source is Source.IP or accuracy_m > RULES.trusted_accuracy_m)

    def metres(origin: Point) -> Mapping[str, float]:
        return {name: distance.geodesic_m(origin, point) for name, point in serving.items()}

    nearest = min(metres(truth).items(), key=lambda pair: (round(pair[1], 3), pair[0]))[0]
    seen = metres(MIDDLE)
    possible = [name for name in seen if seen[name] <= min(seen.values()) + 2 * accuracy_m + 0.01]
    routing = routed(known, at(MIDDLE, accuracy_m, source))
    offered: set[str | None] = {offer.store for offer in routing.choices} or {routing.store}
    if len(possible) <= RULES.max_choices:
        assert nearest in offered
    else:
        assert len(offered) == RULES.max_choices
    if routing.outcome is Outcome.CHOOSE:
        assert 2 <= len(routing.choices) <= RULES.max_choices
        order_mm = [round((offer.distance_m or 0) * 1000) for offer in routing.choices]
        assert order_mm == sorted(order_mm)
