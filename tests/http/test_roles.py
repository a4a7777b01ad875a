"""Who may do what, walked through every route that the service says it has."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service import app, qr
from service.settings import Settings
from tests import running
from tests.http import chains, openapi
from tests.http.chains import Chain
from tests.http.openapi import VISITORS, Operation
from tests.running import Running

DOCUMENT = app.create_app(Settings(), "postgresql://nowhere").openapi()
KEYED = [
    operation
    for operation in openapi.operations(DOCUMENT)
    if operation.path.startswith("/api/v1/") and operation.key not in VISITORS
]
CHANGES = [operation for operation in KEYED if operation.method != "GET"]
CODES = {
    ("POST", "/api/v1/stores/{store}/codes"),
    ("POST", "/api/v1/stores/{store}/codes/preview"),
    ("POST", "/api/v1/codes/import"),
    ("PATCH", "/api/v1/codes/{code_id}"),
    ("PUT", "/api/v1/codes/{code_id}/image"),
}
# Draws a code with the logo that is sent along: nothing is changed.
DRAWS = {("POST", "/api/v1/entries/{entry}/qr.{form}")}


def ids(operation: object) -> str:
    return f"{operation.method} {operation.path}" if isinstance(operation, Operation) else ""


def is_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_visitors_route_is_described() -> None:
    described = {operation.key for operation in openapi.operations(DOCUMENT)}
    assert described >= VISITORS
    assert described >= CODES | DRAWS


@pytest.mark.parametrize("operation", KEYED, ids=ids)
def test_without_a_good_key_nothing_is_told_or_changed(
    shared: Running, operation: Operation
) -> None:
    for authorization in (None, "Bearer", "Bearer nck_forged", "Basic aHE6aHE=", "nck_forged"):
        headers = {"Authorization": authorization} if authorization else {}
        answer = shared.visitor.request(operation.method, operation.at(form="png"), headers=headers)
        is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("operation", CHANGES, ids=ids)
def test_a_read_key_changes_nothing(shared: Running, operation: Operation) -> None:
    if operation.key in DRAWS:
        pytest.skip("it draws, and changes nothing")
    is_problem(shared.read.request(operation.method, operation.at()), 403)


@pytest.mark.parametrize("operation", CHANGES, ids=ids)
def test_a_manager_key_changes_codes_alone(shared: Running, operation: Operation) -> None:
    answer = shared.manager.request(operation.method, operation.at(store="S1", form="png"))
    if operation.key in CODES | DRAWS:
        assert answer.status_code != 403
    else:
        is_problem(answer, 403)


@pytest.mark.parametrize("operation", CHANGES, ids=ids)
def test_an_hq_key_may_do_all(shared: Running, operation: Operation) -> None:
    answer = shared.hq.request(operation.method, operation.at(form="png"))
    assert answer.status_code not in (401, 403, 500)


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
        path = f"/api/v1/entries/{other.entry}/placements"
        body = {"placement": "p", "name": "p", "channel": "poster"}
        running.answered(other.hq.post(path, json=body))
        # From a picture, so that there is one to ask for.
        files = {"image": ("a.png", qr.png(running.payload("three")))}
        running.answered(other.hq.post("/api/v1/stores/S3/codes", files=files))
        scan_id = other.scan("a", placement="p")
        assert other.locate(scan_id, *chains.S1)["store"]["store"] == "S3"
        other.tell(scan_id, "pressed")
        yield other


def names_of(chain: Chain) -> dict[str, str]:
    code = chain.get("/api/v1/stores/S3/codes")["codes"][0]
    keys = chain.get("/api/v1/keys")["keys"]
    joins = chain.get("/api/v1/joins")["joins"]
    return {
        "join_id": joins[0]["join_id"] if joins else "join_id",
        "store": "S3",
        "code_id": code["code_id"],
        "entry": chain.entry,
        "key_id": keys[0]["key_id"],
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
    assert running.answered(hq.get("/api/v1/entries"))["entries"] == []
    assert running.answered(hq.get("/api/v1/reports/funnel"))["total"]["scans"] == 0
    assert running.answered(hq.get("/api/v1/reports/unserved"))["rows"] == []
    listed = running.answered(hq.get("/api/v1/stores"))["stores"]
    assert {store["store"] for store in listed} == {"S1", "S2"}


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
