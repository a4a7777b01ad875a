"""The consoles over real HTTP: signing in, what every page has, HQ's page."""

import re
import string
from typing import Any

import pytest

from service.settings import Settings
from service.web import doors_words, hq_words, manager_words
from tests import running
from tests.http.browsing import CHINESE, ENGLISH
from tests.http.chains import Chain
from tests.running import Running

# Signing in and out


@pytest.mark.parametrize(
    ("home", "language", "says"),
    [
        ("/hq", CHINESE, "总部登录"),
        ("/hq", ENGLISH, "Sign in to HQ"),
        ("/m", CHINESE, "店长登录"),
        ("/m", ENGLISH, "Sign in to your stores"),
    ],
)
def test_whoever_is_not_signed_in_is_asked_for_a_key(
    browse: Any, home: str, language: str, says: str
) -> None:
    opened = browse()
    assert says in opened.open(home, language)
    assert opened.page.status_code == 200
    assert "门店群码" not in opened.text


@pytest.mark.parametrize(
    ("role", "home", "lands"),
    [
        ("hq", "/hq", "/hq"),
        ("manager", "/m", "/m"),
        ("manager", "/hq", "/m"),
        ("hq", "/m", "/hq"),
        ("read", "/hq", "/hq"),
        ("read", "/m", "/hq"),
    ],
)
def test_a_key_leads_to_its_own_console_wherever_it_was_entered(
    service: Running, browse: Any, role: str, home: str, lands: str
) -> None:
    opened = browse()
    opened.sign_in(f" {service.keys[role]}\n", home)
    assert opened.page.status_code == 200
    assert opened.page.url.path == lands


@pytest.mark.parametrize(
    ("language", "says"), [(CHINESE, "这个密钥不对"), (ENGLISH, "This key is not known")]
)
@pytest.mark.parametrize("home", ["/hq", "/m"])
def test_a_wrong_key_is_told_on_the_same_page(
    browse: Any, home: str, language: str, says: str
) -> None:
    opened = browse()
    for key in ("nck_wrong", "", "密钥", "\x00"):
        assert says in opened.sign_in(key, home, language)
        assert opened.page.status_code == 401
        assert f'action="{home}/sign-in"' in opened.page.text
        assert not opened.client.cookies


def test_the_session_is_for_this_site_alone_and_holds_no_key(service: Running) -> None:
    answer = service.visitor.post("/hq/sign-in", data={"key": service.keys["hq"]})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("nc_session=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/", f"max-age={90 * 86400}"} <= attributes
    assert "secure" not in attributes, "the service is served over http"
    assert service.keys["hq"] not in cookie


def test_over_https_the_session_never_leaves_it(database_url: str) -> None:
    settings = Settings(public_url="https://codes.example", database_pool=5)
    with running.running(database_url, settings) as service:
        answer = service.visitor.post("/m/sign-in", data={"key": service.keys["manager"]})
        assert "secure" in answer.headers["set-cookie"].lower()


def test_signing_out_ends_the_session(browse: Any) -> None:
    opened = browse("hq")
    opened.send("/hq/sign-out")
    assert "总部登录" in opened.text
    assert not opened.client.cookies
    assert "总部登录" in opened.open("/hq")


@pytest.mark.parametrize(("role", "home"), [("hq", "/hq"), ("manager", "/m")])
def test_a_revoked_key_is_out_at_once(service: Running, browse: Any, role: str, home: str) -> None:
    opened = browse(role)
    assert running.answered(opened.client.get("/api/v1/stores"))["stores"]
    token = opened.token
    keys = running.answered(service.hq.get("/api/v1/keys"))["keys"]
    key_id = next(key["key_id"] for key in keys if key["role"] == role)
    assert service.hq.delete(f"/api/v1/keys/{key_id}").status_code == 204
    assert "登录" in opened.open(home)
    assert "退出" not in opened.text
    assert opened.client.get("/api/v1/stores").status_code == 401
    opened.send("/m/codes", {"store": "S1"}, token=token)
    assert opened.page.status_code == 401
    assert "登录已失效" in opened.text


