"""The index against brute force: the same stores in the same order, in every kind of world.

The oracle computes every geodesic and sorts by (whole millimetres, key). All worlds are seeded.
"""

import csv
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import geopy.distance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import distance
from geo.index import Near, StoreIndex
from geo.point import Point

World = list[tuple[str, Point]]
SHOPS = Path(__file__).parent / "data" / "shop_positions.csv"


def _order(world: World, point: Point, within_m: float | None = None) -> list[tuple[int, str]]:
    metres = distance.geodesics_m(point, [p.lon for _, p in world], [p.lat for _, p in world])
    ranked = sorted((round(m * 1000), key) for (key, _), m in zip(world, metres, strict=True))
    return [near for near in ranked if within_m is None or near[0] <= round(within_m * 1000)]


def _given(nears: list[Near]) -> list[tuple[int, str]]:
    return [(round(near.distance_m * 1000), near.key) for near in nears]


def _near(rng: random.Random, centre: Point, spread_deg: float) -> Point:
    lon = centre.lon + rng.gauss(0, spread_deg)
    lat = max(-90.0, min(90.0, centre.lat + rng.gauss(0, spread_deg)))
    return Point((lon + 180) % 360 - 180, lat)


def _sphere(rng: random.Random) -> Point:
    return Point(rng.uniform(-180, 180), math.degrees(math.asin(rng.uniform(-1, 1))))


def _clustered(rng: random.Random) -> Point:
    centre = rng.choice([Point(121.47, 31.23), Point(116.4, 39.9), Point(114.06, 22.54)])
    return _near(rng, centre, 0.05)


def _tied(rng: random.Random) -> Point:
    return Point(round(rng.uniform(121, 121.1), 2), round(rng.uniform(31, 31.1), 2))


def _polar(rng: random.Random) -> Point:
    pole = rng.choice([90, -90])
    return Point(rng.uniform(-180, 180), pole - math.copysign(abs(rng.gauss(0, 0.5)), pole))


def _dateline(rng: random.Random) -> Point:
    return rng.choice(
        [_near(rng, Point(180, 0), 0.2), Point(180, rng.uniform(-1, 1)), Point(-180, 0.5)]
    )


def _equator_line(rng: random.Random) -> Point:
    return Point(rng.choice([0.0, 90.0, 179.9999]) + rng.randrange(-3, 4) * 1e-5, 0)


def _meridian_rows(rng: random.Random) -> Point:
    return Point(rng.choice([-0.01, 0.01]), rng.randrange(-40, 41) / 10)


WORLDS: list[Callable[[random.Random], Point]] = [
    _sphere,
    _clustered,
    _tied,
    _polar,
    _dateline,
    _equator_line,
    _meridian_rows,
]


def _world(make: Callable[[random.Random], Point], count: int, rng: random.Random) -> World:
    keys = [f"S{i:05d}" for i in range(count)]
    rng.shuffle(keys)
    return [(key, make(rng)) for key in keys]


@pytest.mark.parametrize("count", [1, 2, 7, 60, 400, 5000])
@pytest.mark.parametrize("make", WORLDS, ids=lambda make: make.__name__.strip("_"))
def test_the_nearest_stores_are_those_of_brute_force(
    make: Callable[[random.Random], Point], count: int
) -> None:
    rng = random.Random(f"{make.__name__} {count}")
    world = _world(make, count, rng)
    index = StoreIndex(world)
    for _ in range(12 if count > 1000 else 25):
        point = rng.choice([make(rng), rng.choice(world)[1], make(rng), _sphere(rng)])
        expected = _order(world, point)
        assert _given(index.nearest(point)) == expected[:1]
        assert _given(index.nearest(point, 5)) == expected[:5]


@pytest.mark.parametrize("make", WORLDS, ids=lambda make: make.__name__.strip("_"))
def test_a_walk_gives_every_store_once_and_in_order(make: Callable[[random.Random], Point]) -> None:
    rng = random.Random(make.__name__)
    world = _world(make, 300, rng)
    index = StoreIndex(world)
    for point in (make(rng), _sphere(rng), Point(0, 90), Point(180, 0), Point(-180, 0)):
        assert _given(list(index.walk(point))) == _order(world, point)


def test_real_shops_are_found_in_order_from_real_positions() -> None:
    with SHOPS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shops = [(str(i), Point(float(r["lon"]), float(r["lat"]))) for i, r in enumerate(rows)]
    index = StoreIndex(shops)
    rng = random.Random(41)
    for _ in range(120):
        point = _near(rng, rng.choice(shops)[1], rng.choice([0.001, 0.02, 0.5]))
        assert _given(index.nearest(point, 3)) == _order(shops, point)[:3]


def test_distances_are_those_of_an_independent_geodesic() -> None:
    rng = random.Random(42)
    world = _world(_sphere, 200, rng)
    places = dict(world)
    index = StoreIndex(world)
    for _ in range(30):
        point = _sphere(rng)
        oracle = {
            key: geopy.distance.geodesic((point.lat, point.lon), (p.lat, p.lon)).meters
            for key, p in places.items()
        }
        near = index.nearest(point)[0]
        assert near.key == min(oracle, key=lambda key: oracle[key])
        assert near.distance_m == pytest.approx(oracle[near.key], abs=1e-6)


def test_antipodes_are_reached_in_order() -> None:
    rng = random.Random(43)
    world = _world(lambda rng: _near(rng, Point(-58.5, -31.2), 0.8), 500, rng)
    point = Point(121.5, 31.2)
    assert _given(list(StoreIndex(world).walk(point))) == _order(world, point)


