"""Rows of spreadsheets as stores and codes: what is taken, what is refused, and why."""

import csv
import io
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import datum as datums
from geo import places
from geo.datum import Datum
from geo.point import Point
from service import errors, importing, qr, tabular
from service.domain import CodeStatus, StoreStatus

FIXTURES = Path(__file__).parents[2] / "fixtures"
GROUP = "https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef"
WECHAT_GROUP = "https://weixin.qq.com/g/AwYAAMadeUpToken"
CONTACT = "https://work.weixin.qq.com/ct/wcde0123456789abcdef"


def table(*rows: tuple[object, ...]) -> tabular.Table:
    """A table as `tabular.read` gives it; the first row is the header."""
    columns = tuple(str(name) for name in rows[0])
    return tabular.Table(
        columns,
        tuple(
            tabular.Row(number, dict(zip(columns, row, strict=True)))
            for number, row in enumerate(rows[1:], start=2)
        ),
    )


def one_store(**cells: object) -> tabular.Table:
    """A table of one good store but for `cells`."""
    good = {"store": "SH001", "name": "近码茶社·一店", "lon": "121.47", "lat": "31.23"}
    row = {**good, **cells}
    return table(tuple(row), tuple(row.values()))


def one_code(**cells: object) -> tabular.Table:
    row = {"store": "SH001", "payload": GROUP, **cells}
    return table(tuple(row), tuple(row.values()))


def taken_store(**cells: object) -> importing.StoreRow:
    parsed = importing.stores(one_store(**cells))
    assert parsed.rejected == ()
    return parsed.rows[0]


def taken_code(**cells: object) -> importing.CodeRow:
    parsed = importing.codes(one_code(**cells))
    assert parsed.rejected == ()
    return parsed.rows[0]


def refusal(parsed: importing.Parsed[object]) -> tuple[str, str]:
    """(field, detail) of the one row, which was rejected."""
    assert parsed.rows == ()
    [rejected] = parsed.rejected
    return rejected.field, rejected.detail


# ---------------------------------------------------------------- stores


CHINESE = "门店编号,门店名称,品牌,地址,省,市,区,经度,纬度,坐标系,状态,标签"
ENGLISH = "Store-ID,name,Brand,address,province,city,district,lng,Latitude,datum,status,tags"


@pytest.mark.parametrize("header", [CHINESE, ENGLISH])
def test_stores_are_read_under_chinese_and_english_headers(header: str) -> None:
    row = ("0012", "近码茶社·一店", "近码茶社", "中环金融街8号", "香港特别行政区", "香港", "中西区",
           "114.158", "22.285", "GCJ-02", "营业", "外卖, 堂食")  # fmt: skip
    parsed = importing.stores(table(tuple(header.split(",")), row))
    assert parsed.rejected == ()
    assert parsed.rows == (
        importing.StoreRow(
            row=2,
            store="0012",
            name="近码茶社·一店",
            brand="近码茶社",
            address="中环金融街8号",
            province="香港特别行政区",
            city="香港",
            district="中西区",
            lon=114.158,  # no shift in Hong Kong
            lat=22.285,
            given_lon=114.158,
            given_lat=22.285,
            datum=Datum.GCJ02,
            tags=("外卖", "堂食"),
            status=StoreStatus.OPEN,
            service_area=None,
        ),
    )


@pytest.mark.parametrize(
    "header",
    [
        "store",
        "store_id",
        "STORE NUMBER",
        "门店编号",
        "门店编码",
        "编号",
        "*门店编号",
        "ｓｔｏｒｅ",
    ],
)
def test_a_store_number_may_stand_under_many_headings(header: str) -> None:
    parsed = importing.stores(table((header, "店名", "longitude", "纬度"), ("A1", "x", "1", "2")))
    assert [row.store for row in parsed.rows] == ["A1"]


def test_what_the_file_does_not_say_is_none() -> None:
    store = taken_store(brand=None, status=None)
    assert (store.brand, store.address, store.tags, store.status) == (None, None, None, None)
    code = taken_code()
    assert (code.capacity, code.members, code.expires_at, code.label, code.status) == (None,) * 5


