"""Stores: one by one, in lists, and as tables in every form that HQ has them in."""

import concurrent.futures
import csv
import io
import json
import time
import urllib.parse
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from geo import datum as datums
from geo import distance
from geo.point import Point
from tests import running
from tests.http import chains
from tests.http.chains import Chain

FIXTURES = Path(__file__).parents[2] / "fixtures"
STORE_FIELDS = {
    "store", "name", "brand", "address", "province", "city", "district", "lon", "lat", "tags",
    "service_area", "status",
}  # fmt: skip
# A square of some 2 km around S1.
AREA = {
    "type": "Polygon",
    "coordinates": [
        [[121.46, 31.22], [121.49, 31.22], [121.49, 31.24], [121.46, 31.24], [121.46, 31.22]]
    ],
}


def imported(chain: Chain, data: bytes, name: str = "stores.csv", **params: Any) -> dict[str, Any]:
    return running.answered(sent(chain, data, name, **params))


def sent(chain: Chain, data: bytes, name: str = "stores.csv", **params: Any) -> httpx.Response:
    return chain.hq.post("/api/v1/stores/import", files={"file": (name, data)}, params=params)


def counts(done: dict[str, Any]) -> tuple[int, int, int, int]:
    return done["created"], done["updated"], done["unchanged"], len(done["rejected"])


# ---------------------------------------------------------------- one by one


def test_a_store_that_was_put_is_given_back(chain: Chain) -> None:
    body = {
        "name": "外滩店", "lon": 121.4800, "lat": 31.2360, "address": "中山东一路1号",
        "brand": "近码茶社", "tags": ["旗舰", "24h"], "service_area": AREA,
    }  # fmt: skip
    made = chain.hq.put("/api/v1/stores/B1", json=body)
    assert made.status_code == 201
    found = chain.get("/api/v1/stores/B1")
    assert found == made.json()
    assert found.keys() >= STORE_FIELDS
    assert {name: found[name] for name in body} == body
    assert (found["province"], found["city"], found["district"]) == ("上海市", "上海市", "黄浦区")
    assert found["status"] == "open"
    again = chain.hq.put("/api/v1/stores/B1", json=body)
    assert again.status_code == 200


def test_what_a_put_leaves_out_stays_as_it_is(chain: Chain) -> None:
    lon, lat = 121.478235, 31.228518
    chain.put_store(
        "B1", lon, lat, datum="gcj02", address="某路1号", brand="茶", service_area=AREA, tags=["a"]
    )
    before = chain.get("/api/v1/stores/B1")
    changed = running.answered(chain.hq.put("/api/v1/stores/B1", json={"status": "closed"}))
    assert changed["status"] == "closed"
    for name in before.keys() - {"status", "updated_at"}:
        assert changed[name] == before[name], name


def test_what_a_put_says_is_null_is_emptied(chain: Chain) -> None:
    chain.put_store("B1", 121.4900, 31.2400, brand="茶", service_area=AREA, tags=["a"])
    emptied = {"brand": None, "service_area": None, "tags": None}
    body = {"name": "外滩店", "lon": 121.4900, "lat": 31.2400, **emptied}
    found = running.answered(chain.hq.put("/api/v1/stores/B1", json=body))
    assert (found["brand"], found["service_area"], found["tags"]) == (None, None, [])


def test_an_area_sent_alone_is_wgs84_though_the_store_came_in_another_datum(chain: Chain) -> None:
    chain.put_store("B1", 121.478235, 31.228518, datum="gcj02")
    found = running.answered(chain.hq.put("/api/v1/stores/B1", json={"service_area": AREA}))
    ring = found["service_area"]["coordinates"][0]
    assert sorted(map(tuple, ring)) == sorted(map(tuple, AREA["coordinates"][0]))
    assert found["given"] == {"lon": 121.478235, "lat": 31.228518, "datum": "gcj02"}


def test_a_store_number_with_spaces_around_it_is_the_same_store(chain: Chain) -> None:
    put = chain.hq.put("/api/v1/stores/%20B1%20", json={"name": "店", "lon": 121.49, "lat": 31.24})
    assert running.answered(put)["store"] == "B1"
    assert chain.get("/api/v1/stores/B1")["name"] == "店"


