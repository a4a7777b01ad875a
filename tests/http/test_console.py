"""The consoles over real HTTP: signing in, HQ's page, a manager's stores and codes."""

import io
import re
import string
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from PIL import Image

from service import domain, qr
from service.settings import Settings
from service.web import console, console_words
from tests import running
from tests.running import Running

HERE = (121.4737, 31.2304)  # where S1 stands
CHINESE, ENGLISH = "zh-CN,zh;q=0.9", "en-GB,en;q=0.8"


class Console:
    """A browser without JavaScript: keeps cookies, follows redirects, fills in forms."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.page = httpx.Response(200)

    def open(self, path: str, language: str = CHINESE) -> str:
        self.page = self.client.get(path, headers={"Accept-Language": language})
        return self.text

    @property
    def text(self) -> str:
        """What the page says, without tags and with single spaces."""
        body = self.page.text.partition("<body")[2]
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.page.text)
        assert found, self.page.text
        return found[1]

    def sign_in(self, key: str, home: str, language: str = CHINESE) -> str:
        self.page = self.client.post(
            f"{home}/sign-in", data={"key": key}, headers={"Accept-Language": language}
        )
        return self.text

    def send(
        self,
        path: str,
        values: dict[str, str] | None = None,
        *,
        image: bytes | None = None,
        token: str | None = None,
        language: str = CHINESE,
    ) -> str:
        """Send a form of the page that is open, with its token unless another is given."""
        data = {"token": self.token if token is None else token, **(values or {})}
        files = None if image is None else {"image": ("code.png", image)}
        self.page = self.client.post(
            path, data=data, files=files, headers={"Accept-Language": language}
        )
        return self.text


@pytest.fixture
def browse(service: Running) -> Iterator[Any]:
    """Opens consoles: signed in with a role's key, or with none."""
    with ExitStack() as stack:

        def get(role: str | None = None) -> Console:
            client = httpx.Client(
                base_url=service.base_url, timeout=30, trust_env=False, follow_redirects=True
            )
            opened = Console(stack.enter_context(client))
            if role is not None:
                opened.sign_in(service.keys[role], "/m" if role == "manager" else "/hq")
                assert opened.page.status_code == 200
            return opened

        yield get


@pytest.fixture
def shop(service: Running) -> Running:
    """S1 with one code, S2 with none, S3 that is not the manager's, and an entry."""
    service.put_store("S1", *HERE, name="人民广场店", address="人民大道120号")
    service.put_store("S3", 121.5, 31.25, name="别家店")
    service.put_entry()
    return service


def picture(*payloads: str) -> bytes:
    """A picture of the codes, side by side."""
    drawn = [Image.open(io.BytesIO(qr.png(payload, size_px=300))) for payload in payloads]
    sheet = Image.new("L", (300 * max(1, len(drawn)), 300), 255)
    for number, code in enumerate(drawn):
        sheet.paste(code, (300 * number, 0))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def codes(service: Running, store: str) -> list[dict[str, Any]]:
    found = running.answered(service.hq.get(f"/api/v1/stores/{store}/codes"))["codes"]
    return list(found)


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
    assert {"httponly", "samesite=strict", "path=/", f"max-age={90 * 86400}"} <= attributes
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


def test_a_session_reads_the_api_but_changes_nothing_there(shop: Running, browse: Any) -> None:
    client = browse("hq").client
    code = shop.put_code("S1", "one")
    assert client.get(f"/api/v1/codes/{code['code_id']}").status_code == 200
    assert client.get("/api/v1/entries/tea/qr.pdf").content.startswith(b"%PDF")
    changes = [
        client.patch(f"/api/v1/codes/{code['code_id']}", json={"status": "paused"}),
        client.post("/api/v1/entries", json={"entry": "coffee", "name": "咖啡"}),
        client.put("/api/v1/stores/S9", json={"name": "九店", "lon": 121, "lat": 31}),
        client.delete("/api/v1/stores/S1"),
    ]
    assert [answer.status_code for answer in changes] == [401] * 4
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
    visited = [(browse(), "/hq"), (browse("hq"), "/hq"), (browse("hq"), "/m")]
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