def test_a_header_that_lacks_columns_is_one_error_that_names_them() -> None:
    rows = [("x", "121.47", "31.23")] * 30
    with pytest.raises(errors.BadInput) as caught:
        importing.stores(table(("店面", "经度", "纬度"), *rows))
    assert [error.field for error in caught.value.errors] == ["store", "name"]
    assert "no column store or 门店编号 among '店面, 经度, 纬度'" in str(caught.value)
    with pytest.raises(errors.BadInput) as caught:
        importing.codes(table(("store", "capacity"), ("SH001", "5")))
    assert [error.field for error in caught.value.errors] == ["payload"]


def test_two_columns_for_the_same_thing_are_an_error() -> None:
    with pytest.raises(errors.BadInput, match="'lng' and '经度' say the same") as caught:
        importing.stores(table(("store", "name", "lng", "经度", "lat"), ("A", "x", 1, 2, 3)))
    assert [error.field for error in caught.value.errors] == ["lon"]


@pytest.mark.parametrize(
    ("cells", "field", "reason"),
    [
        ({"store": None}, "store", "the store number is missing"),
        ({"store": " \u200b "}, "store", "the store number is missing"),
        ({"store": "x" * 65}, "store", "65 characters; at most 64"),
        ({"store": "SH/001"}, "store", "slashes"),
        ({"store": "SH\\001"}, "store", "slashes"),
        ({"store": ".."}, "store", "slashes"),
        ({"store": "SH\x07001"}, "store", "control characters"),
        ({"store": "1.00012E+11"}, "store", "shortened"),
        ({"store": datetime(2026, 1, 2)}, "store", "become a date"),
        ({"name": None}, "name", "the store's name is missing"),
        ({"name": "x" * 201}, "name", "201 characters; at most 200"),
        ({"name": "x\ud800"}, "name", "control characters"),
        ({"name": {"zh": "x"}}, "name", "must be a text"),
        ({"address": "x" * 501}, "address", "501 characters; at most 500"),
        ({"lon": None}, "lon", "the longitude is missing"),
        ({"lat": "  "}, "lat", "the latitude is missing"),
        ({"lon": "121,47"}, "lon", "not a number: '121,47'"),
        ({"lon": "东经121度"}, "lon", "not a number"),
        ({"lat": "1_0"}, "lat", "not a number"),
        ({"lat": float("nan")}, "lat", "not a number"),
        ({"lon": "1e999"}, "lon", "not a number"),
        ({"lon": 10**400}, "lon", "not a number"),
        ({"lat": True}, "lat", "not a number"),
        ({"lat": datetime(2026, 1, 2)}, "lat", "not a number"),
        ({"lon": "1214.7"}, "lon", "not between -180 and 180"),
        ({"lat": "-312.3"}, "lat", "not between -90 and 90"),
        ({"lon": "0", "lat": "0.0"}, "lon", "stand for a missing position"),
        ({"datum": "北京54"}, "datum", "unknown datum '北京54'"),
        ({"status": "装修"}, "status", "unknown status '装修'"),
        ({"tags": ",".join(f"t{i}" for i in range(21))}, "tags", "21 tags; at most 20"),
        ({"tags": "x" * 51}, "tags", "more than 50 characters"),
        ({"service_area": "浦东"}, "service_area", "the area is not JSON"),
        ({"service_area": "[1, 2]"}, "service_area", "not a GeoJSON object"),
        ({"service_area": 7}, "service_area", "not a GeoJSON object"),
    ],
)
def test_a_store_with_a_mistake_is_rejected_with_its_field_and_reason(
    cells: dict[str, object], field: str, reason: str
) -> None:
    found_field, detail = refusal(importing.stores(one_store(**cells)))
    assert found_field == field
    assert reason in detail


@pytest.mark.parametrize(
    ("place", "lon", "lat"),
    [
        ("Shanghai", 121.47, 31.23),
        ("Urumqi, whose longitude passes for a latitude", 87.62, 43.79),
        ("Lhasa", 89.9, 29.65),
        ("Sydney", 151.2, -33.87),
    ],
)
def test_swapped_coordinates_are_told_and_shown_the_right_way_round(
    place: str, lon: float, lat: float
) -> None:
    parsed = importing.stores(one_store(lon=str(lat), lat=str(lon)))
    field, detail = refusal(parsed)
    assert field == "lat", place
    assert "swapped" in detail
    assert f"lon {lon:g}, lat {lat:g}" in detail


