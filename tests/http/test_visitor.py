"""Visitors by JSON: from a scan to a code, a next code, a join."""

import time
from typing import Any

import pytest

from service.settings import Settings
from tests import running
from tests.http.chains import Chain
from tests.running import Running

HERE = (121.4737, 31.2304)  # where S1 stands; S2 is 954 m to the east
NEAR_S2 = (121.4830, 31.2304)


@pytest.fixture
def stores(chain: Chain) -> Chain:
    """S1 and S2 with one code each, and an entry."""
    chain.put_entry()
    chain.put_code("S1", "one", capacity=2)
    chain.put_code("S2", "two", capacity=5)
    return chain


def test_the_nearest_store_with_room_is_shown(stores: Chain) -> None:
    routing = stores.locate(stores.scan("a"), *HERE)
    assert (routing["outcome"], routing["reason"]) == ("code", "nearest")
    assert routing["store"]["store"] == "S1"
    assert routing["store"]["distance_m"] == 0
    assert routing["located"]["city"] == "上海市"
    assert routing["hops"] == []
    code = stores.code(routing["code"]["code_id"])
    assert (code["held"], code["members"]) == (1, 0)


def test_a_full_code_sends_the_next_visitor_to_the_next_store(stores: Chain) -> None:
    for visitor in "ab":
        assert stores.locate(stores.scan(visitor), *HERE)["store"]["store"] == "S1"
    routing = stores.locate(stores.scan("c"), *HERE)
    assert (routing["outcome"], routing["reason"]) == ("code", "next_store")
    assert routing["store"]["store"] == "S2"
    assert routing["store"]["distance_m"] == pytest.approx(953, abs=2)
    assert [(hop["store"], hop["skipped"]) for hop in routing["hops"]] == [("S1", "full")]


def test_a_full_code_sends_the_next_visitor_to_the_stores_next_code(stores: Chain) -> None:
    stores.put_code("S1", "three", capacity=1)
    for visitor in "ab":
        stores.locate(stores.scan(visitor), *HERE)
    routing = stores.locate(stores.scan("c"), *HERE)
    assert (routing["reason"], routing["store"]["store"]) == ("next_code", "S1")
    assert [hop["skipped"] for hop in routing["hops"]] == ["full"]


def test_the_same_scan_asked_again_gives_the_same_answer(stores: Chain) -> None:
    scan_id = stores.scan("a")
    first = stores.locate(scan_id, *HERE)
    assert stores.locate(scan_id, *HERE) == first
    assert stores.visitor.get(f"/api/v1/scans/{scan_id}").json() == first
    assert stores.code(first["code"]["code_id"])["held"] == 1


def test_a_visitor_who_comes_back_sees_the_same_code_and_takes_no_second_seat(
    stores: Chain,
) -> None:
    first = stores.locate(stores.scan("a"), *HERE)
    scan_id = stores.scan("a")
    at_once = stores.visitor.get(f"/api/v1/scans/{scan_id}").json()
    assert (at_once["outcome"], at_once["reason"]) == ("code", "returning")
    # Even from beside the other store.
    routing = stores.locate(scan_id, *NEAR_S2)
    assert routing["code"]["code_id"] == first["code"]["code_id"]
    assert stores.code(first["code"]["code_id"])["held"] == 1


def test_a_member_who_comes_back_sees_the_same_code_though_it_is_full(stores: Chain) -> None:
    scan_id = stores.scan("a")
    first = stores.locate(scan_id, *HERE)
    stores.tell(scan_id, "joined")
    stores.locate(stores.scan("b"), *HERE)
    again = stores.locate(stores.scan("a"), *HERE)
    assert again["reason"] == "returning"
    assert again["code"]["code_id"] == first["code"]["code_id"]
    code = stores.code(first["code"]["code_id"])
    assert (code["members"], code["held"]) == (1, 1)


def test_to_look_at_a_scan_whose_code_was_paused_says_so_and_changes_nothing(
    stores: Chain,
) -> None:
    def look(scan_id: str) -> dict[str, Any]:
        return running.answered(stores.visitor.get(f"/api/v1/scans/{scan_id}"))

    def page(scan_id: str) -> str:
        return stores.visitor.get(f"/q/{stores.entry}/s/{scan_id}").text

    waits, joined = stores.scan("a"), stores.scan("b")
    first = stores.locate(waits, *HERE)
    code_id = first["code"]["code_id"]
    stores.locate(joined, *HERE)
    stores.tell(joined, "joined")
    assert look(waits) == first
    assert first["code"]["serves"]
    assert f'data-code="{code_id}"' in page(waits)
    path = f"/api/v1/codes/{code_id}"
    running.answered(stores.hq.patch(path, json={"status": "paused"}))
    for _ in range(2):
        assert look(waits) == first | {"code": first["code"] | {"serves": False}}
        assert 'data-view="locate"' in page(waits)
        assert "刚才的群码已停用" in page(waits)
    assert stores.code(code_id)["held"] == 1
    # Who is in the group already is told nothing of it.
    assert f'data-code="{code_id}"' in page(joined)
    running.answered(stores.hq.patch(path, json={"status": "active"}))
    assert look(waits) == first
    stores.put_store("S1", *HERE, status="closed")
    assert not look(waits)["code"]["serves"]
    stores.put_store("S1", *HERE, status="open")
    assert look(waits)["code"]["serves"]
    running.answered(stores.hq.patch(path, json={"status": "retired"}))
    assert 'data-view="locate"' in page(waits)
    assert stores.locate(waits, *HERE)["store"]["store"] == "S2"
    assert "S2店" in page(waits)


