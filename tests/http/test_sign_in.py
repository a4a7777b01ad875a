"""HQ people: e-mail and password, throttling, links to choose a password, sessions."""

import concurrent.futures
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service import logs
from service.settings import Settings
from tests import running
from tests.http import callers, chains
from tests.http.chains import Chain
from tests.running import Running

PASSWORD = "correct horse battery"
WRONG = "wrong horse battery"


@pytest.fixture
def colleague(chain: Chain) -> dict[str, Any]:
    """A person of HQ who has chosen a password; with `email`."""
    return add(chain)


def add(chain: Chain, role: str = "hq", password: str = PASSWORD) -> dict[str, Any]:
    body = {"role": role, "name": "李敏", "email": f"Li.Min@{chain.chain}-{role}.example"}
    made = running.answered(chain.hq.post("/api/v1/people", json=body))
    with chains.opened(chain.base_url) as browser:
        assert choose(browser, made["password_link"], password).status_code == 303
    chain.hq.delete(f"/api/v1/people/{made['person_id']}/sessions").raise_for_status()
    return made


def path_of(link: str) -> str:
    return re.sub(r"^https?://[^/]+", "", link)


def choose(
    browser: httpx.Client, link: str, password: str, again: str | None = None
) -> httpx.Response:
    data = {"password": password, "again": password if again is None else again}
    return browser.post(path_of(link), data=data)


def sign_in(browser: httpx.Client, email: str, password: str, **headers: str) -> httpx.Response:
    data = {"email": email, "password": password}
    return browser.post("/hq/sign-in", data=data, headers=headers)


@pytest.fixture
def browser(chain: Chain) -> Iterator[httpx.Client]:
    with chains.opened(chain.base_url) as client:
        yield client


