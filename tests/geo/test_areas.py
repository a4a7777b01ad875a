"""Many service areas: which hold a visitor, and whose store is the nearest of those."""

import random

import shapely

from geo import area, areas, distance
from geo.point import Point

SQUARE = shapely.box(121.0, 31.0, 122.0, 32.0)


def _key(number: int) -> str:
    return f"S{number:03}"


class _World:
    """Areas of all sizes around stores, some on one spot, and what is known of them otherwise."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.index = areas.AreaIndex()
        self.known: dict[str, tuple[area.Area, Point]] = {}

    def edit(self) -> None:
        key = _key(self.rng.randrange(120))
        if self.rng.random() < 0.3:
            self.index.discard(key)
            self.known.pop(key, None)
            return
        store = self.anywhere()
        shape = shapely.Point(store.lon, store.lat).buffer(self.rng.choice([0.05, 0.2, 0.5]))
        shapely.prepare(shape)
        self.index.put(key, shape, store)
        self.known[key] = shape, store

    def anywhere(self) -> Point:
        """On a grid, so that some stand on one spot or are as far as others."""
        return Point(121 + self.rng.randrange(11) / 10, 31 + self.rng.randrange(11) / 10)

    def in_order(self, point: Point) -> list[str]:
        """By asking every area and measuring every way."""
        ways = [
            (round(distance.geodesic_m(point, store) * 1000), key)
            for key, (shape, store) in self.known.items()
            if shapely.intersects(shape, shapely.Point(point.lon, point.lat))
        ]
        return [key for _, key in sorted(ways)]


def test_after_any_edits_a_visitor_is_told_the_areas_around_them_and_the_nearest_store_first() -> (
    None
):
    world = _World(7)
    told = 0
    for _ in range(400):
        world.edit()
        at = world.anywhere()
        order = world.in_order(at)
        assert [near.key for near in world.index.nearest(at)] == order
        assert sorted(world.index.at(at)) == sorted(order)
        assert len(world.index) == len(world.known)
        told += len(order)
    assert told > 4000


def test_the_edge_and_the_corner_belong_to_the_area() -> None:
    index = areas.AreaIndex()
    index.put("A", SQUARE, Point(121.5, 31.5))
    for lon, lat in ((121.0, 31.5), (122.0, 32.0), (121.5, 31.0)):
        assert index.at(Point(lon, lat)) == ["A"]
        assert [near.key for near in index.nearest(Point(lon, lat))] == ["A"]
    beside = Point(122.0000001, 31.5)
    assert index.at(beside) == []
    assert list(index.nearest(beside)) == []


def test_a_walk_goes_on_behind_what_it_gave_when_areas_change_under_it() -> None:
    index = areas.AreaIndex()
    for number in range(6):
        index.put(_key(number), SQUARE, Point(121.5 + number / 100, 31.5))
    walk = index.nearest(Point(121.5, 31.5))
    assert [next(walk).key, next(walk).key] == ["S000", "S001"]
    index.discard("S003")
    index.put("S001", SQUARE, Point(121.9, 31.5))
    index.put("NEW", SQUARE, Point(121.525, 31.5))
    assert [near.key for near in walk] == ["S002", "NEW", "S004", "S005", "S001"]


def test_more_areas_around_one_visitor_than_there_was_room_for() -> None:
    index = areas.AreaIndex()
    for number in range(300):
        index.put(_key(number), SQUARE, Point(121.5, 31.0 + number / 1000))
    at = Point(121.5, 31.0)
    assert len(index.at(at)) == 300
    assert [near.key for near in index.nearest(at)] == [_key(number) for number in range(300)]