@pytest.mark.parametrize("store", ["上海001", "A 1", "a.b-c_d", "50%", "x?y#z", "A+B"])
def test_a_store_may_have_any_number(chain: Chain, store: str) -> None:
    path = f"/api/v1/stores/{urllib.parse.quote(store, safe='')}"
    put = chain.hq.put(path, json={"name": "店", "lon": 121.49, "lat": 31.24})
    assert running.answered(put)["store"] == store
    assert running.answered(chain.hq.get(path))["store"] == store


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
def test_a_position_in_another_datum_is_kept_as_wgs84(chain: Chain, datum: str) -> None:
    there = datums.from_wgs84(Point(*chains.S1), datums.Datum(datum))
    found = chain.put_store("B1", there.lon, there.lat, datum=datum)
    assert distance.geodesic_m(Point(found["lon"], found["lat"]), Point(*chains.S1)) < 0.5
    assert found["given"] == {"lon": there.lon, "lat": there.lat, "datum": datum}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lon": None}, "lon"),
        ({"lat": 91}, "lat"),
        ({"lon": 0, "lat": 0}, "lon"),
        ({"lon": 31.23, "lat": 121.47}, "lat"),
        ({"lon": "east"}, "lon"),
        ({"name": ""}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"datum": "mars"}, "datum"),
        ({"status": "asleep"}, "status"),
        ({"status": "deleted"}, "status"),
        ({"service_area": {"type": "Point", "coordinates": [1, 2]}}, "service_area"),
        ({"tags": ["x" * 99]}, "tags"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_store_is_refused_with_its_field_and_changes_nothing(
    chain: Chain, change: dict[str, Any], field: str
) -> None:
    body = {"name": "店", "lon": 121.49, "lat": 31.24, **change}
    answer = chain.hq.put("/api/v1/stores/B1", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert chain.hq.get("/api/v1/stores/B1").status_code == 404


def test_a_new_store_without_a_position_is_told_what_it_needs(chain: Chain) -> None:
    answer = chain.hq.put("/api/v1/stores/B1", json={})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"name", "lon", "lat"}
    assert "column" not in answer.text


def test_a_closed_store_is_passed_by_and_serves_again_when_it_opens(chain: Chain) -> None:
    chain.put_entry()
    code_id = chain.put_code("S1", "one")["code_id"]
    chain.put_code("S2", "two")
    assert chain.code(code_id)["serving"]
    running.answered(chain.hq.put("/api/v1/stores/S1", json={"status": "closed"}))
    assert not chain.code(code_id)["serving"]
    routing = chain.locate(chain.scan("a"), *chains.S1)
    assert [(hop["store"], hop["skipped"]) for hop in routing["hops"]] == [("S1", "closed")]
    running.answered(chain.hq.put("/api/v1/stores/S1", json={"status": "open"}))
    assert chain.locate(chain.scan("b"), *chains.S1)["store"]["store"] == "S1"
    assert chain.code(code_id)["serving"]


def test_a_deleted_store_is_gone_and_what_happened_there_stays_in_the_report(chain: Chain) -> None:
    chain.put_entry()
    code_id = chain.put_code("S1", "one")["code_id"]
    scan_id = chain.scan("a")
    chain.locate(scan_id, *chains.S1)
    chain.tell(scan_id, "pressed")
    assert chain.hq.delete("/api/v1/stores/S1").status_code == 204
    assert chain.hq.get("/api/v1/stores/S1").status_code == 404
    assert chain.hq.get("/api/v1/stores/S1/codes").status_code == 404
    assert chain.hq.delete("/api/v1/stores/S1").status_code == 404
    assert [store["store"] for store in chain.get("/api/v1/stores")["stores"]] == ["S2"]
    assert chain.code(code_id)["status"] == "retired"
    assert chain.locate(chain.scan("b"), *chains.S1)["outcome"] == "unserved"
    rows = chain.get("/api/v1/reports/funnel", by="store")["rows"]
    assert [(row["key"], row["joined"]) for row in rows] == [("S1", 1), (None, 0)]
    # The number may be given to a new store.
    assert (
        chain.hq.put(
            "/api/v1/stores/S1", json={"name": "新店", "lon": 121.47, "lat": 31.23}
        ).status_code
        == 201
    )
    assert chain.get("/api/v1/stores/S1")["name"] == "新店"
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []


# ---------------------------------------------------------------- lists


def test_the_list_of_stores_is_read_page_by_page(chain: Chain) -> None:
    for number in range(5):
        chain.put_store(f"N{number}", 121.49, 31.24)
    found: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = chain.get("/api/v1/stores", **params)
        assert len(page["stores"]) <= 2
        found += [store["store"] for store in page["stores"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ["N0", "N1", "N2", "N3", "N4", "S1", "S2"]
    assert cursor is None


def test_stores_are_found_by_city_and_by_words(chain: Chain) -> None:
    chain.put_store("BJ1", 116.4529, 39.9063, name="国贸店", address="建国门外大街1号 A座")
    assert [s["store"] for s in chain.get("/api/v1/stores", city="北京市")["stores"]] == ["BJ1"]
    for q in ("国贸", "bj1", "a座", "建国门"):
        assert [s["store"] for s in chain.get("/api/v1/stores", q=q)["stores"]] == ["BJ1"], q
    assert chain.get("/api/v1/stores", q="%")["stores"] == []
    assert chain.get("/api/v1/stores", city="上海市", q="国贸")["stores"] == []


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": "many"}, {"cursor": "###"}])
def test_a_bad_page_is_refused(chain: Chain, params: dict[str, str | int]) -> None:
    answer = chain.hq.get("/api/v1/stores", params=params)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == list(params)


# ---------------------------------------------------------------- tables

HEADER = ("门店编号", "门店名称", "地址", "经度", "纬度")
ROWS = (
    ("SH1", "上海店", "南京东路1号", 121.48, 31.236),
    ("BJ1", "北京店", "王府井大街1号, 东座", 116.41, 39.914),
)


def as_csv() -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([HEADER, *ROWS])
    return text.getvalue()


def as_xlsx() -> bytes:
    book = openpyxl.Workbook()
    for row in (HEADER, *ROWS):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def as_geojson() -> bytes:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [lon, lat]},
            "properties": {"store": store, "name": name, "address": address},
        }
        for store, name, address, lon, lat in ROWS
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (as_csv().encode(), "a.csv"),
        (as_csv().encode("utf-8-sig"), "a.csv"),
        (as_csv().encode("gb18030"), "a.csv"),
        (as_xlsx(), "a.xlsx"),
        (as_geojson(), "a.geojson"),
    ],
    ids=["utf-8", "utf-8 with BOM", "gb18030", "xlsx", "geojson"],
)
def test_every_form_of_table_gives_the_same_stores(chain: Chain, data: bytes, name: str) -> None:
    assert counts(imported(chain, data, name)) == (2, 0, 0, 0)
    for number, title, address, lon, lat in ROWS:
        store = chain.get(f"/api/v1/stores/{number}")
        found = (store["name"], store["address"], store["lon"], store["lat"])
        assert found == (title, address, lon, lat)
    assert chain.get("/api/v1/stores/BJ1")["city"] == "北京市"


