"""WGS-84, GCJ-02 and BD-09: from one to another, and where the shift applies.

GPS gives WGS-84. Chinese maps are shifted by law: Amap and Tencent show GCJ-02, about 430 m off,
Baidu BD-09, about 1 km off. The shift applies in mainland China only, so **outside the mainland
every datum passes unchanged**. The mainland is an outline, not a rectangle: the provinces without
Hong Kong, Macau and Taiwan (Kinmen and Matsu counted to Taiwan), with the water up to 20 km off its
coast that is nearer to it than to those; see geo/data/README.md.

The formulas are those of the public implementations, which agree with each other to 1e-14 degrees
and with the map vendors' own answers to under 1 m. The inverses are iterated, good to 1 mm.

At the outline itself the shift jumps, so just outside it (700 m in GCJ-02, 1.3 km in BD-09) a
position can be both a mainland place that was shifted and a foreign one that was not. Rule: it is
read as shifted if the place that it then names lies in the mainland. So mainland places always
survive the way there and back.
"""

import importlib.resources
import math
import re
from collections.abc import Callable
from enum import StrEnum
from functools import cache

import numpy as np
import shapely

from geo import packed
from geo.point import Point


class Datum(StrEnum):
    """What a pair of degrees means."""

    WGS84 = "wgs84"  # GPS, phones' browsers, most of the world
    GCJ02 = "gcj02"  # Amap, Tencent, Google's Chinese maps, WeChat
    BD09 = "bd09"  # Baidu


class UnknownDatum(ValueError):
    """A name that is no datum known here."""


_NAMES = {
    Datum.WGS84: (
        "wgs84", "wgs1984", "wgs", "gps", "epsg4326", "cgcs2000", "epsg4490", "国测2000",
        "大地2000", "大地", "地球", "天地图", "tianditu",
    ),
    Datum.GCJ02: (
        "gcj02", "gcj", "火星", "国测局", "高德", "高德地图", "腾讯", "腾讯地图",
        "amap", "autonavi", "gaode", "tencent",
    ),
    Datum.BD09: ("bd09", "bd09ll", "bd", "百度", "百度地图", "百度经纬度", "baidu"),
}  # fmt: skip
_BY_NAME = {name: datum for datum, names in _NAMES.items() for name in names}


def parse(text: str) -> Datum:
    """The datum that a person or a file calls by this name, in any case, with any dashes.

    CGCS2000 counts as WGS-84 (they differ by centimetres). Raises `UnknownDatum`.
    """
    plain = re.sub(r"[\s\-_.:/()（）－—]+", "", text).lower()
    for name in (plain, plain.removesuffix("坐标系").removesuffix("坐标")):
        if name in _BY_NAME:
            return _BY_NAME[name]
    known = ", ".join(datum.value for datum in Datum)
    raise UnknownDatum(f"unknown datum {text.strip()!r}: expected one of {known}")


def to_wgs84(point: Point, datum: Datum) -> Point:
    """The WGS-84 position of a point whose degrees are meant in `datum`."""
    if datum is Datum.WGS84 or not _in_reach(point.lon, point.lat):
        return point
    lon, lat = point.lon, point.lat
    if datum is Datum.BD09:
        lon, lat = _undo(_gcj_to_bd, lon, lat)
    lon, lat = _undo(_wgs_to_gcj, lon, lat)
    return Point(lon, lat) if _inside(lon, lat) else point


def from_wgs84(point: Point, datum: Datum) -> Point:
    """The degrees in `datum` of a WGS-84 position; a `Point` for its two numbers only."""
    if datum is Datum.WGS84 or not _inside(point.lon, point.lat):
        return point
    lon, lat = _wgs_to_gcj(point.lon, point.lat)
    if datum is Datum.BD09:
        lon, lat = _gcj_to_bd(lon, lat)
    return Point(lon, lat)


def in_mainland(point: Point) -> bool:
    """Whether the shift applies at a WGS-84 position: see the module's rule."""
    return _inside(point.lon, point.lat)


def _in_reach(lon: float, lat: float) -> bool:
    """A rectangle around all that could be shifted: saves the polygon for the rest of the world."""
    return 73 < lon < 136 and 3 < lat < 54


def _inside(lon: float, lat: float) -> bool:
    return _in_reach(lon, lat) and bool(shapely.intersects_xy(_mainland(), lon, lat))


@cache
def _mainland() -> shapely.Geometry:
    path = importlib.resources.files("geo") / "data" / "mainland.npz"
    with importlib.resources.as_file(path) as file, np.load(file, allow_pickle=False) as arrays:
        outline = packed.unpack(arrays)[0]
    shapely.prepare(outline)
    return outline


# Krasovsky 1940, which the published code of GCJ-02 uses.
_A = 6_378_245.0
_EE = 0.00669342162296594323


def _wgs_to_gcj(lon: float, lat: float) -> tuple[float, float]:
    """Source: the "EvilTransform" code that the public implementations descend from."""
    x, y = lon - 105.0, lat - 35.0
    pi = math.pi
    root = math.sqrt(abs(x))
    ripple = (20 * math.sin(6 * x * pi) + 20 * math.sin(2 * x * pi)) * 2 / 3
    d_lat = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + ripple
    d_lat += (20 * math.sin(y * pi) + 40 * math.sin(y / 3 * pi)) * 2 / 3
    d_lat += (160 * math.sin(y / 12 * pi) + 320 * math.sin(y * pi / 30)) * 2 / 3
    d_lon = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + ripple
    d_lon += (20 * math.sin(x * pi) + 40 * math.sin(x / 3 * pi)) * 2 / 3
    d_lon += (150 * math.sin(x / 12 * pi) + 300 * math.sin(x / 30 * pi)) * 2 / 3
    phi = math.radians(lat)
    magic = 1 - _EE * math.sin(phi) ** 2
    d_lat = math.degrees(d_lat * magic * math.sqrt(magic) / (_A * (1 - _EE)))
    d_lon = math.degrees(d_lon * math.sqrt(magic) / (_A * math.cos(phi)))
    return lon + d_lon, lat + d_lat


_X_PI = math.pi * 3000 / 180


def _gcj_to_bd(lon: float, lat: float) -> tuple[float, float]:
    z = math.hypot(lon, lat) + 0.00002 * math.sin(lat * _X_PI)
    theta = math.atan2(lat, lon) + 0.000003 * math.cos(lon * _X_PI)
    return z * math.cos(theta) + 0.0065, z * math.sin(theta) + 0.006


def _undo(
    forward: Callable[[float, float], tuple[float, float]], lon: float, lat: float
) -> tuple[float, float]:
    """The point that `forward` takes to (lon, lat), by fixed-point iteration: each round makes the
    error some fifty times smaller, and it ends below 0.1 mm."""
    x, y = lon, lat
    for _ in range(20):
        to_lon, to_lat = forward(x, y)
        d_lon, d_lat = lon - to_lon, lat - to_lat
        x, y = x + d_lon, y + d_lat
        if abs(d_lon) < 1e-9 and abs(d_lat) < 1e-9:
            break
    return x, y
