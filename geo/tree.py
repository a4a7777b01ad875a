"""Numbered points in space under an R-tree (libspatialindex), and the nearest of them.

`rtree`'s own `nearest` spends a third of a query around the library's call: arrays made anew,
properties asked for, results copied one by one. This calls the function under its `nearest_v` on
buffers that are made once; that one also takes a limit, beyond which nothing is looked at.
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
