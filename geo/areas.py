"""Many service areas: which of them hold a point."""

from collections.abc import Iterable

import rtree.index

from geo import area
from geo.area import Area
from geo.point import Point


class AreaIndex:
    """Areas by key, under an R-tree of their bounds in degrees.

    `put` and `discard` change it in place. Not thread-safe, even for reading, as `StoreIndex`.
    """

    def __init__(self) -> None:
        self._tree = rtree.index.Index(interleaved=True)
        self._areas: dict[int, tuple[str, Area]] = {}
        self._numbers: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, key: str, shape: Area) -> None:
        """Puts an area in; a key that is in already gets this one."""
        self.discard(key)
        number, self._next = self._next, self._next + 1
        self._numbers[key] = number
        self._areas[number] = key, shape
        self._tree.insert(number, shape.bounds)

    def discard(self, key: str) -> None:
        """Takes an area out; nothing happens if it is not in."""
        number = self._numbers.pop(key, None)
        if number is not None:
            _, shape = self._areas.pop(number)
            self._tree.delete(number, shape.bounds)

    def at(self, point: Point) -> list[str]:
        """The keys of the areas that hold the point or have it on their edge, in no order."""
        if not self._numbers:
            return []
        lon, lat = point.lon, point.lat
        near: Iterable[int] = self._tree.intersection((lon, lat, lon, lat))
        found = (self._areas[number] for number in near)
        return [key for key, shape in found if area.contains(shape, point)]
