"""The visitor's page, without a server: what it says, and what it never does."""

import dataclasses
import re
import string
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from service import domain
from service.web import render, words

NOW = datetime(2026, 5, 1, 4, 0, tzinfo=UTC)
LIMIT_BYTES = 30_000
WEB = Path(render.__file__).parent
SCAN = "0197c0de-0000-7000-8000-000000000001"
CODE = "0197c0de-0000-7000-8000-000000000002"
LONG_NAME = "星河咖啡（上海浦东新区世纪大道八号国金中心商场地下二层旗舰体验）店"
LONG_ADDRESS = "上海市浦东新区世纪大道8号国金中心商场地下二层LG2-35号铺位（近地铁二号线六号出口）"


def store(number: int = 1, distance_m: float | None = 312, **given: Any) -> dict[str, Any]:
    return {
        "store": f"SH{number:04}",
        "name": "世纪大道店",
        "address": "世纪大道8号",
        "city": "上海市",
        "lon": 121.5,
        "lat": 31.2,
        "distance_m": distance_m,
    } | given


def routing(outcome: str, reason: str, **given: Any) -> dict[str, Any]:
    code = {
        "code_id": CODE,
        "kind": "wecom_group",
        "image": f"/c/{CODE}.png?v=1",
        "held_until": "2026-05-01T04:15:00+00:00",
        "expires_at": None,
    }
    return {
        "scan_id": SCAN,
        "outcome": outcome,
        "reason": reason,
        "located": {
            "source": "gps",
            "accuracy_m": 25,
            "province": "上海市",
            "city": "上海市",
            "district": "浦东新区",
        },
        "store": store() if outcome == "code" else None,
        "code": code if outcome == "code" else None,
        "hops": [],
        "choices": [],
    } | given


def page(view: render.View, **given: Any) -> render.Page:
    values: dict[str, Any] = {
        "lang": "zh",
        "nonce": "n0nce",
        "chain_name": "星河咖啡",
        "entry": "main",
        "scan_id": SCAN,
        "now": NOW,
    } | given
    return render.Page(view=view, **values)


def code_page(reason: str = "nearest", *, passed: Any = None, **given: Any) -> render.Page:
    return page("code", routing=routing("code", reason, **given), passed=passed)


IP = {
    "source": "ip",
    "accuracy_m": 20_000,
    "province": "浙江省",
    "city": "杭州市",
    "district": None,
}
LISTED = [store(n, n * 100.0, name=LONG_NAME, address=LONG_ADDRESS) for n in range(40)]
ATTRIBUTIONS = [("One", "https://one.example"), ("Two", "https://two.example")]
CITIES = [(f"呼伦贝尔市{n:03}", n) for n in range(340)]
CHOICES = [store(1), store(2, 1210), store(3, None)]
CODE_REASONS = [
    "nearest",
    "in_area",
    "next_code",
    "next_store",
    "chosen",
    "returning",
    "fallback",
]
PASSED = [None, *((LONG_NAME, skipped.value) for skipped in domain.Skipped)]

