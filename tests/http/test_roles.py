"""Who may do what, walked through every route that the service says it has."""

import contextlib
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service import app, qr
from service.accounts import Caller
from service.settings import Settings
from tests import running
from tests.http import callers, chains, may, openapi
from tests.http.chains import Chain
from tests.http.openapi import Operation
from tests.running import Running

APP = app.create_app(Settings(), "postgresql://nowhere")
DOCUMENT = APP.openapi()
ROUTES = dict(may.routes(APP))
KEYED = [
    operation
    for operation in openapi.operations(DOCUMENT)
    if operation.path.startswith("/api/v1/") and not may.is_open(operation.key)
]
PAGES = [
    key for key, route in ROUTES.items() if not route.include_in_schema and not may.is_open(key)
]
CODES = {key for key, roles in may.MAY.items() if key[0] != "GET" and "manager" in roles}
KEYS = ("hq key", "manager key", "read key")
SESSIONS = ("hq session", "manager session", "read session")


def ids(value: object) -> str:
    if isinstance(value, Operation):
        return f"{value.method} {value.path}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def is_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


# ---------------------------------------------------------------- every route, every caller


@pytest.fixture(scope="module")
def persons(shared: Running) -> dict[str, Caller]:
    return callers.add_people(shared)


@contextlib.contextmanager
def calling(shared: Running, persons: dict[str, Caller], caller: str) -> Iterator[httpx.Client]:
    """A client of `hq key`, `manager session` and so on. A session is new each time: what is tried
    may end it. It sends the session's token with calls of the API."""
    role, _, by = caller.partition(" ")
    if by == "key":
        yield getattr(shared, role)
        return
    with callers.signed_in_as(shared, persons[role]) as client:
        client.headers["X-CSRF-Token"] = callers.token_of(client)
        yield client


def test_every_route_is_known_to_be_open_or_closed() -> None:
    assert {operation.key for operation in openapi.operations(DOCUMENT)} <= ROUTES.keys()
    assert openapi.VISITORS <= may.OPEN
    hidden = [
        key
        for key, route in ROUTES.items()
        if key[1].startswith("/api/") and not route.include_in_schema
    ]
    assert hidden == [], "the API is described as a whole"
    declared = may.OPEN | may.MAY.keys() | may.PASSWORD
    assert declared <= ROUTES.keys(), "what is declared is there"


@pytest.mark.parametrize("operation", KEYED, ids=ids)
def test_without_a_good_key_nothing_is_told_or_changed(
    shared: Running, operation: Operation
) -> None:
    for authorization in (None, "Bearer", "Bearer nck_forged", "Basic aHE6aHE=", "nck_forged"):
        headers = {"Authorization": authorization} if authorization else {}
        answer = shared.visitor.request(operation.method, operation.at(form="png"), headers=headers)
        is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    forged = {"Cookie": "nc_session=forged", "X-CSRF-Token": "forged"}
    is_problem(shared.visitor.request(operation.method, operation.at(), headers=forged), 401)


@pytest.mark.parametrize("caller", [*KEYS, *SESSIONS])
@pytest.mark.parametrize("operation", KEYED, ids=ids)
def test_a_call_is_open_to_those_who_are_declared(
    shared: Running, persons: dict[str, Caller], operation: Operation, caller: str
) -> None:
    # A manager's own store; HQ would delete it.
    names = {"store": "S1"} if caller.startswith("manager") else {}
    with calling(shared, persons, caller) as client:
        answer = client.request(operation.method, operation.at(**names, form="png"))
    if may.may(operation.key, caller):
        assert answer.status_code not in (401, 403, 500), answer.text
    else:
        assert answer.status_code == 403, (
            f"{caller} may {ids(operation)}: {answer.text}. If that is meant, declare it in may.py"
        )
        is_problem(answer, 403)


@pytest.mark.parametrize("caller", SESSIONS)
@pytest.mark.parametrize("operation", [o for o in KEYED if o.method != "GET"], ids=ids)
def test_a_session_changes_nothing_without_its_own_token(
    shared: Running, persons: dict[str, Caller], operation: Operation, caller: str
) -> None:
    path = operation.at(store="S1", form="png")
    with (
        calling(shared, persons, caller) as somebody_else,
        callers.signed_in_as(shared, persons[caller.split()[0]]) as client,
    ):
        others = somebody_else.headers["X-CSRF-Token"]
        for headers in ({}, {"X-CSRF-Token": "forged"}, {"X-CSRF-Token": others}):
            is_problem(client.request(operation.method, path, headers=headers), 403)
        assert client.get("/api/v1/me").status_code == 200, "and the session is still there"