@pytest.mark.parametrize(
    ("place", "lon", "lat"),
    [("Longyearbyen", 15.64, 78.22), ("Nairobi", 36.8, -1.3), ("Ny-Alesund", 11.93, 78.92)],
)
def test_far_places_are_not_taken_for_swapped(place: str, lon: float, lat: float) -> None:
    store = taken_store(lon=lon, lat=lat)
    assert (store.lon, store.lat) == (lon, lat), place


def test_a_doubled_store_number_is_rejected_and_names_the_first_row() -> None:
    parsed = importing.stores(
        table(
            ("store", "name", "lon", "lat"),
            ("SH001", "first", "121.47", "31.23"),
            ("SH002", "other", "121.48", "31.23"),
            (" SH001 ", "second", "121.49", "31.23"),
        )
    )
    assert [row.name for row in parsed.rows] == ["first", "other"]
    assert parsed.rejected == (importing.Rejected(4, "store", "'SH001' is in row 2 already"),)


def test_a_rejected_row_does_not_keep_its_number_from_a_good_one() -> None:
    parsed = importing.stores(
        table(
            ("store", "name", "lon", "lat"),
            ("SH001", "bad", "121.47", "north"),
            ("SH001", "good", "121.47", "31.23"),
        )
    )
    assert [row.name for row in parsed.rows] == ["good"]
    assert [rejected.row for rejected in parsed.rejected] == [2]


def test_a_rows_own_datum_goes_before_the_files_and_without_either_it_is_wgs84() -> None:
    plain = table(("store", "name", "lon", "lat"), ("SH001", "x", 121.5, 31.2))
    assert importing.stores(plain).rows[0].datum is Datum.WGS84
    gcj = importing.stores(plain, datum=Datum.GCJ02).rows[0]
    assert gcj.datum is Datum.GCJ02
    assert (gcj.given_lon, gcj.given_lat) == (121.5, 31.2)
    # The shift around Shanghai: some 400 m to the west.
    assert 0.003 < gcj.given_lon - gcj.lon < 0.006
    own = importing.stores(one_store(datum="BD-09", lon=121.5, lat=31.2), datum=Datum.GCJ02).rows[0]
    assert own.datum is Datum.BD09
    assert 0.009 < own.given_lon - own.lon < 0.013


def test_texts_are_trimmed_and_broken_lines_joined() -> None:
    store = taken_store(
        store=" SH001\u200b", name="近码茶社\n 一店 ", address="上海市\r\n\t南京路1号"
    )
    assert (store.store, store.name, store.address) == (
        "SH001",
        "近码茶社 一店",
        "上海市 南京路1号",
    )


@pytest.mark.parametrize(
    ("value", "store"), [(1001, "1001"), ("0012", "0012"), ("门店１", "门店１"), (7.5, "7.5")]
)
def test_store_numbers_are_text(value: object, store: str) -> None:
    assert taken_store(store=value).store == store


def test_a_store_number_of_a_spreadsheet_keeps_its_form() -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(("门店编号", "门店名称", "经度", "纬度"))
    sheet.append((1001.0, "a", 121.47, 31.23))
    sheet.append((12, "b", 121.48, 31.23))
    sheet["A3"].number_format = "0000"
    out = io.BytesIO()
    workbook.save(out)
    parsed = importing.stores(tabular.read(out.getvalue()))
    assert [row.store for row in parsed.rows] == ["1001", "0012"]


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("外卖，堂食；24小时、外卖", ("外卖", "堂食", "24小时")),
        (["a", "b"], ("a", "b")),
        ("", ()),
        (None, None),
    ],
)
def test_tags_are_split_at_any_usual_separator(value: object, tags: tuple[str, ...]) -> None:
    assert taken_store(tags=value).tags == tags


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("open", StoreStatus.OPEN),
        ("营业", StoreStatus.OPEN),
        ("CLOSED", StoreStatus.CLOSED),
        ("关闭", StoreStatus.CLOSED),
        ("停业", StoreStatus.CLOSED),
    ],
)
def test_a_stores_status_is_read_in_chinese_and_english(value: str, status: StoreStatus) -> None:
    assert taken_store(status=value).status is status


