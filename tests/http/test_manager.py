"""The manager's page over real HTTP: their stores and codes, as a browser without JavaScript."""

import base64
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from service import domain
from service.settings import Settings
from service.web import code_states, manager
from tests import conftest, running
from tests.http import chains
from tests.http.browsing import CHINESE, ENGLISH, HERE, Console, codes, picture
from tests.http.chains import Chain


@pytest.fixture
def service(chain: Chain) -> Chain:
    """A chain of its own for each test, in one running service."""
    chain.put_store("S2", *chains.S2, name="二店")
    return chain


def form_of(opened: Console, action: str) -> dict[str, str]:
    """What the open page's form for that address holds, as a browser would send it."""
    found = re.search(
        rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', opened.page.text, re.S
    )
    assert found, opened.text
    fields = {}
    for tag in re.findall(r"<input[^>]*>", found[1]):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and 'type="file"' not in tag:
            fields[name[1]] = unescape(value[1]) if value else ""
    return fields


def look_at(
    opened: Console, store: str, image: bytes | None, code: str = "", **options: Any
) -> str:
    """Send a picture, to see what it would be."""
    values = {"store": store} | ({"code": code} if code else {})
    return opened.send("/m/preview", values, image=image, **options)


def put_up(
    opened: Console, store: str, image: bytes, language: str = CHINESE, **values: str
) -> str:
    """Send a picture, look at it, and confirm it with these changes."""
    look_at(opened, store, image, language=language)
    assert opened.page.status_code == 200, opened.text
    return opened.send("/m/codes", form_of(opened, "/m/codes") | values, language=language)


def test_a_manager_sees_their_stores_and_no_others(shop: Chain, browse: Any) -> None:
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


def test_codes_are_shown_with_their_figures_and_state(shop: Chain, browse: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=30, minutes=5)).isoformat()
    shop.put_code("S1", "one", capacity=200, members=170, label="一群")
    shop.put_code("S1", "two", capacity=50, members=50, label="二群")
    shop.put_code("S1", "three", capacity=100, expires_at=soon, label="三群")
    shop.locate(shop.scan("a"), *HERE)
    opened = browse("manager")
    assert "还能再加入 129 人" in opened.text  # 200 - 170 - 1, and 100
    assert "一群 将满 成员 170 保留中 1 容量 200 有效期 不过期" in opened.text
    assert "二群 已满" in opened.text
    assert "三群 即将过期" in opened.text
    assert "有效期 30 小时" in opened.text
    assert "还没有群码" in opened.text  # S2
    opened.open("/m", ENGLISH)
    assert "Room for 129 more" in opened.text
    assert "Nearly full" in opened.text
    assert "Expires 30 hours" in opened.text


