"""Polygons packed small for shipping in `geo/data/`, and unpacked fast at start-up.

Coordinates are rounded to 1e-5 degree (about 1 m) and stored as differences, byte plane by byte
plane, which a compressed `.npz` shrinks to some 3 bytes a vertex. Neighbours that share a border
share its rounded vertices, so packing opens no gaps between them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

_PER_DEGREE = 1e5


def pack(geometries: Sequence[shapely.Geometry]) -> dict[str, NDArray[np.generic]]:
    """The arrays that `unpack` takes, for polygons and multipolygons. Rings that rounding leaves
    with fewer than three corners are dropped."""
    steps: list[NDArray[np.int32]] = []
    ring_sizes: list[int] = []
    polygon_sizes: list[int] = []
    geometry_sizes: list[int] = []
    for geometry in geometries:
        polygons = 0
        for polygon in shapely.get_parts(geometry):
            rings = [_rounded(ring) for ring in (polygon.exterior, *polygon.interiors)]
            if len(rings[0]) < 4:
                continue
            rings = [ring for ring in rings if len(ring) >= 4]
            steps.extend(
                np.diff(ring, axis=0, prepend=np.zeros((1, 2), np.int32)) for ring in rings
            )
            ring_sizes.extend(len(ring) for ring in rings)
            polygon_sizes.append(len(rings))
            polygons += 1
        geometry_sizes.append(polygons)
    flat = np.concatenate(steps).astype("<i4")
    planes = np.ascontiguousarray(flat.T).view(np.uint8).reshape(2, -1, 4)
    return {
        "planes": np.ascontiguousarray(planes.transpose(0, 2, 1)),
        "ring_sizes": np.array(ring_sizes, np.int32),
        "polygon_sizes": np.array(polygon_sizes, np.int32),
        "geometry_sizes": np.array(geometry_sizes, np.int32),
    }


def unpack(arrays: Mapping[str, NDArray[np.generic]]) -> NDArray[np.object_]:
    """The multipolygons, in the order they were packed, in WGS-84 degrees."""
    planes = np.ascontiguousarray(arrays["planes"].transpose(0, 2, 1))
    steps = planes.view("<i4").reshape(2, -1).T
    ring_sizes = np.asarray(arrays["ring_sizes"], np.int64)
    ring_of_vertex = np.repeat(np.arange(len(ring_sizes)), ring_sizes)
    starts = np.cumsum(ring_sizes) - ring_sizes
    run = np.cumsum(steps, axis=0, dtype=np.int64)
    # every ring begins with its absolute position, so what ran up before it is taken off
    before = np.concatenate([np.zeros((1, 2), np.int64), run])[starts]
    coordinates = (run - before[ring_of_vertex]) / _PER_DEGREE
    rings = shapely.linearrings(coordinates, indices=ring_of_vertex)
    polygons = shapely.polygons(rings, indices=_owners(arrays["polygon_sizes"]))
    unpacked: NDArray[np.object_] = shapely.multipolygons(
        polygons, indices=_owners(arrays["geometry_sizes"])
    )
    return unpacked


def _rounded(ring: shapely.LinearRing) -> NDArray[np.int32]:
    corners = np.rint(shapely.get_coordinates(ring) * _PER_DEGREE).astype(np.int32)
    moved = (np.diff(corners, axis=0) != 0).any(axis=1)
    return np.asarray(corners[np.concatenate([[True], moved])])


def _owners(sizes: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(sizes)), np.asarray(sizes, np.int64))