SQUARE = (
    '{"type": "Polygon", "coordinates": '
    "[[[121.4, 31.2], [121.5, 31.2], [121.5, 31.3], [121.4, 31.3], [121.4, 31.2]]]}"
)


def ring(store: importing.StoreRow) -> list[list[float]]:
    assert store.service_area is not None
    assert store.service_area["type"] == "Polygon"
    coordinates = store.service_area["coordinates"]
    assert isinstance(coordinates, list)
    [ring] = coordinates
    return [list(pair) for pair in ring]


def test_a_service_area_is_taken_in_the_datum_of_its_row() -> None:
    as_given = ring(taken_store(service_area=SQUARE))
    assert sorted(map(tuple, as_given[:-1])) == [
        (121.4, 31.2),
        (121.4, 31.3),
        (121.5, 31.2),
        (121.5, 31.3),
    ]
    for (lon, _), (given_lon, _) in zip(
        sorted(ring(taken_store(service_area=SQUARE, datum="gcj02"))), sorted(as_given), strict=True
    ):
        assert 0.003 < given_lon - lon < 0.006


def test_a_row_with_more_cells_than_the_header_is_rejected() -> None:
    parsed = importing.stores(
        tabular.read(b"store,name,lon,lat\nSH001,No. 1, Nanjing Road,121.47,31.23\n")
    )
    field, detail = refusal(parsed)
    assert field == "row"
    assert "quote marks" in detail


def test_every_classical_mistake_of_the_sample_file_is_rejected_beside_two_good_rows() -> None:
    parsed = importing.stores(tabular.read((FIXTURES / "stores-with-mistakes.csv").read_bytes()))
    assert [row.store for row in parsed.rows] == ["X001", "X015"]
    found = [(rejected.row, rejected.field) for rejected in parsed.rejected]
    assert found == [
        (3, "store"), (4, "store"), (5, "name"), (6, "lon"), (7, "lat"), (8, "lon"), (9, "lon"),
        (10, "lat"), (11, "lat"), (12, "datum"), (13, "status"), (14, "name"), (15, "store"),
        (16, "row"),
    ]  # fmt: skip


def test_thirty_thousand_stores_are_parsed_in_one_go() -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("门店编号", "门店名称", "地址", "经度", "纬度", "坐标系"))
    for number in range(30_000):
        lat = "north" if number == 12_345 else f"{20 + number % 200 / 10}"
        lon = f"{100 + number // 200 / 10}"
        writer.writerow((f"S{number:05}", f"门店{number}", "南京东路1号", lon, lat, "gcj02"))
    started = time.process_time()
    parsed = importing.stores(tabular.read(out.getvalue().encode("gb18030")))
    assert len(parsed.rows) == 29_999
    assert [(rejected.row, rejected.field) for rejected in parsed.rejected] == [(12_347, "lat")]
    assert time.process_time() - started < 30, "ten times what it takes"


# ---------------------------------------------------------------- codes


def test_codes_are_read_under_chinese_headers() -> None:
    header = ("门店编码", "二维码内容", "容量", "人数", "到期时间", "备注", "状态")
    row = ("0012", f" {WECHAT_GROUP} ", "150", 12, "2026/1/31 18:00", "一群", "暂停")
    assert importing.codes(table(header, row)).rows == (
        importing.CodeRow(
            row=2,
            store="0012",
            payload=WECHAT_GROUP,
            kind=qr.CodeKind.WECHAT_GROUP,
            capacity=150,
            members=12,
            expires_at=datetime(2026, 1, 31, 10, 0, tzinfo=UTC),
            label="一群",
            status=CodeStatus.PAUSED,
        ),
    )


