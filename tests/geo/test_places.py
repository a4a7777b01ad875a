"""Places: known points, thousands of shops, the sea and other countries."""

import csv
import random
import time
from pathlib import Path

import pytest
import shapely

from geo import places, polygons
from geo.places import Place
from geo.point import Point

DATA = Path(__file__).parent / "data"


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _at(row: dict[str, str]) -> Place | None:
    return places.default().at(Point(float(row["lon"]), float(row["lat"])))


@pytest.mark.parametrize("row", _rows("known_places.csv"), ids=lambda row: row["name"])
def test_every_known_point_gets_its_province_city_and_district(row: dict[str, str]) -> None:
    found = _at(row)
    if not row["province"]:
        assert found is None
        return
    assert found is not None
    assert found.province == row["province"]
    assert row["city"] in ("*", found.city)
    assert row["district"] in ("*", found.district)


def test_shops_get_the_district_that_the_full_polygons_give_them() -> None:
    by_code = {row["district_adcode"]: row for row in polygons.table("district")}
    shops = _rows("shop_positions.csv")
    right = right_city = 0
    for shop in shops:
        found, truth = _at(shop), by_code[shop["adcode"]]
        if found is None or found.province != truth["province_name"]:
            continue
        right_city += (found.city or found.district) == truth["city_name"]
        right += (found.district or found.city) == truth["district_name"]
    assert right_city == len(shops)
    assert right / len(shops) >= 0.998


def test_random_places_agree_with_the_full_polygons() -> None:
    rows, shapes = polygons.table("district"), polygons.geometries("district")
    tree = shapely.STRtree(shapes)
    rng = random.Random(31)
    points = [Point(rng.uniform(73, 135.5), rng.uniform(17, 54)) for _ in range(1500)]
    wrong = []
    for point in points:
        hits = tree.query(shapely.Point(point.lon, point.lat), predicate="within")
        truth = rows[hits[0]]["district_name"] if len(hits) else None
        found = places.default().at(point)
        if (found and (found.district or found.city)) != truth:
            wrong.append((point, found, truth))
    assert len(wrong) <= 3, wrong


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        (121.4998, 31.2397, Place("上海市", "上海市", "浦东新区")),
        (114.1722, 22.2976, Place("香港特别行政区", "香港特别行政区", "油尖旺区")),
        (121.5645, 25.0339, Place("台湾省", "台湾省", None)),
        (113.7518, 23.0207, Place("广东省", "东莞市", None)),
        (112.6016, 35.0672, Place("河南省", None, "济源市")),
        (113.4175, 30.3638, Place("湖北省", None, "仙桃市")),
    ],
)
def test_each_kind_of_place_has_its_stated_names(lon: float, lat: float, expected: Place) -> None:
    assert places.default().at(Point(lon, lat)) == expected


@pytest.mark.parametrize(
    ("lon", "lat"),
    [
        (122.9, 31.0),  # East China Sea
        (119.4, 24.6),  # Taiwan Strait
        (117.5, 20.0),
        (126.978, 37.567),  # Seoul
        (124.400, 40.095),  # Sinuiju
        (-0.128, 51.507),
        (72.9, 40.0),
        (180, 0),
        (-180, -90),
        (0, 90),
        (136.0, 54.0),
    ],
)
def test_the_sea_and_other_countries_have_no_place(lon: float, lat: float) -> None:
    assert places.default().at(Point(lon, lat)) is None


def test_a_point_on_a_border_between_two_districts_has_one_of_them() -> None:
    shapes = polygons.geometries("district")
    rows = polygons.table("district")
    dongcheng = next(i for i, row in enumerate(rows) if row["district_name"] == "东城区")
    corners = shapely.get_coordinates(shapely.simplify(shapes[dongcheng], 0.001))
    for lon, lat in corners.tolist():
        found = places.default().at(Point(round(lon, 5), round(lat, 5)))
        assert found is not None
        assert found.province == "北京市"


def test_places_load_fast_and_answer_fast() -> None:
    """Bounds are loose: they catch a lost index, not a busy machine."""
    start = time.perf_counter()
    loaded = places.load()
    assert time.perf_counter() - start < 10
    shops = [Point(float(r["lon"]), float(r["lat"])) for r in _rows("shop_positions.csv")]
    for shop in shops:
        loaded.at(shop)
    start = time.perf_counter()
    for shop in shops:
        loaded.at(shop)
    assert (time.perf_counter() - start) / len(shops) < 500e-6
