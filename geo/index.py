"""The exact nearest stores: a 3-D R-tree over earth-centred points, settled by the geodesic.

An R-tree over degrees names the wrong store and breaks at 180 degrees and the poles. Here a store
is its point (x, y, z) on the WGS-84 ellipsoid, so that the tree's order is the order of *chords*,
straight lines through the earth. Chord order is nearly geodesic order; this is why the answer is
exactly geodesic order:

- No way over the ground is shorter than the chord, so a store whose chord is c is at least c away.
- The ellipsoid holds a ball of its polar radius b, so the way is at least b times the angle between
  the two points seen from the centre; far away that says more (`_least_mm`).
- Both bounds grow with the chord. The tree has given all chords up to the longest it gave, so every
  store it has not given is at least as far as that chord's bound. A store is handed out once its
  geodesic is below the bound of all that have not been looked at; until then the tree is asked for
  more.

Distances are compared in whole millimetres, ties by key.
"""

import bisect
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from geo import distance, tree
from geo.point import Point

# Coordinates of some 6.4e6 m in doubles are right to about 1e-9 m, chords to a few times that.
_ROUNDING_M = 1e-6
# The nearest store, and the next one to know that it is the nearest.
_FOR_ONE = 2
# Beyond this chord the farthest-out point of the ellipsoid has the smallest angle: sqrt(a^2 - b^2).
_FAR_CHORD_M = 530_000.0


@dataclass(frozen=True, slots=True)
class Near:
    """A store and how far it is, by the geodesic, in metres."""

    key: str
    distance_m: float