@pytest.mark.parametrize(
    ("cells", "field", "reason"),
    [
        ({"store": None}, "store", "missing"),
        ({"payload": None}, "payload", "missing"),
        ({"payload": "https://example.com/g/abcd"}, "payload", "not the code of a WeChat"),
        ({"payload": "wxp://f2f0abc"}, "payload", "payment code"),
        ({"capacity": "0"}, "capacity", "at least 1, not 0"),
        ({"capacity": "12.5"}, "capacity", "whole number"),
        ({"capacity": "many"}, "capacity", "not a number"),
        ({"capacity": 501}, "capacity", "more than the 500 of a group"),
        ({"members": -1}, "members", "at least 0, not -1"),
        ({"members": 501}, "members", "more than the 500 of a group"),
        ({"expires_at": "next week"}, "expires_at", "not a time"),
        ({"expires_at": "2026-02-30"}, "expires_at", "not a time"),
        ({"expires_at": "26-01-31"}, "expires_at", "not a time"),
        ({"expires_at": "2026-01-31 25:00"}, "expires_at", "not a time"),
        ({"expires_at": datetime(1900, 1, 1)}, "expires_at", "not a time"),
        ({"label": "x" * 201}, "label", "at most 200"),
        ({"status": "retired"}, "status", "unknown status 'retired'"),
    ],
)
def test_a_code_with_a_mistake_is_rejected_with_its_field_and_reason(
    cells: dict[str, object], field: str, reason: str
) -> None:
    found_field, detail = refusal(importing.codes(one_code(**cells)))
    assert found_field == field
    assert reason in detail