def test_names_cannot_become_markup(shop: Running, browse: Any) -> None:
    shop.put_store("S1", *HERE, name='<script>alert("1")</script>', address="<b>&")
    shop.put_code("S1", "one", label="<i>一群</i>")
    opened = browse("hq")
    opened.open("/m")
    assert "<script" not in opened.page.text
    assert "&lt;script&gt;alert(" in opened.page.text
    assert "&lt;i&gt;一群&lt;/i&gt;" in opened.page.text


def test_both_languages_fill_the_same_gaps() -> None:
    def gaps(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key in console_words.KEYS:
        chinese, english = console_words._WORDS[key]
        assert gaps(chinese) == gaps(english), key


# A manager's stores


def test_a_manager_sees_their_stores_and_no_others(shop: Running, browse: Any) -> None:
    other = shop.put_code("S3", "other")
    opened = browse("manager")
    assert "人民广场店" in opened.text
    assert "二店" in opened.text
    assert "别家店" not in opened.text
    assert other["code_id"] not in opened.page.text
    opened.open("/m?store=S3")
    assert opened.page.status_code == 404
    assert "没有找到" in opened.text
    assert "别家店" not in opened.open("/m?q=别家")


def test_a_manager_cannot_touch_another_store(shop: Running, browse: Any) -> None:
    other = shop.put_code("S3", "other")["code_id"]
    opened = browse("manager")
    token = opened.token
    image = picture(running.payload("new"))
    attempts: list[tuple[str, dict[str, str], bytes | None]] = [
        ("/m/codes", {"store": "S3"}, image),
        (f"/m/codes/{other}/count", {"members": "1", "capacity": "2"}, None),
        (f"/m/codes/{other}/status", {"status": "paused"}, None),
        (f"/m/codes/{other}/image", {}, image),
        ("/m/codes/no-uuid/status", {"status": "paused"}, None),
    ]
    for path, values, sent in attempts:
        opened.send(path, values, image=sent, token=token)
        assert opened.page.status_code == 404
    (code,) = codes(shop, "S3")
    assert (code["status"], code["members"]) == ("active", 0)
    assert code["payload"] == running.payload("other")


_NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("members", "held", "expires_in", "status", "state"),
    [
        (0, 0, None, "active", "serving"),
        (79, 0, None, "active", "serving"),
        (79, 1, None, "active", "nearly_full"),
        (99, 1, None, "active", "full"),
        (120, 0, None, "active", "full"),
        (10, 0, timedelta(hours=48), "active", "serving"),
        (10, 0, timedelta(hours=47), "active", "expiring"),
        (90, 0, timedelta(hours=47), "active", "expiring"),
        (100, 0, timedelta(hours=47), "active", "full"),
        (10, 0, timedelta(0), "active", "expired"),
        (100, 0, -timedelta(days=1), "active", "expired"),
        (10, 0, -timedelta(days=1), "paused", "paused"),
    ],
)
def test_one_plain_word_says_how_a_code_stands(
    members: int, held: int, expires_in: timedelta | None, status: str, state: str
) -> None:
    code = _code(members, held, None if expires_in is None else _NOW + expires_in, status)
    assert console.state_of(code, _NOW) == state
    serves = code.skipped(_NOW) is None
    assert console.state_of(code, _NOW).takes_members == serves, "as the router sees it"


def _code(members: int, held: int, expires_at: datetime | None, status: str) -> domain.Code:
    values: dict[str, Any] = dict.fromkeys(domain.Code.__dataclass_fields__)
    return domain.Code(
        **values
        | {
            "capacity": 100,
            "members": members,
            "held": held,
            "status": domain.CodeStatus(status),
            "expires_at": expires_at,
        }
    )


@pytest.mark.parametrize(
    ("hours", "chinese", "english"),
    [
        (None, "不过期", "never"),
        (-1, "已过期", "over"),
        (0.5, "不到 1 小时", "under 1 hour"),
        (1.5, "1 小时", "1 hour"),
        (47.9, "47 小时", "47 hours"),
        (48.1, "2 天", "2 days"),
        (7 * 24 - 0.1, "7 天", "7 days"),
    ],
)
def test_the_time_left_is_said_in_days_or_hours(
    hours: float | None, chinese: str, english: str
) -> None:
    expires_at = None if hours is None else _NOW + timedelta(hours=hours)
    assert console.left("zh", expires_at, _NOW) == chinese
    assert console.left("en", expires_at, _NOW) == english


