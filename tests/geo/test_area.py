"""Service areas: what is read, what is repaired and what is refused."""

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo import area
from geo.area import InvalidArea
from geo.point import Point

SQUARE = [[121.0, 31.0], [122.0, 31.0], [122.0, 32.0], [121.0, 32.0], [121.0, 31.0]]
HOLE = [[121.4, 31.4], [121.6, 31.4], [121.6, 31.6], [121.4, 31.6], [121.4, 31.4]]
POLYGON: dict[str, Any] = {"type": "Polygon", "coordinates": [SQUARE]}


def _inside(geojson: dict[str, Any] | str, lon: float, lat: float) -> bool:
    return area.contains(area.parse(geojson), Point(lon, lat))


def test_a_point_in_the_area_or_on_its_edge_is_in_it() -> None:
    square = area.parse(POLYGON)
    assert area.contains(square, Point(121.5, 31.5))
    assert area.contains(square, Point(121.0, 31.5))
    assert area.contains(square, Point(121.0, 31.0))
    assert not area.contains(square, Point(120.9999, 31.5))


def test_a_hole_is_not_in_the_area() -> None:
    holed = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
    assert not _inside(holed, 121.5, 31.5)
    assert _inside(holed, 121.2, 31.2)


@pytest.mark.parametrize(
    "wrapped",
    [
        json.dumps(POLYGON),
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        {"type": "Feature", "properties": {}, "geometry": POLYGON},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]},
        {"type": "GeometryCollection", "geometries": [POLYGON]},
        {"type": "Polygon", "coordinates": [[[*corner, 12.5] for corner in SQUARE]]},
        {"type": "Polygon", "coordinates": [SQUARE[:-1]]},
        {"type": "Polygon", "coordinates": [SQUARE[::-1]]},
    ],
    ids=["text", "multi", "feature", "features", "geometries", "heights", "open ring", "clockwise"],
)
def test_the_same_area_may_come_in_many_wrappings(wrapped: dict[str, Any] | str) -> None:
    assert _inside(wrapped, 121.5, 31.5)
    assert not _inside(wrapped, 120.5, 31.5)


def test_two_areas_of_one_store_are_one() -> None:
    east = [[lon + 0.5, lat] for lon, lat in SQUARE]
    both = {"type": "MultiPolygon", "coordinates": [[SQUARE], [east]]}
    whole = area.parse(both)
    assert whole.is_valid
    for lon in (121.2, 121.7, 122.3):
        assert area.contains(whole, Point(lon, 31.5))


def test_an_area_that_crosses_itself_is_repaired() -> None:
    bow = [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]
    whole = area.parse({"type": "Polygon", "coordinates": [bow]})
    assert whole.is_valid
    assert area.contains(whole, Point(0.2, 1))
    assert area.contains(whole, Point(1.8, 1))
    assert not area.contains(whole, Point(1, 1.8))


def test_a_spike_is_cut_off() -> None:
    spiked = [[0, 0], [1, 0], [1, 1], [1, 5], [1, 1], [0, 1], [0, 0]]
    whole = area.parse({"type": "Polygon", "coordinates": [spiked]})
    assert whole.geom_type in ("Polygon", "MultiPolygon")
    assert not area.contains(whole, Point(1, 3))


@pytest.mark.parametrize(
    ("geojson", "reason"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "not a GeoJSON object"),
        ("null", "not a GeoJSON object"),
        ("[" * 100_000, "not JSON"),
        ({}, "not a Polygon"),
        ({"type": "Point", "coordinates": [121, 31]}, "is a Point"),
        ({"type": "Feature", "geometry": None}, "no geometry"),
        ({"type": "FeatureCollection", "features": []}, "no polygon"),
        ({"type": "FeatureCollection"}, "without members"),
        ({"type": "Polygon"}, "no coordinates"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "MultiPolygon", "coordinates": []}, "empty"),
        ({"type": "Polygon", "coordinates": [[]]}, "three corners"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, "three corners"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}, "empty"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, "1"], [1, 0]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, math.nan], [1, 0]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 10**400], [1, 0]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [True, 1], [1, 0]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[31, 121], [32, 121], [32, 122]]]}, "off the earth"),
        ({"type": "Polygon", "coordinates": SQUARE}, "nested"),
        ({"type": "Polygon", "coordinates": 5}, "no coordinates"),
        ({"type": "Polygon", "coordinates": [[[i, 0] for i in range(2)] * 15_000]}, "corners"),
    ],
)
def test_what_is_no_area_is_refused_with_the_reason(
    geojson: dict[str, Any] | str, reason: str
) -> None:
    with pytest.raises(InvalidArea, match=reason):
        area.parse(geojson)


def test_too_many_corners_are_refused() -> None:
    corners = area.MAX_CORNERS + 1
    circle = [
        [math.cos(2 * math.pi * i / corners), math.sin(2 * math.pi * i / corners)]
        for i in range(corners)
    ]
    with pytest.raises(InvalidArea, match="corners"):
        area.parse({"type": "Polygon", "coordinates": [circle]})


@given(
    st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=3, max_size=12),
    st.floats(-180, 180),
    st.floats(-90, 90),
)
def test_any_scribble_is_a_valid_area_or_refused(
    corners: list[tuple[float, float]], lon: float, lat: float
) -> None:
    try:
        whole = area.parse({"type": "Polygon", "coordinates": [corners]})
    except InvalidArea:
        return
    assert whole.is_valid
    assert whole.geom_type in ("Polygon", "MultiPolygon")
    area.contains(whole, Point(lon, lat))


def test_a_star_shaped_area_holds_what_its_drawing_holds() -> None:
    """Oracle: around the centre, a point is inside where its radius is below the edge's."""
    rng = random.Random(51)
    radii = [rng.uniform(0.2, 1) for _ in range(60)]
    turn = 2 * math.pi / len(radii)
    corners = [[r * math.cos(i * turn), r * math.sin(i * turn)] for i, r in enumerate(radii)]
    star = area.parse({"type": "Polygon", "coordinates": [corners]})
    for _ in range(500):
        i = rng.randrange(len(radii))
        share = rng.choice([0.9, 0.99, 1.01, 1.1])
        point = Point(corners[i][0] * share, corners[i][1] * share)
        assert area.contains(star, point) is (share < 1)
