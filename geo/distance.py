"""Distances on the WGS-84 ellipsoid, and earth-centred coordinates.

Geodesics by C. F. F. Karney, "Algorithms for geodesics", J. Geodesy 87 (2013),
doi:10.1007/s00190-012-0578-z, as PROJ has them: right to some nanometres.
"""

import math
from functools import cache

import numpy as np
import pyproj
from numpy.typing import ArrayLike, NDArray

from geo.point import Point

#: WGS-84, EPSG:7030: equatorial and polar radius in metres.
EQUATORIAL_RADIUS_M = 6_378_137.0
POLAR_RADIUS_M = EQUATORIAL_RADIUS_M * (1 - 1 / 298.257223563)
_E2 = 1 - (POLAR_RADIUS_M / EQUATORIAL_RADIUS_M) ** 2


@cache
def _wgs84() -> pyproj.Geod:
    return pyproj.Geod(ellps="WGS84")


def geodesic_m(a: Point, b: Point) -> float:
    """The shortest way over the ellipsoid from one point to another, in metres."""
    return between_m(a.lon, a.lat, b.lon, b.lat)


def between_m(from_lon: float, from_lat: float, to_lon: float, to_lat: float) -> float:
    """`geodesic_m` for plain degrees, where a hot path has no points at hand."""
    return float(_wgs84().inv(from_lon, from_lat, to_lon, to_lat)[2])


def geodesics_m(origin: Point, lons: ArrayLike, lats: ArrayLike) -> NDArray[np.float64]:
    """The geodesic from `origin` to each of n points, in metres, in their order."""
    to_lon, to_lat = np.asarray(lons, np.float64), np.asarray(lats, np.float64)
    from_lon, from_lat = np.full_like(to_lon, origin.lon), np.full_like(to_lat, origin.lat)
    return np.asarray(_wgs84().inv(from_lon, from_lat, to_lon, to_lat)[2], np.float64)


def ecef(point: Point) -> tuple[float, float, float]:
    """Earth-centred, earth-fixed x, y, z in metres of a point on the ellipsoid (EPSG:4978)."""
    lon, lat = math.radians(point.lon), math.radians(point.lat)
    sin_lat, cos_lat = math.sin(lat), math.cos(lat)
    normal = EQUATORIAL_RADIUS_M / math.sqrt(1 - _E2 * sin_lat * sin_lat)
    across = normal * cos_lat
    return across * math.cos(lon), across * math.sin(lon), normal * (1 - _E2) * sin_lat


def ecefs(lons: ArrayLike, lats: ArrayLike) -> NDArray[np.float64]:
    """`ecef` of n points, as an array of shape (n, 3)."""
    lon, lat = np.radians(np.asarray(lons, np.float64)), np.radians(np.asarray(lats, np.float64))
    sin_lat = np.sin(lat)
    normal = EQUATORIAL_RADIUS_M / np.sqrt(1 - _E2 * sin_lat * sin_lat)
    across = normal * np.cos(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), normal * (1 - _E2) * sin_lat], 1)