def test_the_limit_is_inclusive_and_ends_the_walk() -> None:
    rng = random.Random(44)
    for make in WORLDS:
        world = _world(make, 200, rng)
        index = StoreIndex(world)
        point = make(rng)
        for within_m in (0, 1, 500.5, 20_000, 3_000_000, 30_000_000):
            expected = _order(world, point, within_m)
            assert _given(list(index.walk(point, within_m=within_m))) == expected
            assert _given(index.nearest(point, 3, within_m=within_m)) == expected[:3]
    at = Point(121.5, 31.2)
    exactly_m = distance.geodesic_m(at, Point(121.6, 31.2))
    assert StoreIndex([("A", Point(121.6, 31.2))]).nearest(at, within_m=exactly_m)


def test_equal_distances_are_ordered_by_store_number() -> None:
    here = Point(121.5, 31.2)
    index = StoreIndex([(key, here) for key in ("S9", "S10", "S1", "A")] * 2)
    assert [near.key for near in index.nearest(here, 9)] == ["A", "S1", "S10", "S9"]
    mirrored = StoreIndex([("W", Point(-1, 0)), ("E", Point(1, 0)), ("N", Point(0, 5))])
    assert [near.key for near in mirrored.walk(Point(0, 0))] == ["E", "W", "N"]


def test_an_empty_index_has_nothing_near() -> None:
    index = StoreIndex()
    assert len(index) == 0
    assert index.nearest(Point(0, 0)) == []
    assert list(index.walk(Point(0, 0))) == []
    index.add("A", Point(1, 1))
    index.discard("A")
    assert index.nearest(Point(0, 0), 3) == []
    assert index.nearest(Point(0, 0), 0) == []


def test_a_store_that_moves_is_only_where_it_is_now() -> None:
    index = StoreIndex([("A", Point(121.5, 31.2)), ("B", Point(116.4, 39.9))])
    index.add("A", Point(116.4, 39.91))
    assert len(index) == 2
    assert "A" in index
    assert index.point("A") == Point(116.4, 39.91)
    assert [near.key for near in index.walk(Point(121.5, 31.2))] == ["B", "A"]
    index.discard("A")
    index.discard("never was")
    assert "A" not in index
    with pytest.raises(KeyError):
        index.point("A")


def test_a_walk_goes_on_in_the_index_as_it_is_after_an_edit() -> None:
    world = [(f"S{i}", Point(i / 100, 0)) for i in range(20)]
    index = StoreIndex(world)
    walk = index.walk(Point(0, 0))
    assert [next(walk).key for _ in range(3)] == ["S0", "S1", "S2"]
    index.discard("S3")
    index.add("passed", Point(0.001, 0))
    index.add("ahead", Point(0.045, 0))
    index.add("S1", Point(0.5, 0))
    rest = [near.key for near in walk]
    assert rest == ["S4", "ahead", *(f"S{i}" for i in range(5, 20)), "S1"]


def _edited(rng: random.Random, make: Callable[[random.Random], Point]) -> None:
    truth = dict(_world(make, 150, rng))
    index = StoreIndex(truth.items())
    for _ in range(400):
        key = f"S{rng.randrange(250):05d}"
        if rng.random() < 0.5:
            truth[key] = make(rng)
            index.add(key, truth[key])
        else:
            truth.pop(key, None)
            index.discard(key)
    assert len(index) == len(truth)
    for _ in range(20):
        point = make(rng)
        assert _given(index.nearest(point, 4)) == _order(list(truth.items()), point)[:4]


@pytest.mark.parametrize("make", WORLDS, ids=lambda make: make.__name__.strip("_"))
def test_the_index_is_exact_after_many_edits(make: Callable[[random.Random], Point]) -> None:
    _edited(random.Random(make.__name__), make)


# Few distinct places, so that ties, duplicates, poles and the seam come up all the time.
_LONS = st.one_of(st.sampled_from([-180.0, 180.0, 179.99, 0.0, 121.5]), st.floats(-180, 180))
_LATS = st.one_of(st.sampled_from([-90.0, 90.0, 89.99, 0.0, 31.2]), st.floats(-90, 90))
_POINTS = st.builds(Point, _LONS, _LATS)
_EDITS = st.lists(st.tuples(st.integers(0, 12).map(str), st.one_of(st.none(), _POINTS)))


@settings(max_examples=150)
@given(st.dictionaries(st.integers(0, 12).map(str), _POINTS), _EDITS, _POINTS)
def test_after_any_edits_a_walk_is_brute_force(
    start: dict[str, Point], edits: list[tuple[str, Point | None]], point: Point
) -> None:
    index = StoreIndex(start.items())
    truth = dict(start)
    for key, place in edits:
        if place is None:
            truth.pop(key, None)
            index.discard(key)
        else:
            truth[key] = place
            index.add(key, place)
    assert _given(list(index.walk(point))) == _order(list(truth.items()), point)


def test_an_edit_costs_no_rebuild() -> None:
    """A rebuild would cost each of them 0.1 s; what a single one takes, a busy machine decides."""
    rng = random.Random(45)
    index = StoreIndex(_world(_clustered, 30_000, rng))
    taken_s = []
    for i in range(200):
        start = time.perf_counter()
        index.add(f"S{i:05d}", _clustered(rng))
        taken_s.append(time.perf_counter() - start)
    assert statistics.median(taken_s) < 0.02