@pytest.mark.parametrize(
    ("language", "asks", "says"),
    [
        (CHINESE, "确认群码", "已添加"),
        (ENGLISH, "Is this the one?", "Added. Customers who scan"),
    ],
)
def test_a_picture_is_shown_first_and_put_up_once_it_is_confirmed(
    shop: Chain, browse: Any, language: str, asks: str, says: str
) -> None:
    opened = browse("manager")
    look_at(opened, "S1", picture(running.payload("new")), language=language)
    assert asks in opened.text
    assert opened.page.url.path == "/m/preview", "a reload sends nothing again"
    (drawn,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', opened.page.text)
    assert base64.b64decode(drawn).startswith(b"<svg")
    assert codes(shop, "S1") == [], "nothing is put up before the yes"
    form = form_of(opened, "/m/codes")
    assert (form["capacity"], form["expires_at"]) == ("200", "")
    assert form.keys() == {
        "token", "store", "pending", "members", "capacity", "expires_at", "label"
    }  # fmt: skip
    form |= {"capacity": "80", "members": "12", "label": " 陆家嘴  一群 "}
    opened.send("/m/codes", form, language=language)
    assert opened.page.status_code == 200
    assert opened.page.url.path == "/m"
    assert says in opened.text
    (code,) = codes(shop, "S1")
    assert (code["payload"], code["capacity"]) == (running.payload("new"), 80)
    assert (code["members"], code["label"], code["expires_at"]) == (12, "陆家嘴 一群", None)
    assert code["picture"], "a small copy is kept"
    routing = shop.locate(shop.scan("a"), *HERE)
    assert routing["code"]["code_id"] == code["code_id"], "the next visitor is shown it"
    # The same yes again, as by a second tap, finds it done.
    opened.send("/m/codes", form, token=form["token"], language=language)
    assert opened.page.status_code == 409
    assert len(codes(shop, "S1")) == 1


def test_an_ordinary_groups_code_is_offered_a_week_and_may_be_given_another(
    shop: Chain, browse: Any
) -> None:
    opened = browse("manager")
    look_at(opened, "S1", picture("https://weixin.qq.com/g/AwYAAOnlyForTests"))
    assert "微信群码" in opened.text
    form = form_of(opened, "/m/codes")
    offered = datetime.fromisoformat(form["expires_at"]).replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    assert abs(offered - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=2)
    for wrong in ("2020-01-01T00:00", "soon", "0001-01-01T00:00", "9999-12-31T23:59"):
        opened.send("/m/codes", form | {"expires_at": wrong, "members": "3"}, token=form["token"])
        assert opened.page.status_code == 422
        assert "过期时间请填以后的某个时间" in opened.text
        assert form_of(opened, "/m/codes")["members"] == "3", "what was typed stays"
    assert codes(shop, "S1") == []
    in_three_days = datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(days=3)
    form["expires_at"] = in_three_days.strftime("%Y-%m-%dT%H:%M")
    opened.send("/m/codes", form)
    (code,) = codes(shop, "S1")
    until = datetime.fromisoformat(code["expires_at"])
    assert until == in_three_days.replace(second=0, microsecond=0)


def test_left_empty_everything_is_as_usual(shop: Chain, browse: Any) -> None:
    empty = {"capacity": "", "members": "", "expires_at": "", "label": ""}
    put_up(browse("manager"), "S1", picture("https://weixin.qq.com/g/AwYAAOnlyForTests"), **empty)
    (code,) = codes(shop, "S1")
    assert (code["capacity"], code["members"], code["label"]) == (200, 0, None)
    assert code["expires_at"] is not None


def test_by_camera_or_from_the_album_whichever_was_used_is_read(shop: Chain, browse: Any) -> None:
    opened = browse("manager")
    image = picture(running.payload("new"))
    for used, other in (("camera", "album"), ("album", "camera")):
        opened.open("/m/add?store=S1")
        assert 'capture="environment"' in opened.page.text
        # A browser sends the field that was not used as a file without a name and content.
        files = {used: ("a.jpg", image), other: ("", b"")}
        opened.page = opened.client.post(
            "/m/preview", data={"token": opened.token, "store": "S1"}, files=files
        )
        assert "确认群码" in opened.text


REFUSED: list[tuple[bytes | None, str, str]] = [
    (None, "请先选一张二维码图片", "Choose a picture"),
    (b"", "请先选一张二维码图片", "Choose a picture"),
    (b"hello", "不是能读取的图片", "no picture that can be read"),
    (picture(), "没有找到二维码", "No QR code was found"),
    (
        picture(running.payload("a"), running.payload("b")),
        "不止一个二维码",
        "more than one QR code",
    ),
    (picture("https://example.com/hello"), "不能让顾客入群", "does not lead into a group"),
    (picture("wxp://f2f0abcdefgh"), "这是收款码", "payment code"),
    (picture("https://codes.example.com/q/tea?p=a"), "海报上的活码", "code of a poster"),
    (picture("https://mp.weixin.qq.com/a/~~abc"), "公众号或小程序", "official account"),
    (picture("https://qm.qq.com/abc"), "QQ 群", "QQ group"),
]


@pytest.mark.parametrize("language", [CHINESE, ENGLISH])
def test_a_refused_picture_says_why_in_plain_words_and_changes_nothing(
    shop: Chain, browse: Any, language: str
) -> None:
    opened = browse("manager")
    token = opened.token
    for image, chinese, english in REFUSED:
        look_at(opened, "S1", image, token=token, language=language)
        says = chinese if language == CHINESE else english
        assert opened.page.status_code == 422
        (alert,) = re.findall(r'role="alert">([^<]+)<', opened.page.text)
        assert says in unescape(alert), says
        assert 'type="file"' in opened.page.text, "another can be sent at once"
    assert codes(shop, "S1") == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"capacity": "0"}, "最多 500 人"),
        ({"capacity": "501"}, "最多 500 人"),
        ({"capacity": "many"}, "最多 500 人"),
        ({"capacity": "9" * 30}, "最多 500 人"),
        ({"members": "-1"}, "人数请填"),
        ({"members": "3.5"}, "人数请填"),
        ({"label": "长" * 61}, "名称最多"),
        ({"label": "\x00"}, "名称最多"),
    ],
)
def test_numbers_that_are_none_are_refused_on_the_spot(
    shop: Chain, browse: Any, values: dict[str, str], says: str
) -> None:
    opened = browse("manager")
    put_up(opened, "S1", picture(running.payload("new")), **values)
    assert opened.page.status_code == 422
    assert says in opened.text
    assert codes(shop, "S1") == []
    good = form_of(opened, "/m/codes") | {"capacity": "50", "members": "1", "label": "一群"}
    opened.send("/m/codes", good)
    assert "已添加" in opened.text, "the picture is still there"


