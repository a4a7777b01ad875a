"""Orders by HTTP: kept exactly, corrected, matched, listed; a bad row keeps no other out."""

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis
import openpyxl
import pytest
from hypothesis import strategies as st

from service import db
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

AT = "2026-03-01T12:00:00+08:00"
# After whatever these tests let visitors do.
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def send(chain: Chain, *orders: Any) -> dict[str, Any]:
    answer = chain.hq.post("/api/v1/orders", content=json.dumps({"orders": orders}))
    return running.answered(answer)


def order(number: str = "A1", **values: Any) -> dict[str, Any]:
    return {"order": number, "at": LATER, "amount": "10", **values}


def join(chain: Chain, visitor: str, store: str = "S1", **scan: Any) -> dict[str, Any]:
    """A visitor's join, as `/api/v1/joins` tells it."""
    scan_id = chain.scan(visitor, **scan)
    place = chains.S1 if store == "S1" else chains.S2
    assert chain.locate(scan_id, *place)["store"]["store"] == store
    chain.tell(scan_id, "pressed")
    (found,) = [j for j in chain.get("/api/v1/joins")["joins"] if j["scan_id"] == scan_id]
    return dict(found)


@pytest.fixture
def tea(chain: Chain) -> Chain:
    """With an entry and a code in each store."""
    chain.put_entry()
    for store in ("S1", "S2"):
        chain.put_code(store, f"{chain.chain}-{store}", capacity=100)
    return chain


# ---------------------------------------------------------------- keeping


def test_an_order_is_kept_as_it_was_sent(tea: Chain) -> None:
    done = send(tea, order(at=AT, amount="12.5", store="S1", member="unionid:oX1"))
    assert done == {"accepted": 1, "matched": 0, "unmatched": 1, "rejected": []}
    found = tea.get("/api/v1/orders/A1")
    kept = {name: found[name] for name in ("order", "kind", "amount", "currency", "store")}
    assert kept == {
        "order": "A1", "kind": "order", "amount": "12.50", "currency": "CNY", "store": "S1",
    }  # fmt: skip
    assert found["at"] == "2026-03-01T04:00:00Z"
    assert (found["member"], found["match"]) == ("unionid:oX1", None)
    assert tea.get("/api/v1/orders")["orders"] == [found]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0.1", "0.10"),
        ('"0.1"', "0.10"),
        ("9007199254740993.0", None),  # above a million millions
        ("900719925474.0993", "900719925474.0993"),  # a float has 900719925474.0994
        ("123456789012.3456", "123456789012.3456"),
        ('"1,234.50"', "1234.50"),
        ("1e2", "100.00"),
        ("0", "0.00"),
        ("-0.0", "0.00"),
        ("12.34560", "12.3456"),
        ("12.34567", None),
        ("1e-5", None),
        ("1e999999999", None),
        ("-1", None),
        ('""', None),
        ('"NaN"', None),
        ("true", None),
        ("[1]", None),
        ("null", None),
    ],
)
def test_money_is_exact(tea: Chain, written: str, kept: str | None) -> None:
    body = '{"orders": [{"order": "A1", "at": "%s", "amount": %s}]}' % (AT, written)  # noqa: UP031
    done = running.answered(tea.hq.post("/api/v1/orders", content=body))
    if kept is None:
        assert [(r["row"], r["field"]) for r in done["rejected"]] == [(1, "amount")]
        assert tea.get("/api/v1/orders")["orders"] == []
    else:
        assert done["accepted"] == 1
        assert tea.get("/api/v1/orders/A1")["amount"] == kept


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"order": ""}, "order"),
        ({"order": None}, "order"),
        ({"order": "x" * 65}, "order"),
        ({"order": 1.5}, "order"),
        ({"order": "a\u0000"}, "order"),
        ({"order": "\ud800"}, "order"),
        ({"at": "yesterday"}, "at"),
        ({"at": 1700000000}, "at"),
        ({"at": "1999-12-31T00:00:00Z"}, "at"),
        ({"at": None}, "at"),
        ({"currency": "yuan"}, "currency"),
        ({"store": "S9"}, "store"),
        ({"store": {"$ne": 1}}, "store"),
        ({"member": "phone:12"}, "member"),
        ({"member": "phone_hash:12"}, "member"),
        ({"member": "x" * 200}, "member"),
        ({"scan_id": "none"}, "scan_id"),
        ({"kind": "gift"}, "kind"),
        ({"refunds": "A0"}, "refunds"),
        ({"kind": "refund", "refunds": "bad"}, "refunds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_row_is_rejected_alone_with_its_field(
    tea: Chain, values: dict[str, Any], field: str
) -> None:
    bad = order("bad", **values) if "order" not in values else {**order(), **values}
    done = send(tea, order("good1"), bad, order("good2"))
    assert [(r["row"], r["field"]) for r in done["rejected"]] == [(2, field)]
    assert done["rejected"][0]["detail"]
    assert done["accepted"] == 2
    assert [o["order"] for o in tea.get("/api/v1/orders")["orders"]] == ["good1", "good2"]


