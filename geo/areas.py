"""Many service areas: which of them hold a point, and whose store is the nearest of those."""

import heapq
import math
from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from geo import distance, tree
from geo.area import Area
from geo.index import Near
from geo.point import Point

_ROOM = 16
# Chords and geodesics are right to a few times 1e-9 m.
_ROUNDING_M = 1e-6
_NONE: NDArray[np.int64] = np.empty(0, np.int64)
_ONES = np.ones(3)


class AreaIndex:
    """Areas by key, each of a store that stands somewhere, in it or not.

    Their bounds in degrees are under an R-tree. `put` and `discard` change the index in place. Not
    thread-safe, even for reading, as `StoreIndex`.
    """

    def __init__(self) -> None:
        self._boxes = tree.Boxes()
        self._slots: dict[str, int] = {}
        # By slot, which is the number in the tree. Arrays, because a query takes some rows of each:
        # what a store is called, its area, where it stands in metres from the earth's middle and in
        # degrees.
        self._keys: NDArray[np.object_] = np.empty(_ROOM, np.object_)
        self._shapes: NDArray[np.object_] = np.empty(_ROOM, np.object_)
        self._places: NDArray[np.float64] = np.empty((_ROOM, 3))
        self._degrees: NDArray[np.float64] = np.empty((_ROOM, 2))
        self._free = list(reversed(range(_ROOM)))
        self._edits = 0

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, key: str, shape: Area, point: Point) -> None:
        """Puts an area in, and where its store stands; a key that is in already gets these."""
        self.discard(key)
        if not self._free:
            self._make_room()
        slot = self._slots[key] = self._free.pop()
        self._keys[slot], self._shapes[slot] = key, shape
        self._places[slot] = distance.ecef(point)
        self._degrees[slot] = point.lon, point.lat
        self._edits += 1
        self._boxes.add(slot, shape.bounds)

    def discard(self, key: str) -> None:
        """Takes an area out; nothing happens if it is not in."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        self._boxes.remove(slot, self._shapes[slot].bounds)
        self._keys[slot] = self._shapes[slot] = None
        self._free.append(slot)
        self._edits += 1

    def at(self, point: Point) -> list[str]:
        """The keys of the areas that hold the point or have it on their edge, in no order."""
        near = self._near(point)
        if not len(near):
            return []
        holds = shapely.intersects_xy(self._shapes[near], point.lon, point.lat)
        keys: list[str] = self._keys[near[holds]].tolist()
        return keys

    def nearest(self, point: Point) -> Iterator[Near]:
        """The stores whose areas hold the point: by the geodesic from it in whole millimetres, then
        by key, found as they are asked for. The index may be edited while a walk is under way: it
        goes on behind the store that it gave last, in the index as it then is.
        """
        given = (-1, "")
        edits = -1
        while edits != self._edits:
            edits = self._edits
            for near_mm, key, near_m in self._settled(point):
                if (near_mm, key) > given:
                    given = (near_mm, key)
                    yield Near(key, near_m)
                    if edits != self._edits:
                        break

    def _settled(self, point: Point) -> Iterator[tuple[int, str, float]]:
        """(mm, key, metres) in that order.

        An address in a dense city lies within dozens of areas, of which one is needed: each is
        asked for the point only when its store's turn comes, and nothing of the others is touched
        but their places. The way to a store is no shorter than the chord, so one is given once its
        way is below all chords to come.
        """
        near = self._near(point)
        if not len(near):
            return
        apart = np.subtract(self._places.take(near, 0), distance.ecef(point))
        squares = (apart * apart) @ _ONES
        order = squares.argsort()
        waiting: list[tuple[int, str, float]] = []  # holds the point, turn not yet come
        for square, slot in zip(squares[order].tolist(), near[order].tolist(), strict=True):
            least_mm = round((math.sqrt(square) - _ROUNDING_M) * 1000)
            while waiting and waiting[0][0] < least_mm:
                yield heapq.heappop(waiting)
            if shapely.intersects_xy(self._shapes[slot], point.lon, point.lat):
                lon, lat = self._degrees[slot].tolist()
                metres = distance.between_m(point.lon, point.lat, lon, lat)
                heapq.heappush(waiting, (round(metres * 1000), self._keys[slot], metres))
        while waiting:
            yield heapq.heappop(waiting)

    def _near(self, point: Point) -> NDArray[np.int64]:
        """The slots of the areas whose bounds hold the point; overwritten by the next call."""
        if not self._slots:
            return _NONE
        return self._boxes.at(point.lon, point.lat)

    def _make_room(self) -> None:
        """Twice as much, so that many `put`s cost little each."""
        room = len(self._keys)
        self._free.extend(reversed(range(room, 2 * room)))
        self._keys = np.concatenate([self._keys, np.empty(room, np.object_)])
        self._shapes = np.concatenate([self._shapes, np.empty(room, np.object_)])
        self._places = np.concatenate([self._places, np.empty((room, 3))])
        self._degrees = np.concatenate([self._degrees, np.empty((room, 2))])
