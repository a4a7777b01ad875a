"""Points: what is one and what is none."""

import math

import pytest

from geo.point import InvalidPoint, Point


@pytest.mark.parametrize(("lon", "lat"), [(180, 90), (-180, -90), (0, 0), (121.5, 31.2)])
def test_every_place_on_earth_is_a_point(lon: float, lat: float) -> None:
    assert Point(lon, lat) == Point(lon, lat)


@pytest.mark.parametrize(
    ("lon", "lat", "field"),
    [
        (180.0001, 0, "lon"),
        (-181, 0, "lon"),
        (math.nan, 0, "lon"),
        (math.inf, 0, "lon"),
        (0, 90.0001, "lat"),
        (31.2, 121.5, "lat"),
        (0, math.nan, "lat"),
        (0, -math.inf, "lat"),
    ],
)
def test_a_position_off_the_earth_is_refused_with_the_field_at_fault(
    lon: float, lat: float, field: str
) -> None:
    with pytest.raises(InvalidPoint) as refused:
        Point(lon, lat)
    assert refused.value.field == field
    assert {"lon": "longitude", "lat": "latitude"}[field] in str(refused.value)