def test_codes_are_shown_with_their_figures_and_state(shop: Running, browse: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=30, minutes=5)).isoformat()
    shop.put_code("S1", "one", capacity=200, members=170, label="一群")
    shop.put_code("S1", "two", capacity=50, members=50, label="二群")
    shop.put_code("S1", "three", capacity=100, expires_at=soon, label="三群")
    shop.locate(shop.scan("a"), *HERE)
    opened = browse("manager")
    assert "还能再加入 129 人" in opened.text  # 200 - 170 - 1, and 100
    assert "一群 将满 企业微信群活码 成员 170 保留中 1 容量 200 有效期 不过期" in opened.text
    assert "二群 已满" in opened.text
    assert "三群 即将过期" in opened.text
    assert "有效期 30 小时" in opened.text
    assert "还没有群码" in opened.text  # S2
    opened.open("/m", ENGLISH)
    assert "Room for 129 more" in opened.text
    assert "Nearly full" in opened.text
    assert "Expires 30 hours" in opened.text


@pytest.mark.parametrize(
    ("language", "says"), [(CHINESE, "已添加"), (ENGLISH, "Added. Customers who scan")]
)
def test_a_code_is_put_up_by_its_picture(
    shop: Running, browse: Any, language: str, says: str
) -> None:
    opened = browse("manager")
    image = picture(running.payload("new"))
    opened.send("/m/codes", {"store": "S1", "capacity": "80"}, image=image, language=language)
    assert opened.page.status_code == 200
    assert opened.page.url.path == "/m", "a reload sends nothing again"
    assert says in opened.text
    (code,) = codes(shop, "S1")
    assert (code["payload"], code["capacity"]) == (running.payload("new"), 80)
    routing = shop.locate(shop.scan("a"), *HERE)
    assert routing["code"]["code_id"] == code["code_id"], "the next visitor is shown it"


def test_without_a_capacity_a_code_has_the_usual_one(shop: Running, browse: Any) -> None:
    browse("manager").send(
        "/m/codes", {"store": "S1", "capacity": ""}, image=picture(running.payload("new"))
    )
    (code,) = codes(shop, "S1")
    assert code["capacity"] == 200


REFUSED: list[tuple[dict[str, str], bytes | None, str, str]] = [
    ({}, None, "请先选一张二维码图片", "Choose a picture"),
    ({}, b"", "请先选一张二维码图片", "Choose a picture"),
    ({}, b"hello", "不是能读取的图片", "no picture that can be read"),
    ({}, picture(), "没有找到二维码", "No QR code was found"),
    (
        {},
        picture(running.payload("a"), running.payload("b")),
        "不止一个二维码",
        "more than one QR code",
    ),
    ({}, picture("https://example.com/hello"), "不能让顾客入群", "does not lead into a group"),
    ({}, picture(running.payload("other")), "已经在用", "already in use"),
    ({"capacity": "0"}, picture(running.payload("a")), "最多 500 人", "500 at most"),
    ({"capacity": "501"}, picture(running.payload("a")), "最多 500 人", "500 at most"),
    ({"capacity": "many"}, picture(running.payload("a")), "最多 500 人", "500 at most"),
    ({"capacity": "9" * 30}, picture(running.payload("a")), "最多 500 人", "500 at most"),
]


@pytest.mark.parametrize("language", [CHINESE, ENGLISH])
def test_a_refused_picture_says_why_in_plain_words_and_changes_nothing(
    shop: Running, browse: Any, language: str
) -> None:
    shop.put_code("S3", "other")
    opened = browse("manager")
    token = opened.token
    for values, image, chinese, english in REFUSED:
        opened.send(
            "/m/codes", {"store": "S1", **values}, image=image, token=token, language=language
        )
        says = chinese if language == CHINESE else english
        assert says in opened.text, (values, says)
        assert opened.page.status_code in (409, 422)
        assert "S3" not in opened.text, "where else it is in use is not theirs to know"
        (alert,) = re.findall(r'role="alert">([^<]+)<', opened.page.text)
        assert says in unescape(alert)
        if values:
            assert f'value="{values["capacity"]}"' in opened.page.text, "what was typed stays"
    assert codes(shop, "S1") == []


