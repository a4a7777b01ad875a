"""Whatever is wrong with a request, the answer says so in one form, and is never a 500."""

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from tests import running
from tests.http import callers, chains, openapi
from tests.http.chains import Chain
from tests.http.openapi import Operation
from tests.running import Running


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of the answer, in the contract's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body.keys() - {"errors"} == {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert all(isinstance(body[name], str) and body[name] for name in ("type", "title", "detail"))
    if status == 422:
        assert body["errors"]
    for error in body.get("errors", ()):
        assert error.keys() - {"reason"} == {"field", "detail"}
        assert all(isinstance(text, str) and text for text in error.values())
    return body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/reports/funnel", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/api/v1/scans/no-uuid", 404),
        ("GET", "/c/no-uuid.png", 404),
        ("GET", "/api/v1/stores/S9", 404),
        ("GET", "/api/v1/codes/no-uuid", 404),
        ("PATCH", "/api/v1/stores/S1", 405),
    ],
)
def test_what_is_not_there_is_a_problem(
    shared: Running, method: str, path: str, status: int
) -> None:
    answer = shared.hq.request(method, path)
    problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]


def test_each_refusal_has_its_own_status(chain: Chain) -> None:
    problem(chain.visitor.get("/api/v1/stores"), 401)
    problem(chain.read.post("/api/v1/entries", json={"entry": "e", "name": "e"}), 403)
    chain.put_entry()
    problem(chain.hq.post("/api/v1/entries", json={"entry": chain.entry, "name": "e"}), 409)
    problem(chain.hq.post("/api/v1/entries", json={"entry": "e"}), 422)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b'{"entry": "e", "name": "e"', "application/json"),
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"text"', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"name": ' + b"9" * 5000 + b"}", "application/json"),
        (b"entry=e&name=e", "application/x-www-form-urlencoded"),
        (b"<entry/>", "application/xml"),
        (b'{"entry": "e", "name": "e"}', "text/plain"),
        (b'{"entry": "e", "name": "\\ud800"}', "application/json"),
        (b'{"entry": "e", "name": "e", "\\ud800": 1}', "application/json"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(shared: Running, body: bytes, kind: str) -> None:
    headers = {"Content-Type": kind}
    answer = shared.hq.post("/api/v1/entries", content=body, headers=headers)
    assert answer.status_code in (400, 415, 422)
    problem(answer, answer.status_code)
    store = shared.hq.put("/api/v1/stores/X", content=body, headers=headers)
    assert store.status_code in (400, 415, 422)
    problem(store, store.status_code)
    code = shared.hq.post("/api/v1/stores/S1/codes", content=body, headers=headers)
    assert code.status_code in (400, 415, 422)
    problem(code, code.status_code)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"no parts", "multipart/form-data"),
        (b"no parts", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--",
            "multipart/form-data; boundary=x",
        ),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data; boundary=x"),
    ],
)
@pytest.mark.parametrize("path", ["stores/import", "codes/import", "stores/S1/codes"])
def test_a_form_that_is_none_is_refused(shared: Running, body: bytes, kind: str, path: str) -> None:
    answer = shared.hq.post(f"/api/v1/{path}", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)


def test_a_text_where_a_file_belongs_is_refused(shared: Running) -> None:
    for path, field in (("stores/import", "file"), ("codes/import", "file")):
        answer = shared.hq.post(f"/api/v1/{path}", data={"file": "store,name"})
        assert problem(answer, 422)["errors"][0]["field"] == field


def test_an_upload_that_is_too_large_is_refused(shared: Running) -> None:
    data = bytes(int(shared.settings.max_upload_mb * 1_000_000) + 1)
    for path in ("stores/import", "codes/import"):
        problem(shared.hq.post(f"/api/v1/{path}", files={"file": ("a.csv", data)}), 413)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/stores?q=%00",
        "/api/v1/stores?city=%00",
        "/api/v1/stores?cursor=AA",
        "/api/v1/stores/%00",
        "/api/v1/entries/%00",
        "/api/v1/reports/funnel?store=%00",
        "/api/v1/reports/funnel?since=yesterday",
        "/api/v1/reports/funnel?since=0001-01-01",
        "/api/v1/reports/funnel?until=9999-12-31",
        "/api/v1/reports/funnel?until=9999-12-31T23:59:59Z",
        "/api/v1/reports/funnel?by=moon",
        "/api/v1/joins?cursor=AAAA",
        "/api/v1/joins?limit=-1",
        "/api/v1/stores?%00=1&q=%00",
    ],
)
def test_a_bad_query_is_refused_with_its_field(shared: Running, path: str) -> None:
    errors = problem(shared.hq.get(path), 422)["errors"]
    named = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query) or {"store", "entry"}
    assert {error["field"] for error in errors} & set(named)


