"""The manager's page over real HTTP: their stores and codes, as a browser without JavaScript."""

import re
import string
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest

from service import domain
from service.settings import Settings
from service.web import code_states, manager, manager_words
from tests import running
from tests.http.browsing import CHINESE, ENGLISH, HERE, Console, codes, picture
from tests.running import Running


def test_both_languages_fill_the_same_gaps() -> None:
    def gaps(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key in manager_words.KEYS:
        chinese, english = manager_words._WORDS[key]
        assert gaps(chinese) == gaps(english), key


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
    assert code_states.state_of(code, _NOW) == state
    serves = code.skipped(_NOW) is None
    assert code_states.state_of(code, _NOW).takes_members == serves, "as the router sees it"


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
    assert manager.left("zh", expires_at, _NOW) == chinese
    assert manager.left("en", expires_at, _NOW) == english


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


def test_a_form_that_cannot_be_read_is_no_error_of_ours(browse: Any) -> None:
    opened = browse("manager")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = opened.client.post("/m/codes", content=b"--y\r\nnonsense", headers=headers)
    assert answer.status_code in (403, 422)
    assert "</html>" in answer.text
