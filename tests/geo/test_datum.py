"""Datums: known triples, the way there and back, names, and where the shift ends."""

import csv
import random
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo import datum, distance, polygons
from geo.datum import Datum
from geo.point import Point

# 1 km from the border: also what a shifted place in Zhuhai looks like. See the module's rule.
DOUBTFUL = {("澳门议事亭", Datum.BD09)}
VECTORS = Path(__file__).parent / "data" / "gcj02_bd09_vectors.csv"


def _vectors(*kinds: str) -> list[dict[str, str]]:
    with VECTORS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] in kinds]


def _point(row: dict[str, str], prefix: str) -> Point:
    return Point(float(row[f"{prefix}_lon"]), float(row[f"{prefix}_lat"]))


def _mainland_vectors(*kinds: str) -> list[dict[str, str]]:
    return [row for row in _vectors(*kinds) if datum.in_mainland(_point(row, "wgs"))]


def test_the_formula_is_the_one_that_all_libraries_agree_on() -> None:
    rows = _mainland_vectors("formula_consensus", "formula_consensus_edge", "library_unit_test")
    assert len(rows) > 330
    for row in rows:
        for prefix, to in (("gcj", Datum.GCJ02), ("bd", Datum.BD09)):
            if row[f"{prefix}_lon"]:
                ours, theirs = datum.from_wgs84(_point(row, "wgs"), to), _point(row, prefix)
                tolerance = float(row["tolerance_deg"])
                assert ours.lon == pytest.approx(theirs.lon, abs=tolerance), row["name"]
                assert ours.lat == pytest.approx(theirs.lat, abs=tolerance), row["name"]


def test_a_position_from_a_map_vendor_is_where_the_vendor_says() -> None:
    rows = _mainland_vectors("map_api_fixture")
    assert len(rows) > 320
    for row in rows:
        for prefix, of in (("gcj", Datum.GCJ02), ("bd", Datum.BD09)):
            ours = datum.to_wgs84(_point(row, prefix), of)
            assert distance.geodesic_m(ours, _point(row, "wgs")) < 1.5, (row["name"], prefix)


def test_outside_the_mainland_every_datum_passes_unchanged() -> None:
    rows = [
        r for r in _vectors("formula_consensus_edge") if not datum.in_mainland(_point(r, "wgs"))
    ]
    names = {row["name"] for row in rows}
    assert {"香港中环", "澳门议事亭", "台北101", "高雄", "金门", "首尔", "新义州", "河内"} <= names
    for row in rows:
        for to in Datum:
            point = _point(row, "wgs")
            assert datum.from_wgs84(point, to) == point
            if (row["name"], to) not in DOUBTFUL:
                assert datum.to_wgs84(point, to) == point


def test_what_could_be_either_is_read_as_the_shifted_mainland_place() -> None:
    macau = Point(113.5399, 22.1936)
    zhuhai = datum.to_wgs84(macau, Datum.BD09)
    assert datum.in_mainland(zhuhai)
    assert datum.from_wgs84(zhuhai, Datum.BD09).lon == pytest.approx(macau.lon, abs=1e-9)


@pytest.mark.parametrize("to", list(Datum))
def test_there_and_back_is_good_to_a_millimetre_all_over_the_mainland(to: Datum) -> None:
    rng = random.Random(21)
    inside = 0
    while inside < 1500:
        point = Point(rng.uniform(73.5, 135), rng.uniform(18, 53.5))
        if datum.in_mainland(point):
            inside += 1
            back = datum.to_wgs84(datum.from_wgs84(point, to), to)
            assert distance.geodesic_m(point, back) < 0.001