class StoreIndex:
    """Stores by number, each at one place; answers which are nearest, exactly.

    `add` and `discard` change it in place in some tens of microseconds. **Not thread-safe, even for
    reading** (libspatialindex is not): one thread uses one index.
    """

    def __init__(self, items: Iterable[tuple[str, Point]] = ()) -> None:
        """Loads all items at once, which is faster than adding them. A key that comes twice is
        where it came last."""
        latest = dict(items)
        count = len(latest)
        lons = np.fromiter((point.lon for point in latest.values()), np.float64, count)
        lats = np.fromiter((point.lat for point in latest.values()), np.float64, count)
        # A store's slot is its place in these columns and its id in the tree. Arrays, not objects:
        # 40 bytes a store where tuples would take some 300.
        self._slots = {key: slot for slot, key in enumerate(latest)}
        self._keys: list[str] = list(latest)
        self._lons, self._lats = array("d", lons.tobytes()), array("d", lats.tobytes())
        xyz = distance.ecefs(lons, lats)
        self._xs, self._ys, self._zs = (array("d", axis.tobytes()) for axis in xyz.T)
        self._free: list[int] = []
        self._edits = 0
        self._tree = tree.Tree(xyz)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: object) -> bool:
        return key in self._slots

    def point(self, key: str) -> Point:
        """Where a store stands; `KeyError` if it is not in the index."""
        slot = self._slots[key]
        return Point(self._lons[slot], self._lats[slot])

    def add(self, key: str, point: Point) -> None:
        """Puts a store in; one that is in already moves."""
        self.discard(key)
        x, y, z = distance.ecef(point)
        if self._free:
            slot = self._free.pop()
            self._keys[slot] = key
            self._lons[slot], self._lats[slot] = point.lon, point.lat
            self._xs[slot], self._ys[slot], self._zs[slot] = x, y, z
        else:
            slot = len(self._keys)
            self._keys.append(key)
            self._lons.append(point.lon)
            self._lats.append(point.lat)
            self._xs.append(x)
            self._ys.append(y)
            self._zs.append(z)
        self._slots[key] = slot
        self._edits += 1
        self._tree.add(slot, (x, y, z))

    def discard(self, key: str) -> None:
        """Takes a store out; nothing happens if it is not in."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        self._tree.remove(slot, (self._xs[slot], self._ys[slot], self._zs[slot]))
        self._keys[slot] = ""
        self._free.append(slot)
        self._edits += 1

    def nearest(self, point: Point, k: int = 1, *, within_m: float | None = None) -> list[Near]:
        """The `k` nearest stores, nearest first; fewer if there are fewer (within `within_m`)."""
        return list(itertools.islice(self.walk(point, within_m=within_m, expect=k), k))

    def walk(
        self, point: Point, *, within_m: float | None = None, expect: int = 1
    ) -> Iterator[Near]:
        """All stores (within `within_m`, inclusive), nearest first, found as they are asked for.

        `expect` is how many will likely be asked for: the tree is asked for these at once.

        The index may be edited while a walk is under way: it goes on behind the store that it gave
        last, in the index as it then is.
        """
        return self._walk(point, expect + 1, within_m)

    def _walk(self, point: Point, ask: int, within_m: float | None) -> Iterator[Near]:
        limit_mm = math.inf if within_m is None else round(within_m * 1000)
        given = (-1, "")
        edits = -1
        if ask == _FOR_ONE:
            first, alone = self._first(point, limit_mm)
            if alone:
                edits = self._edits
            if first is not None:
                given = first[0], first[1]
                yield Near(first[1], first[2])
            ask *= 4
        while edits != self._edits:
            edits = self._edits
            for batch in self._settled(point, ask, limit_mm):
                for near_mm, key, near_m in batch:
                    if (near_mm, key) > given:
                        given = (near_mm, key)
                        yield Near(key, near_m)
                        if edits != self._edits:
                            break
                if edits != self._edits:
                    break

    def _first(self, point: Point, limit_mm: float) -> tuple[tuple[int, str, float] | None, bool]:
        """The nearest store as (mm, key, metres) if two chords settle it, as they nearly always do:
        most walks end here. None if they do not. And whether there is no other within the limit."""
        centre = distance.ecef(point)
        slots = self._tree.nearest(centre, _FOR_ONE, limit_mm / 1000 + 0.001)
        if len(slots) < _FOR_ONE:
            first = self._measured(point, slots[0]) if slots else None
            return (first if first and first[0] <= limit_mm else None), True
        if len(slots) > _FOR_ONE:
            return None, False
        xs, ys, zs = self._xs, self._ys, self._zs
        slot, other = slots
        chord_m = math.dist(centre, (xs[slot], ys[slot], zs[slot]))
        next_m = math.dist(centre, (xs[other], ys[other], zs[other]))
        if next_m < chord_m:
            slot, next_m = other, chord_m
        first = self._measured(point, slot)
        settled = first[0] < _least_mm(centre, next_m) and first[0] <= limit_mm
        return (first if settled else None), False

    def _settled(
        self, point: Point, ask: int, limit_mm: float
    ) -> Iterator[list[tuple[int, str, float]]]:
        """Stores up to `limit_mm` as (mm, key, metres) in that order, in batches of any size."""
        if not self._slots:
            return
        centre = distance.ecef(point)
        # half a millimetre for the rounding to whole ones, and some
        limit_m = limit_mm / 1000 + 0.001
        waiting: list[tuple[int, str, float]] = []  # distance known, turn not yet come
        measured: set[int] = set()
        while True:
            chords = self._chords(centre, ask, limit_m)
            complete = len(chords) < ask  # no other has a chord within the limit, nor a way
            # What has not been measured then is at least as far as the last chord says.
            least_mm = math.inf if complete else _least_mm(centre, chords[-1][0])
            for _, slot in chords if complete else chords[:-1]:
                if slot not in measured:
                    measured.add(slot)
                    waiting.append(self._measured(point, slot))
            waiting.sort()
            ready = bisect.bisect_left(waiting, (min(least_mm, limit_mm + 1),))
            yield waiting[:ready]
            if complete or least_mm > limit_mm:
                return
            del waiting[:ready]
            ask *= 4

    def _chords(self, centre: tree.Place, ask: int, limit_m: float) -> list[tuple[float, int]]:
        """The `ask` shortest chords (more where they tie) as (metres, slot), in order; fewer only
        if there are no more up to `limit_m`."""
        xs, ys, zs, dist = self._xs, self._ys, self._zs, math.dist
        return sorted(
            [
                (dist(centre, (xs[slot], ys[slot], zs[slot])), slot)
                for slot in self._tree.nearest(centre, ask, limit_m)
            ]
        )

    def _measured(self, point: Point, slot: int) -> tuple[int, str, float]:
        metres = distance.between_m(point.lon, point.lat, self._lons[slot], self._lats[slot])
        return round(metres * 1000), self._keys[slot], metres


def _least_mm(centre: tree.Place, chord_m: float) -> int:
    """What a store is away at least if its chord is `chord_m` or longer; see the module."""
    least_m = chord_m
    if chord_m > _FAR_CHORD_M:
        a, r = distance.EQUATORIAL_RADIUS_M, math.hypot(*centre)
        cosine = (r * r + a * a - chord_m * chord_m) / (2 * r * a)
        angle = math.acos(max(-1.0, min(1.0, cosine)))
        least_m = max(chord_m, distance.POLAR_RADIUS_M * angle)
    return round((least_m - _ROUNDING_M) * 1000)