@pytest.mark.parametrize("key", PAGES, ids=ids)
def test_a_page_shows_whoever_is_not_signed_in_the_door(shared: Running, key: may.Key) -> None:
    method, path = key
    answer = shared.visitor.request(method, filled(path), data={"token": "forged"})
    if answer.status_code == 303:
        assert answer.headers["location"] in ("/hq", "/m")
        return
    assert answer.status_code == (200 if method == "GET" else 401), answer.text[:300]
    assert '/sign-in"' in answer.text


@pytest.mark.parametrize("caller", SESSIONS)
@pytest.mark.parametrize("key", PAGES, ids=ids)
def test_a_page_is_open_to_those_who_are_declared(
    shared: Running, persons: dict[str, Caller], key: may.Key, caller: str
) -> None:
    method, path = key
    allowed = may.may(key, caller)
    with calling(shared, persons, caller) as client:
        token = client.headers.pop("X-CSRF-Token")
        if method != "GET":
            for forged in ({}, {"token": "forged"}):
                answer = client.request(method, filled(path), data=forged)
                assert answer.status_code in (403, 303), answer.text[:300]
                assert answer.status_code == 403 or not allowed, "a token is needed"
        answer = client.request(method, filled(path), data={"token": token})
    if allowed:
        assert answer.status_code not in (401, 403, 500), answer.text
        assert '/sign-in"' not in answer.text
    elif answer.status_code == 303:
        away = urllib.parse.urlsplit(answer.headers["location"]).path
        assert away in ("/hq", "/m"), "to their own console"
        assert not path.startswith(away)
    else:
        assert answer.status_code in (403, 404), (
            f"{caller} may {ids(key)}. If that is meant, declare it in may.py"
        )