def test_a_visitor_whose_code_was_paused_is_sent_on(stores: Chain) -> None:
    first = stores.locate(stores.scan("a"), *HERE)
    code_id = first["code"]["code_id"]
    running.answered(stores.hq.patch(f"/api/v1/codes/{code_id}", json={"status": "paused"}))
    routing = stores.locate(stores.scan("a"), *HERE)
    assert routing["store"]["store"] == "S2"
    assert [hop["skipped"] for hop in routing["hops"]] == ["paused"]
    assert stores.code(code_id)["held"] == 0, "the seat that they had is free again"


@pytest.mark.parametrize("event", ["full", "expired", "broken"])
def test_a_code_that_does_not_work_is_replaced_at_once(stores: Chain, event: str) -> None:
    scan_id = stores.scan("a")
    first = stores.locate(scan_id, *HERE)
    routing = stores.tell(scan_id, event)
    assert (routing["outcome"], routing["reason"]) == ("code", "next_store")
    assert routing["store"]["store"] == "S2"
    assert [hop["skipped"] for hop in routing["hops"]] == ["reported"]
    assert stores.code(first["code"]["code_id"])["held"] == 0
    assert stores.code(routing["code"]["code_id"])["held"] == 1
    # One visitor's word takes it from nobody else.
    assert stores.locate(stores.scan("b"), *HERE)["store"]["store"] == "S1"


def test_a_complaint_that_comes_twice_says_nothing_of_the_next_code(stores: Chain) -> None:
    scan_id = stores.scan("a")
    first = stores.locate(scan_id, *HERE)
    said = {"event": "full", "code_id": first["code"]["code_id"]}
    path = f"/api/v1/scans/{scan_id}/events"
    answers = [running.answered(stores.visitor.post(path, json=said)) for _ in range(2)]
    assert [answer["store"]["store"] for answer in answers] == ["S2", "S2"]


def test_a_press_on_the_code_before_counts_for_that_code(stores: Chain) -> None:
    scan_id = stores.scan("a")
    first = stores.locate(scan_id, *HERE)["code"]["code_id"]
    second = stores.tell(scan_id, "broken")["code"]["code_id"]
    path = f"/api/v1/scans/{scan_id}/events"
    running.answered(stores.visitor.post(path, json={"event": "pressed", "code_id": first}))
    assert (stores.code(first)["members"], stores.code(second)["members"]) == (1, 0)


def test_a_press_joins_where_nothing_else_tells(stores: Chain) -> None:
    scan_id = stores.scan("a")
    code_id = stores.locate(scan_id, *HERE)["code"]["code_id"]
    for _ in range(2):
        stores.tell(scan_id, "pressed")
    code = stores.code(code_id)
    assert (code["members"], code["held"]) == (1, 0)
    stores.tell(scan_id, "joined")
    (join,) = running.answered(stores.hq.get("/api/v1/joins"))["joins"]
    assert join["evidence"] == "reported"
    assert join["store"] == "S1"
    assert join["city"] == "上海市"
    assert join["distance_band"] == "0-100"
    assert join["source"] == "gps"


def test_a_press_is_not_enough_for_a_connected_code(stores: Chain) -> None:
    scan_id = stores.scan("a")
    code_id = stores.locate(scan_id, *HERE)["code"]["code_id"]
    change = {"counted_by": "joined"}
    running.answered(stores.hq.patch(f"/api/v1/codes/{code_id}", json=change))
    stores.tell(scan_id, "pressed")
    assert stores.code(code_id)["members"] == 0
    assert running.answered(stores.hq.get("/api/v1/joins"))["joins"] == []
    stores.tell(scan_id, "joined")
    assert stores.code(code_id)["members"] == 1