def test_a_picture_that_is_too_large_is_refused(database_url: str) -> None:
    settings = Settings(max_upload_mb=0.001, database_pool=5)
    with running.running(database_url, settings) as service:
        client = httpx.Client(base_url=service.base_url, trust_env=False, follow_redirects=True)
        with client:
            opened = Console(client)
            opened.sign_in(service.keys["manager"], "/m")
            opened.send("/m/codes", {"store": "S1"}, image=b"x" * 2000)
            assert opened.page.status_code == 413
            assert "图片太大" in opened.text


def test_a_head_count_is_what_is_believed(shop: Running, browse: Any) -> None:
    code_id = shop.put_code("S1", "one", capacity=100)["code_id"]
    opened = browse("manager")
    opened.send(f"/m/codes/{code_id}/count", {"members": "85", "capacity": "100"})
    assert "人数已保存" in opened.text
    assert "将满" in opened.text
    assert shop.code(code_id)["members"] == 85
    opened.send(f"/m/codes/{code_id}/count", {"members": "85", "capacity": "150"})
    assert shop.code(code_id)["capacity"] == 150


@pytest.mark.parametrize(
    ("members", "capacity", "says"),
    [
        ("-1", "100", "人数请填"),
        ("", "100", "人数请填"),
        ("3.5", "100", "人数请填"),
        ("5000000", "100", "人数请填"),
        ("5", "501", "最多 500 人"),
        ("5", "", "最多 500 人"),
    ],
)
def test_a_head_count_that_is_none_is_refused(
    shop: Running, browse: Any, members: str, capacity: str, says: str
) -> None:
    code_id = shop.put_code("S1", "one", capacity=100)["code_id"]
    opened = browse("manager")
    opened.send(f"/m/codes/{code_id}/count", {"members": members, "capacity": capacity})
    assert opened.page.status_code == 422
    assert says in opened.text
    assert (shop.code(code_id)["members"], shop.code(code_id)["capacity"]) == (0, 100)


def test_a_paused_code_is_shown_to_nobody_until_it_is_resumed(shop: Running, browse: Any) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened = browse("manager")
    opened.send(f"/m/codes/{code_id}/status", {"status": "paused"})
    assert "已暂停" in opened.text
    assert "恢复服务" in opened.text
    assert shop.code(code_id)["status"] == "paused"
    assert shop.locate(shop.scan("a"), *HERE)["outcome"] == "unserved"
    opened.send(f"/m/codes/{code_id}/status", {"status": "active"})
    assert "已恢复" in opened.text
    assert shop.locate(shop.scan("b"), *HERE)["code"]["code_id"] == code_id


def test_the_page_cannot_retire_a_code_and_not_resume_a_retired_one(
    shop: Running, browse: Any
) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened = browse("manager")
    token = opened.token
    opened.send(f"/m/codes/{code_id}/status", {"status": "retired"})
    assert opened.page.status_code == 422
    running.answered(shop.hq.patch(f"/api/v1/codes/{code_id}", json={"status": "retired"}))
    opened.send(f"/m/codes/{code_id}/status", {"status": "active"}, token=token)
    assert opened.page.status_code == 404
    assert shop.code(code_id)["status"] == "retired"


def test_a_new_picture_renews_a_code_in_its_place(shop: Running, browse: Any) -> None:
    over = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    before = shop.put_code("S1", "one", capacity=90, members=30, expires_at=over)
    opened = browse("manager")
    assert "已过期" in opened.text
    path = f"/m/codes/{before['code_id']}/image"
    opened.send(path, image=picture("https://example.com/"))
    assert "不能让顾客入群" in opened.text
    opened.send(path, image=picture("https://weixin.qq.com/g/AwYAAOnlyForTests"))
    assert "已换上新的二维码" in opened.text
    assert "有效期 7 天" in opened.text
    after = shop.code(before["code_id"])
    assert after["payload"] == "https://weixin.qq.com/g/AwYAAOnlyForTests"
    assert (after["capacity"], after["position"]) == (90, before["position"])
    assert after["members"] == 0, "another group"


