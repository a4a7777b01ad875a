"""What one would take instead: each finds a store for a visitor, as its users call it.

`StoreTree` and the others take the stores' degrees and then answer `nearest(lon, lat)` with a
store's place in the world, turning degrees into what they need by themselves.
"""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import asyncpg
import numpy as np
import rtree.index
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.neighbors import BallTree

from geo import distance
from geo.point import Point
from tests.benchmarks.worlds import Degrees

T = TypeVar("T")


class Peer(Protocol):
    def nearest(self, lon: float, lat: float) -> int: ...


class SpaceRtree:
    """rtree in three dimensions, called with coordinates that are ready: the floor of ours."""

    def __init__(self, stores: Degrees, visitors: Degrees) -> None:
        self._tree: Any = _rtree(distance.ecefs(stores[:, 0], stores[:, 1]))
        self._boxes = [(*xyz, *xyz) for xyz in distance.ecefs(*visitors.T).tolist()]

    def nearest_of(self, visitor: int) -> int:
        for store in self._tree.nearest(self._boxes[visitor], 1):
            return int(store)
        raise LookupError("an empty tree")


class DegreesRtree:
    """rtree over longitude and latitude, as most examples have it."""

    def __init__(self, stores: Degrees) -> None:
        self._tree: Any = _rtree(stores)

    def nearest(self, lon: float, lat: float) -> int:
        for store in self._tree.nearest((lon, lat, lon, lat), 1):
            return int(store)
        raise LookupError("an empty tree")


class ShapelyTree:
    """shapely's STRtree over degrees."""

    def __init__(self, stores: Degrees) -> None:
        self._tree = shapely.STRtree(shapely.points(stores))

    def nearest(self, lon: float, lat: float) -> int:
        return int(self._tree.nearest(shapely.Point(lon, lat)))


class HaversineBallTree:
    """scikit-learn's BallTree with the haversine metric."""

    def __init__(self, stores: Degrees) -> None:
        self._tree: Any = BallTree(np.radians(stores[:, ::-1]), metric="haversine")

    def nearest(self, lon: float, lat: float) -> int:
        _, found = self._tree.query([[math.radians(lat), math.radians(lon)]])
        return int(found[0][0])

    def all_nearest(self, visitors: Degrees) -> NDArray[np.int64]:
        _, found = self._tree.query(np.radians(visitors[:, ::-1]))
        return np.asarray(found[:, 0], np.int64)


class SpaceKdTree:
    """SciPy's cKDTree over earth-centred points."""

    def __init__(self, stores: Degrees) -> None:
        self._tree: Any = cKDTree(distance.ecefs(stores[:, 0], stores[:, 1]))

    def nearest(self, lon: float, lat: float) -> int:
        return int(self._tree.query(distance.ecef(Point(lon, lat)))[1])


class SqlScan:
    """PostgreSQL reads every store and sorts by a formula: planar in degrees, or the haversine.

    The query is prepared once, over a local socket. Use as a context manager.
    """

    PLANAR = "(lon - $1) * (lon - $1) + (lat - $2) * (lat - $2)"
    HAVERSINE = (
        "asin(sqrt(power(sin(radians(lat - $2) / 2), 2)"
        " + cos(radians($2)) * cos(radians(lat)) * power(sin(radians(lon - $1) / 2), 2)))"
    )

    def __init__(self, url: str, stores: Degrees) -> None:
        self._runner = asyncio.Runner()
        self._connection: Any = self._run(asyncpg.connect(url))
        self._run(self._load(stores))
        self._queries = {
            formula: self._run(self._prepared(formula)) for formula in (self.PLANAR, self.HAVERSINE)
        }

    def nearest(self, lon: float, lat: float) -> int:
        return self._asked(self.PLANAR, lon, lat)

    def nearest_by_haversine(self, lon: float, lat: float) -> int:
        return self._asked(self.HAVERSINE, lon, lat)

    def close(self) -> None:
        self._run(self._connection.close())
        self._runner.close()

    def _asked(self, formula: str, lon: float, lat: float) -> int:
        return int(self._run(self._queries[formula].fetchval(lon, lat)))

    async def _load(self, stores: Degrees) -> None:
        await self._connection.execute(
            "CREATE TEMPORARY TABLE stores (store int PRIMARY KEY, lon float8, lat float8)"
        )
        records = [(number, lon, lat) for number, (lon, lat) in enumerate(stores.tolist())]
        await self._connection.copy_records_to_table("stores", records=records)
        await self._connection.execute("ANALYZE stores")

    async def _prepared(self, formula: str) -> Any:
        return await self._connection.prepare(
            f"SELECT store FROM stores ORDER BY {formula}, store LIMIT 1"
        )

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        return self._runner.run(coroutine)


def planar(stores: Degrees, visitors: Degrees, *, narrowing: bool) -> NDArray[np.int64]:
    """The stores that SQL's planar formula names, computed here: the same doubles, every store.

    `narrowing`: with degrees of longitude shortened by the cosine of the visitor's latitude.
    """
    lons, lats = np.ascontiguousarray(stores[:, 0]), np.ascontiguousarray(stores[:, 1])
    found = np.empty(len(visitors), np.int64)
    for number, (lon, lat) in enumerate(visitors.tolist()):
        east = lons - lon
        if narrowing:
            east *= math.cos(math.radians(lat))
        north = lats - lat
        found[number] = np.argmin(east * east + north * north)
    return found


def _rtree(places: NDArray[np.float64]) -> rtree.index.Index:
    """Small nodes, as ours: rtree's default of 100 is slower for single queries."""
    settings = rtree.index.Property(dimension=places.shape[1], leaf_capacity=20, index_capacity=20)
    numbers = np.arange(len(places), dtype=np.int64)
    return rtree.index.Index((numbers, places, places), properties=settings)