@given(
    st.floats(73, 136),
    st.floats(3, 54),
    st.sampled_from([Datum.GCJ02, Datum.BD09]),
)
def test_what_was_shifted_comes_back_and_what_was_not_stays_near(
    lon: float, lat: float, to: Datum
) -> None:
    point = Point(lon, lat)
    shifted = datum.from_wgs84(point, to)
    back_m = distance.geodesic_m(point, datum.to_wgs84(shifted, to))
    if datum.in_mainland(point):
        assert back_m < 0.001
        assert 50 < distance.geodesic_m(point, shifted) < 2500
    else:
        assert shifted == point
        # just outside the outline a position may be read as a shifted one of the mainland
        assert back_m == 0 or back_m < 2500


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[
            (n, Datum.WGS84)
            for n in ("WGS-84", "wgs84", " GPS ", "CGCS2000", "EPSG:4326", "WGS 84")
        ],
        *[(n, Datum.WGS84) for n in ("WGS84坐标系", "GPS坐标", "天地图", "大地坐标")],
        *[
            (n, Datum.GCJ02)
            for n in ("GCJ-02", "gcj02", "高德", "腾讯", "Amap", "火星坐标系", "GCJ_02")
        ],
        *[(n, Datum.GCJ02) for n in ("高德坐标", "国测局坐标")],
        *[(n, Datum.BD09) for n in ("BD-09", "bd09ll", "百度", "Baidu", "百度坐标系", "BD09LL")],
    ],
)
def test_a_datum_is_known_by_all_its_names(name: str, expected: Datum) -> None:
    assert datum.parse(name) is expected


@pytest.mark.parametrize("name", ["", "wgs72", "beijing54", "坐标", "gcj03", "地图"])
def test_an_unknown_datum_is_refused_by_name(name: str) -> None:
    with pytest.raises(datum.UnknownDatum, match="unknown datum"):
        datum.parse(name)


@pytest.mark.parametrize(
    ("name", "lon", "lat", "inside"),
    [
        ("丹东", 124.389, 40.118, True),
        ("新义州", 124.400, 40.095, False),
        ("东兴", 107.972, 21.548, True),
        ("Móng Cái", 107.966, 21.520, False),
        ("河口", 103.950, 22.520, True),
        ("Lào Cai", 103.975, 22.480, False),
        ("黑河", 127.5285, 50.2451, True),
        ("Blagoveshchensk", 127.5272, 50.2907, False),
        ("满洲里", 117.430, 49.598, True),
        ("Zabaykalsk", 117.327, 49.655, False),
        ("二连浩特", 111.977, 43.653, True),
        ("Zamyn-Uud", 111.900, 43.720, False),
        ("瑞丽", 97.852, 24.013, True),
        ("Muse", 97.906, 23.980, False),
        ("霍尔果斯", 80.413, 44.213, True),
        ("Zharkent", 80.000, 44.163, False),
        ("深圳 罗湖口岸", 114.115, 22.533, True),
        ("香港 上水", 114.128, 22.505, False),
        ("深圳湾口岸", 113.945, 22.505, True),
        ("香港 天水围", 114.000, 22.460, False),
        ("珠海 拱北", 113.550, 22.224, True),
        ("澳门 关闸南", 113.549, 22.206, False),
        ("厦门 鼓浪屿", 118.066, 24.447, True),
        ("金门 金城", 118.317, 24.432, False),
        ("马祖 南竿", 119.938, 26.157, False),
        ("福州 黄岐", 119.880, 26.330, True),
        ("杭州湾跨海大桥", 121.130, 30.450, True),
        ("青岛 胶州湾大桥", 120.270, 36.160, True),
        ("台湾海峡中线", 119.500, 24.700, False),
        ("东京", 139.692, 35.690, False),
        ("London", -0.128, 51.507, False),
    ],
)
def test_the_shift_ends_at_the_border_and_not_at_a_rectangle(
    name: str, lon: float, lat: float, inside: bool
) -> None:
    assert datum.in_mainland(Point(lon, lat)) is inside, name


def test_the_outline_is_right_to_a_kilometre_wherever_the_full_polygons_decide() -> None:
    names = [row["province_name"] for row in polygons.table("province")]
    provinces = polygons.geometries("province")
    unshifted = {"香港特别行政区", "澳门特别行政区", "台湾省"}
    rng = random.Random(22)
    checked = {True: 0, False: 0}
    for name, province in zip(names, provinces, strict=True):
        # 0.009 degrees are a kilometre or less; Kinmen and Matsu are Fujian in these polygons
        if name == "福建省":
            continue
        deep = shapely.buffer(shapely.simplify(province, 0.0005), -0.009, quad_segs=1)
        corners = shapely.get_coordinates(deep)
        for lon, lat in rng.choices(corners.tolist(), k=100) if len(corners) else []:
            inside = name not in unshifted
            assert datum.in_mainland(Point(lon, lat)) is inside, (name, lon, lat)
            checked[inside] += 1
    assert checked[True] >= 3000
    assert checked[False] >= 200