def filled(path: str) -> str:
    """A path with each name in it standing for itself, where any name will do."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: _NAMES.get(found[1], found[1]), path)


_NAMES = {"kind": "stores"}


# ---------------------------------------------------------------- outside one's reach

PICTURE = {"image": ("a.png", b"picture")}
# What each route that names something is sent, good enough to get as far as looking for it.
SENT: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/v1/stores/{store}/codes"): {"json": {"payload": running.payload("new")}},
    ("POST", "/api/v1/stores/{store}/codes/preview"): {"json": {"payload": running.payload("new")}},
    ("PATCH", "/api/v1/codes/{code_id}"): {"json": {"status": "paused"}},
    ("PUT", "/api/v1/codes/{code_id}/image"): {"files": PICTURE},
    ("PATCH", "/api/v1/entries/{entry}"): {"json": {"name": "mine"}},
    ("POST", "/api/v1/entries/{entry}/placements"): {
        "json": {"placement": "p", "name": "p", "channel": "poster"}
    },
    ("POST", "/api/v1/entries/{entry}/qr.{form}"): {"files": {"logo": ("a.png", b"picture")}},
    ("PATCH", "/api/v1/people/{person_id}"): {"json": {"name": "mine"}},
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): {"json": {"description": "mine"}},
    ("POST", "/api/v1/joins/{join_id}/member"): {"json": {"unionid": "u"}},
    ("GET", "/api/v1/route"): {"params": {"lon": 121.47, "lat": 31.23}},
    ("POST", "/api/v1/entries/{entry}/placements/import"): {
        "files": {"file": ("placements.csv", b"placement,channel\np,poster")}
    },
}


@pytest.fixture(scope="module")
def theirs(shared: Running) -> Iterator[Chain]:
    """Another chain, with a store, a code, an entry, a placement and a join of its own."""
    with chains.own(shared) as other:
        other.put_store("S3", *chains.S1)
        other.put_entry()
        bought = {"order": "A1", "at": "2026-03-01", "amount": 1}
        running.answered(other.hq.post("/api/v1/orders", json={"orders": [bought]}))
        path = f"/api/v1/entries/{other.entry}/placements"
        body = {"placement": "p", "name": "p", "channel": "poster"}
        running.answered(other.hq.post(path, json=body))
        # A name that nobody has.
        hook = {"url": "https://crm.invalid/hook", "events": ["join.created"]}
        running.answered(other.hq.post("/api/v1/webhooks", json=hook))
        # From a picture, so that there is one to ask for.
        files = {"image": ("a.png", qr.png(running.payload("three")))}
        running.answered(other.hq.post("/api/v1/stores/S3/codes", files=files))
        table = {"file": ("codes.csv", f"store,payload\nS3,{running.payload('three')}".encode())}
        unwaited = {"wait": False}
        running.answered(other.hq.post("/api/v1/codes/import", files=table, params=unwaited))
        scan_id = other.scan("a", placement="p")
        assert other.locate(scan_id, *chains.S1)["store"]["store"] == "S3"
        other.tell(scan_id, "pressed")
        person = callers.add_people(other, other.chain, ("S3",))["manager"]
        running.answered(other.hq.post("/api/v1/invitations", json={"stores": ["S3"]}))
        with callers.signed_in_as(other, person):
            yield other


def names_of(chain: Chain) -> dict[str, str]:
    code = chain.get("/api/v1/stores/S3/codes")["codes"][0]
    keys = chain.get("/api/v1/keys")["keys"]
    joins = chain.get("/api/v1/joins")["joins"]
    (webhook,) = chain.get("/api/v1/webhooks")["webhooks"]
    told = chain.get(f"/api/v1/webhooks/{webhook['webhook_id']}/deliveries")["deliveries"]
    return {
        "import_id": chain.get("/api/v1/imports")["imports"][0]["import_id"],
        "webhook_id": webhook["webhook_id"],
        "delivery_id": told[-1]["delivery_id"],
        "join_id": joins[0]["join_id"] if joins else "join_id",
        "store": "S3",
        "code_id": code["code_id"],
        "entry": chain.entry,
        "key_id": keys[0]["key_id"],
        "person_id": chain.get("/api/v1/people")["people"][0]["person_id"],
        "invitation_id": chain.get("/api/v1/invitations")["invitations"][0]["invitation_id"],
        "session_id": chain.get("/api/v1/sessions")["sessions"][0]["session_id"],
        "order": "A1",
        "form": "png",
    }


def sent(client: httpx.Client, operation: Operation, names: dict[str, str]) -> httpx.Response:
    values = dict(SENT.get(operation.key, {}))
    wanted = {p["name"] for p in operation.parameters if p["in"] == "query" and p.get("required")}
    if "entry" in wanted:
        values["params"] = {"entry": names["entry"], **values.get("params", {})}
    return client.request(operation.method, operation.at(**names), **values)


NAMING = [
    operation
    for operation in KEYED
    if "{" in operation.path or any(p.get("required") for p in operation.parameters)
]


@pytest.mark.parametrize("operation", NAMING, ids=ids)
def test_another_chains_things_are_not_found(
    shared: Running, theirs: Chain, operation: Operation
) -> None:
    names = names_of(theirs)
    if operation.key == ("PUT", "/api/v1/stores/{store}"):
        body = {"name": "mine", "lon": 116.4, "lat": 39.9}
        answer = shared.hq.put(operation.at(**names), json=body)
        assert answer.status_code == 201, "a store of one's own, under the same number"
        shared.hq.delete(operation.at(**names)).raise_for_status()
        assert theirs.get("/api/v1/stores/S3")["name"] == "S3店"
        return
    is_problem(sent(shared.hq, operation, names), 404)
    # It was there: its own chain finds it, or stumbles over a picture that is none.
    if operation.method != "DELETE":
        assert sent(theirs.hq, operation, names).status_code in (200, 201, 409, 422)


def test_lists_and_reports_tell_nothing_of_another_chain(shared: Running, theirs: Chain) -> None:
    assert len(theirs.get("/api/v1/joins")["joins"]) == 1
    assert theirs.get("/api/v1/reports/funnel")["total"]["joined"] == 1
    hq = shared.hq
    assert running.answered(hq.get("/api/v1/joins"))["joins"] == []
    assert running.answered(hq.get("/api/v1/orders"))["orders"] == []
    assert running.answered(hq.get("/api/v1/entries"))["entries"] == []
    assert running.answered(hq.get("/api/v1/reports/funnel"))["total"]["scans"] == 0
    assert running.answered(hq.get("/api/v1/reports/unserved"))["rows"] == []
    listed = running.answered(hq.get("/api/v1/stores"))["stores"]
    assert {store["store"] for store in listed} == {"S1", "S2"}
    for noun in ("people", "invitations", "sessions"):
        theirs_ids = ids_in(theirs.hq, noun)
        assert theirs_ids
        assert not theirs_ids & ids_in(hq, noun)


def ids_in(client: httpx.Client, noun: str) -> set[str]:
    one = {"people": "person_id", "invitations": "invitation_id", "sessions": "session_id"}[noun]
    found = running.answered(client.get(f"/api/v1/{noun}", params={"limit": 1000}))[noun]
    return {each[one] for each in found}


OF_STORES = [o for o in NAMING if "{store}" in o.path or "{code_id}" in o.path]


@pytest.mark.parametrize("operation", OF_STORES, ids=ids)
def test_a_managers_other_stores_are_not_found(theirs: Chain, operation: Operation) -> None:
    answer = sent(theirs.manager, operation, names_of(theirs))
    if operation.method in ("PUT", "DELETE") and operation.key not in CODES:
        is_problem(answer, 403)
    else:
        is_problem(answer, 404)


def test_a_manager_sees_and_does_what_is_of_their_own_stores(chain: Chain) -> None:
    chain.put_store("S3", *chains.S1)
    chain.put_entry()
    chain.put_code("S3", "three", capacity=1)
    made = chain.manager.post("/api/v1/stores/S2/codes", json={"payload": running.payload("mine")})
    code_id = running.answered(made)["code_id"]
    path = f"/api/v1/codes/{code_id}"
    assert running.answered(chain.manager.patch(path, json={"capacity": 9}))["capacity"] == 9
    listed = running.answered(chain.manager.get("/api/v1/stores"))["stores"]
    assert [store["store"] for store in listed] == ["S1", "S2"]
    for visitor, store in (("a", "S3"), ("b", "S2")):
        scan_id = chain.scan(visitor)
        assert chain.locate(scan_id, *chains.S1)["store"]["store"] == store
        chain.tell(scan_id, "pressed")
    joins = running.answered(chain.manager.get("/api/v1/joins"))["joins"]
    assert [join["store"] for join in joins] == ["S2"]
    funnel = running.answered(chain.manager.get("/api/v1/reports/funnel?by=store"))
    assert [(row["key"], row["joined"]) for row in funnel["rows"]] == [("S2", 1)]
    assert funnel["total"]["scans"] == 1
    data = (
        f"store,payload\nS1,{running.payload('s1')}\nS3,{running.payload('s3')}\n"
        f"S1,{running.payload('three')}\n"
    )
    files = {"file": ("codes.csv", data.encode())}
    done = running.answered(chain.manager.post("/api/v1/codes/import", files=files))
    assert (done["created"], [r["row"] for r in done["rejected"]]) == (1, [3, 4])
    assert "S3" not in done["rejected"][1]["detail"], (
        "where else a code is up is not theirs to know"
    )
    body = {"payload": running.payload("three")}
    taken = chain.manager.post("/api/v1/stores/S1/codes", json=body)
    is_problem(taken, 409)
    assert "S3" not in taken.text


# ---------------------------------------------------------------- keys


def test_a_key_is_told_once_works_and_ends_when_it_is_revoked(chain: Chain) -> None:
    body = {"role": "manager", "name": "店长", "stores": ["S1"]}
    answer = chain.hq.post("/api/v1/keys", json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert made["key"].startswith("nck_")
    with chains.opened(chain.base_url, made["key"]) as client:
        assert client.get("/api/v1/stores/S1").status_code == 200
        assert client.get("/api/v1/stores/S2").status_code == 404
        listed = chain.get("/api/v1/keys")
        assert made["key"] not in str(listed)
        (row,) = [key for key in listed["keys"] if key["key_id"] == made["key_id"]]
        assert (row["role"], row["name"], row["stores"]) == ("manager", "店长", ["S1"])
        assert chain.hq.delete(f"/api/v1/keys/{made['key_id']}").status_code == 204
        is_problem(client.get("/api/v1/stores/S1"), 401)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "owner"}, "role"),
        ({"role": "manager"}, "stores"),
        ({"role": "manager", "stores": ["S9"]}, "stores"),
        ({"role": "hq", "stores": ["S1"]}, "stores"),
    ],
)
def test_a_bad_key_is_refused_with_its_field(
    chain: Chain, body: dict[str, Any], field: str
) -> None:
    answer = chain.hq.post("/api/v1/keys", json=body)
    is_problem(answer, 422)
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_chain_that_was_made_a_moment_ago_is_served_at_once(shared: Running) -> None:
    with chains.own(shared) as new:
        assert new.get("/api/v1/reports/funnel")["total"]["scans"] == 0
