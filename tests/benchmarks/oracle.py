"""Brute force on the WGS-84 geodesic, sharing no idea with the index: no chords, no tree.

A store's and a visitor's normals to the ellipsoid are points on the unit sphere (Gauss's map). That
map shrinks lengths by the ellipsoid's radii of curvature, which lie between b^2/a = 6,335,439 m
and a^2/b = 6,399,594 m; so a way of angle s between the normals is between 6,335,439 s and
6,399,594 s metres long. Every store is asked for its angle; those whose angle is within
the ratio of these two, 1.0101, of the smallest can be the nearest and no other can; theirs
are measured by the geodesic.
"""

from dataclasses import dataclass

import numpy as np
import pyproj
from numpy.typing import NDArray

from tests.benchmarks.worlds import Degrees

_A_M, _B_M = 6_378_137.0, 6_378_137.0 * (1 - 1 / 298.257223563)
_RATIO = (_A_M / _B_M) ** 3
# 1 - cos s is twice the square of sin(s/2), and a sine grows at most as its angle does.
_GAP_RATIO = _RATIO**2 * (1 + 1e-9)
# What rounding makes of 1 - cos s, ten times over: about a metre on the ground.
_GAP_SLACK = 1e-14

_GEOD = pyproj.Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each visitor the nearest store (its place in the world) and how far in whole mm; equal
    distances go to the lowest place."""

    stores: NDArray[np.int64]
    distances_mm: NDArray[np.int64]


def nearest(stores: Degrees, visitors: Degrees) -> Nearest:
    store_normals, visitor_normals = _normals(stores), _normals(visitors)
    candidates: list[NDArray[np.intp]] = []
    for normal in visitor_normals:
        gaps = 1.0 - store_normals @ normal
        candidates.append(np.flatnonzero(gaps <= gaps.min() * _GAP_RATIO + _GAP_SLACK))
    sizes = np.array([len(each) for each in candidates])
    flat = np.concatenate(candidates)
    measured = distances_mm(np.repeat(visitors, sizes, axis=0), stores[flat])
    of_visitor = np.repeat(np.arange(len(visitors)), sizes)
    order = np.lexsort((flat, measured, of_visitor))
    first = order[np.cumsum(sizes) - sizes]
    return Nearest(flat[first].astype(np.int64), measured[first])


def distances_mm(here: Degrees, there: Degrees) -> NDArray[np.int64]:
    """Geodesics from each to each, in whole millimetres."""
    from_lon, from_lat, to_lon, to_lat = map(np.ascontiguousarray, (*here.T, *there.T))
    metres = np.asarray(_GEOD.inv(from_lon, from_lat, to_lon, to_lat)[2], np.float64)
    return np.asarray(np.rint(metres * 1000), np.int64)


def _normals(degrees: Degrees) -> NDArray[np.float64]:
    lon, lat = np.radians(degrees).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