def test_a_scan_with_a_text_that_cannot_be_kept_is_no_server_error(chain: Chain) -> None:
    chain.put_entry()
    body = {"entry": chain.entry, "placement": "a\u0000b"}
    problem(chain.visitor.post("/api/v1/scans", json=body), 422)
    problem(chain.visitor.get(f"/api/v1/entries/{chain.entry}%00/stores"), 404)
    listed = chain.visitor.get(f"/api/v1/entries/{chain.entry}/stores", params={"q": "\x00"})
    assert listed.status_code in (200, 422)
    page = chain.visitor.get(f"/q/{chain.entry}?p=a%00b")
    assert page.status_code < 500


# ---------------------------------------------------------------- anything at all

NASTY = st.one_of(
    st.sampled_from(
        ["", " ", "\x00", "S1", "一" * 300, "'; DROP TABLE stores; --", "%00", "../../etc", "=1+1",
         "9" * 400, "-1", "1e400", "nan", "Infinity", "true", "null", "2026-02-30",
         "9999-12-31T23:59:59+14:00", "0001-01-01", "2026-01-01T00:00:00 08:00", "\u202e", "😀",
         "https://weixin.qq.com/g/AwYAAfuzzed", "00000000-0000-0000-0000-000000000000"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
)  # fmt: skip
VALUE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**30, 1e308, -0.0, 0]),
        st.floats(allow_nan=False, allow_infinity=False),
        NASTY,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NASTY, inner, max_size=3)),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def fuzzed(shared: Running) -> Iterator[tuple[Chain, dict[str, Any], dict[str, list[str]]]]:
    """A chain to be hurt, the service's description, and names of what is there."""
    with chains.own(shared) as made:
        made.put_entry()
        code_id = made.put_code("S1", "one")["code_id"]
        body = {"stores": ["S1"]}
        invited = running.answered(made.hq.post("/api/v1/invitations", json=body))
        known = {
            "store": ["S1", "S2"],
            "code_id": [code_id],
            "entry": [made.entry],
            "scan_id": [made.scan("a")],
            "form": ["png", "svg", "pdf"],
            "person_id": [str(callers.add_people(made, made.chain)["hq"].person_id)],
            "invitation_id": [invited["invitation_id"]],
        }
        yield made, openapi.document(shared), known


def of_schema(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Bodies whose fields are the schema's, whatever may stand in them."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    fields = schema.get("properties", {})
    enums = {
        name: st.sampled_from(choices)
        for name, field in fields.items()
        if (choices := field.get("enum") or referred(field, document))
    }
    names = {name: st.one_of(VALUE, enums.get(name, VALUE)) for name in fields}
    if not names:
        names = dict.fromkeys(("name", "lon", "lat", "tags", "service_area", "status"), VALUE)
    return st.one_of(st.fixed_dictionaries({}, optional=names), VALUE)


def referred(field: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    for one in (field, *field.get("anyOf", ()), *field.get("allOf", ())):
        if "$ref" in one:
            return list(
                document["components"]["schemas"][one["$ref"].rpartition("/")[2]].get("enum", ())
            )
    return []


@hypothesis.settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(data=st.data())
def test_no_request_whatever_is_a_server_error(
    fuzzed: tuple[Chain, dict[str, Any], dict[str, list[str]]], data: st.DataObject
) -> None:
    chain, document, known = fuzzed
    operation: Operation = data.draw(st.sampled_from(list(openapi.operations(document))))

    def drawn(parameter: dict[str, Any]) -> str:
        real = known.get(parameter["name"], [])
        return data.draw(st.one_of(NASTY, st.sampled_from(real)) if real else NASTY)

    path = operation.at(
        **{
            p["name"]: urllib.parse.quote(drawn(p), safe="")
            for p in operation.parameters
            if p["in"] == "path"
        }
    )
    params = {
        p["name"]: drawn(p)
        for p in operation.parameters
        if p["in"] == "query" and (p.get("required") or data.draw(st.booleans()))
    }
    sent: dict[str, Any] = {}
    if operation.body and "application/json" in operation.body:
        body = data.draw(of_schema(operation.body["application/json"]["schema"], document))
        sent["content"] = json.dumps(body)
        sent["headers"] = {"Content-Type": "application/json"}
    elif operation.body and "multipart/form-data" in operation.body:
        name = "logo" if "qr" in operation.path else "file"
        content = data.draw(st.one_of(st.binary(max_size=50), NASTY.map(str.encode)))
        sent["files"] = {name: ("a", content), "image": ("a", content)}
    elif operation.method == "POST":
        sent["content"] = json.dumps(data.draw(VALUE))
    client = chain.visitor if operation.key in openapi.VISITORS else chain.hq
    answer = client.request(operation.method, path, params=params, **sent)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


def test_the_service_is_still_there_after_all_that(shared: Running) -> None:
    assert running.answered(shared.visitor.get("/readyz"))["status"] == "ok"