def test_the_same_table_twice_changes_nothing(chain: Chain) -> None:
    data = (FIXTURES / "stores.csv").read_bytes()
    first = imported(chain, data)
    stores = chain.get("/api/v1/stores", limit=1000)["stores"]
    assert counts(first) == (201, 0, 0, 0)
    assert counts(imported(chain, data)) == (0, 0, 201, 0)
    assert chain.get("/api/v1/stores", limit=1000)["stores"] == stores


def test_a_changed_row_updates_its_store_alone(chain: Chain) -> None:
    imported(chain, as_csv().encode())
    before = chain.get("/api/v1/stores/SH1")
    changed = as_csv().replace("北京店", "北京新店").encode()
    assert counts(imported(chain, changed)) == (0, 1, 1, 0)
    assert chain.get("/api/v1/stores/BJ1")["name"] == "北京新店"
    assert chain.get("/api/v1/stores/SH1") == before


def test_a_dry_run_tells_what_would_be_and_changes_nothing(chain: Chain) -> None:
    before = chain.get("/api/v1/stores")
    data = as_csv() + "X,,,,\r\n"
    tried = imported(chain, data.encode(), dry_run=True)
    assert counts(tried) == (2, 0, 0, 1)
    assert chain.get("/api/v1/stores") == before
    changes = tried.pop("changes")
    assert [change["before"] for change in changes] == [None, None]
    assert all(change["after"]["name"] for change in changes)
    assert imported(chain, data.encode()) == tried


