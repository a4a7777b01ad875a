"""On the same questions: how often others name a store that is not the nearest, and how far off."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks import oracle, peers
from tests.benchmarks.exactness import Asked
from tests.benchmarks.worlds import Degrees

Finder = Callable[[Degrees, Degrees], NDArray[np.int64]]


def _degrees_rtree(stores: Degrees, visitors: Degrees) -> NDArray[np.int64]:
    tree = peers.DegreesRtree(stores)
    return np.array([tree.nearest(lon, lat) for lon, lat in visitors.tolist()], np.int64)


def _planar(stores: Degrees, visitors: Degrees) -> NDArray[np.int64]:
    return peers.planar(stores, visitors, narrowing=False)


def _narrowed(stores: Degrees, visitors: Degrees) -> NDArray[np.int64]:
    return peers.planar(stores, visitors, narrowing=True)


def _haversine(stores: Degrees, visitors: Degrees) -> NDArray[np.int64]:
    return peers.HaversineBallTree(stores).all_nearest(visitors)


FINDERS: dict[str, Finder] = {
    "R-tree over degrees": _degrees_rtree,
    "SQL, planar in degrees": _planar,
    "SQL, planar with cos(latitude)": _narrowed,
    "haversine (BallTree)": _haversine,
}


class Tally:
    """Metres too far, for each finder and question."""

    def __init__(self) -> None:
        self._too_far_mm: dict[str, list[NDArray[np.int64]]] = {name: [] for name in FINDERS}

    def add(self, asked: Asked) -> None:
        for name, find in FINDERS.items():
            found = asked.stores[find(asked.stores, asked.visitors)]
            there_mm = oracle.distances_mm(asked.visitors, found)
            self._too_far_mm[name].append(there_mm - asked.truth.distances_mm)

    def rows(self) -> list[tuple[str, int, int, float, float]]:
        """Finder, questions, wrong ones, and of those the median and largest detour in metres."""
        rows = []
        for name, parts in self._too_far_mm.items():
            too_far = np.concatenate(parts)
            wrong = too_far[too_far > 0] / 1000
            median, most = (float(np.median(wrong)), float(wrong.max())) if len(wrong) else (0, 0)
            rows.append((name, len(too_far), len(wrong), median, most))
        return rows