def test_the_same_number_twice_in_one_list_is_rejected(tea: Chain) -> None:
    done = send(tea, order("A1", amount=1), order("A1", amount=2))
    assert [(r["row"], r["field"]) for r in done["rejected"]] == [(2, "order")]
    assert tea.get("/api/v1/orders/A1")["amount"] == "1.00"


BODIES = (
    "", "[]", "{}", '{"orders": {}}', '{"orders": [], "x": 1}', "{", "null", '{"orders": NaN}',
    "[" * 100_000, "9" * 5000, '{"orders": [' + "9" * 5000 + "]}", '{"orders": "\xff"}',
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:20])
def test_what_is_no_list_of_orders_is_refused_whole(tea: Chain, body: str) -> None:
    answer = tea.hq.post("/api/v1/orders", content=body.encode("latin-1"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


def test_no_more_than_the_limit_is_taken_at_once(tea: Chain) -> None:
    answer = tea.hq.post("/api/v1/orders", json={"orders": [{}] * 5001})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["orders"]


def test_sending_an_order_again_corrects_it(tea: Chain) -> None:
    send(tea, order(amount="10", member="m1", store="S1"))
    assert send(tea, order(amount="8.5"))["accepted"] == 1
    (found,) = tea.get("/api/v1/orders")["orders"]
    assert (found["amount"], found["member"], found["store"]) == ("8.50", None, None)


def test_times_without_an_offset_are_the_chains(shared: Running) -> None:
    with chains.own(shared, timezone="America/New_York") as chain:
        send(chain, order("winter", at="2026-01-15 12:00"), order("summer", at="2026-07-15T12:00"))
        told = [row["at"] for row in chain.get("/api/v1/orders")["orders"]]
        assert told == ["2026-01-15T17:00:00Z", "2026-07-15T16:00:00Z"]


# ---------------------------------------------------------------- matching


def test_an_order_that_names_its_scan_belongs_to_that_scans_join(tea: Chain) -> None:
    joined = join(tea, "a")
    done = send(tea, order(scan_id=joined["scan_id"], at=AT))
    assert (done["matched"], done["unmatched"]) == (1, 0)
    match = tea.get("/api/v1/orders/A1")["match"]
    assert (match["rule"], match["confidence"]) == ("scan_id", 1.0)
    assert (match["join_id"], match["scan_id"]) == (joined["join_id"], joined["scan_id"])
    assert match["store"] == "S1"


@pytest.mark.parametrize(
    ("key", "named", "rule"),
    [
        ({"unionid": "oX"}, "unionid:oX", "unionid"),
        ({"unionid": "oX"}, "oX", "unionid"),
        ({"external_userid": "wmX"}, "external_userid:wmX", "external_userid"),
        ({"phone": "13800138000"}, "phone:+86 138-0013-8000", "phone"),
        ({"phone": "+85251234567"}, "+852 5123 4567", "phone"),
        ({"phone": "13800138000"}, "138 0013 8000", "phone"),
        ({"member": "VIP 7"}, "member:VIP 7", "member"),
        ({"member": "ＶＩＰ7"}, "VIP7", "member"),
    ],
)
def test_an_order_is_matched_by_what_hq_told_of_the_join(
    tea: Chain, key: dict[str, str], named: str, rule: str
) -> None:
    joined = join(tea, "a")
    told = tea.hq.post(f"/api/v1/joins/{joined['join_id']}/member", json=key)
    assert running.answered(told) == {"join_id": joined["join_id"], "orders": 0}
    send(tea, order(member=named), order("A2", member="somebody"), order("A3", at=AT, member=named))
    match = tea.get("/api/v1/orders/A1")["match"]
    assert (match["rule"], match["join_id"]) == (rule, joined["join_id"])
    assert 0 < match["confidence"] < 1
    assert tea.get("/api/v1/orders/A2")["match"] is None
    assert tea.get("/api/v1/orders/A3")["match"] is None, "long before the join"


def test_a_phones_hash_is_as_good_as_the_phone(tea: Chain) -> None:
    digest = hashlib.sha256(b"+8613800138000").hexdigest()
    joined = join(tea, "a")
    running.answered(
        tea.hq.post(f"/api/v1/joins/{joined['join_id']}/member", json={"phone_hash": digest})
    )
    send(tea, order(member="13800138000"), order("A2", member=f"phone_hash:{digest.upper()}"))
    for number in ("A1", "A2"):
        found = tea.get(f"/api/v1/orders/{number}")
        assert found["match"]["rule"] == "phone"
        assert found["member"] == "phone"


def test_no_phone_is_kept_to_be_read(tea: Chain) -> None:
    joined = join(tea, "a")
    number = "13911112222"
    tea.hq.post(f"/api/v1/joins/{joined['join_id']}/member", json={"phone": number})
    tea.hq.post(f"/api/v1/joins/{joined['join_id']}/member", json={"member": number})
    send(tea, order(member=number), order("A2", member=f"unionid:{number}"))
    assert number not in running.run(dumped(tea))


async def dumped(chain: Chain) -> str:
    connection = await db.connect(chain.database_url)
    try:
        rows = [
            await connection.fetch(f"SELECT t::text FROM {table} t")
            for table in ("orders", "member_keys", "audit")
        ]
        assert all(rows)
        return str(rows)
    finally:
        await connection.close()


def test_orders_that_came_first_are_matched_when_the_member_is_told(tea: Chain) -> None:
    joined = join(tea, "a")
    send(
        tea,
        order("A1", member="unionid:oX", amount="30"),
        order("A2", member="unionid:oX", amount="5", kind="refund", refunds="A1"),
        order("A3", member="unionid:oY"),
    )
    assert len(tea.get("/api/v1/orders", matched=False)["orders"]) == 3
    members = {
        "members": [
            {"scan_id": joined["scan_id"], "unionid": "oX"},
            {"scan_id": joined["join_id"], "unionid": "oX"},
            {"join_id": joined["join_id"]},
            "a",
        ]
    }
    told = running.answered(tea.hq.post("/api/v1/members", json=members))
    assert (told["accepted"], told["orders"]) == (1, 2)
    assert [(r["row"], r["field"]) for r in told["rejected"]] == [
        (2, "scan_id"), (3, "member"), (4, "row"),
    ]  # fmt: skip
    rules = [o["match"]["rule"] for o in tea.get("/api/v1/orders", matched=True)["orders"]]
    assert rules == ["unionid", "refunds"]
    # And not any more, once it is taken back.
    path = f"/api/v1/joins/{joined['join_id']}/member"
    running.answered(tea.hq.post(path, json={"unionid": None}))
    assert len(tea.get("/api/v1/orders", matched=False)["orders"]) == 3


def test_of_several_joins_the_last_before_the_order_counts(tea: Chain) -> None:
    first, second = join(tea, "a", "S1"), join(tea, "b", "S2")
    for joined in (first, second):
        path = f"/api/v1/joins/{joined['join_id']}/member"
        running.answered(tea.hq.post(path, json={"unionid": "oX"}))
    send(tea, order("late", member="oX"), order("between", member="oX", at=first["joined_at"]))
    assert tea.get("/api/v1/orders/late")["match"]["join_id"] == second["join_id"]
    assert tea.get("/api/v1/orders/between")["match"]["join_id"] == first["join_id"]


def test_a_bad_member_is_refused_with_its_field_and_a_strange_join_is_not_found(tea: Chain) -> None:
    joined = join(tea, "a")
    path = f"/api/v1/joins/{joined['join_id']}/member"
    for body, field in (
        ({"phone": "12"}, "phone"),
        ({"unionid": 1.5}, "unionid"),
        ({}, "member"),
        ({"name": "x"}, "name"),
        ({"phone": "13800138000", "phone_hash": "0" * 64}, "phone_hash"),
    ):
        answer = tea.hq.post(path, json=body)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    for strange in ("nothing", "01890000-0000-7000-8000-000000000000"):
        answer = tea.hq.post(f"/api/v1/joins/{strange}/member", json={"unionid": "u"})
        assert answer.status_code == 404


# ---------------------------------------------------------------- lists


def test_the_list_goes_on_where_it_stopped_and_is_filtered(tea: Chain) -> None:
    joined = join(tea, "a")
    numbers = [f"N{number:02}" for number in range(7)]
    send(tea, *(order(n, at=f"2026-03-0{1 + place % 3}T12:00:00+08:00", store="S2" if place < 2
                      else None, scan_id=joined["scan_id"] if place == 3 else None)
                for place, n in enumerate(numbers)))  # fmt: skip
    seen: list[str] = []
    cursor = None
    while True:
        page = tea.get("/api/v1/orders", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [row["order"] for row in page["orders"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["orders"]) == 2
    assert seen == ["N00", "N03", "N06", "N01", "N04", "N02", "N05"]

    def listed(**params: Any) -> list[str]:
        return [row["order"] for row in tea.get("/api/v1/orders", **params)["orders"]]

    assert listed(since="2026-03-02", until="2026-03-02") == ["N01", "N04"]
    assert listed(store="S2") == ["N00", "N01"]
    assert listed(store="S1") == ["N03"], "where the member joined, as no other store is named"
    assert listed(matched=True) == ["N03"]
    assert listed(matched=False, store="S2") == ["N00", "N01"]
    for cursor in ("bad", "bm90aGluZw", "MjAyNi0wMS0wMSBO"):
        assert tea.hq.get("/api/v1/orders", params={"cursor": cursor}).status_code == 422


def test_a_manager_sees_the_orders_of_their_stores(tea: Chain) -> None:
    tea.put_store("S3", 121.6, 31.2)
    send(tea, order("mine", store="S1"), order("theirs", store="S3"), order("nobodys"))
    found = running.answered(tea.manager.get("/api/v1/orders"))["orders"]
    assert [row["order"] for row in found] == ["mine"]
    assert tea.manager.get("/api/v1/orders/theirs").status_code == 404
    assert tea.manager.get("/api/v1/orders/mine").status_code == 200


# ---------------------------------------------------------------- tables

CHINESE = (
    "订单号,下单时间,实付金额,门店编号,手机号,类型,原订单号\n"
    "T1,2026/3/1 12:00,￥1234.50,S1,13800138000,,\n"
    "T2,2026-03-02 12:00:05,8.5元,,,退款,T1\n"
    "T3,昨天,8,,,,\n"
    "T4,2026-03-02,8,S9,,,\n"
)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "xlsx"])
def test_a_table_of_orders_is_imported_and_again_changes_nothing(tea: Chain, encoding: str) -> None:
    if encoding == "xlsx":
        book, out = openpyxl.Workbook(), io.BytesIO()
        for line in CHINESE.splitlines():
            book.active.append([cell or None for cell in line.split(",")])
        book.save(out)
        data = out.getvalue()
    else:
        data = CHINESE.encode(encoding)

    def sent(**params: Any) -> dict[str, Any]:
        files = {"file": ("orders", data)}
        return running.answered(tea.hq.post("/api/v1/orders/import", files=files, params=params))

    tried = sent(dry_run=True)
    assert (tried["created"], len(tried["rejected"])) == (2, 2)
    assert tea.get("/api/v1/orders")["orders"] == []
    done = sent()
    assert done == tried
    assert [(r["row"], r["field"]) for r in done["rejected"]] == [(4, "at"), (5, "store")]
    first, second = tea.get("/api/v1/orders")["orders"]
    assert (first["amount"], first["at"], first["member"], first["store"]) == (
        "1234.50", "2026-03-01T04:00:00Z", "phone", "S1",
    )  # fmt: skip
    assert (second["kind"], second["amount"], second["refunds"]) == ("refund", "8.50", "T1")
    again = sent()
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, 2)


def test_a_spreadsheets_ruined_numbers_are_refused(tea: Chain) -> None:
    data = "order,at,amount\n2.02603E+17,2026-03-01,1\nA1,2026-03-01,0.30000000000000004\n"
    done = running.answered(
        tea.hq.post("/api/v1/orders/import", files={"file": ("o.csv", data.encode())})
    )
    assert [(r["row"], r["field"]) for r in done["rejected"]] == [(2, "order"), (3, "amount")]


def test_a_table_without_the_columns_is_refused_whole(tea: Chain) -> None:
    files = {"file": ("o.csv", "订单号,金额\nA1,3\n".encode())}
    answer = tea.hq.post("/api/v1/orders/import", files=files)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["at"]


# ---------------------------------------------------------------- reports


def test_hq_reads_what_a_store_brought_as_a_tree(tea: Chain) -> None:
    first, second = join(tea, "a", "S1"), join(tea, "b", "S2")
    tea.scan("c")
    send(
        tea,
        order("A1", amount="30.5", scan_id=first["scan_id"]),
        order("A2", amount="10", scan_id=first["scan_id"]),
        order("A3", amount="0.5", scan_id=first["scan_id"], kind="refund", refunds="A2"),
        order("A4", amount="99", scan_id=second["scan_id"], currency="HKD"),
        order("A5", amount="7", member="nobody"),
    )
    found = tea.get("/api/v1/reports/revenue", by="store")
    assert (found["currency"], found["next"]) == ("CNY", None)
    rows = {row["key"]: row for row in found["rows"]}
    assert set(rows) == {"S1", "S2", None}
    assert {name: rows["S1"][name] for name in ("members", "orders", "revenue", "basket")} == {
        "members": 1, "orders": 2, "revenue": "40.00", "basket": "20.00",
    }  # fmt: skip
    assert (rows["S1"]["visitor_conversion"], rows["S1"]["frequency"]) == (1.0, 2.0)
    assert (rows["S1"]["first_revenue"], rows["S1"]["repeat_revenue"]) == ("30.50", "9.50")
    assert (rows["S2"]["revenue"], rows["S2"]["basket"]) == ("0.00", None)
    total = found["total"]
    assert (total["visitors"], total["members"], total["revenue"]) == (3, 2, "40.00")
    assert (total["visitor_conversion"], total["frequency"]) == (0.666667, 1.0)
    tomorrow = {"orders": 1, "refunds": 0, "revenue": "7.00", "share": 0.25}
    assert found["unmatched"] == tomorrow
    (other,) = found["others"]
    assert (other["currency"], other["orders"], other["revenue"]) == ("HKD", 1, "99.00")
    in_hkd = tea.get("/api/v1/reports/revenue", by="placement", currency="HKD")
    assert [(row["key"], row["revenue"]) for row in in_hkd["rows"]] == [(None, "99.00")]
    # The funnel has the same.
    funnel = tea.get("/api/v1/reports/funnel")["total"]
    assert (funnel["ordered"], funnel["orders"], funnel["revenue"]) == (1, 2, 40.0)


def test_reports_of_orders_are_tables_too_and_are_not_sent_twice(tea: Chain) -> None:
    joined = join(tea, "a", "S1")
    send(tea, order("A1", amount="3", scan_id=joined["scan_id"]),
         order("A2", amount="5", scan_id=joined["scan_id"], kind="refund"))  # fmt: skip
    for path in ("revenue", "members"):
        answer = tea.hq.get(f"/api/v1/reports/{path}.csv")
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.content.startswith(b"\xef\xbb\xbfkey,")
        assert "-2.00" in answer.text
        assert "'-2.00" not in answer.text
        book = openpyxl.load_workbook(
            io.BytesIO(tea.hq.get(f"/api/v1/reports/{path}.xlsx").content)
        )
        assert -2 in [cell.value for row in book.active for cell in row]
        whole = tea.hq.get(f"/api/v1/reports/{path}")
        again = tea.hq.get(
            f"/api/v1/reports/{path}", headers={"If-None-Match": whole.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


def test_members_are_told_in_four_groups(tea: Chain) -> None:
    for visitor, amount in (("a", "10"), ("b", "30"), ("c", None)):
        joined = join(tea, visitor, "S1")
        if amount is not None:
            send(tea, order(visitor, amount=amount, scan_id=joined["scan_id"]))
    found = tea.get("/api/v1/reports/members")
    assert (found["above"], found["above_is"]) == ("10.00", "median")
    groups = {row["key"]: (row["members"], row["revenue"]) for row in found["rows"]}
    assert groups == {
        "new_high": (1, "30.00"), "new_low": (2, "10.00"), "old_high": (0, "0.00"),
        "old_low": (0, "0.00"),
    }  # fmt: skip
    found = tea.get("/api/v1/reports/members", above="5", since="2099-01-01", until="2099-12-31")
    groups = {row["key"]: (row["members"], row["revenue"]) for row in found["rows"]}
    assert groups["old_high"] == (2, "40.00")
    assert groups["old_low"] == (1, "0.00")


def test_a_manager_reads_what_their_own_stores_brought(tea: Chain) -> None:
    tea.put_store("S3", 121.6, 31.2)
    tea.put_code("S3", f"{tea.chain}-S3", capacity=100)
    joined = join(tea, "a", "S1")
    scan_id = tea.scan("b")
    assert tea.locate(scan_id, 121.6, 31.2)["store"]["store"] == "S3"
    tea.tell(scan_id, "pressed")
    send(tea, order("A1", scan_id=joined["scan_id"]), order("A2", scan_id=scan_id, amount="99"),
         order("A3", store="S3", amount="1"), order("A4", store="S1", amount="2"))  # fmt: skip
    found = running.answered(tea.manager.get("/api/v1/reports/revenue?by=store"))
    assert [(row["key"], row["revenue"]) for row in found["rows"]] == [("S1", "10.00")]
    assert found["total"]["revenue"] == "10.00"
    assert (found["unmatched"]["orders"], found["unmatched"]["revenue"]) == (1, "2.00")
    members = running.answered(tea.manager.get("/api/v1/reports/members"))
    assert members["total"]["revenue"] == "10.00"


@pytest.mark.parametrize(
    "params",
    [{"by": "moon"}, {"currency": "yuan"}, {"since": "soon"}, {"cursor": "bad"}, {"limit": 0}],
)
def test_a_question_that_makes_no_sense_is_refused(tea: Chain, params: dict[str, Any]) -> None:
    answer = tea.hq.get("/api/v1/reports/revenue", params=params)
    assert answer.status_code == 422
    for above in ("-1", "NaN", "1e400", "1.23456"):
        assert tea.hq.get(f"/api/v1/reports/members?above={above}").status_code == 422


# ---------------------------------------------------------------- hostile input

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80),
    st.sampled_from(["S1", AT, "refund", "unionid:x", "1e400", "-1", "٣", "１２", "CNY", "\x00"]),
    st.decimals().map(str),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
names = st.sampled_from(
    ["order", "at", "amount", "currency", "store", "member", "scan_id", "kind", "refunds"]
)
hostile_rows = st.one_of(
    anything, st.dictionaries(names, anything), st.builds(
        lambda base, change: {**base, **change},
        st.builds(order), st.dictionaries(names, scalars, max_size=3),
    ),
)  # fmt: skip


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True,
                     suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
@hypothesis.given(rows=st.lists(hostile_rows, max_size=6))
def test_hostile_orders_are_told_row_by_row_and_never_a_fault(
    shared: Running, rows: list[Any]
) -> None:
    answer = shared.hq.post("/api/v1/orders", content=json.dumps({"orders": rows}))
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        done = answer.json()
        assert done["accepted"] + len(done["rejected"]) == len(rows)
        assert done["matched"] + done["unmatched"] == done["accepted"]
    else:
        assert "NaN" in json.dumps(rows) or "Infinity" in json.dumps(rows)


member_rows = st.one_of(anything, st.dictionaries(
    st.sampled_from(["join_id", "scan_id", "unionid", "phone", "phone_hash", "member"]), anything,
))  # fmt: skip


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True,
                     suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
@hypothesis.given(rows=st.lists(member_rows, max_size=4), body=anything)
def test_hostile_members_are_never_a_fault(shared: Running, rows: list[Any], body: Any) -> None:
    answer = shared.hq.post("/api/v1/members", content=json.dumps({"members": rows}))
    assert answer.status_code in (200, 422), answer.text
    path = "/api/v1/joins/01890000-0000-7000-8000-000000000000/member"
    assert shared.hq.post(path, content=json.dumps(body)).status_code in (404, 422)


def test_amounts_add_up_to_the_last_digit(tea: Chain) -> None:
    send(tea, *(order(f"N{n}", amount="0.1") for n in range(10)))
    total = sum(Decimal(row["amount"]) for row in tea.get("/api/v1/orders")["orders"])
    assert total == Decimal(1)