@pytest.mark.parametrize("cookie", ["", "x", "IiI.aaa.bbb", "é"])
def test_a_forged_session_is_none(service: Running, cookie: str) -> None:
    headers = {b"Cookie": f"nc_session={cookie}".encode()}
    answer = service.visitor.get("/hq", headers=headers)
    assert answer.status_code == 200
    assert 'action="/hq/sign-in"' in answer.text
    assert service.visitor.get("/api/v1/stores", headers=headers).status_code == 401


def test_another_site_cannot_sign_anybody_in(service: Running) -> None:
    answer = service.visitor.post(
        "/hq/sign-in",
        data={"key": service.keys["hq"]},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_session_reads_the_api_but_changes_nothing_there_without_its_token(
    shop: Chain, browse: Any
) -> None:
    client = browse("hq").client
    code = shop.put_code("S1", "one")
    assert client.get(f"/api/v1/codes/{code['code_id']}").status_code == 200
    assert client.get(f"/api/v1/entries/{shop.entry}/qr.pdf").content.startswith(b"%PDF")
    changes = [
        client.patch(f"/api/v1/codes/{code['code_id']}", json={"status": "paused"}),
        client.post("/api/v1/entries", json={"entry": "coffee", "name": "咖啡"}),
        client.put("/api/v1/stores/S9", json={"name": "九店", "lon": 121, "lat": 31}),
        client.delete("/api/v1/stores/S1"),
    ]
    assert [answer.status_code for answer in changes] == [403] * 4
    assert shop.code(code["code_id"])["status"] == "active"


def test_a_wrong_key_is_not_made_up_for_by_a_session(browse: Any) -> None:
    client = browse("hq").client
    answer = client.get("/api/v1/stores", headers={"Authorization": "Bearer nck_wrong"})
    assert answer.status_code == 401


def test_a_managers_session_reaches_no_further_than_their_key(shop: Running, browse: Any) -> None:
    client = browse("manager").client
    listed = running.answered(client.get("/api/v1/stores"))["stores"]
    assert [store["store"] for store in listed] == ["S1", "S2"]
    assert client.get("/api/v1/stores/S3").status_code == 404


# Every page


@pytest.mark.parametrize("language", [CHINESE, ENGLISH])
def test_pages_are_whole_in_themselves(shop: Running, browse: Any, language: str) -> None:
    shop.put_code("S1", "one")
    visited = [(browse(), "/hq"), (browse(), "/m")]
    for opened, path in visited:
        opened.open(path, language)
        page = opened.page
        assert f'<html lang="{"zh-CN" if language == CHINESE else "en"}">' in page.text
        assert "<script" not in page.text
        assert " style=" not in page.text, "the policy forbids it"
        addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
        strangers = [
            address
            for address in addresses
            if not address.startswith(("/", "#", "data:,", "http://localhost:8000/q/tea"))
        ]
        assert strangers == []
        (nonce,) = re.findall(r'<style nonce="([^"]+)"', page.text)
        policy = page.headers["content-security-policy"]
        assert f"style-src 'nonce-{nonce}'" in policy
        assert "default-src 'none'" in policy
        assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("words", [doors_words, hq_words, manager_words])
def test_both_languages_fill_the_same_gaps(words: Any) -> None:
    def gaps(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key, (chinese, english) in words._WORDS.items():
        assert gaps(chinese) == gaps(english), key


@pytest.mark.parametrize("path", ["/m/codes", "/m/sign-in", "/hq/sign-out", "/hq/x/y"])
def test_a_forms_address_opened_by_itself_leads_back(browse: Any, path: str) -> None:
    opened = browse("hq")
    opened.open(path)
    assert opened.page.status_code == 200
    assert opened.page.url.path == f"/{path.split('/')[1]}"


@pytest.mark.parametrize(
    "path",
    [
        "/m?q=%00",
        "/m?store=%00",
        "/m?cursor=AA",
        "/m?at=%00&done=added",
        "/hq?since=0001-01-01T00:00:00%2B14:00",
        "/hq?since=9999-12-31T23:59:59-14:00",
        "/hq?since=%00&by=%00",
    ],
)
def test_nonsense_in_the_address_is_no_error_of_ours(browse: Any, path: str) -> None:
    opened = browse("hq")
    opened.open(path)
    assert opened.page.status_code in (200, 404, 422)
    assert "</html>" in opened.page.text