PAGES: dict[str, render.Page] = {
    "locate": page("locate"),
    "locate again": dataclasses.replace(page("locate"), gone=True),
    **{
        f"code {reason} {passed and passed[1]}": code_page(reason, passed=passed)
        for reason in CODE_REASONS
        for passed in (PASSED if reason in ("next_store", "fallback") else PASSED[:2])
    },
    "code joined": dataclasses.replace(code_page(), joined=True),
    "code that may lead on": dataclasses.replace(code_page(), awaits_next=True),
    "code by ip": code_page(located=IP),
    "code at an unknown distance": code_page(
        "next_store", store=store(1, None), passed=(LONG_NAME, "full")
    ),
    "code without a store": code_page("fallback", store=None),
    **{
        f"code {kind}": code_page(code=routing("code", "nearest")["code"] | {"kind": kind})
        for kind in ("wechat_group", "wecom_contact", "wecom_acquisition", "wechat_personal")
    },
    "choose near": page("choose", routing=routing("choose", "ambiguous_position", choices=CHOICES)),
    "choose by ip": page(
        "choose", routing=routing("choose", "ip_only", choices=CHOICES, located=IP)
    ),
    "choose by ip, no place": page(
        "choose",
        routing=routing(
            "choose", "ip_only", choices=CHOICES, located=IP | {"city": None, "province": None}
        ),
    ),
    "choose anywhere": page(
        "choose",
        routing=routing("choose", "position_needed", choices=CHOICES, located=None),
        cities=CITIES,
    ),
    "choose from nothing": page(
        "choose", routing=routing("choose", "position_needed", located=None)
    ),
    **{
        f"unserved {reason}, {len(nearby)} nearby, located {where}": page(
            "unserved",
            routing=routing("unserved", reason, located=located),
            nearby=nearby,
            cities=CITIES if nearby else [],
            more=bool(nearby),
        )
        for reason in (
            "out_of_range",
            "all_full",
            "no_store",
            "position_needed",
            "address_limit",
        )
        for nearby in ([], LISTED[:5])
        for where, located in (
            ("nowhere", None),
            ("in a city", IP),
            ("in a country", IP | {"city": None, "province": None}),
        )
    },
    "stores": page("stores", nearby=LISTED, cities=CITIES, attributions=ATTRIBUTIONS),
    "stores, one found": page("stores", nearby=LISTED[:1], cities=CITIES, q="世纪", city="上海市"),
    "stores, none found": page("stores", q="火星", cities=CITIES),
    "stores, none at all": page("stores"),
    "missing": page("missing", chain_name="", scan_id=None, entry="no/such entry"),
    "unavailable": page("unavailable"),
    "unavailable before a scan": page("unavailable", scan_id=None),
}
EVERY = [
    pytest.param(dataclasses.replace(shown, lang=lang), id=f"{name} {lang}")
    for name, shown in PAGES.items()
    for lang in get_args(words.Lang)
]
every_page = pytest.mark.parametrize("shown", EVERY)