SHANGHAI_NEW_YEAR = datetime(2025, 12, 31, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-01", SHANGHAI_NEW_YEAR),
        ("2026/1/1", SHANGHAI_NEW_YEAR),
        ("2026.01.01 0:00", SHANGHAI_NEW_YEAR),
        ("2026年1月1日", SHANGHAI_NEW_YEAR),
        ("2026年1月1日 0时0分", SHANGHAI_NEW_YEAR),
        ("２０２６－１－１", SHANGHAI_NEW_YEAR),
        (datetime(2026, 1, 1), SHANGHAI_NEW_YEAR),
        ("2026-01-01 00:00:00+08:00", SHANGHAI_NEW_YEAR),
        ("2025-12-31T16:00:00Z", SHANGHAI_NEW_YEAR),
        ("2025-12-31T16:00:00.000Z", SHANGHAI_NEW_YEAR),
        ("2026-01-01T18:30", datetime(2026, 1, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_an_expiry_without_an_offset_is_shanghai_time(value: object, moment: datetime) -> None:
    assert taken_code(expires_at=value).expires_at == moment


def test_an_expiry_may_be_meant_in_another_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    [code] = importing.codes(one_code(expires_at="2026-01-01 01:00"), tz=tokyo).rows
    assert code.expires_at == SHANGHAI_NEW_YEAR


def test_a_contact_has_no_group_limit() -> None:
    assert taken_code(payload=CONTACT, capacity=20_000).capacity == 20_000


def test_a_group_may_hold_more_members_than_its_capacity() -> None:
    code = taken_code(capacity=200, members=230)
    assert (code.capacity, code.members) == (200, 230)


def test_the_same_code_twice_is_rejected_so_that_its_seats_count_once() -> None:
    parsed = importing.codes(
        table(("store", "payload"), ("SH001", GROUP), ("SH002", GROUP), ("SH002", WECHAT_GROUP))
    )
    assert [(row.row, row.store) for row in parsed.rows] == [(2, "SH001"), (4, "SH002")]
    assert parsed.rejected == (importing.Rejected(3, "payload", "the same code is in row 2"),)


# ---------------------------------------------------------------- any input

ANYTHING = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.sampled_from(["121.47", "31.23", "87.6", "2026-01-01", GROUP, "gcj02", SQUARE]),
)
STORE_FIELDS = ("store", "name", "lon", "lat", "datum", "status", "tags", "address", "service_area")
CODE_FIELDS = ("store", "payload", "capacity", "members", "expires_at", "label", "status")


@settings(deadline=None)
@given(rows=st.lists(st.tuples(*[ANYTHING] * len(STORE_FIELDS)), max_size=3))
def test_every_store_row_is_either_taken_or_rejected(rows: list[tuple[object, ...]]) -> None:
    parsed = importing.stores(table(STORE_FIELDS, *rows))
    numbers = [row.row for row in parsed.rows] + [rejected.row for rejected in parsed.rejected]
    assert sorted(numbers) == [number + 2 for number in range(len(rows))]


@given(rows=st.lists(st.tuples(*[ANYTHING] * len(CODE_FIELDS)), max_size=3))
def test_every_code_row_is_either_taken_or_rejected(rows: list[tuple[object, ...]]) -> None:
    parsed = importing.codes(table(CODE_FIELDS, *rows))
    numbers = [row.row for row in parsed.rows] + [rejected.row for rejected in parsed.rejected]
    assert sorted(numbers) == [number + 2 for number in range(len(rows))]


# ---------------------------------------------------------------- the sample chain


def sample_stores() -> tuple[importing.StoreRow, ...]:
    parsed = importing.stores(tabular.read((FIXTURES / "stores.csv").read_bytes()))
    assert parsed.rejected == ()
    return parsed.rows


def test_the_sample_chain_stands_in_many_cities_with_mainland_stores_alone_shifted() -> None:
    stores = sample_stores()
    assert len(stores) > 180
    cities = Counter(store.city for store in stores)
    assert len(cities) >= 12
    assert cities["香港特别行政区"] >= 10
    for store in stores:
        moved = (store.lon, store.lat) != (store.given_lon, store.given_lat)
        assert moved == (store.city != "香港特别行政区"), store.store
        assert store.name.startswith("近码茶社·")


def test_the_sample_codes_belong_to_its_stores_and_show_failover() -> None:
    parsed = importing.codes(tabular.read((FIXTURES / "codes.csv").read_bytes()))
    assert parsed.rejected == ()
    per_store = Counter(code.store for code in parsed.rows)
    assert set(per_store) == {store.store for store in sample_stores()}
    assert set(per_store.values()) == {1, 2, 3}
    assert any(code.members == code.capacity for code in parsed.rows)
    assert any(code.expires_at is not None for code in parsed.rows)
    assert any(code.status is CodeStatus.PAUSED for code in parsed.rows)
    assert all(code.members == code.capacity for code in parsed.rows if code.store == "SH001")


# ---------------------------------------------------------------- what is doubted


def warnings_of(**cells: object) -> list[tuple[str, str]]:
    """(field, detail) of what is doubted in a store that is taken all the same."""
    parsed = importing.stores(one_store(**cells))
    assert len(parsed.rows) == 1
    return [(warning.field, warning.detail) for warning in parsed.warnings]


@pytest.mark.parametrize("city", ["上海市", "上海", "", "市辖区", "Shanghai"])
def test_a_city_that_agrees_or_cannot_be_compared_is_not_doubted(city: str) -> None:
    assert warnings_of(city=city) == []


def test_a_city_that_disagrees_is_told_with_the_one_that_the_position_lies_in() -> None:
    assert warnings_of(city="北京市") == [
        ("city", "the position lies in 上海市, but '北京市' is stated")
    ]


def test_a_province_is_compared_where_no_city_is_stated() -> None:
    assert warnings_of(province="广东省") == [
        ("province", "the position lies in 上海市, but '广东省' is stated")
    ]


def test_a_chinese_city_is_doubted_of_a_position_abroad() -> None:
    assert warnings_of(lon="139.7", lat="35.7", city="上海市") == [
        ("city", "the position lies abroad or at sea, but '上海市' is stated")
    ]


def test_the_datum_that_would_make_them_agree_is_told() -> None:
    position = _in_beijing_as_gcj02_only()
    ((field, detail),) = warnings_of(lon=position.lon, lat=position.lat, city="北京市")
    assert field == "city"
    assert detail.endswith("; read as GCJ-02 and not as WGS-84 it would lie there")


def _in_beijing_as_gcj02_only() -> Point:
    """The first position on a line out of Beijing that lies in it as GCJ-02, not as WGS-84."""
    atlas = places.default()

    def in_beijing(point: Point) -> bool:
        place = atlas.at(point)
        return place is not None and place.province == "北京市"

    for step in range(20_000):
        point = Point(115.0 + 2.5 * step / 20_000, 39.8)
        if not in_beijing(point) and in_beijing(datums.to_wgs84(point, Datum.GCJ02)):
            return point
    raise AssertionError("there is no such position on this line")