def test_a_picked_store_is_shown_and_its_neighbour_if_it_is_full(stores: Chain) -> None:
    def pick(visitor: str) -> dict[str, object]:
        scan_id = stores.scan(visitor)
        answer = stores.visitor.post(f"/api/v1/scans/{scan_id}/store", json={"store": "S1"})
        return running.answered(answer)

    for visitor in "ab":
        routing = pick(visitor)
        assert (routing["outcome"], routing["reason"]) == ("code", "chosen")
    routing = pick("c")
    assert routing["reason"] == "next_store"
    assert routing["store"]["store"] == "S2"  # type: ignore[index]


def test_picking_another_store_moves_the_seat(stores: Chain) -> None:
    scan_id = stores.scan("a")
    first = stores.locate(scan_id, *HERE)
    answer = stores.visitor.post(f"/api/v1/scans/{scan_id}/store", json={"store": "S2"})
    second = running.answered(answer)
    assert (second["store"]["store"], second["reason"]) == ("S2", "chosen")
    assert second["store"]["distance_m"] == pytest.approx(953, abs=2)
    assert stores.code(first["code"]["code_id"])["held"] == 0
    assert stores.code(second["code"]["code_id"])["held"] == 1


def test_a_vague_position_offers_the_stores_that_may_be_meant(stores: Chain) -> None:
    routing = stores.locate(stores.scan("a"), *HERE, accuracy_m=800)
    assert (routing["outcome"], routing["reason"]) == ("choose", "ambiguous_position")
    assert [choice["store"] for choice in routing["choices"]] == ["S1", "S2"]
    assert routing["code"] is None


def test_a_vague_position_is_enough_if_one_store_alone_is_possible(stores: Chain) -> None:
    routing = stores.locate(stores.scan("a"), *HERE, accuracy_m=400)
    assert (routing["outcome"], routing["store"]["store"]) == ("code", "S1")


def test_nothing_within_the_radius_is_said(stores: Chain) -> None:
    routing = stores.locate(stores.scan("a"), 116.4, 39.9)
    assert (routing["outcome"], routing["reason"]) == ("unserved", "out_of_range")
    report = running.answered(stores.hq.get("/api/v1/reports/unserved"))
    assert [(row["reason"], row["city"], row["scans"]) for row in report["rows"]] == [
        ("out_of_range", "北京市", 1)
    ]


def test_when_all_are_full_the_fallback_is_shown(chain: Chain) -> None:
    chain.put_entry(fallback="https://work.weixin.qq.com/ct/wcdeMadeUpForTests0001")
    chain.put_code("S1", "one", capacity=1, members=1)
    routing = chain.locate(chain.scan("a"), *HERE)
    assert (routing["outcome"], routing["reason"]) == ("code", "fallback")
    assert routing["store"] is None
    assert routing["code"]["kind"] == "wecom_contact"
    assert {hop["skipped"] for hop in routing["hops"]} == {"full", "no_code"}


def test_when_all_are_full_and_there_is_no_fallback_it_is_said(chain: Chain) -> None:
    chain.put_entry()
    chain.put_code("S1", "one", capacity=1, members=1)
    routing = chain.locate(chain.scan("a"), *HERE)
    assert (routing["outcome"], routing["reason"]) == ("unserved", "all_full")


def test_an_address_that_tells_nothing_asks_for_the_position(stores: Chain) -> None:
    scan_id = stores.scan("a")
    answer = stores.visitor.post(f"/api/v1/scans/{scan_id}/position", json={"source": "ip"})
    routing = running.answered(answer)
    assert (routing["outcome"], routing["reason"]) == ("choose", "position_needed")
    assert {choice["store"] for choice in routing["choices"]} == {"S1", "S2"}


def test_a_closed_store_is_passed_by(stores: Chain) -> None:
    stores.put_store("S1", *HERE, status="closed")
    routing = stores.locate(stores.scan("a"), *HERE)
    assert routing["store"]["store"] == "S2"
    assert [(hop["store"], hop["skipped"]) for hop in routing["hops"]] == [("S1", "closed")]


def test_a_store_whose_area_holds_the_visitor_goes_before_a_nearer_one(stores: Chain) -> None:
    west, east, south, north = 121.46, 121.49, 31.22, 31.24
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    stores.put_store(
        "S2", 121.4837, 31.2304, service_area={"type": "Polygon", "coordinates": [ring]}
    )
    routing = stores.locate(stores.scan("a"), *HERE)
    assert (routing["store"]["store"], routing["reason"]) == ("S2", "in_area")


def test_a_position_in_another_datum_names_the_same_store(stores: Chain) -> None:
    # What Amap shows for the place where S1 stands.
    routing = stores.locate(stores.scan("a"), 121.478235, 31.228518, datum="gcj02")
    assert routing["store"]["store"] == "S1"
    assert routing["store"]["distance_m"] < 30


