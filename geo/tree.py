"""R-trees (libspatialindex): numbered points in space and the nearest of them; numbered boxes in
the plane and those that hold a point.

`rtree`'s own `nearest` and `intersection` spend a third of a query and more around the library's
call: arrays made anew, properties asked for, results copied one by one. These call the functions
under its `nearest_v` and `intersection_v` on buffers that are made once; the nearest also take a
limit, beyond which nothing is looked at.
"""

import ctypes
import math
from typing import Any, TypeAlias

import numpy as np
import rtree.core
import rtree.index
from numpy.typing import NDArray

#: Metres from the earth's middle: x, y, z.
Place: TypeAlias = tuple[float, float, float]

# Small nodes make single nearest-neighbour queries fast; measured on 1e3 to 1e6 stores.
_LEAF, _BRANCH = 20, 20
_AXES = 3
_ROOM = 64


class Tree:
    """Points by number. **Not thread-safe, even for reading**: one thread uses one tree."""

    def __init__(self, places: NDArray[np.float64]) -> None:
        """Points 0 to n - 1 from an array of shape (n, 3), all at once."""
        settings = rtree.index.Property(
            dimension=_AXES, leaf_capacity=_LEAF, index_capacity=_BRANCH
        )
        numbers = np.arange(len(places), dtype=np.int64)
        bulk = [(numbers, places, places)] if len(places) else []
        self._tree: Any = rtree.index.Index(*bulk, properties=settings)
        self._place = (ctypes.c_double * _AXES)()
        self._count = (ctypes.c_uint64 * 1)()
        self._limit = (ctypes.c_double * 1)()
        self._answered = ctypes.c_int64()
        self._make_room(_ROOM)

    def add(self, number: int, place: Place) -> None:
        self._tree.insert(number, (*place, *place))

    def remove(self, number: int, place: Place) -> None:
        """`place` must be the one that it was added with."""
        self._tree.delete(number, (*place, *place))

    def nearest(self, place: Place, most: int, within_m: float = math.inf) -> list[int]:
        """The `most` nearest points in no promised order; more where the last tie. Fewer only if
        there are no more within the limit, which must be above 0."""
        self._place[:] = list(place)
        while True:
            # 0 stands for no limit; the library puts the distance that it reached in its place
            self._limit[0] = 0.0 if math.isinf(within_m) else within_m
            rtree.core.rt.Index_NearestNeighbors_id_v(
                self._tree.handle, most, *self._buffers, ctypes.byref(self._answered)
            )
            count = self._count[0]
            if count <= len(self._numbers):
                return self._numbers[:count]
            self._make_room(2 * count)

    def _make_room(self, count: int) -> None:
        """Room for so many answers, and what the library is told about its buffers, in order: one
        query of so many axes, room, strides, lower and upper corner, answers, count, limit."""
        self._numbers = (ctypes.c_int64 * count)()
        place = ctypes.addressof(self._place)
        self._buffers = (
            1,
            _AXES,
            count,
            _AXES,
            1,
            place,
            place,
            ctypes.addressof(self._numbers),
            ctypes.addressof(self._count),
            ctypes.addressof(self._limit),
        )


#: Lowest and highest of each axis: x, y, x, y.
Box: TypeAlias = tuple[float, float, float, float]

_PLANE_AXES = 2


class Boxes:
    """Boxes by number. **Not thread-safe, even for reading**: one thread uses one."""

    def __init__(self) -> None:
        settings = rtree.index.Property(
            dimension=_PLANE_AXES, leaf_capacity=_LEAF, index_capacity=_BRANCH
        )
        self._tree: Any = rtree.index.Index(properties=settings, interleaved=True)
        self._point = (ctypes.c_double * _PLANE_AXES)()
        self._count = (ctypes.c_uint64 * 1)()
        self._answered = ctypes.c_int64()
        self._make_room(_ROOM)

    def add(self, number: int, box: Box) -> None:
        self._tree.insert(number, box)

    def remove(self, number: int, box: Box) -> None:
        """`box` must be the one that it was added with."""
        self._tree.delete(number, box)

    def at(self, x: float, y: float) -> NDArray[np.int64]:
        """The boxes that hold a point or have it on their edge, in no order. What is given is
        overwritten by the next call."""
        self._point[0], self._point[1] = x, y
        while True:
            rtree.core.rt.Index_Intersects_id_v(
                self._tree.handle, *self._buffers, ctypes.byref(self._answered)
            )
            count = self._count[0]
            if count <= len(self._numbers):
                return self._numbers[:count]
            self._make_room(2 * count)

    def _make_room(self, count: int) -> None:
        """Room for so many answers, and what the library is told about its buffers, in order: one
        query of so many axes, room, strides, lower and upper corner, answers, count."""
        self._numbers = np.empty(count, np.int64)
        point = ctypes.addressof(self._point)
        self._buffers = (
            1,
            _PLANE_AXES,
            count,
            _PLANE_AXES,
            1,
            point,
            point,
            self._numbers.ctypes.data,
            ctypes.addressof(self._count),
        )