def test_a_form_without_its_token_changes_nothing(shop: Running, browse: Any) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened, stranger = browse("manager"), browse("hq")
    image = picture(running.payload("new"))
    foreign = stranger.token
    for token in ("", "x", foreign, "é"):
        for path, values, sent in (
            ("/m/codes", {"store": "S1"}, image),
            (f"/m/codes/{code_id}/count", {"members": "9", "capacity": "10"}, None),
            (f"/m/codes/{code_id}/status", {"status": "paused"}, None),
            (f"/m/codes/{code_id}/image", {}, image),
            ("/m/sign-out", {}, None),
        ):
            opened.send(path, values, image=sent, token=token)
            assert opened.page.status_code == 403
            assert "没有权限" in opened.text
    (code,) = codes(shop, "S1")
    assert (code["status"], code["members"]) == ("active", 0)
    assert code["payload"] == running.payload("one")
    assert "人民广场店" in opened.open("/m"), "still signed in"


def test_a_read_key_looks_but_does_not_touch(shop: Running, browse: Any) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened = browse("read")
    assert "门店群码" not in opened.text
    opened.send(f"/m/codes/{code_id}/status", {"status": "paused"})
    assert opened.page.status_code == 403
    assert shop.code(code_id)["status"] == "active"


def test_hq_searches_and_pages_through_all_stores(service: Running, browse: Any) -> None:
    for number in range(10, 33):
        service.put_store(f"N{number}", 121 + number / 100, 31, name=f"新店{number}")
    opened = browse("hq")
    assert "新店10" in opened.open("/m")
    assert "新店32" not in opened.text
    (more,) = re.findall(r'href="(/m\?[^"]*cursor=[^"]*)"', opened.page.text)
    opened.open(unescape(more))
    assert "新店32" in opened.text
    assert "新店10" not in opened.text
    opened.open("/m?q=新店27")
    assert "新店27" in opened.text
    assert "新店28" not in opened.text
    assert "没有找到门店" in opened.open("/m?q=月球")
    opened.open("/m?cursor=!!!")
    assert opened.page.status_code == 422
    image = picture(running.payload("new"))
    opened.open("/m?store=N27")
    opened.send("/m/codes", {"store": "N27"}, image=image)
    assert "已添加" in opened.text
    assert "新店28" not in opened.text, "the store that was worked on, alone"


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


def test_a_form_that_cannot_be_read_is_no_error_of_ours(browse: Any) -> None:
    opened = browse("manager")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = opened.client.post("/m/codes", content=b"--y\r\nnonsense", headers=headers)
    assert answer.status_code in (403, 422)
    assert "</html>" in answer.text


# HQ


@pytest.mark.parametrize(
    ("language", "says"),
    [(CHINESE, "近 30 天还没有人扫码"), (ENGLISH, "No scans in the last 30 days")],
)
def test_before_the_first_scan_hq_is_told_what_to_do(
    shop: Running, browse: Any, language: str, says: str
) -> None:
    opened = browse("hq")
    opened.open("/hq", language)
    assert says in opened.text
    assert 'href="http://localhost:8000/q/tea"' in opened.page.text
    shop.scan("a")
    assert says not in opened.open("/hq", language)


def test_a_chain_without_an_entry_is_told_to_make_one(browse: Any) -> None:
    assert "POST /api/v1/entries" in browse("hq").text


@pytest.fixture
def busy(shop: Running) -> Running:
    """Ten scans: eight near S1, of whom four press; two in Lhasa find nothing."""
    running.answered(
        shop.hq.post(
            "/api/v1/entries/tea/placements",
            json={"placement": "poster-1", "name": "门口海报", "channel": "poster"},
        )
    )
    shop.put_code("S1", "one", capacity=50)
    for number in range(8):
        scan_id = shop.scan(f"near-{number}", placement="poster-1")
        shop.locate(scan_id, *HERE)
        if number < 4:
            shop.tell(scan_id, "pressed")
    for number in range(2):
        shop.locate(shop.scan(f"far-{number}"), 91.1322, 29.6604)
    return shop