def test_a_seat_is_free_again_when_its_time_is_up(database_url: str) -> None:
    settings = Settings(hold_s=0.5, sweep_s=0.1, database_pool=5)
    with running.running(database_url, settings) as service:
        service.put_entry()
        service.put_code("S1", "one", capacity=1)
        first = service.locate(service.scan("a"), *HERE)
        assert service.locate(service.scan("b"), *HERE)["outcome"] == "unserved"
        code_id = first["code"]["code_id"]
        deadline = time.monotonic() + 10
        while service.code(code_id)["held"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert service.code(code_id)["held"] == 0
        assert service.locate(service.scan("b"), *HERE)["outcome"] == "code"


def test_late_evidence_joins_if_there_is_room_and_is_kept_if_not(database_url: str) -> None:
    settings = Settings(hold_s=0.3, sweep_s=0.1, database_pool=5)
    with running.running(database_url, settings) as service:
        service.put_entry()
        code_id = service.put_code("S1", "one", capacity=1)["code_id"]
        scan_id = service.scan("a")
        late_id = service.scan("b")
        service.locate(scan_id, *HERE)
        _until_free(service, code_id)
        service.locate(late_id, *HERE)
        _until_free(service, code_id)
        service.tell(scan_id, "pressed")
        service.tell(late_id, "pressed")
        assert service.code(code_id)["members"] == 1
        funnel = running.answered(service.hq.get("/api/v1/reports/funnel"))
        assert funnel["total"]["pressed"] == 2
        assert len(running.answered(service.hq.get("/api/v1/joins"))["joins"]) == 1


def _until_free(service: Running, code_id: str) -> None:
    deadline = time.monotonic() + 10
    while service.code(code_id)["held"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_list_to_pick_from_is_by_distance_and_only_of_what_serves(stores: Chain) -> None:
    stores.put_store("S3", 121.4747, 31.2304, name="三店")
    lon, lat = NEAR_S2
    path = f"/api/v1/entries/{stores.entry}/stores"
    listed = running.answered(stores.visitor.get(path, params={"lon": lon, "lat": lat}))
    assert [store["store"] for store in listed["stores"]] == ["S2", "S1"]
    assert listed["stores"][0]["distance_m"] == pytest.approx(67, abs=2)
    found = running.answered(stores.visitor.get(path, params={"q": "S2店"}))
    assert [store["store"] for store in found["stores"]] == ["S2"]
    none = running.answered(stores.visitor.get(path, params={"city": "北京市"}))
    assert none["stores"] == []


def test_an_unknown_placement_is_counted_as_none_and_kept(stores: Chain) -> None:
    stores.scan("a", placement="nobody-knows")
    funnel = running.answered(stores.hq.get("/api/v1/reports/funnel?by=placement"))
    assert [(row["key"], row["scans"]) for row in funnel["rows"]] == [(None, 1)]


def test_a_crawler_is_flagged_and_takes_no_seat(stores: Chain) -> None:
    crawler = {"User-Agent": "Mozilla/5.0 (compatible; Baiduspider/2.0)"}
    page = stores.visitor.get(f"/q/{stores.entry}", headers=crawler)
    assert page.status_code == 200
    assert running.answered(stores.hq.get("/api/v1/reports/funnel"))["total"]["scans"] == 0


def test_a_page_that_is_fetched_before_anybody_looks_is_no_scan(stores: Chain) -> None:
    answer = stores.visitor.get(f"/q/{stores.entry}", headers={"Sec-Purpose": "prefetch"})
    assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
    funnel = running.answered(stores.hq.get("/api/v1/reports/funnel"))
    assert funnel["total"]["scans"] == 0


def test_what_was_not_shown_cannot_be_pressed(stores: Chain) -> None:
    answer = stores.visitor.post(
        f"/api/v1/scans/{stores.scan('a')}/events", json={"event": "pressed"}
    )
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lat": 31.0}, "lon"),
        ({"lon": 200, "lat": 31}, "lon"),
        ({"lon": 121, "lat": "north"}, "lat"),
        ({"lon": 121, "lat": 31, "accuracy_m": -5}, "accuracy_m"),
        ({"lon": 121, "lat": 31, "datum": "mars"}, "datum"),
        ({"lon": 121, "lat": 31, "source": "tarot"}, "source"),
    ],
)
def test_a_bad_position_is_refused_with_its_field(
    stores: Chain, body: dict[str, object], field: str
) -> None:
    answer = stores.visitor.post(f"/api/v1/scans/{stores.scan('a')}/position", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/scans/no-uuid"),
        ("GET", "/api/v1/scans/01a20107-04ae-7209-ba26-4aab3fbbea2c"),
        ("GET", "/api/v1/entries/nothing/stores"),
        ("GET", "/c/01a20107-04ae-7209-ba26-4aab3fbbea2c.png"),
        ("GET", "/q/nothing"),
    ],
)
def test_what_is_not_there_is_not_found(stores: Chain, method: str, path: str) -> None:
    assert stores.visitor.request(method, path).status_code == 404