def test_a_picture_that_is_too_large_is_refused(database_url: str) -> None:
    settings = Settings(max_upload_mb=0.001, database_pool=5)
    with running.running(database_url, settings) as service:
        client = httpx.Client(base_url=service.base_url, trust_env=False, follow_redirects=True)
        with client:
            opened = Console(client)
            opened.sign_in(service.keys["manager"], "/m")
            # Too much for a picture; and too much for any other upload, too.
            for size in (2000, 1_003_500):
                opened.open("/m")
                look_at(opened, "S1", b"x" * size)
                assert opened.page.status_code == 413
                assert "图片太大，最多 0.001 MB" in opened.text
            assert codes(service, "S1") == []


def test_a_code_that_is_in_use_is_not_offered_again(shop: Chain, browse: Any) -> None:
    own = shop.put_code("S2", "own")["code_id"]
    shop.put_code("S3", "other")
    opened = browse("manager")
    look_at(opened, "S1", picture(running.payload("own")))
    assert "已经在二店用着了" in opened.text
    assert f'href="/m/codes/{own}"' in opened.page.text
    assert 'action="/m/codes"' not in opened.page.text
    look_at(opened, "S1", picture(running.payload("other")), token=opened.token)
    assert "已经在别处使用" in opened.text
    assert "S3" not in opened.text, "where else is not theirs to know"
    assert "别家店" not in opened.text
    assert 'action="/m/codes"' not in opened.page.text
    told = browse("hq")
    told.open("/m?store=S1")
    look_at(told, "S1", picture(running.payload("other")))
    assert "已经在别家店用着了" in told.text


def test_what_became_in_use_while_it_was_looked_at_is_refused(shop: Chain, browse: Any) -> None:
    opened = browse("manager")
    look_at(opened, "S1", picture(running.payload("new")))
    form = form_of(opened, "/m/codes")
    shop.put_code("S3", "new")
    opened.send("/m/codes", form)
    assert opened.page.status_code == 409
    assert "已经在" in opened.text
    assert codes(shop, "S1") == []


def test_a_personal_code_and_one_that_was_used_before_are_doubted_but_may_be_put_up(
    shop: Chain, browse: Any
) -> None:
    opened = browse("manager")
    look_at(opened, "S1", picture("https://u.wechat.com/abcdef"))
    assert "这是个人微信，不是群" in opened.text
    assert form_of(opened, "/m/codes")["capacity"] == "5000"
    before = shop.put_code("S2", "old")["code_id"]
    running.answered(shop.hq.patch(f"/api/v1/codes/{before}", json={"status": "retired"}))
    opened.open("/m")
    put_up(opened, "S1", picture(running.payload("old")))
    assert "已添加" in opened.text
    look_at(opened, "S1", picture(running.payload("old")))
    assert "以前在二店用过" in opened.text


def test_a_picture_waits_for_a_yes_but_not_for_ever(shop: Chain, browse: Any) -> None:
    opened = browse("manager")
    look_at(opened, "S1", picture(running.payload("new")))
    address, form = str(opened.page.url), form_of(opened, "/m/codes")
    running.run(
        conftest.execute(
            shop.database_url, "UPDATE pending_codes SET read_at = read_at - interval '16 minutes'"
        )
    )
    opened.send("/m/codes", form)
    assert opened.page.status_code == 409
    assert "等得太久" in opened.text
    assert 'type="file"' in opened.page.text
    assert "等得太久" in opened.open(address)
    assert codes(shop, "S1") == []


# One code