def test_a_rejected_row_keeps_no_other_out(chain: Chain) -> None:
    data = (FIXTURES / "stores-with-mistakes.csv").read_bytes()
    done = imported(chain, data)
    assert done["created"] == 2
    lines = data.decode().splitlines()
    assert len(done["rejected"]) == len(lines) - 1 - 2
    for rejected in done["rejected"]:
        assert rejected.keys() == {"row", "field", "detail"}
        assert 2 <= rejected["row"] <= len(lines)
        assert rejected["detail"]
    assert [r["row"] for r in done["rejected"]] == sorted(r["row"] for r in done["rejected"])
    assert any("swapped" in r["detail"] for r in done["rejected"])
    listed = {store["store"] for store in chain.get("/api/v1/stores")["stores"]}
    assert listed == {"S1", "S2", "X001", "X015"}


def test_the_tables_datum_is_what_the_request_says_unless_a_row_says_its_own(chain: Chain) -> None:
    there = datums.from_wgs84(Point(*chains.S1), datums.Datum.GCJ02)
    lon, lat = chains.S1
    data = (
        f"store,name,lon,lat,datum\nA,a,{there.lon},{there.lat},\nB,b,{lon},{lat},wgs84\n"
    ).encode()
    assert counts(imported(chain, data, datum="GCJ-02")) == (2, 0, 0, 0)
    for number in "AB":
        store = chain.get(f"/api/v1/stores/{number}")
        assert distance.geodesic_m(Point(store["lon"], store["lat"]), Point(lon, lat)) < 0.5
    answer = sent(chain, data, datum="mars")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "datum")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "file"),
        (b"\x00\x01\x02\x03 no table", "file"),
        (b"PK\x03\x04 broken", "file"),
        (b'{"type": "Feature"}', "file"),
        (b"a,b\n1,2\n", "store"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(chain: Chain, data: bytes, field: str) -> None:
    answer = sent(chain, data)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["errors"][0]["detail"]


def test_stated_place_names_stay_and_missing_ones_come_from_the_polygon(chain: Chain) -> None:
    data = (
        "store,name,lon,lat,province,city,district\n"
        "A,a,121.48,31.236,,,\n"
        "B,b,121.48,31.236,上海,,外滩\n"
        "C,c,114.1744,22.2947,,,\n"
        "D,d,-70.0,-40.0,,,\n"
    ).encode()
    assert counts(imported(chain, data)) == (4, 0, 0, 0)

    def place(number: str) -> tuple[str | None, ...]:
        store = chain.get(f"/api/v1/stores/{number}")
        return tuple(store[level] for level in ("province", "city", "district"))

    assert place("A") == ("上海市", "上海市", "黄浦区")
    assert place("B") == ("上海市", "上海市", "外滩")
    assert place("C")[0] == "香港特别行政区"
    assert place("D") == (None, None, None)
    # A store that moves is in another place, if nothing states where.
    moved = b"store,name,lon,lat\nA,a,116.41,39.914\n"
    assert counts(imported(chain, moved)) == (0, 1, 0, 0)
    assert place("A") == ("北京市", "北京市", "东城区")


def test_thirty_thousand_stores_come_in_one_go_and_visitors_are_served_meanwhile(
    chain: Chain,
) -> None:
    chain.put_entry()
    lines = ["store,name,lon,lat"]
    lines += [
        f"T{n:05},店{n},{100 + n % 200 * 0.1:.4f},{25 + n // 200 * 0.1:.4f}" for n in range(30_000)
    ]
    data = "\n".join(lines).encode()
    waits_s: list[float] = []
    with concurrent.futures.ThreadPoolExecutor(1) as hq:
        done = hq.submit(imported, chain, data)
        while not done.done():
            started = time.monotonic()
            chain.scan("a")
            waits_s.append(time.monotonic() - started)
            time.sleep(0.02)
    assert counts(done.result()) == (30_000, 0, 0, 0)
    assert max(waits_s) < 8  # the whole import takes longer; a busy machine may take its time
    page = chain.get("/api/v1/stores", q="T29999")
    assert [store["store"] for store in page["stores"]] == ["T29999"]
