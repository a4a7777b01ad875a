"""The log of changes: who, what, before, after, when."""

import io
from typing import Any

import pytest

from service import app, qr
from service.settings import Settings
from tests import running
from tests.http import callers, chains, may, openapi
from tests.http.chains import Chain
from tests.http.openapi import Operation


def log_of(chain: Chain, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chain.get("/api/v1/audit", **params)["audit"]
    return found


def last(chain: Chain, **params: Any) -> dict[str, Any]:
    return log_of(chain, **params)[0]


def test_every_change_of_a_code_is_in_the_log_with_what_it_was_before(chain: Chain) -> None:
    code = chain.put_code("S1", "one", capacity=10)
    path = f"/api/v1/codes/{code['code_id']}"
    running.answered(chain.manager.patch(path, json={"members": 4}))
    running.answered(chain.manager.patch(path, json={"status": "paused"}))
    running.answered(chain.hq.patch(path, json={"status": "active"}))
    running.answered(chain.hq.patch(path, json={"capacity": 20, "label": "二群"}))
    rows = log_of(chain, subject=code["code_id"])
    told = [(row["action"], row["who"]["name"], row["before"], row["after"]) for row in rows]
    assert told[:4] == [
        ("code.update", "hq", {"capacity": 10, "label": None}, {"capacity": 20, "label": "二群"}),
        ("code.resume", "hq", {"status": "paused"}, {"status": "active"}),
        ("code.pause", "manager", {"status": "active"}, {"status": "paused"}),
        ("code.count", "manager", {"members": 0}, {"members": 4}),
    ]
    (made,) = rows[4:]
    assert (made["action"], made["before"]) == ("code.create", None)
    assert made["after"]["payload"] == running.payload("one")
    assert {row["store"] for row in rows} == {"S1"}


def test_what_changes_nothing_is_not_in_the_log(chain: Chain) -> None:
    code = chain.put_code("S1", "one", capacity=10)
    many = len(log_of(chain))
    running.answered(chain.hq.patch(f"/api/v1/codes/{code['code_id']}", json={"capacity": 10}))
    running.answered(chain.hq.put("/api/v1/stores/S1", json={"name": "S1店"}))
    refused = chain.hq.patch(f"/api/v1/codes/{code['code_id']}", json={"capacity": 0})
    assert refused.status_code == 422
    assert len(log_of(chain)) == many


def test_stores_entries_and_placements_are_in_the_log(chain: Chain) -> None:
    chain.put_store("S1", *chains.S1, name="新店名")
    row = last(chain, action="store.update")
    assert (row["subject"], row["before"], row["after"]) == (
        "S1", {"name": "S1店"}, {"name": "新店名"},
    )  # fmt: skip
    chain.put_store("S9", *chains.S2)
    assert last(chain, action="store")["action"] == "store.create"
    code = chain.put_code("S9", "nine")
    assert chain.hq.delete("/api/v1/stores/S9").status_code == 204
    row = last(chain)
    assert (row["action"], row["before"]) == (
        "store.delete", {"name": "S9店", "codes": [code["code_id"]]},
    )  # fmt: skip
    chain.put_entry()
    running.answered(chain.hq.patch(f"/api/v1/entries/{chain.entry}", json={"radius_m": 500}))
    assert [row["action"] for row in log_of(chain, subject=chain.entry)] == [
        "entry.update", "entry.create",
    ]  # fmt: skip
    path = f"/api/v1/entries/{chain.entry}/placements"
    body = {"placement": "p", "name": "海报", "channel": "poster", "cost": 12.5}
    for cost in (12.5, 14):
        running.answered(chain.hq.post(path, json={**body, "cost": cost}))
    rows = log_of(chain, action="placement")
    assert [(row["action"], row["after"]) for row in rows] == [
        ("placement.update", {"cost": "14.00"}),
        ("placement.create", rows[1]["after"]),
    ]
    assert rows[1]["subject"] == f"{chain.entry}/p"


def test_a_fallback_that_an_entry_brings_along_is_in_the_log(chain: Chain) -> None:
    chain.put_entry(fallback=running.payload("fallback"))
    row = last(chain, action="code.create")
    assert (row["store"], row["after"]["payload"]) == (None, running.payload("fallback"))


def test_an_import_is_one_row_with_its_numbers(chain: Chain) -> None:
    data = (
        "store,name,lon,lat\nS1,一店,121.4737,31.2304\nN1,新店,121.5,31.2\nN2,新二店,121.6,31.2\n"
    )
    files = {"file": ("stores.csv", data.encode())}
    path = "/api/v1/stores/import"
    running.answered(chain.hq.post(path, files=files, params={"dry_run": True}))
    assert log_of(chain, action="store.import") == []
    running.answered(chain.hq.post(path, files=files))
    assert last(chain, action="store.import")["after"] == {
        "created": 2,
        "updated": 1,
        "stores_created": ["N1", "N2"],
        "stores_updated": ["S1"],
    }
    codes = f"store,payload\nN1,{running.payload('n1')}\nN2,{running.payload('n2')}\n"
    files = {"file": ("codes.csv", io.BytesIO(codes.encode()))}  # type: ignore[dict-item]
    running.answered(chain.hq.post("/api/v1/codes/import", files=files))
    row = last(chain, action="code.import")
    assert (row["after"]["created"], row["after"]["stores"]) == (2, ["N1", "N2"])
    assert len(row["after"]["codes"]) == 2


def test_keys_are_in_the_log_without_the_key(chain: Chain) -> None:
    made = running.answered(chain.hq.post("/api/v1/keys", json={"role": "read", "name": "BI"}))
    for _ in range(2):
        assert chain.hq.delete(f"/api/v1/keys/{made['key_id']}").status_code == 204
    rows = log_of(chain, subject=made["key_id"])
    was = {"name": "BI", "role": "read", "stores": []}
    assert [(row["action"], row["before"], row["after"]) for row in rows] == [
        ("key.revoke", was, None),
        ("key.create", None, was),
    ]
    assert made["key"] not in str(rows)
    who = {row["who"]["id"] for row in rows}
    assert len(who) == 1
    assert log_of(chain, who=who.pop())


def test_a_code_that_visitors_paused_names_them(chain: Chain) -> None:
    chain.put_entry()
    code = chain.put_code("S1", "one", capacity=10)
    for visitor in ("a", "b", "c"):
        scan_id = chain.scan(visitor)
        chain.locate(scan_id, *chains.S1)
        chain.tell(scan_id, "broken")
    row = last(chain, action="code.flag")
    assert (row["who"], row["subject"]) == (
        {"kind": "visitors", "id": None, "name": "visitors"}, code["code_id"],
    )  # fmt: skip
    assert (row["before"], row["after"]) == ({"status": "active"}, {"status": "paused"})


def test_the_log_is_read_page_by_page_newest_first_and_by_filters(chain: Chain) -> None:
    for number in range(5):
        chain.put_code("S1", f"code-{number}")
    whole = [row["audit_id"] for row in log_of(chain)]
    assert whole == sorted(whole, reverse=True)
    read, cursor = [], None
    while True:
        params = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = chain.get("/api/v1/audit", **params)
        read += [row["audit_id"] for row in page["audit"]]
        if (cursor := page["next"]) is None:
            break
    assert read == whole
    assert len(log_of(chain, action="code")) == 5
    assert len(log_of(chain, subject="S1")) == 5 + 1
    assert log_of(chain, who="manager") == []
    assert len(log_of(chain, who="key", action="code.create")) == 5
    assert log_of(chain, until="2020-01-01") == []
    assert log_of(chain, since="2020-01-01", until="2199-01-01")[0]["audit_id"] == whole[0]


@pytest.mark.parametrize("params", [{"since": "yesterday"}, {"cursor": "?"}, {"limit": 0}])
def test_a_bad_filter_is_refused(chain: Chain, params: dict[str, Any]) -> None:
    assert chain.hq.get("/api/v1/audit", params=params).status_code == 422


def test_the_log_is_for_hq_and_readers_of_the_chain_alone(chain: Chain) -> None:
    assert chain.read.get("/api/v1/audit").status_code == 200
    assert chain.manager.get("/api/v1/audit").status_code == 403
    chain.put_code("S1", "secret-of-this-chain")
    with chains.own(chain) as other:
        assert running.payload("secret-of-this-chain") not in str(log_of(other))


# ---------------------------------------------------------------- nothing is forgotten

DOCUMENT = app.create_app(Settings(), "postgresql://nowhere").openapi()
CHANGES = [
    operation
    for operation in openapi.operations(DOCUMENT)
    if operation.method != "GET" and not may.is_open(operation.key)
]
# These change nothing that HQ or managers keep, or are told of what visitors do.
UNLOGGED = {
    ("POST", "/api/v1/stores/{store}/codes/preview"),
    ("POST", "/api/v1/entries/{entry}/qr.{form}"),
    ("POST", "/api/v1/joins/{join_id}/left"),
    ("POST", "/api/v1/webhooks/{webhook_id}/test"),
    # Of a delivery that failed for good, which takes a receiver: see test_webhooks.py
    ("POST", "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/retry"),
    # Of one who has signed in: see test_sign_in.py
    ("PUT", "/api/v1/password"),
}
CODE = running.payload("another")
HOOK = {"url": "https://crm.example/hook", "events": ["join.created"]}
ORDER = {"order": "1", "at": "2026-05-01T10:00:00+08:00", "amount": 10}


def table(text: str) -> dict[str, Any]:
    return {"files": {"file": ("table.csv", text.encode())}}


# What each is sent, so that it changes something.
CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("PUT", "/api/v1/stores/{store}"): {"json": {"name": "另一个店名"}},
    ("POST", "/api/v1/stores/import"): table("store,name,lon,lat\nN1,一,121,31\nN2,二,121,31\n"),
    ("PATCH", "/api/v1/chain"): {"json": {"name": "另一个品牌"}},
    ("POST", "/api/v1/stores/{store}/codes"): {"json": {"payload": CODE}},
    ("POST", "/api/v1/codes/import"): table(f"store,payload\nS1,{CODE}\n"),
    ("PATCH", "/api/v1/codes/{code_id}"): {"json": {"members": 7}},
    ("PUT", "/api/v1/codes/{code_id}/image"): {"files": {"image": ("a.png", qr.png(CODE))}},
    ("POST", "/api/v1/entries"): {"json": {"entry": "of-the-log", "name": "活码"}},
    ("PATCH", "/api/v1/entries/{entry}"): {"json": {"name": "另一个名字"}},
    ("POST", "/api/v1/entries/{entry}/placements"): {
        "json": {"placement": "q", "name": "q", "channel": "poster"}
    },
    ("POST", "/api/v1/entries/{entry}/placements/import"): table(
        "placement,name,channel\nr,海报,poster\n"
    ),
    ("POST", "/api/v1/keys"): {"json": {"role": "read"}},
    ("POST", "/api/v1/people"): {
        "json": {"role": "read", "name": "新人", "email": "of-the-log@example.com"}
    },
    ("PATCH", "/api/v1/people/{person_id}"): {"json": {"name": "另一个人"}},
    ("POST", "/api/v1/invitations"): {"json": {"stores": ["S1"]}},
    ("POST", "/api/v1/invitations/import"): table("store,name\nS1,王芳\n"),
    ("POST", "/api/v1/orders"): {"json": {"orders": [ORDER]}},
    ("POST", "/api/v1/orders/import"): table("order,at,amount\n2,2026-05-01 10:00,10\n"),
    ("POST", "/api/v1/joins/{join_id}/member"): {"json": {"member": "M1"}},
    ("POST", "/api/v1/webhooks"): {"json": HOOK},
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): {"json": {"enabled": False}},
}