class Tags(HTMLParser):
    """The elements of a page, as (name, attributes); and the texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def text_of(shown: render.Page) -> str:
    return " ".join("".join(Tags(render.fragment(shown)).texts).split())


# What no page ever does


def test_every_view_stands_among_the_pages_tried_here() -> None:
    assert {shown.view for shown in PAGES.values()} == set(get_args(render.View))


@every_page
def test_a_page_is_under_30_kb_in_all(shown: render.Page) -> None:
    assert len(render.visitor(shown).encode()) < LIMIT_BYTES


@every_page
def test_a_page_asks_nobody_else_for_anything(shown: render.Page) -> None:
    html = render.visitor(shown)
    # A link is no request: nobody is asked until the visitor follows it.
    for _, url in shown.attributions:
        html = html.replace(f'<a href="{url}" rel="noreferrer">', "<a>")
    assert "//" not in re.sub(r"\s// .*", "", html).replace("'//'", "")
    for tag, attributes in Tags(html).found:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            address = attributes.get(name)
            assert (
                address is None
                or address.startswith(("/q/", "/c/", "data:"))
                or (tag == "a" and address == "")
            )


@every_page
def test_a_page_keeps_to_its_content_security_policy(shown: render.Page) -> None:
    tags = Tags(render.visitor(shown))
    for tag, attributes in tags.found:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag in ("style", "script"):
            assert attributes["nonce"] == "n0nce"
    assert len(tags.named("style")) == len(tags.named("script")) == 1
    assert not Tags(render.fragment(shown)).named("script")


@every_page
def test_a_page_can_be_zoomed_says_its_language_and_has_one_heading(shown: render.Page) -> None:
    tags = Tags(render.visitor(shown))
    assert tags.named("html")[0]["lang"] == ("zh-CN" if shown.lang == "zh" else "en")
    viewport = next(meta for meta in tags.named("meta") if meta.get("name") == "viewport")
    assert viewport["content"] == "width=device-width, initial-scale=1"
    assert len(tags.named("h1")) == len(tags.named("main")) == 1
    assert "".join(tags.texts).strip()


@every_page
def test_an_english_page_has_no_chinese_words_of_ours(shown: render.Page) -> None:
    chinese = {words.say("zh", key, **_anything(key)) for key in words.KEYS}
    html = render.visitor(shown)
    if shown.lang == "en":
        assert not [text for text in chinese if len(text) > 3 and text in html]


@every_page
def test_no_page_of_a_known_entry_is_a_dead_end(shown: render.Page) -> None:
    tags = Tags(render.fragment(shown))
    if shown.view != "missing":
        assert tags.named("form") or tags.named("a")


@every_page
def test_a_fragment_is_the_inside_of_the_page(shown: render.Page) -> None:
    fragment = render.fragment(shown)
    assert fragment.startswith("<main ")
    assert fragment.strip() in render.visitor(shown)


def test_hostile_names_stay_text() -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    shop = store(1, store=evil, name=evil, address=evil, city=evil)
    shown = page(
        "code",
        chain_name=evil,
        entry=evil,
        scan_id=SCAN,
        routing=routing("code", "next_store", store=shop),
        passed=(evil, "full"),
        attributions=[(evil, "https://one.example")],
    )
    listed = page("stores", q=evil, city=evil, nearby=[shop], cities=[(evil, 1)], entry=evil)
    choosing = page("choose", routing=routing("choose", "ip_only", choices=[shop], located=IP))
    for hostile in (shown, listed, choosing, page("missing", entry=evil, scan_id=None)):
        tags = Tags(render.visitor(hostile))
        assert len(tags.named("script")) == 1
        assert not [a for _, a in tags.found if "onerror" in a]
        assert len(tags.named("img")) == (1 if hostile is shown else 0)
    assert Tags(render.fragment(shown)).named("form")[0]["action"] == (
        f"/q/%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%3E%3Cimg%20src%3Dx%20onerror%3D"
        f"alert%282%29%3E/s/{SCAN}/tell"
    )


# The code


@pytest.mark.parametrize("reason", CODE_REASONS)
@pytest.mark.parametrize("lang", get_args(words.Lang))
def test_the_code_is_the_one_picture_of_the_page(reason: str, lang: words.Lang) -> None:
    tags = Tags(render.visitor(dataclasses.replace(code_page(reason), lang=lang)))
    (image,) = tags.named("img")
    assert image["src"] == f"/c/{CODE}.png?v=1"
    assert image["alt"]
    assert image["width"] == image["height"] == "264"
    assert not tags.named("svg") + tags.named("canvas") + tags.named("picture")


def test_nothing_keeps_a_phone_from_recognising_the_code() -> None:
    style = (WEB / "static" / "page.css").read_text(encoding="utf-8")
    script = (WEB / "static" / "page.js").read_text(encoding="utf-8")
    for hindrance in ("touch-callout", "user-select", "pointer-events", "touch-action", "url("):
        assert hindrance not in style
    handlers = re.findall(
        r"addEventListener\('(?:touch\w+|contextmenu)'(.*?)^  \}", script, re.M | re.S
    )
    assert handlers
    assert not [handler for handler in handlers if "preventDefault" in handler]


def test_a_code_comes_with_store_address_distance_and_what_to_do() -> None:
    text = text_of(code_page())
    for part in ("世纪大道店", "世纪大道8号", "距您 312 米", "长按识别二维码入群", "我已入群"):
        assert part in text
    assert "不是这家店？" in text
    for complaint in ("群已满", "二维码过期", "无法识别"):
        assert complaint in text


def test_a_contacts_code_speaks_of_adding_and_not_of_a_group() -> None:
    text = text_of(PAGES["code wecom_contact"])
    assert "长按识别二维码加好友" in text
    assert "我已添加" in text
    assert "我已入群" not in text


def test_the_next_store_is_said_to_be_the_next_and_how_far() -> None:
    nearby = store(2, 1234, name="花木路店")
    shown = code_page("next_store", store=nearby, passed=("世纪大道店", "full"))
    assert "「世纪大道店」的群已满，这是离您最近的下一家，距您 1.2 公里。" in text_of(shown)
    english = dataclasses.replace(shown, lang="en")
    assert (
        "The group of “世纪大道店” is full. This is the next nearest store, 1.2 km from you."
        in text_of(english)
    )


def test_who_comes_back_is_welcomed() -> None:
    assert "欢迎回来" in text_of(code_page("returning"))


def test_who_has_joined_is_thanked_and_not_asked_again() -> None:
    text = text_of(PAGES["code joined"])
    assert "谢谢，欢迎入群！" in text
    assert "我已入群" not in text
    assert "名额为您保留到" not in text


def test_who_has_joined_may_go_on_to_a_page_of_the_chains() -> None:
    url = 'https://mall.example/?a=1&b="x"'
    joined = dataclasses.replace(PAGES["code joined"], awaits_next=True, next_url=url)
    (link,) = [a for a in Tags(render.visitor(joined)).named("a") if "data-go" not in a]
    assert (link["href"], link["rel"]) == (url, "noopener")
    assert "领取优惠" in text_of(joined)
    waiting = Tags(render.visitor(dataclasses.replace(joined, next_url=None)))
    (hidden,) = [p for p in waiting.named("p") if p.get("id") == "next"]
    assert "hidden" in hidden
    plain = Tags(render.visitor(PAGES["code joined"]))
    assert not [p for p in plain.named("p") if p.get("id") == "next"]


@pytest.mark.parametrize(
    ("held_until", "expires_at", "says"),
    [
        (NOW + timedelta(minutes=15), None, "名额为您保留到 12:15"),
        (NOW + timedelta(minutes=15), NOW + timedelta(minutes=5), "此二维码 12:05 前有效"),
        (NOW - timedelta(minutes=1), NOW + timedelta(days=6), None),
        (None, None, None),
    ],
)
def test_a_page_says_until_when_its_code_is_good_if_that_is_soon(
    held_until: datetime | None, expires_at: datetime | None, says: str | None
) -> None:
    code = routing("code", "nearest")["code"] | {
        "held_until": held_until and held_until.isoformat(),
        "expires_at": expires_at and expires_at.isoformat(),
    }
    text = text_of(code_page(code=code))
    assert says in text if says else "保留到" not in text and "前有效" not in text


@pytest.mark.parametrize(
    ("metres", "located", "chinese", "english"),
    [
        (None, {}, "", ""),
        (0.4, {"source": "gps", "accuracy_m": 10}, "距您 1 米", "1 m from you"),
        (312, {"source": "gps", "accuracy_m": 25}, "距您 312 米", "312 m from you"),
        (999.6, {"source": "gps", "accuracy_m": 25}, "距您 1.0 公里", "1.0 km from you"),
        (1234, {"source": "chosen", "accuracy_m": 0}, "距您 1.2 公里", "1.2 km from you"),
        (9960, None, "距您 10 公里", "10 km from you"),
        (123456, {"source": "gps", "accuracy_m": 25}, "距您 123 公里", "123 km from you"),
        (347, {"source": "gps", "accuracy_m": 800}, "距您约 350 米", "about 350 m from you"),
        (5000, {"source": "ip", "accuracy_m": 20000}, "", ""),
        (123456, {"source": "ip", "accuracy_m": 20000}, "距您约 120 公里", "about 120 km from you"),
    ],
)
def test_a_distance_is_said_as_exactly_as_it_is_known(
    metres: float | None, located: dict[str, Any] | None, chinese: str, english: str
) -> None:
    shown = code_page("nearest", store=store(1, metres), located=located)
    expectations: tuple[tuple[words.Lang, str], ...] = (("zh", chinese), ("en", english))
    for lang, expected in expectations:
        html = render.fragment(dataclasses.replace(shown, lang=lang))
        where = re.search(r'<p class="where">(?:<b>(.*?)</b> · )?世纪大道8号</p>', html)
        assert where
        assert (where[1] or "") == expected


# Lists


def test_every_choice_is_one_tap() -> None:
    buttons = Tags(render.fragment(PAGES["choose near"])).named("button")
    stores = [button["value"] for button in buttons if button.get("name") == "store"]
    assert stores == ["SH0001", "SH0002", "SH0003"]


def test_a_long_list_is_cut_and_says_so() -> None:
    stores = [store(number) for number in range(40)]
    html = render.fragment(page("stores", nearby=stores))
    assert html.count('name="store"') == render.MOST_STORES
    assert f"只列出了前 {render.MOST_STORES} 家" in html
    html = render.fragment(page("stores", nearby=stores[:20]))
    assert html.count('name="store"') == 20
    assert "只列出了" not in html
    html = render.fragment(page("stores", nearby=stores[:20], more=True))
    assert "只列出了前 20 家" in html


def test_a_list_of_long_names_is_cut_before_the_page_grows_too_large() -> None:
    html = render.fragment(PAGES["stores"])
    count = html.count('name="store"')
    assert 5 <= count < render.MOST_STORES
    assert f"只列出了前 {count} 家" in html


def test_a_search_that_finds_nothing_leads_on() -> None:
    tags = Tags(render.fragment(PAGES["stores, none found"]))
    assert "没有找到符合的门店" in "".join(tags.texts)
    assert f"/q/main/s/{SCAN}/stores" in [link["href"] for link in tags.named("a")]
    assert tags.named("input")[0]["value"] == "火星"


def test_the_city_that_was_searched_stays_selected() -> None:
    shown = page("stores", q="x", city="上海市", cities=[("北京市", 2), ("上海市", 1)])
    html = render.fragment(shown)
    assert "<option selected>上海市" in html
    assert "<option>北京市" in html


# Words


def _anything(key: str) -> dict[str, str]:
    names = {field for _, field, _, _ in string.Formatter().parse(words._WORDS[key][0]) if field}
    return dict.fromkeys(names, "…")


@pytest.mark.parametrize("key", sorted(words.KEYS))
def test_both_languages_say_the_same_with_the_same_values(key: str) -> None:
    chinese, english = words._WORDS[key]
    assert chinese.strip()
    assert english.strip()
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert not re.search(r"[\u4e00-\u9fff]", english)
    names = [
        {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
        for text in (chinese, english)
    ]
    assert names[0] == names[1]


def test_every_text_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    said = set()
    say = words.say

    def listen(lang: words.Lang, key: str, **values: object) -> str:
        said.add(key)
        return say(lang, key, **values)

    monkeypatch.setattr(words, "say", listen)
    for shown in PAGES.values():
        render.visitor(shown)
    for metres in (50, 5000):
        for accuracy_m in (10, 900):
            located = {"source": "gps", "accuracy_m": accuracy_m}
            render.visitor(code_page(store=store(1, metres), located=located))
            choices = [store(1, metres)] * 2
            choosing = routing("choose", "ambiguous_position", choices=choices, located=located)
            render.visitor(page("choose", routing=choosing))
    render.visitor(dataclasses.replace(PAGES["code wecom_contact"], joined=True))
    code = routing("code", "nearest")["code"] | {"expires_at": "2026-05-01T04:05:00+00:00"}
    render.visitor(code_page(code=code))
    assert words.KEYS - said == set()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "zh"),
        ("", "zh"),
        ("*", "zh"),
        ("zh-CN,zh;q=0.9", "zh"),
        ("zh-TW", "zh"),
        ("ZH_hans_cn", "zh"),
        ("yue-HK", "zh"),
        ("en", "en"),
        ("en-US,en;q=0.9", "en"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en;q=0.5, zh;q=0.8", "zh"),
        ("en,zh", "en"),
        ("zh,en", "zh"),
        ("fr-FR,fr;q=0.9", "en"),
        ("fr,*;q=0.5", "en"),
        ("ja,zh;q=0.5,en;q=0.3", "zh"),
        ("fr,zh;q=0.1", "zh"),
        ("zh;q=0,en;q=0.1", "en"),
        ("zh;q=0", "en"),
        ("zh;q=0, *", "en"),
        ("en;q=0, *", "zh"),
        ("zh;q=nonsense, en;q=0.1", "en"),
        ("en ; q = 0.4 , zh ; q=0.3", "en"),
        (";;;,,,q=1", "zh"),
        ("zh;q=1.000,en;q=1.0", "zh"),
    ],
)
def test_the_page_speaks_the_language_that_is_preferred(
    header: str | None, expected: words.Lang
) -> None:
    assert render.language(header) == expected


# Colours


def _luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance of `#rgb` or `#rrggbb`."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back"),
    [
        ("ink", "bg"),
        ("ink", "card"),
        ("ink", "tint"),
        ("soft", "bg"),
        ("soft", "card"),
        ("link", "bg"),
        ("link", "card"),
        ("white", "accent"),
        ("white", "press"),
    ],
)
def test_text_stands_out_as_wcag_aa_asks(front: str, back: str, mode: int) -> None:
    style = (WEB / "static" / "page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+):(#\w+)", re.findall(r":root\{(.*?)\}", style)[mode]))
    colours["white"] = "#fff"
    light, dark = sorted((_luminance(colours[front]), _luminance(colours[back])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
