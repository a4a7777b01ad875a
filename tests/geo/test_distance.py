"""Distances, against an independent implementation (geopy's geodesic is geographiclib)."""

import math
import random

import geopy.distance
import pyproj
import pytest

from geo import distance
from geo.point import Point


def _anywhere(rng: random.Random) -> Point:
    return Point(rng.uniform(-180, 180), math.degrees(math.asin(rng.uniform(-1, 1))))


def test_the_geodesic_agrees_with_an_independent_one() -> None:
    rng = random.Random(11)
    for _ in range(500):
        a, b = _anywhere(rng), _anywhere(rng)
        oracle = geopy.distance.geodesic((a.lat, a.lon), (b.lat, b.lon)).meters
        assert distance.geodesic_m(a, b) == pytest.approx(oracle, abs=1e-6)


def test_many_geodesics_at_once_are_the_same_as_one_by_one() -> None:
    rng = random.Random(12)
    origin, others = _anywhere(rng), [_anywhere(rng) for _ in range(50)]
    together = distance.geodesics_m(origin, [p.lon for p in others], [p.lat for p in others])
    assert together.tolist() == [distance.geodesic_m(origin, other) for other in others]


def test_earth_centred_coordinates_agree_with_proj() -> None:
    rng = random.Random(13)
    to_ecef = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    points = [_anywhere(rng) for _ in range(200)] + [Point(0, 90), Point(180, 0), Point(-180, -90)]
    rows = distance.ecefs([p.lon for p in points], [p.lat for p in points])
    for point, row in zip(points, rows, strict=True):
        expected = to_ecef.transform(point.lon, point.lat, 0)
        assert distance.ecef(point) == pytest.approx(expected, abs=1e-6)
        assert row == pytest.approx(expected, abs=1e-6)


def test_the_chord_is_never_longer_than_the_way_over_the_ground() -> None:
    rng = random.Random(14)
    for _ in range(2000):
        a = _anywhere(rng)
        b = Point(
            max(-180, min(180, a.lon + rng.gauss(0, 10 ** rng.uniform(-6, 2)))),
            max(-90, min(90, a.lat + rng.gauss(0, 10 ** rng.uniform(-6, 2)))),
        )
        chord_m = math.dist(distance.ecef(a), distance.ecef(b))
        assert chord_m <= distance.geodesic_m(a, b) + 1e-6