@pytest.mark.parametrize(
    "operation",
    [operation for operation in CHANGES if operation.key not in UNLOGGED],
    ids=lambda operation: f"{operation.method} {operation.path}",
)
def test_every_change_that_can_be_made_is_in_the_log(chain: Chain, operation: Operation) -> None:
    """Made from the API's own description: a new route that changes something shows here."""
    chain.put_entry()
    code = chain.put_code("S1", "one")
    people = callers.add_people(chain, chain.chain)
    invitation = running.answered(chain.hq.post("/api/v1/invitations", json={"stores": ["S1"]}))
    key = running.answered(chain.hq.post("/api/v1/keys", json={"role": "read"}))
    hook = running.answered(chain.hq.post("/api/v1/webhooks", json=HOOK))
    scan_id = chain.scan("visitor")
    chain.locate(scan_id, *chains.S1)
    chain.tell(scan_id, "pressed")
    members = {"json": {"members": [{"scan_id": scan_id, "member": "M1"}]}}
    calls = {**CALLS, ("POST", "/api/v1/members"): members}
    with callers.signed_in_as(chain, people["hq"]):
        names = {
            "join_id": chain.get("/api/v1/joins")["joins"][0]["join_id"],
            "store": "S1",
            "code_id": code["code_id"],
            "entry": chain.entry,
            "person_id": str(people["hq"].person_id),
            "invitation_id": invitation["invitation_id"],
            "key_id": key["key_id"],
            "webhook_id": hook["webhook_id"],
            "session_id": chain.get("/api/v1/sessions")["sessions"][0]["session_id"],
        }
        before = {row["audit_id"] for row in log_of(chain, limit=1000)}
        path = operation.at(**names)
        answer = chain.hq.request(operation.method, path, **calls.get(operation.key, {}))
    assert answer.is_success, f"{answer.text}: write into CALLS what makes it change something"
    new = [row for row in log_of(chain, limit=1000) if row["audit_id"] not in before]
    assert new, "it is not in the log: call audit.record, or say in UNLOGGED why not"
    assert {(row["who"]["kind"], row["who"]["name"]) for row in new} == {("key", "hq")}
