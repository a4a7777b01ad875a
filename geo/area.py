"""Service areas: the GeoJSON polygon that a store serves, read, repaired and asked.

GeoJSON is RFC 7946: WGS-84 degrees, longitude first.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray

from geo.point import Point

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon

#: A hand-drawn area has some hundred corners; whole provinces have some ten thousand.
MAX_CORNERS = 20_000
_MAX_TEXT = 4_000_000
_KINDS = ("Polygon", "MultiPolygon")
# The highest longitude and latitude.
_EARTH = np.array([180.0, 90.0])


class InvalidArea(ValueError):
    """GeoJSON that is no area and cannot be made one; the message says why."""


def parse(geojson: Mapping[str, object] | str) -> Area:
    """A valid polygon or multipolygon, ready for many `contains`.

    Takes a Polygon, a MultiPolygon, a Feature with one, or a collection of them (joined). What
    crosses itself is repaired; heights are dropped. Raises `InvalidArea` for anything else, for
    coordinates off the earth, for nothing left after the repair and for too many corners.
    """
    shapes = [_shape(geometry) for geometry in _geometries(_mapping(geojson))]
    if not shapes:
        raise InvalidArea("the area holds no polygon")
    if sum(shapely.get_num_coordinates(shape) for shape in shapes) > MAX_CORNERS:
        raise InvalidArea(f"the area has more than {MAX_CORNERS} corners")
    whole: Area = shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)
    shapely.prepare(whole)
    return whole


def contains(area: Area, point: Point) -> bool:
    """Whether a point lies in the area or on its edge."""
    return bool(shapely.intersects_xy(area, point.lon, point.lat))


def _mapping(geojson: Mapping[str, object] | str) -> Mapping[str, object]:
    if isinstance(geojson, str):
        if len(geojson) > _MAX_TEXT:
            raise InvalidArea("the area is too long a text")
        try:
            geojson = json.loads(geojson)
        except (ValueError, RecursionError) as error:
            raise InvalidArea(f"the area is not JSON: {error}") from error
    if not isinstance(geojson, Mapping):
        raise InvalidArea("the area is not a GeoJSON object")
    return geojson


def _geometries(geojson: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The polygons in a geometry, a feature or a collection (one level deep)."""
    kind = geojson.get("type")
    if kind == "FeatureCollection":
        members = geojson.get("features")
    elif kind == "GeometryCollection":
        members = geojson.get("geometries")
    else:
        members = [geojson]
    if not isinstance(members, list | tuple):
        raise InvalidArea(f"the area is a {kind} without members")
    return [_polygon_of(member) for member in members]


def _polygon_of(member: object) -> Mapping[str, object]:
    if isinstance(member, Mapping) and member.get("type") == "Feature":
        member = member.get("geometry")
    if not isinstance(member, Mapping):
        raise InvalidArea("the area has no geometry")
    if member.get("type") not in _KINDS:
        raise InvalidArea(f"the area is a {member.get('type')}, not a Polygon or MultiPolygon")
    return member


def _shape(geometry: Mapping[str, object]) -> Area:
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list | tuple):
        raise InvalidArea("the area has no coordinates")
    polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
    checked = []
    corners = 0
    for polygon in polygons:
        rings = [_ring(ring) for ring in _listed(polygon)]
        corners += sum(map(len, rings))
        if corners > MAX_CORNERS:
            raise InvalidArea(f"the area has more than {MAX_CORNERS} corners")
        if rings:
            checked.append(shapely.Polygon(rings[0], rings[1:]))
    shape = shapely.MultiPolygon(checked)
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    return _polygons_only(shape)


def _ring(ring: object) -> NDArray[np.float64]:
    """A closed ring of shape (n, 2)."""
    listed = _listed(ring)
    corners = _plain(listed)
    if corners is None:  # looked at one by one: it is unusual, or it is to be said what is wrong
        corners = np.array([_corner(corner) for corner in listed], np.float64).reshape(-1, 2)
    if len(set(map(tuple, corners.tolist()))) < 3:
        raise InvalidArea("the area has a ring of fewer than three corners")
    if (corners[0] == corners[-1]).all():
        return corners
    return np.concatenate([corners, corners[:1]])


def _plain(corners: list[Any]) -> NDArray[np.float64] | None:
    """The corners, if each is a pair of numbers on the earth, as nearly all are: read at once. None
    if one is not."""
    if not {*map(type, corners)} <= {list, tuple} or {*map(len, corners)} != {2}:
        return None
    if not {*map(type, itertools.chain.from_iterable(corners))} <= {int, float}:
        return None
    try:
        array = np.array(corners, np.float64)
    except OverflowError:  # an integer beyond what a float holds
        return None
    on_earth = (np.abs(array) <= _EARTH).all()  # false for what is not a number, too
    return array if on_earth else None


def _corner(corner: object) -> tuple[float, float]:
    numbers = _listed(corner)
    if len(numbers) < 2 or not all(_is_number(number) for number in numbers[:2]):
        raise InvalidArea("the area has a corner that is not two numbers")
    lon, lat = float(numbers[0]), float(numbers[1])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise InvalidArea(f"the area has a corner off the earth: {lon}, {lat}")
    return lon, lat


def _is_number(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and _finite(number)


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond what a float holds
        return False


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidArea("the area's coordinates are not nested as GeoJSON has them")
    return list(value)


def _polygons_only(shape: shapely.Geometry) -> Area:
    """What has an area: a repair leaves lines and points where the drawing had no width."""
    parts = [part for part in _flat(shape) if isinstance(part, shapely.Polygon) and part.area > 0]
    if not parts:
        raise InvalidArea("the area is empty")
    whole: Area = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return whole


def _flat(shape: shapely.Geometry) -> Iterator[shapely.Geometry]:
    for part in shapely.get_parts(shape):
        if isinstance(part, shapely.MultiPolygon | shapely.GeometryCollection):
            yield from _flat(part)
        else:
            yield part