def test_hq_sees_the_funnel_of_today_and_of_a_month(busy: Running, browse: Any) -> None:
    opened = browse("hq")
    funnel = "扫码 10 100.0% 已定位 10 100.0% 看到群码 8 80.0% 长按识别 4 40.0% 入群 4 40.0%"
    assert opened.text.count(funnel) == 2
    # Wilson's interval of 4 in 10.
    assert "40.0% 转化率 95% 区间 16.8% – 68.7%" in opened.text
    opened.open("/hq", ENGLISH)
    assert "40.0% Conversion 95 % interval 16.8% – 68.7%" in opened.text
    assert "Joined 4 40.0%" in opened.text


@pytest.mark.parametrize(
    ("by", "chinese", "english"),
    [
        ("city", "上海市 8 8 8 4 4 50.0%", "上海市 8 8 8 4 4 50.0%"),
        ("store", "人民广场店 S1 · 上海市 8 8 8 4 4 50.0%", "Led to no store 2 2 0 0 0 0.0%"),
        ("placement", "门口海报 poster-1 8 8 8 4 4 50.0%", "No placement named 2 2 0 0 0 0.0%"),
        ("day", "日 周", "10 10 8 4 4 40.0%"),
        ("nonsense", "上海市 8 8 8 4 4 50.0%", "上海市 8 8 8 4 4 50.0%"),
    ],
)
def test_hq_breaks_it_down(busy: Running, browse: Any, by: str, chinese: str, english: str) -> None:
    opened = browse("hq")
    assert chinese in opened.open(f"/hq?by={by}")
    assert english in opened.open(f"/hq?by={by}", ENGLISH)


def test_the_period_is_a_link_and_its_csv_has_the_same_numbers(busy: Running, browse: Any) -> None:
    opened = browse("hq")
    for since in ("2026-13-45", "yesterday", "", "0001-01-01"):
        assert "上海市 8 8 8 4 4" in opened.open(f"/hq?since={since}")
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    assert "这段时间没有扫码" in opened.open(f"/hq?by=city&since={tomorrow}")
    opened.open("/hq?by=city")
    csvs = [unescape(u) for u in re.findall(r'href="(/api/v1/reports/[^"]+)"', opened.page.text)]
    funnel, unserved = (opened.client.get(url).text for url in csvs)
    assert "上海市,8,8,8,8,4,0,0,4,0,0.5," in funnel
    assert "out_of_range,西藏自治区,拉萨市" in unserved
    for url in re.findall(r'href="(/hq\?[^"]+)"', opened.page.text):
        assert opened.client.get(unescape(url)).status_code == 200


def test_hq_sees_who_was_not_served_and_why(busy: Running, browse: Any) -> None:
    opened = browse("hq")
    assert "附近没有门店 拉萨市 2" in opened.text
    assert "No store in range 拉萨市 2" in opened.open("/hq", ENGLISH)


def test_hq_sees_how_stores_and_codes_stand(shop: Running, browse: Any) -> None:
    shop.put_code("S1", "one", capacity=10, members=9)
    shop.put_code("S1", "two", capacity=5, members=5)
    shop.put_code("S2", "three", capacity=5, members=5)
    opened = browse("hq")
    opened.open("/hq")
    assert "门店 3 3 家营业" in opened.text
    assert "可接待的门店 1" in opened.text
    assert "剩余名额 1" in opened.text
    assert "将满 1 33.3%" in opened.text
    assert "已满 2 66.7%" in opened.text
    assert "二店" in opened.text.partition("需要处理的门店")[2], "its only code is full"
    assert "别家店" in opened.text.partition("需要处理的门店")[2], "it has no code"


def test_the_codes_to_print_can_be_downloaded_with_the_session(busy: Running, browse: Any) -> None:
    opened = browse("hq")
    links = {unescape(u) for u in re.findall(r'="(/api/v1/entries/[^"]+)"', opened.page.text)}
    assert len(links) == 6  # three forms of the entry's, three of its placement's
    for link in links:
        answer = opened.client.get(link)
        assert answer.status_code == 200, link
        if ".png" in link:
            placement = "?p=poster-1" if "placement" in link else ""
            assert qr.decode(answer.content) == f"http://localhost:8000/q/tea{placement}"
    assert httpx.get(busy.base_url + link, trust_env=False).status_code == 401