def test_a_codes_own_page_has_all_that_can_be_done_with_it(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one", label="一群")["code_id"]
    opened = browse("manager")
    opened.open(f"/m/codes/{code_id}")
    assert opened.page.status_code == 200
    actions = set(re.findall(r'action="([^"]+)"', opened.page.text))
    own = {f"/m/codes/{code_id}/{form}" for form in ("count", "status", "edit")}
    assert own | {"/m/preview"} <= actions
    assert f"/m/codes/{code_id}/move" not in actions, "there is nothing to order"
    assert f'href="/m/codes/{code_id}/retire"' in opened.page.text


def test_a_head_count_is_what_is_believed(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one", capacity=100, members=20)["code_id"]
    opened = browse("manager")
    opened.send(f"/m/codes/{code_id}/count", {"members": "85"})
    assert "人数已保存" in opened.text
    assert "将满" in opened.text
    assert shop.code(code_id)["members"] == 85


@pytest.mark.parametrize("members", ["-1", "", "3.5", "5000000", "一百"])
def test_a_head_count_that_is_none_is_refused(shop: Chain, browse: Any, members: str) -> None:
    code_id = shop.put_code("S1", "one", capacity=100)["code_id"]
    opened = browse("manager")
    opened.send(f"/m/codes/{code_id}/count", {"members": members})
    assert opened.page.status_code == 422
    assert "人数请填" in opened.text
    assert shop.code(code_id)["members"] == 0


def test_name_capacity_and_expiry_can_be_changed(shop: Chain, browse: Any) -> None:
    over = "2026-01-01T00:00:00+08:00"
    code_id = shop.put_code("S1", "one", capacity=100, expires_at=over)["code_id"]
    opened = browse("manager")
    opened.open(f"/m/codes/{code_id}")
    action = f"/m/codes/{code_id}/edit"
    form = form_of(opened, action)
    assert form["expires_at"] == "2026-01-01T00:00", "by the chain's clock"
    opened.send(action, form | {"label": "老顾客", "capacity": "150"})
    assert "已保存" in opened.text
    code = shop.code(code_id)
    assert (code["label"], code["capacity"]) == ("老顾客", 150)
    assert datetime.fromisoformat(code["expires_at"]) == datetime.fromisoformat(over)
    opened.send(action, form | {"expires_at": "", "label": ""})
    code = shop.code(code_id)
    assert (code["label"], code["expires_at"]) == (None, None)
    for wrong, says in (
        ({"expires_at": "2026-01-02T00:00"}, "过期时间"),
        ({"capacity": "501"}, "最多 500 人"),
        ({"capacity": ""}, "最多 500 人"),
        ({"label": "长" * 61}, "名称最多"),
    ):
        opened.send(action, form | {"expires_at": ""} | wrong, token=form["token"])
        assert opened.page.status_code == 422
        assert says in opened.text
    assert shop.code(code_id)["capacity"] == 100


def test_what_a_code_has_it_may_keep_though_newer_rules_allow_less(
    shop: Chain, browse: Any
) -> None:
    code_id = shop.put_code("S1", "one", capacity=100)["code_id"]
    larger = f"UPDATE codes SET capacity = 2000 WHERE code_id = '{code_id}'"
    running.run(conftest.execute(shop.database_url, larger))
    opened = browse("manager")
    opened.open(f"/m/codes/{code_id}")
    action = f"/m/codes/{code_id}/edit"
    opened.send(action, form_of(opened, action) | {"label": "大群"})
    assert (shop.code(code_id)["label"], shop.code(code_id)["capacity"]) == ("大群", 2000)


def test_a_paused_code_is_shown_to_nobody_until_it_is_resumed(shop: Chain, browse: Any) -> None:
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
    opened.send(f"/m/codes/{code_id}/status", {"status": "retired"})
    assert opened.page.status_code == 422, "that asks first"


def test_codes_are_filled_in_the_order_that_the_manager_gives_them(
    shop: Chain, browse: Any
) -> None:
    ids = [shop.put_code("S1", token)["code_id"] for token in ("one", "two", "three")]
    # Two of them at the same place, as two imports at a time may leave them.
    shop.hq.patch(f"/api/v1/codes/{ids[1]}", json={"position": 0})

    def order() -> list[int]:
        return [ids.index(code["code_id"]) for code in codes(shop, "S1")]

    assert order() == [0, 1, 2]
    opened = browse("manager")
    for code, move, then in (
        (2, "up", [0, 2, 1]),
        (2, "up", [2, 0, 1]),
        (2, "up", [2, 0, 1]),
        (0, "down", [2, 1, 0]),
        (0, "down", [2, 1, 0]),
    ):
        opened.send(f"/m/codes/{ids[code]}/move", {"move": move}, token=opened.token)
        assert "顺序已保存" in opened.text
        assert order() == then
    assert shop.locate(shop.scan("a"), *HERE)["code"]["code_id"] == ids[2]
    opened.send(f"/m/codes/{ids[0]}/move", {"move": "sideways"})
    assert opened.page.status_code == 422


def test_a_code_is_retired_only_after_a_second_word(shop: Chain, browse: Any) -> None:
    ids = [shop.put_code("S1", token)["code_id"] for token in ("one", "two")]
    held = shop.scan("a")
    assert shop.locate(held, *HERE)["code"]["code_id"] == ids[0]
    opened = browse("manager")
    assert "停用群码 1？" in opened.open(f"/m/codes/{ids[0]}/retire")
    assert shop.code(ids[0])["status"] == "active"
    token = opened.token
    opened.send(f"/m/codes/{ids[0]}/retire")
    assert "已停用" in opened.text
    assert ids[0] not in opened.page.text
    assert shop.code(ids[0])["status"] == "retired"
    again = shop.scan("a")
    assert shop.locate(again, *HERE)["code"]["code_id"] == ids[1], "who held a seat in it"
    for form in ("retire", "status", "count", "move", "edit"):
        opened.send(f"/m/codes/{ids[0]}/{form}", {"status": "active", "members": "1",
                    "move": "up", "capacity": "9"}, token=token)  # fmt: skip
        assert opened.page.status_code == 404
    assert shop.code(ids[0])["status"] == "retired"


# Renewing


def renew(opened: Console, code_id: str, image: bytes, **values: str) -> str:
    opened.open(f"/m/codes/{code_id}")
    store = form_of(opened, "/m/preview")["store"]
    look_at(opened, store, image, code_id)
    action = f"/m/codes/{code_id}/renew"
    return opened.send(action, form_of(opened, action) | values)


def test_a_new_picture_renews_a_code_in_its_place(shop: Chain, browse: Any) -> None:
    over = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    before = shop.put_code("S1", "one", capacity=90, members=30, expires_at=over)
    shop.put_code("S1", "two")
    opened = browse("manager")
    assert "已过期" in opened.text
    look_at(opened, "S1", picture("https://example.com/"), before["code_id"])
    assert "不能让顾客入群" in opened.text
    assert "更换群码 1" in opened.text
    renew(opened, before["code_id"], picture("https://weixin.qq.com/g/AwYAAOnlyForTests"))
    assert "已换上新的群码" in opened.text
    assert "有效期 7 天" in opened.text
    after = shop.code(before["code_id"])
    assert after["payload"] == "https://weixin.qq.com/g/AwYAAOnlyForTests"
    assert (after["capacity"], after["position"]) == (90, before["position"])
    assert after["members"] == 0, "another group"
    assert after["picture"]


def test_whoever_holds_a_seat_in_the_old_code_is_shown_the_new_one(
    shop: Chain, browse: Any
) -> None:
    code_id = shop.put_code("S1", "one", capacity=5)["code_id"]
    held = shop.scan("a")
    shop.locate(held, *HERE)
    assert shop.code(code_id)["held"] == 1
    renew(browse("manager"), code_id, picture(running.payload("two")), members="2", capacity="7")
    code = shop.code(code_id)
    assert (code["held"], code["members"], code["capacity"]) == (0, 2, 7)
    assert code["payload"] == running.payload("two")
    assert shop.locate(held, *HERE)["code"]["code_id"] == code_id


def test_the_same_code_renewed_lives_longer_and_keeps_its_members(shop: Chain, browse: Any) -> None:
    group = "https://weixin.qq.com/g/AwYAAOnlyForTests"
    body = {"payload": group, "members": 44, "expires_at": "2026-01-01T00:00:00+08:00"}
    code_id = running.answered(shop.hq.post("/api/v1/stores/S1/codes", json=body))["code_id"]
    opened = browse("manager")
    look_at(opened, "S1", picture(group), code_id)
    assert "这就是现在的群码" in opened.text
    opened.send(f"/m/codes/{code_id}/renew", form_of(opened, f"/m/codes/{code_id}/renew"))
    code = shop.code(code_id)
    assert code["members"] == 44
    assert datetime.fromisoformat(code["expires_at"]) > datetime.now(UTC) + timedelta(days=6)


def test_a_renewal_that_is_refused_changes_nothing(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one", capacity=90)["code_id"]
    opened = browse("manager")
    renew(opened, code_id, picture(running.payload("two")), capacity="501")
    assert opened.page.status_code == 422
    assert "最多 500 人" in opened.text
    assert shop.code(code_id)["payload"] == running.payload("one"), "all of it or nothing"
    shop.put_code("S2", "two")
    renewed = form_of(opened, f"/m/codes/{code_id}/renew") | {"capacity": "90"}
    opened.send(f"/m/codes/{code_id}/renew", renewed)
    assert opened.page.status_code == 409
    assert "已经在二店用着了" in opened.text


# What came of it, and what visitors say


def test_todays_and_this_weeks_scans_and_joins_are_on_the_page(shop: Chain, browse: Any) -> None:
    shop.put_code("S1", "one")
    for number in range(5):
        scan_id = shop.scan(f"v{number}")
        shop.locate(scan_id, *HERE)
        if number < 2:
            shop.tell(scan_id, "pressed")
    opened = browse("manager")
    assert "今天 5 扫码 · 2 入群 本周 5 扫码 · 2 入群" in opened.text
    assert "今天 0 扫码 · 0 入群 本周 0 扫码 · 0 入群" in opened.text, "S2's own"
    assert "Today 5 scans · 2 joined" in opened.open("/m", ENGLISH)


def test_what_visitors_said_is_told_until_somebody_looks_after_the_code(
    shop: Chain, browse: Any
) -> None:
    code_id = shop.put_code("S1", "one", capacity=100)["code_id"]
    shop.put_code("S1", "two", capacity=100)
    for visitor, event in (("a", "full"), ("b", "full"), ("c", "broken")):
        scan_id = shop.scan(visitor)
        shop.locate(scan_id, *HERE)
        body = {"event": event, "code_id": code_id}
        running.answered(shop.visitor.post(f"/api/v1/scans/{scan_id}/events", json=body))
    opened = browse("manager")
    assert "顾客反映：2 人说满了，1 人说打不开（最近" in opened.text
    assert opened.text.count("顾客反映：") == 1
    assert "2 × full, 1 × does not open" in opened.open(f"/m/codes/{code_id}", ENGLISH)
    opened.send(f"/m/codes/{code_id}/count", {"members": "10"})
    assert "顾客反映：" not in opened.open("/m")


def test_warnings_stand_at_the_top_of_the_store_with_what_to_do(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one", capacity=10, members=10, label="一群")["code_id"]
    opened = browse("manager")
    for _ in range(100):
        if "已满（10/10）" in opened.open("/m"):
            break
        time.sleep(0.1)
    assert "群码「一群」已满（10/10），不再展示给顾客 请添加新的群码" in opened.text
    assert "现在没有可用的群码，顾客会被带到别的门店 请添加或更新群码" in opened.text
    assert "没有可用的群码，顾客会被带到附近" not in opened.text, "it is said once"
    assert f'href="/m/codes/{code_id}"' in opened.page.text
    assert "the code “一群” is full" in opened.open("/m", ENGLISH).replace("The code", "the code")


def test_a_manager_of_many_stores_sees_them_in_brief_and_which_need_them(
    service: Chain, browse: Any
) -> None:
    names = [f"N{number}" for number in range(10, 40)]
    for number, name in enumerate(names):
        service.put_store(name, 121 + number / 100, 31, name=f"新店{name}")
    service.put_code("N12", "one", capacity=10, members=10)
    service.put_code("N39", "two", capacity=10, members=10)
    key = {"role": "manager", "name": "区域", "stores": names}
    service.keys["manager"] = running.answered(service.hq.post("/api/v1/keys", json=key))["key"]
    opened = browse("manager")
    for _ in range(100):
        if "2 家门店需要您处理" in opened.open("/m"):
            break
        time.sleep(0.1)
    assert "2 家门店需要您处理 新店N12 新店N39" in opened.text or (
        "2 家门店需要您处理 新店N39 新店N12" in opened.text
    )
    assert opened.page.text.count("<details") == 20
    (more,) = re.findall(r'href="(/m\?[^"]*cursor=[^"]*)"', opened.page.text)
    opened.open(unescape(more))
    assert opened.page.text.count("<details") == 10
    assert "新店N39" in opened.open("/m?store=N39")
    assert opened.page.text.count('class="card store"') == 1


# Testing, and the poster


def rows(service: Chain, table: str) -> int:
    async def count() -> int:
        query = f"SELECT count(*) FROM {table} JOIN chains USING (chain_id) WHERE chain = $1"
        connection = await asyncpg.connect(service.database_url)
        try:
            return int(await connection.fetchval(query, service.chain))
        finally:
            await connection.close()

    return running.run(count())


def test_the_test_shows_what_a_visitor_would_see_and_leaves_no_trace(
    shop: Chain, browse: Any
) -> None:
    code_id = shop.put_code("S1", "one", capacity=1)["code_id"]
    opened = browse("manager")
    opened.open("/m/test?store=S1")
    assert opened.page.status_code == 200
    assert "顾客会看到本店的群码" in opened.text
    assert "没有记录扫码，也没有占名额" in opened.text
    assert "长按识别二维码入群" in opened.text, "the visitor's own page"
    assert f"/c/{code_id}.png?v=" in opened.page.text
    assert "<script" not in opened.page.text
    assert "form-action 'none'" in opened.page.headers["content-security-policy"]
    assert "/q/" not in opened.page.text, "nothing on it leads on to a scan"
    assert shop.code(code_id)["held"] == 0
    assert [rows(shop, table) for table in ("scans", "holds", "routings")] == [0, 0, 0]
    assert "Visitors are shown this store" in opened.open("/m/test?store=S1", ENGLISH)


def test_the_test_says_where_visitors_are_led_instead_and_why(shop: Chain, browse: Any) -> None:
    shop.put_code("S2", "two")
    opened = browse("manager")
    assert "顾客会被带到二店，因为本店还没有群码" in opened.open("/m/test?store=S1")
    full = shop.put_code("S1", "one", capacity=5, members=5)["code_id"]
    assert "顾客会被带到二店，因为本店的群码已满" in opened.open("/m/test?store=S1")
    shop.hq.patch(f"/api/v1/codes/{full}", json={"status": "paused"})
    assert "因为本店的群码已暂停" in opened.open("/m/test?store=S1")
    shop.hq.delete("/api/v1/stores/S2")
    assert "顾客看不到任何群码" in opened.open("/m/test?store=S1")
    opened.open("/m/test?store=S3")
    assert opened.page.status_code == 404


def test_with_several_entries_each_can_be_tested_and_printed(shop: Chain, browse: Any) -> None:
    shop.put_code("S1", "one")
    two = f"{shop.entry}-two"
    running.answered(shop.hq.post("/api/v1/entries", json={"entry": two, "name": "二号活码"}))
    opened = browse("manager")
    opened.open("/m/test?store=S1")
    assert "二号活码" in opened.text
    assert f'href="/m/test?store=S1&amp;entry={two}"' in opened.page.text
    assert "顾客会看到本店的群码" in opened.open(f"/m/test?store=S1&entry={two}")
    opened.open("/m/test?store=S1&entry=x")
    assert opened.page.status_code == 404
    assert "二号活码" in opened.open("/m/poster?store=S1")
    for entry, status in ((two, 200), (shop.entry, 200), ("x", 404), ("", 422)):
        opened.page = opened.client.get(f"/m/poster.pdf?store=S1&entry={entry}")
        assert opened.page.status_code == status


def test_without_an_entry_there_is_nothing_to_test_or_print(service: Chain, browse: Any) -> None:
    opened = browse("manager")
    for path in ("/m/test?store=S1", "/m/poster?store=S1"):
        assert "总部还没有可以带到本店的活码" in opened.open(path)


def test_a_manager_downloads_their_shops_poster(shop: Chain, browse: Any) -> None:
    opened = browse("manager")
    opened.open("/m/poster?store=S1")
    assert 'action="/m/poster.pdf"' in opened.page.text
    answer = opened.client.get("/m/poster.pdf?store=S1&paper=a5&lang=en")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.content.startswith(b"%PDF")
    assert opened.client.get("/m/poster.pdf?store=S3").status_code == 404
    assert opened.client.get("/m/poster.pdf?store=S1&paper=x&lang=x").status_code == 200


# Who may


def test_a_manager_reaches_no_other_store_by_any_page_or_form(shop: Chain, browse: Any) -> None:
    other = shop.put_code("S3", "other")["code_id"]
    own = shop.put_code("S1", "one")["code_id"]
    opened = browse("manager")
    token = opened.token
    image = picture(running.payload("new"))
    look_at(opened, "S1", image)
    pending = form_of(opened, "/m/codes")["pending"]
    for path in (
        "/m?store=S3", "/m/add?store=S3", f"/m/add?code={other}", "/m/test?store=S3",
        "/m/poster?store=S3", "/m/poster.pdf?store=S3", f"/m/codes/{other}",
        f"/m/codes/{other}/retire", f"/m/preview?store=S3&pending={pending}",
        f"/m/preview?store=S1&pending={pending}&code={other}", "/m/codes/no-uuid",
        "/m/add", "/m/test", "/m/poster",
    ):  # fmt: skip
        opened.open(path)
        assert opened.page.status_code == 404, path
        assert "别家店" not in opened.text
    attempts: list[tuple[str, dict[str, str], bytes | None]] = [
        ("/m/preview", {"store": "S3"}, image),
        ("/m/preview", {"store": "S1", "code": other}, image),
        ("/m/codes", {"store": "S3", "pending": pending}, None),
        (f"/m/codes/{other}/renew", {"store": "S1", "pending": pending}, None),
        (f"/m/codes/{other}/count", {"members": "1"}, None),
        (f"/m/codes/{other}/edit", {"capacity": "1"}, None),
        (f"/m/codes/{other}/status", {"status": "paused"}, None),
        (f"/m/codes/{other}/move", {"move": "up"}, None),
        (f"/m/codes/{other}/retire", {}, None),
        ("/m/codes/no-uuid/status", {"status": "paused"}, None),
    ]
    for path, values, sent in attempts:
        opened.send(path, values, image=sent, token=token)
        assert opened.page.status_code == 404, path
    (code,) = codes(shop, "S3")
    assert (code["status"], code["members"]) == ("active", 0)
    assert code["payload"] == running.payload("other")
    assert shop.code(own)["payload"] == running.payload("one")


def test_a_form_without_its_token_changes_nothing(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened, stranger = browse("manager"), browse("hq")
    image = picture(running.payload("new"))
    look_at(opened, "S1", image)
    new = form_of(opened, "/m/codes")
    del new["token"]
    foreign = stranger.token
    for token in ("", "x", foreign, "é"):
        for path, values, sent in (
            ("/m/preview", {"store": "S1"}, image),
            ("/m/codes", new, None),
            (f"/m/codes/{code_id}/renew", new, None),
            (f"/m/codes/{code_id}/count", {"members": "9"}, None),
            (f"/m/codes/{code_id}/edit", {"capacity": "10"}, None),
            (f"/m/codes/{code_id}/status", {"status": "paused"}, None),
            (f"/m/codes/{code_id}/move", {"move": "up"}, None),
            (f"/m/codes/{code_id}/retire", {}, None),
            ("/m/sign-out", {}, None),
        ):
            opened.send(path, values, image=sent, token=token)
            assert opened.page.status_code == 403
            assert "没有权限" in opened.text
    (code,) = codes(shop, "S1")
    assert (code["status"], code["members"]) == ("active", 0)
    assert code["payload"] == running.payload("one")
    assert "人民广场店" in opened.open("/m"), "still signed in"


def test_a_reader_looks_but_does_not_touch(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened = browse("read")
    assert "门店群码" not in opened.text
    token = opened.token
    for path in ("/m", "/m/add?store=S1", f"/m/codes/{code_id}", "/m/test?store=S1"):
        opened.open(path)
        assert opened.page.url.path == "/hq"
    opened.send(f"/m/codes/{code_id}/status", {"status": "paused"}, token=token)
    assert opened.page.status_code == 403
    look_at(opened, "S1", picture(running.payload("new")), token=token)
    assert opened.page.status_code == 403
    assert shop.code(code_id)["status"] == "active"
    for path in ("/m/poster.pdf?store=S1", "/m/preview?store=S1"):
        assert opened.client.get(path).url.path == "/hq"


def test_whoever_is_not_signed_in_is_led_to_the_door_from_every_page(
    shop: Chain, browse: Any
) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened = browse()
    for path in ("/m?store=S1", "/m/add?store=S1", f"/m/codes/{code_id}", "/m/test?store=S1",
                 "/m/poster?store=S1", "/m/poster.pdf?store=S1"):  # fmt: skip
        opened.open(path)
        assert "人民广场店" not in opened.text
        assert 'action="/m/sign-in"' in opened.page.text


@pytest.mark.parametrize("language", [CHINESE, ENGLISH])
def test_every_page_is_whole_in_itself(shop: Chain, browse: Any, language: str) -> None:
    code_id = shop.put_code("S1", "one")["code_id"]
    opened = browse("manager")
    look_at(opened, "S1", picture(running.payload("new")))
    preview = f"{opened.page.url.path}?{opened.page.url.query.decode()}"
    pages = ["/m", "/m/add?store=S1", preview, f"/m/codes/{code_id}", f"/m/codes/{code_id}/retire",
             "/m/test?store=S1", "/m/poster?store=S1"]  # fmt: skip
    for path in pages:
        opened.open(path, language)
        page = opened.page
        assert page.status_code == 200
        assert f'<html lang="{"zh-CN" if language == CHINESE else "en"}">' in page.text
        assert " style=" not in page.text, "the policy forbids it"
        assert not re.search(r"\son[a-z]+=", page.text.partition("<body")[2]), path
        strangers = [
            address
            for address in re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
            if not address.startswith(("/m", "/c/", "#", "data:"))
        ]
        assert strangers == [], path
        (nonce,) = re.findall(r'<style nonce="([^"]+)"', page.text)
        policy = page.headers["content-security-policy"]
        assert f"style-src 'nonce-{nonce}'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"


def test_names_cannot_become_markup_on_any_page(shop: Chain, browse: Any) -> None:
    shop.put_store("S1", *HERE, name='<script>alert("1")</script>', address="<b>&")
    code_id = shop.put_code("S1", "one", label="<i>一群</i>")["code_id"]
    opened = browse("manager")
    for path in ("/m", "/m/add?store=S1", f"/m/codes/{code_id}", "/m/test?store=S1",
                 f"/m/codes/{code_id}/retire", "/m/poster?store=S1"):  # fmt: skip
        opened.open(path)
        assert "<script>alert" not in opened.page.text
        assert "<i>" not in opened.page.text


def test_hq_searches_and_pages_through_all_stores(service: Chain, browse: Any) -> None:
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
    opened.open("/m?store=N27")
    put_up(opened, "N27", picture(running.payload("new")))
    assert "已添加" in opened.text
    assert "新店28" not in opened.text, "the store that was worked on, alone"


def test_a_form_that_cannot_be_read_is_no_error_of_ours(browse: Any) -> None:
    opened = browse("manager")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = opened.client.post("/m/preview", content=b"--y\r\nnonsense", headers=headers)
    assert answer.status_code in (403, 422)
    assert "</html>" in answer.text