def test_a_colleague_chooses_a_password_and_is_signed_in(
    chain: Chain, browser: httpx.Client
) -> None:
    body = {"role": "hq", "name": "李敏", "email": " Li.Min@Example.com "}
    made = running.answered(chain.hq.post("/api/v1/people", json=body))
    assert made["email"] == "li.min@example.com"
    page = browser.get(path_of(made["password_link"]))
    assert page.status_code == 200
    assert "设置密码" in page.text
    assert "李敏" in page.text
    answer = choose(browser, made["password_link"], PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/hq")
    me = running.answered(browser.get("/api/v1/me"))
    assert (me["name"], me["role"], me["kind"]) == ("李敏", "hq", "person")
    assert "李敏" in browser.get("/hq").text


def test_whoever_has_a_password_signs_in_with_it(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    answer = sign_in(browser, f"  {colleague['email'].upper()} ", PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/hq")
    token = callers.token_of(browser)
    path = "/api/v1/stores/S1/codes"
    body = {"payload": running.payload("one")}
    made = browser.post(path, json=body, headers={"X-CSRF-Token": token})
    assert made.status_code == 201
    (row,) = chain.get("/api/v1/audit", action="code.create")["audit"]
    assert row["who"] == {"kind": "person", "id": colleague["person_id"], "name": "李敏"}


def test_a_reader_with_a_password_reads(chain: Chain, browser: httpx.Client) -> None:
    reader = add(chain, "read")
    assert sign_in(browser, reader["email"], PASSWORD).status_code == 303
    assert browser.get("/api/v1/stores").status_code == 200
    assert browser.get("/hq").status_code == 200
    headers = {"X-CSRF-Token": callers.token_of(browser)}
    assert browser.delete("/api/v1/stores/S1", headers=headers).status_code == 403


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    never = {"role": "hq", "name": "新人", "email": f"new@{chain.chain}.example"}
    running.answered(chain.hq.post("/api/v1/people", json=never))
    said = set()
    for email in (
        colleague["email"],
        never["email"],  # has not chosen a password yet
        f"nobody@{chain.chain}.example",
        "no address",
        "a\x00b@example.com",
        "@" * 300,
        "",
    ):
        answer = sign_in(browser, email, WRONG)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        said.add(re.sub(r'nonce[=-]"?[\w-]+|value="[^"]*"| autofocus', "", answer.text))
    assert len(said) == 1


def test_somebody_who_is_not_active_is_out_at_once_and_stays_out(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    assert browser.get("/api/v1/me").status_code == 200
    path = f"/api/v1/people/{colleague['person_id']}"
    assert running.answered(chain.hq.patch(path, json={"active": False}))["active"] is False
    assert browser.get("/api/v1/me").status_code == 401
    assert "总部登录" in browser.get("/hq").text
    assert sign_in(browser, colleague["email"], PASSWORD).status_code == 401
    assert chain.hq.post(f"{path}/password-link").status_code == 409
    running.answered(chain.hq.patch(path, json={"active": True}))
    assert browser.get("/api/v1/me").status_code == 401, "what ended stays ended"
    assert sign_in(browser, colleague["email"], PASSWORD).status_code == 303


def test_nobody_shuts_themselves_out(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    headers = {"X-CSRF-Token": callers.token_of(browser)}
    path = f"/api/v1/people/{colleague['person_id']}"
    for change in ({"active": False}, {"role": "read"}):
        assert browser.patch(path, json=change, headers=headers).status_code == 409
    assert browser.patch(path, json={"name": "李敏敏"}, headers=headers).status_code == 200


# ---------------------------------------------------------------- links to choose a password


def test_a_link_to_choose_a_password_works_once_and_ends_all_sessions(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    path = f"/api/v1/people/{colleague['person_id']}/password-link"
    first = running.answered(chain.hq.post(path))["password_link"]
    link = running.answered(chain.hq.post(path))["password_link"]
    assert browser.get(path_of(first)).status_code == 410, "a newer one was made"
    with chains.opened(chain.base_url) as other:
        for _ in range(3):
            assert other.get(path_of(link)).status_code == 200, "looking uses nothing up"
        assert choose(other, link, "another password", "yet another").status_code == 422
        assert choose(other, link, "short").status_code == 422
        assert choose(other, link, "another password").status_code == 303
        assert choose(other, link, "a third password").status_code == 410
        assert other.get(path_of(link)).status_code == 410
        assert other.get("/api/v1/me").status_code == 200
        assert browser.get("/api/v1/me").status_code == 401, "the others are signed out"
    assert sign_in(browser, colleague["email"], PASSWORD).status_code == 401
    assert sign_in(browser, colleague["email"], "another password").status_code == 303


def test_a_link_to_choose_a_password_runs_out(chain: Chain, browser: httpx.Client) -> None:
    body = {"role": "hq", "name": "李敏", "email": f"late@{chain.chain}.example"}
    made = running.answered(chain.hq.post("/api/v1/people", json=body))
    callers.execute(
        chain,
        "UPDATE password_links SET expires_at = now() WHERE person_id = $1::text::uuid",
        made["person_id"],
    )
    assert browser.get(path_of(made["password_link"])).status_code == 410
    answer = choose(browser, made["password_link"], PASSWORD)
    assert answer.status_code == 410
    assert "已经失效" in answer.text
    assert sign_in(browser, body["email"], PASSWORD).status_code == 401


@pytest.mark.parametrize(
    "password", ["short", "a" * 30, "ababababababab", "李敏" * 3, "x" * 201, "li.min@"]
)
def test_a_password_that_is_guessed_first_is_refused(
    chain: Chain, browser: httpx.Client, password: str
) -> None:
    body = {"role": "hq", "name": "李敏", "email": f"weak@{chain.chain}.example"}
    made = running.answered(chain.hq.post("/api/v1/people", json=body))
    answer = choose(browser, made["password_link"], password)
    assert answer.status_code == 422
    assert "太容易猜" in answer.text
    name_as_password = choose(browser, made["password_link"], body["email"])
    assert name_as_password.status_code == 422


def test_whoever_knows_their_password_changes_it(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    with chains.opened(chain.base_url) as elsewhere:
        sign_in(elsewhere, colleague["email"], PASSWORD)
        sign_in(browser, colleague["email"], PASSWORD)
        page = browser.get("/hq/password")
        token = re.search(r'name="token" value="([^"]+)"', page.text)
        assert token is not None
        new = {"token": token[1], "password": "a new password", "again": "a new password"}
        refused = browser.post("/hq/password", data={**new, "current": WRONG})
        assert refused.status_code == 422
        assert "现在的密码不对" in refused.text
        assert browser.post("/hq/password", data={**new, "current": PASSWORD}).status_code == 303
        assert browser.get("/api/v1/me").status_code == 200, "who changed it stays"
        assert elsewhere.get("/api/v1/me").status_code == 401, "others do not"
    assert sign_in(browser, colleague["email"], "a new password").status_code == 303
    headers = {"X-CSRF-Token": callers.token_of(browser)}
    body = {"current": "a new password", "new": PASSWORD}
    assert browser.put("/api/v1/password", json=body, headers=headers).status_code == 204
    assert sign_in(browser, colleague["email"], PASSWORD).status_code == 303


def test_no_password_and_no_link_is_in_the_log_of_changes(
    chain: Chain, colleague: dict[str, Any]
) -> None:
    told = str(chain.get("/api/v1/audit", limit=1000))
    token = colleague["password_link"].rpartition("/")[2]
    assert PASSWORD not in told
    assert token not in told
    assert "argon2" not in told
    actions = {row["action"] for row in chain.get("/api/v1/audit")["audit"]}
    assert {"person.create", "person.reset", "person.password", "session.start"} <= actions
    assert "session.end_all" in actions


# ---------------------------------------------------------------- throttling


@pytest.fixture
def strict(database_url: str) -> Iterator[Running]:
    settings = Settings(
        database_pool=5,
        password_memory_mb=1,
        password_rounds=1,
        sign_in_attempts_per_account=3,
        sign_in_attempts_per_address=8,
        trusted_proxies="127.0.0.1",
    )
    with running.running(database_url, settings) as service:
        yield service


def persons(service: Running, *emails: str) -> None:
    for email in emails:
        body = {"role": "hq", "name": "李敏", "email": email}
        made = running.answered(service.hq.post("/api/v1/people", json=body))
        with chains.opened(service.base_url) as client:
            assert choose(client, made["password_link"], PASSWORD).status_code == 303


def test_an_account_takes_only_so_many_guesses_even_the_right_one(strict: Running) -> None:
    persons(strict, "a@example.com", "b@example.com")
    client = strict.visitor
    for number in range(3):
        address = {"X-Forwarded-For": f"198.51.100.{number}"}
        assert sign_in(client, "a@example.com", WRONG, **address).status_code == 401
    for password in (WRONG, PASSWORD):
        answer = sign_in(client, "A@example.com", password, **{"X-Forwarded-For": "203.0.113.9"})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 900
        assert "试的次数太多了" in answer.text
    assert sign_in(client, "b@example.com", PASSWORD).status_code == 303, "others are not held up"
    client.cookies.clear()
    callers.execute(strict, "UPDATE sign_in_attempts SET since = since - interval '15 minutes'")
    assert sign_in(client, "a@example.com", PASSWORD).status_code == 303, "it is forgotten"


def test_an_address_takes_only_so_many_guesses_over_all_accounts(strict: Running) -> None:
    persons(strict, "a@example.com")
    client = strict.visitor
    one, other = {"X-Forwarded-For": "198.51.100.1"}, {"X-Forwarded-For": "198.51.100.2"}
    for number in range(8):
        assert sign_in(client, f"{number}@example.com", WRONG, **one).status_code == 401
    assert sign_in(client, "a@example.com", PASSWORD, **one).status_code == 429
    assert sign_in(client, "a@example.com", PASSWORD, **other).status_code == 303


def test_an_ipv6_network_counts_as_one_address(strict: Running) -> None:
    client = strict.visitor
    for number in range(8):
        address = {"X-Forwarded-For": f"2001:db8::{number:x}:1"}
        assert sign_in(client, f"{number}@example.com", WRONG, **address).status_code == 401
    answer = sign_in(client, "x@example.com", WRONG, **{"X-Forwarded-For": "2001:db8::ff:2"})
    assert answer.status_code == 429


def test_whoever_signs_in_has_tried_nothing_wrong(strict: Running) -> None:
    persons(strict, "a@example.com")
    for _ in range(6):
        assert sign_in(strict.visitor, "a@example.com", WRONG).status_code == 401
        assert sign_in(strict.visitor, "a@example.com", PASSWORD).status_code == 303


def test_guesses_at_the_same_time_count_each(strict: Running) -> None:
    """Counted after the password was looked at, a crowd of guesses would all get through."""

    def guess(number: int) -> int:
        with chains.opened(strict.base_url) as client:
            address = {"X-Forwarded-For": f"198.51.100.{number}"}
            return sign_in(client, "a@example.com", f"{WRONG} {number}", **address).status_code

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(guess, range(12)))
    assert sorted(answers) == [401] * 3 + [429] * 9


def test_a_limit_of_zero_is_none(database_url: str) -> None:
    settings = Settings(
        database_pool=5,
        password_memory_mb=1,
        password_rounds=1,
        sign_in_attempts_per_account=0,
        sign_in_attempts_per_address=0,
    )
    with running.running(database_url, settings) as service:
        for _ in range(15):
            assert sign_in(service.visitor, "a@example.com", WRONG).status_code == 401


def test_a_new_link_lets_a_locked_colleague_in_again(strict: Running) -> None:
    persons(strict, "a@example.com")
    for _ in range(4):
        answer = sign_in(strict.visitor, "a@example.com", WRONG)
    assert answer.status_code == 429
    (person,) = running.answered(strict.hq.get("/api/v1/people"))["people"]
    made = running.answered(strict.hq.post(f"/api/v1/people/{person['person_id']}/password-link"))
    chosen = choose(strict.visitor, made["password_link"], "a new password")
    assert chosen.status_code == 303
    assert sign_in(strict.visitor, "a@example.com", "a new password").status_code == 303


# ---------------------------------------------------------------- sessions


def test_signing_in_makes_a_new_session_and_ends_the_one_before(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    stolen = browser.cookies["nc_session"]
    sign_in(browser, colleague["email"], PASSWORD)
    assert browser.cookies["nc_session"] != stolen
    with chains.opened(chain.base_url) as thief:
        thief.cookies.set("nc_session", stolen)
        assert thief.get("/api/v1/me").status_code == 401
    # A token that somebody else has planted never becomes a session.
    with chains.opened(chain.base_url) as victim:
        victim.cookies.set("nc_session", "planted-by-somebody")
        answer = sign_in(victim, colleague["email"], PASSWORD)
        assert "planted" not in answer.headers["set-cookie"]


def test_signing_out_ends_the_session_for_whoever_has_copied_it(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    copied = browser.cookies["nc_session"]
    browser.post("/hq/sign-out", data={"token": callers.token_of(browser)})
    with chains.opened(chain.base_url) as thief:
        thief.cookies.set("nc_session", copied)
        assert thief.get("/api/v1/me").status_code == 401


def test_the_database_holds_no_token_of_a_session(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    token = browser.cookies["nc_session"]
    callers.execute(
        chain,
        "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM sessions s WHERE s::text LIKE"
        f" '%{token}%' OR position(convert_to('{token}', 'UTF8') IN token_hash) > 0); END $$",
    )


def test_sessions_are_listed_and_ended_at_once(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) MicroMessenger/8.0"
    sign_in(browser, colleague["email"], PASSWORD, **{"User-Agent": agent})
    (own,) = running.answered(browser.get("/api/v1/sessions?own=true"))["sessions"]
    assert (own["current"], own["device"], own["person_id"]) == (
        True, "iPhone, WeChat", colleague["person_id"],
    )  # fmt: skip
    path = f"/api/v1/sessions/{own['session_id']}"
    assert browser.delete(path).status_code == 403, "without the token"
    listed = chain.get("/api/v1/sessions", person_id=colleague["person_id"])["sessions"]
    assert own["session_id"] in {each["session_id"] for each in listed}
    assert chain.hq.delete(path).status_code == 204
    assert browser.get("/api/v1/me").status_code == 401
    assert chain.hq.delete(path).status_code == 404
    assert (
        chain.get("/api/v1/audit", action="session.end")["audit"][0]["subject"]
        == (own["session_id"])
    )


def test_all_sessions_of_a_person_end_together(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    with chains.opened(chain.base_url) as other:
        for client in (browser, other):
            sign_in(client, colleague["email"], PASSWORD)
        path = f"/api/v1/people/{colleague['person_id']}/sessions"
        assert chain.hq.delete(path).status_code == 204
        for client in (browser, other):
            assert client.get("/api/v1/me").status_code == 401


def test_nobody_but_hq_sees_or_ends_the_sessions_of_others(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    sign_in(browser, colleague["email"], PASSWORD)
    (own,) = running.answered(browser.get("/api/v1/sessions?own=true"))["sessions"]
    people = callers.add_people(chain, chain.chain)
    with callers.signed_in_as(chain, people["manager"]) as manager:
        listed = running.answered(manager.get("/api/v1/sessions"))["sessions"]
        assert [each["name"] for each in listed] == [callers.MANAGER]
        headers = {"X-CSRF-Token": callers.token_of(manager)}
        theirs = f"/api/v1/sessions/{own['session_id']}"
        assert manager.delete(theirs, headers=headers).status_code == 404
        mine = f"/api/v1/sessions/{listed[0]['session_id']}"
        assert manager.delete(mine, headers=headers).status_code == 204
        assert manager.get("/api/v1/me").status_code == 401
    assert browser.get("/api/v1/me").status_code == 200


def test_a_session_runs_out_unless_it_is_used(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    of = "WHERE person_id = $1::text::uuid"
    sign_in(browser, colleague["email"], PASSWORD)
    callers.execute(
        chain,
        "UPDATE sessions SET seen_at = now() - interval '2 hours',"
        f" expires_at = now() + interval '1 minute' {of}",
        colleague["person_id"],
    )
    answer = browser.get("/hq")
    assert "max-age=7776000" in answer.headers["set-cookie"].lower(), "its time begins anew"
    assert "set-cookie" not in browser.get("/hq").headers, "to the hour"
    (own,) = running.answered(browser.get("/api/v1/sessions?own=true"))["sessions"]
    assert own["expires_at"] > own["seen_at"][:10]
    callers.execute(chain, f"UPDATE sessions SET expires_at = now() {of}", colleague["person_id"])
    assert browser.get("/api/v1/me").status_code == 401
    assert chain.get("/api/v1/sessions", person_id=colleague["person_id"])["sessions"] == []


@pytest.mark.parametrize("path", ["/hq/sign-in", "/m/sign-in"])
@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
     {"Origin": "https://evil.example"}, {"Origin": "null"}],
)  # fmt: skip
def test_no_other_site_signs_anybody_in(
    chain: Chain, colleague: dict[str, Any], path: str, headers: dict[str, str]
) -> None:
    data = {"email": colleague["email"], "password": PASSWORD}
    answer = chain.visitor.post(path, data=data, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_the_page_itself_signs_somebody_in_where_browsers_tell_only_the_origin(
    chain: Chain, colleague: dict[str, Any], browser: httpx.Client
) -> None:
    origin = {"Origin": chain.base_url}
    assert sign_in(browser, colleague["email"], PASSWORD, **origin).status_code == 303


# ---------------------------------------------------------------- people


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "manager", "name": "x", "email": "a@b.c"}, "role"),
        ({"role": "king", "name": "x", "email": "a@b.c"}, "role"),
        ({"role": "hq", "name": " ", "email": "a@b.c"}, "name"),
        ({"role": "hq", "name": "x", "email": "no address"}, "email"),
        ({"role": "hq", "name": "x", "email": "a@b.c", "password": "x"}, "password"),
    ],
)
def test_a_bad_person_is_refused_with_the_field(
    chain: Chain, body: dict[str, Any], field: str
) -> None:
    answer = chain.hq.post("/api/v1/people", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert chain.get("/api/v1/people")["people"] == []


def test_an_address_belongs_to_one_person(chain: Chain, colleague: dict[str, Any]) -> None:
    body = {"role": "read", "name": "x", "email": colleague["email"].upper()}
    assert chain.hq.post("/api/v1/people", json=body).status_code == 409
    other = running.answered(
        chain.hq.post("/api/v1/people", json={**body, "email": f"x@{chain.chain}.example"})
    )
    path = f"/api/v1/people/{other['person_id']}"
    assert chain.hq.patch(path, json={"email": colleague["email"]}).status_code == 409
    changed = running.answered(chain.hq.patch(path, json={"email": f"Y@{chain.chain}.example"}))
    assert changed["email"] == f"y@{chain.chain}.example"
    row = chain.get("/api/v1/audit", action="person.update")["audit"][0]
    assert (row["before"], row["after"]) == (
        {"email": f"x@{chain.chain}.example"}, {"email": f"y@{chain.chain}.example"},
    )  # fmt: skip


def test_people_are_found_by_role_store_and_name(chain: Chain, colleague: dict[str, Any]) -> None:
    callers.add_people(chain, chain.chain)

    def names(**params: Any) -> set[str]:
        return {each["name"] for each in chain.get("/api/v1/people", **params)["people"]}

    assert names() == {"李敏", "hq同事", "read同事", callers.MANAGER}
    assert names(role="manager") == names(store="S2") == names(q="店长") == {callers.MANAGER}
    assert names(q="li.min@") == {"李敏"}
    assert names(active=False) == set()
    first = chain.get("/api/v1/people", limit=3)
    rest = chain.get("/api/v1/people", limit=3, cursor=first["next"])
    assert (len(first["people"]), len(rest["people"]), rest["next"]) == (3, 1, None)


def test_a_stolen_session_does_not_guess_the_password(strict: Running) -> None:
    persons(strict, "a@example.com")
    sign_in(strict.visitor, "a@example.com", PASSWORD)
    headers = {"X-CSRF-Token": callers.token_of(strict.visitor)}
    body = {"current": WRONG, "new": "a new password"}
    answers = [strict.visitor.put("/api/v1/password", json=body, headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].headers["content-type"] == "application/problem+json"


def test_a_link_with_a_secret_in_it_is_not_in_the_access_log(
    chain: Chain, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    add = logs.AccessLines.add

    def keep(self: logs.AccessLines, method: str, path: str, status: int, ms: float) -> None:
        written.append(path)
        add(self, method, path, status, ms)

    monkeypatch.setattr(logs.AccessLines, "add", keep)
    secret = "a-secret-that-opens-a-door"
    for path in (f"/m/join/{secret}", f"/m/join/{secret}/qr.png", f"/hq/password/{secret}"):
        for method in ("GET", "POST", "PUT"):
            browser.request(method, path)
            browser.request(method, path + "/")
    assert len(written) == 18
    assert set(written) == {"/m/join/...", "/hq/password/..."}
