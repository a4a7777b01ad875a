"""HQ's console over real HTTP: what its pages say, their files, and what their forms change."""

import base64
import csv
import io
import itertools
import re
import time
import uuid
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import openpyxl
import pytest

import service
from service import boards, qr
from service.web import hq_words
from tests import running
from tests.http.browsing import CHINESE, ENGLISH, HERE, Console, picture
from tests.http.chains import Chain

SHANGHAI = ZoneInfo("Asia/Shanghai")
PAGES = (
    "/hq", "/hq/map", "/hq/map?show=unserved", "/hq/breakdown", "/hq/boards",
    "/hq/boards?of=managers", "/hq/results", "/hq/compare", "/hq/warnings", "/hq/stores",
    "/hq/codes", "/hq/entries", "/hq/placements", "/hq/audit",
)  # fmt: skip


def rows_of(answer: httpx.Response) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"\xef\xbb\xbf"), "Excel reads Chinese only after the mark"
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.fixture
def busy(shop: Chain) -> Chain:
    """Ten scans: eight near S1, of whom four press; two in Lhasa find nothing."""
    running.answered(
        shop.hq.post(
            f"/api/v1/entries/{shop.entry}/placements",
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


# ---------------------------------------------------------------- every page


def test_a_page_asks_nothing_of_anybody_else(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    for path, language in itertools.product(PAGES, (CHINESE, ENGLISH)):
        opened.open(path, language)
        page = opened.page
        assert page.status_code == 200, path
        assert f'<html lang="{"zh-CN" if language == CHINESE else "en"}">' in page.text
        assert " style=" not in page.text, "the policy forbids it"
        assert not re.search(r"<[^>]+ on[a-z]+=", page.text), "nor handlers"
        addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
        own = ("/", "#", "data:,", "http://localhost:8000/q/")
        assert [address for address in addresses if not address.startswith(own)] == [], path
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert page.headers["cache-control"] == "no-store"


def test_the_scripts_are_kept_for_ever_under_a_name_of_their_content(
    shop: Chain, browse: Any
) -> None:
    opened = browse("hq")
    names = re.findall(r'(?:src|href)="(/hq/assets/[^"]+)"', opened.page.text)
    assert len(names) == 3
    for name in names:
        # Nobody needs to be signed in for them, and no proxy need ask again.
        answer = httpx.get(shop.base_url + name, trust_env=False)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        plain = httpx.get(
            shop.base_url + name, trust_env=False, headers={"Accept-Encoding": "identity"}
        )
        assert plain.content == answer.content
        assert "content-encoding" not in plain.headers
    gone = shop.base_url + re.sub("-[0-9a-f]{16}", "-0123456789abcdef", names[0])
    assert httpx.get(gone, trust_env=False).status_code == 404


def test_a_reader_sees_all_and_is_offered_no_change(busy: Chain, browse: Any) -> None:
    opened = browse("read")
    entry = f"/hq/entry?entry={busy.entry}"
    placement = f"/hq/placement?entry={busy.entry}&placement=poster-1"
    for path in (*PAGES, "/hq/store?store=S1", entry, placement):
        opened.open(path)
        assert opened.page.status_code == 200, path
        forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', opened.page.text)
        assert forms == ["/hq/sign-out"], path
    opened.open("/hq/keys")
    assert opened.page.status_code == 403


FORMS = {
    "/hq/store": {"store": "S9", "name": "九店", "lon": "121", "lat": "31"},
    "/hq/store/delete": {"store": "S1"},
    "/hq/entry": {"entry": "coffee", "name": "咖啡"},
    "/hq/placement": {"entry": "{entry}", "placement": "p9", "name": "九", "channel": "sms"},
    "/hq/keys": {"role": "hq", "name": "mine"},
}


def test_only_hq_changes_anything_and_only_by_its_own_forms(shop: Chain, browse: Any) -> None:
    nouns = ("stores", "entries", "keys", f"entries/{shop.entry}/placements")
    before = [shop.hq.get(f"/api/v1/{noun}").json() for noun in nouns]
    reader, forged, manager = browse("read"), browse("hq"), browse("manager")
    for path, form in FORMS.items():
        values = {name: value.format(entry=shop.entry) for name, value in form.items()}
        reader.open("/hq")
        reader.send(path, values)
        assert reader.page.status_code == 403, path
        forged.send(path, values, token="forged")
        assert forged.page.status_code == 403, path
        manager.open("/m")
        manager.send(path, values)
        assert manager.page.url.path == "/m", path
    assert [shop.hq.get(f"/api/v1/{noun}").json() for noun in nouns] == before


def test_a_manager_is_led_to_their_own_page(shop: Chain, browse: Any) -> None:
    opened = browse("manager")
    for path in PAGES:
        opened.open(path)
        assert opened.page.url.path == "/m"


NONSENSE = (
    "since=0001-01-01T00:00:00%2B14:00",
    "since=9999-12-31&until=0001-01-01",
    "since=%00&by=%00&q=%00&city=%00&store=%00&who=%00",
    "page=99999999999999999999&size=-1&sort=-nothing",
    "page=-1&sort=__class__&period=nonsense",
    "cursor=AA",
)


def test_nonsense_in_the_address_is_no_error_of_ours(browse: Any) -> None:
    opened = browse("hq")
    for path in PAGES:
        for query in NONSENSE:
            opened.open(f"{path}{'&' if '?' in path else '?'}{query}")
            assert opened.page.status_code in (200, 404, 422), (path, query)
            assert "</html>" in opened.page.text


def test_names_cannot_become_markup_nor_end_a_charts_figures(shop: Chain, browse: Any) -> None:
    shop.put_store("S1", *HERE, name='</script><script>alert("1")</script>', city="<b>&市")
    shop.put_code("S1", "one", label="<i>一群</i>")
    for n in range(3):
        scan_id = shop.scan(f"v{n}")
        shop.locate(scan_id, *HERE)
        shop.tell(scan_id, "pressed")
    shop.locate(shop.scan("far"), 91.1322, 29.6604)
    opened = browse("hq")
    for path in ("/hq", "/hq/breakdown?by=store", "/hq/stores", "/hq/codes", "/hq/store?store=S1"):
        opened.open(path)
        assert "<script>alert" not in opened.page.text, path
        assert "<i>一群" not in opened.page.text, path
    opened.open("/hq/breakdown?by=store")
    assert "\\u003c/script>" in opened.page.text


# ---------------------------------------------------------------- figures


def test_before_the_first_scan_hq_is_told_what_to_do(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    assert "还没有人扫码" in opened.open("/hq")
    assert "No scans yet" in opened.open("/hq", ENGLISH)
    assert f'href="http://localhost:8000/q/{shop.entry}"' in opened.page.text
    shop.scan("a")
    assert "还没有人扫码" not in opened.open("/hq")


def test_a_chain_without_an_entry_is_led_to_make_one(browse: Any) -> None:
    opened = browse("hq")
    assert "先建一个活码" in opened.text
    assert 'href="/hq/entry"' in opened.page.text


def test_hq_sees_the_funnel_of_today_and_of_the_period(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    funnel = "扫码 10 100.0% 已定位 10 100.0% 看到群码 8 80.0% 长按识别 4 40.0% 入群 4 40.0%"
    assert opened.text.count(funnel) == 2
    # Wilson's interval of 4 in 10.
    assert "95% 区间 16.8% – 68.7%" in opened.text
    opened.open("/hq", ENGLISH)
    assert "95 % interval 16.8% – 68.7%" in opened.text
    assert "Joined 4 40.0%" in opened.text


def test_a_long_period_is_told_by_weeks(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    assert "每日走势" in opened.open("/hq?period=90d")
    told = opened.open("/hq?period=365d")
    assert "每周走势" in told
    assert re.search(r"5[34] 周（首尾可能不满七天）共 10 次扫码、4 人入群", told)
    (link,) = re.findall(r'href="(/api/v1/reports/trend\.csv[^"]+)"', opened.page.text)
    _head, *weeks = rows_of(opened.client.get(unescape(link)))
    assert len(weeks) in (53, 54)
    assert all(re.fullmatch(r"20\d\d-W\d\d", week[0]) for week in weeks)
    assert weeks[-1][1] == "10"
    assert "Week by week" in opened.open("/hq?period=365d", ENGLISH)


def test_hq_breaks_it_down(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    expected = {
        "city": ("上海市 8 8 8 8 4 0 4 0 50.0%", "上海市 8 8 8 8 4 0 4 0 50.0%"),
        "store": ("人民广场店 S1 · 上海市 8 8 8 8 4 0 4 0 50.0%", "Led to no store 2 2 2 0 0 0 0"),
        "placement": ("门口海报 poster-1 8 8 8 8 4 0 4 0 50.0%", "No placement named 2 2 2 0 0"),
        "nonsense": ("上海市 8 8 8 8 4 0 4 0 50.0%", "上海市 8 8 8 8 4 0 4 0 50.0%"),
    }
    for by, (chinese, english) in expected.items():
        assert chinese in opened.open(f"/hq/breakdown?by={by}")
        assert english in opened.open(f"/hq/breakdown?by={by}", ENGLISH)


def test_a_link_keeps_the_filters_and_its_files_have_the_same_numbers(
    busy: Chain, browse: Any
) -> None:
    opened = browse("hq")
    opened.open("/hq/breakdown?by=city&channel=poster&period=7d")
    assert "上海市 8 8 8 8 4 0 4 0 50.0%" in opened.text
    assert "西藏" not in opened.text
    links = {unescape(url) for url in re.findall(r'href="(/[^"]+)"', opened.page.text)}
    kept = [url for url in links if url.startswith(("/hq/breakdown?", "/hq?"))]
    assert len(kept) > 10
    assert all("channel=poster" in url or "7d" in url for url in kept)
    (api,) = [url for url in links if url.startswith("/api/v1/reports/funnel.csv")]
    assert "上海市,8,8,8,8,4,0,0,4,0,0.5," in opened.client.get(api).text
    (own,) = [url for url in links if url.startswith("/hq/breakdown.csv")]
    _head, *rows = rows_of(opened.client.get(own))
    assert rows == [["上海市", *"8888404", "0", *rows[0][9:]]]
    assert float(rows[0][-1]) == 0.5
    for url in links:
        if not url.startswith("/hq/sign-out"):
            assert opened.client.get(url).status_code == 200, url


def test_a_period_that_is_over_counts_what_was_in_it(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    assert "这段时间没有扫码" in opened.open(f"/hq/breakdown?since={tomorrow}")
    for since in ("2026-13-45", "yesterday", ""):
        assert "上海市 8 8 8 8 4" in opened.open(f"/hq/breakdown?since={since}")


def test_hq_sees_who_was_not_served_and_why(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    assert "附近没有门店 2 20.0%" in opened.text
    assert "No store in range 2 20.0%" in opened.open("/hq", ENGLISH)


def test_hq_sees_how_stores_and_codes_stand(shop: Chain, browse: Any) -> None:
    shop.put_code("S1", "one", capacity=10, members=9)
    shop.put_code("S1", "two", capacity=5, members=5)
    shop.put_code("S2", "three", capacity=5, members=5)
    opened = browse("hq")
    opened.open("/hq")
    assert "营业门店 3 共 3 家" in opened.text
    assert "可接待 1 33.3%" in opened.text
    assert "剩余名额 1" in opened.text
    assert "将满 1 33.3%" in opened.text
    assert "已满 2 66.7%" in opened.text


# ---------------------------------------------------------------- lists


@pytest.fixture
def many(shop: Chain) -> Chain:
    for n in range(60):
        shop.put_store(f"N{n:02}", 121 + n / 1000, 31, name=f"{n:02}号店", city="上海市")
    shop.put_code("N07", "seven", capacity=70, members=1)
    shop.put_code("N08", "eight", capacity=80, members=80)
    return shop


def test_a_list_is_searched_sorted_and_cut_into_pages(many: Chain, browse: Any) -> None:
    opened = browse("hq")
    assert "共 63 条" in opened.open("/hq/stores")
    assert "第 1 / 2 页" in opened.text
    assert "59号店" not in opened.text
    (following,) = re.findall(r'rel="next" href="([^"]+)"', opened.page.text)
    assert "59号店" not in opened.text
    first = set(re.findall(r'store=([A-Z0-9]+)">', opened.page.text))
    opened.open(unescape(following))
    second = set(re.findall(r'store=([A-Z0-9]+)">', opened.page.text))
    assert len(first) == 50
    assert len(second) == 13
    assert not first & second
    opened.open("/hq/stores?sort=-seats")
    assert re.findall(r'store=([A-Z0-9]+)">', opened.page.text)[0] == "N07"
    assert 'aria-sort="descending"' in opened.page.text
    opened.open("/hq/stores?q=59号")
    assert re.findall(r'store=([A-Z0-9]+)">', opened.page.text) == ["N59"]
    opened.open("/hq/stores?status=dark&q=N0")
    assert "N07" not in re.findall(r'store=([A-Z0-9]+)">', opened.page.text)
    assert "没有符合条件的内容" in opened.open("/hq/stores?q=nowhere")
    assert "没有符合条件的内容" in opened.open("/hq/stores?page=99")


def test_codes_are_listed_by_how_they_stand(many: Chain, browse: Any) -> None:
    opened = browse("hq")
    assert "共 2 条" in opened.open("/hq/codes")
    full = opened.open("/hq/codes?state=full")
    assert "08号店" in full
    assert "07号店" not in full.partition("店名")[2]
    assert "共 1 条" in full


def test_a_file_has_all_pages_and_starts_no_formula(many: Chain, browse: Any) -> None:
    many.put_store("N07", 121.007, 31, name='=HYPERLINK("http://evil","七")', address="@SUM(1)")
    opened = browse("hq")
    head, *rows = rows_of(opened.client.get("/hq/stores.csv?sort=name"))
    assert len(rows) == 63
    assert head[0] in ("名称", "Name")
    cells = [cell for row in rows for cell in row]
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells)
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    answer = opened.client.get("/hq/stores.xlsx", headers={"Accept-Language": CHINESE})
    assert "filename*=UTF-8''%E9%97%A8%E5%BA%97" in answer.headers["content-disposition"]
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0]
    assert sheet.title == "门店"
    assert sheet.max_row == 64
    assert {cell.data_type for row in sheet.iter_rows(min_row=2) for cell in row} <= {"s", "n"}
    assert sheet["A1"].value == "名称"
    opened.open("/hq/stores.pdf")
    assert opened.page.status_code == 404


# ---------------------------------------------------------------- forms


def test_a_store_is_made_edited_and_taken_out_of_service(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    opened.open("/hq/store")
    values = {"store": "S9", "name": "九店", "lon": "121.4737", "lat": "31.2304"}
    opened.send("/hq/store", {**values, "datum": "wgs84", "status": "open", "city": ""})
    assert "已新建。" in opened.text
    made = shop.hq.get("/api/v1/stores/S9").json()
    assert made["name"] == "九店"
    assert made["city"] == "上海市", "what is left empty follows from the position"
    edited = {**values, "before": "S9", "name": "九号店", "tags": "夜市，机场", "status": "closed"}
    opened.send("/hq/store", {**edited, "datum": "wgs84"})
    assert "已保存。" in opened.text
    changed = shop.hq.get("/api/v1/stores/S9").json()
    assert (changed["name"], changed["status"]) == ("九号店", "closed")
    assert changed["tags"] == ["夜市", "机场"]
    assert (changed["lon"], changed["lat"]) == (made["lon"], made["lat"])
    opened.send("/hq/store", {**edited, "lon": "999"})
    assert opened.page.status_code == 422
    assert 'value="999"' in opened.page.text, "what was typed is not lost"
    assert "没有保存" in opened.text
    assert shop.hq.get("/api/v1/stores/S9").json() == changed
    opened.send("/hq/store/delete", {"store": "S9"})
    assert "已删除" in opened.text
    assert shop.hq.get("/api/v1/stores/S9").status_code == 404


def test_an_entry_and_a_placement_are_made_and_edited(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    opened.open("/hq/entry")
    opened.send("/hq/entry", {"entry": "vip", "name": "会员日", "radius_m": "3000"})
    assert "已新建。" in opened.text
    opened.send("/hq/entry", {"before": "vip", "name": "会员节", "brands": "茶，咖啡"})
    found = shop.hq.get("/api/v1/entries/vip").json()
    assert (found["name"], found["radius_m"]) == ("会员节", None)
    assert found["brands"] == ["茶", "咖啡"]
    opened.send("/hq/entry", {"entry": "vip", "name": "又一个"})
    assert opened.page.status_code == 422
    assert shop.hq.get("/api/v1/entries/vip").json()["name"] == "会员节"

    new = {"entry": "vip", "placement": "p1", "name": "海报", "channel": "poster"}
    opened.send("/hq/placement", {**new, "printed": "500", "cost": "99.50", "variant": "A"})
    assert "已新建。" in opened.text
    opened.send("/hq/placement", {**new, "name": "别的"})
    assert opened.page.status_code == 422, "a new one does not replace one that is there"
    opened.send("/hq/placement", {**new, "before": "p1", "name": "大海报", "printed": "800"})
    (placed,) = shop.hq.get("/api/v1/entries/vip/placements").json()["placements"]
    assert (placed["name"], placed["printed"], placed["cost"]) == ("大海报", 800, None)
    opened.send("/hq/placement", {**new, "before": "p1", "printed": "many"})
    assert opened.page.status_code == 422


def test_a_code_is_counted_and_paused_from_hq(shop: Chain, browse: Any) -> None:
    code_id = shop.put_code("S1", "one", capacity=50)["code_id"]
    opened = browse("hq")
    assert "企业微信群" in opened.open(f"/hq/code?code={code_id}")
    values = {"code": code_id, "members": "20", "capacity": "40", "status": "paused"}
    opened.send("/hq/code", {**values, "expires_at": "2030-01-01T08:00"})
    assert "已保存。" in opened.text
    code = shop.code(code_id)
    assert (code["members"], code["capacity"], code["status"]) == (20, 40, "paused")
    assert datetime.fromisoformat(code["expires_at"]) == datetime(2030, 1, 1, tzinfo=UTC)
    opened.send("/hq/code", {**values, "capacity": "-1"})
    assert opened.page.status_code == 422
    assert shop.code(code_id)["capacity"] == 40


def test_a_key_is_shown_once_and_revoked_at_once(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    opened.open("/hq/keys")
    opened.send("/hq/keys", {"role": "manager", "name": "夜班", "stores": "S1，S2"})
    (key,) = re.findall(r"nck_[\w-]+", opened.page.text)
    bearer = {"Authorization": f"Bearer {key}"}
    assert len(shop.visitor.get("/api/v1/stores", headers=bearer).json()["stores"]) == 2
    assert key not in opened.open("/hq/keys")
    revoked = next(k for k in shop.hq.get("/api/v1/keys").json()["keys"] if k["name"] == "夜班")
    opened.send("/hq/keys/revoke", {"key_id": revoked["key_id"]})
    assert "密钥已停用" in opened.text
    assert shop.visitor.get("/api/v1/stores", headers=bearer).status_code == 401
    opened.send("/hq/keys", {"role": "king"})
    assert opened.page.status_code == 422


def test_what_hq_changes_is_in_the_log(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    opened.open("/hq/store?store=S1")
    given = {"before": "S1", "store": "S1", "lon": "121.4737", "lat": "31.2304", "datum": "wgs84"}
    opened.send("/hq/store", {**given, "name": "新名字"})
    told = opened.open("/hq/audit?q=S1")
    assert "门店 · 修改" in told
    assert "→ 新名字" in told
    _head, *rows = rows_of(opened.client.get("/hq/audit.csv?q=S1"))
    assert any("新名字" in cell for row in rows for cell in row)
    assert "没有符合条件的内容" in opened.open("/hq/audit?q=S1&action=code&who=nobody")


def test_the_codes_to_print_can_be_downloaded_with_the_session(busy: Chain, browse: Any) -> None:
    opened: Console = browse("hq")
    links: set[str] = set()
    entry = f"entry={busy.entry}"
    for path in (f"/hq/entry?{entry}", f"/hq/placement?{entry}&placement=poster-1"):
        opened.open(path)
        links |= {unescape(u) for u in re.findall(r'="(/api/v1/entries/[^"]+)"', opened.page.text)}
    assert len(links) == 6  # three forms of the entry's, three of its placement's
    for link in links:
        answer = opened.client.get(link)
        assert answer.status_code == 200, link
        if ".png" in link:
            placement = "?p=poster-1" if "placement" in link else ""
            assert qr.decode(answer.content) == f"http://localhost:8000/q/{busy.entry}{placement}"
    assert httpx.get(busy.base_url + link, trust_env=False).status_code == 401


# ---------------------------------------------------------------- imports

TABLE = (
    "门店编号,门店名称,经度,纬度\n"
    "S1,人民广场旗舰店,121.4737,31.2304\n"
    "N1,新店,121.50,31.20\n"
    "N2,没有位置,,\n"
)


def preview(opened: Console, kind: str, name: str, data: bytes, **values: str) -> str:
    opened.open("/hq/import")
    opened.page = opened.client.post(
        f"/hq/import/{kind}",
        data={"token": opened.token, **values},
        files={"file": (name, data)},
        headers={"Accept-Language": CHINESE},
    )
    return opened.text


def hidden(page: httpx.Response) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in found if name != "token"}


def test_stores_are_looked_at_before_they_are_imported(shop: Chain, browse: Any) -> None:
    before = shop.hq.get("/api/v1/stores").json()
    opened = browse("hq")
    told = preview(opened, "stores", "门店.csv", TABLE.encode("gb18030"), datum="wgs84")
    assert "预览：门店.csv" in told
    assert "新建 1 更新 1 不变 0 不能导入 1" in told
    assert "→ 人民广场旗舰店" in told
    assert "4 经度 缺少经度" in told, "in the page's language"
    assert shop.hq.get("/api/v1/stores").json() == before, "nothing was written"
    sent = hidden(opened.page)
    opened.page = opened.client.post(
        "/hq/import/stores/confirm",
        data={"token": opened.token, **sent},
        headers={"Accept-Language": CHINESE},
    )
    assert "新建 1，更新 1，不变 0，不能导入 1。" in opened.text
    assert shop.hq.get("/api/v1/stores/S1").json()["name"] == "人民广场旗舰店"
    assert shop.hq.get("/api/v1/stores/N1").json()["name"] == "新店"
    assert shop.hq.get("/api/v1/stores/N2").status_code == 404


def test_codes_and_placements_are_looked_at_first_too(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    codes = f"store,payload,label\nS1,{running.payload('one')},一群\nS9,{running.payload('x')},\n"
    told = preview(opened, "codes", "codes.csv", codes.encode())
    assert "新建 1 不变 0 不能导入 1" in told
    assert "没有门店 S9" in told
    sent = hidden(opened.page)
    assert shop.hq.get("/api/v1/stores/S1/codes").json()["codes"] == []
    opened.client.post("/hq/import/codes/confirm", data={"token": opened.token, **sent})
    (code,) = shop.hq.get("/api/v1/stores/S1/codes").json()["codes"]
    assert code["label"] == "一群"
    table = b"placement,name,channel,printed\np1,One,poster,100\np2,Two,sms,\n"
    told = preview(opened, "placements", "p.csv", table, entry=shop.entry)
    assert "新建 2 更新 0 不变 0 不能导入 0" in told
    sent = hidden(opened.page)
    opened.client.post("/hq/import/placements/confirm", data={"token": opened.token, **sent})
    placed = shop.hq.get(f"/api/v1/entries/{shop.entry}/placements").json()["placements"]
    assert [p["placement"] for p in placed] == ["p1", "p2"]
    assert "没有要写入的内容" in preview(opened, "placements", "p.csv", table, entry=shop.entry)


def test_what_cannot_be_imported_is_said_and_changes_nothing(shop: Chain, browse: Any) -> None:
    before = shop.hq.get("/api/v1/stores").json()
    opened = browse("hq")
    for name, data in {"a.csv": b"", "b.csv": b"\x00\x01\x02", "c.xlsx": b"PK\x03\x04x"}.items():
        preview(opened, "stores", name, data)
        assert opened.page.status_code == 422, name
        assert "没有保存" in opened.text
    assert "XLSX 文件损坏或不完整" in opened.text
    preview(opened, "placements", "p.csv", b"placement\np1\n", entry="nowhere")
    assert opened.page.status_code == 422
    bomb = base64.b64encode(zlib.compress(b"\x00" * 200_000_000)).decode()
    for packed in ("", "!!!", base64.b64encode(b"no zlib").decode(), bomb):
        opened.page = opened.client.post(
            "/hq/import/stores/confirm", data={"token": opened.token, "packed": packed}
        )
        assert opened.page.status_code == 422
    assert opened.client.post("/hq/import/nothing").status_code == 404
    assert shop.hq.get("/api/v1/stores").json() == before


def test_a_zip_of_codes_goes_on_by_itself_and_tells_of_every_file(shop: Chain, browse: Any) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("S1.png", picture(running.payload("large")))
        files.writestr("S9.png", picture(running.payload("none")))
        files.writestr("notes.txt", b"hello")
    opened = browse("hq")

    def imported(**values: str) -> str:
        opened.open("/hq/import")
        answer = opened.client.post(
            "/hq/import-large",
            data={"token": opened.token, **values},
            files={"file": ("群码.zip", archive.getvalue())},
        )
        assert answer.url.path.startswith("/hq/import-large/")
        for _ in range(100):
            told: str = opened.open(answer.url.raw_path.decode())
            if "进行中" not in told:
                assert 'http-equiv="refresh"' not in opened.page.text
                return told
            assert 'http-equiv="refresh"' in opened.page.text, "without JavaScript, too"
            time.sleep(0.1)
        raise AssertionError(told)

    told = imported(dry_run="yes")
    assert "只是检查，什么都没有写入" in told
    assert shop.hq.get("/api/v1/stores/S1/codes").json()["codes"] == []
    told = imported()
    assert "已完成" in told
    assert "已处理 3 / 3" in told
    assert "新建 1，不变 0，不能导入 2。" in told
    assert "没有门店 S9" in told
    assert len(shop.hq.get("/api/v1/stores/S1/codes").json()["codes"]) == 1
    (link,) = re.findall(r'href="(/hq/import-large/[^"]*\.csv)"', opened.page.text)
    head, *rows = rows_of(opened.client.get(unescape(link), headers={"Accept-Language": CHINESE}))
    assert head == ["文件", "门店编号", "结果", "说明"]
    assert [[row[0], row[2]] for row in rows] == [
        ["S1.png", "新建"],
        ["S9.png", "不能导入"],
        ["notes.txt", "不能导入"],
    ]
    assert "群码.zip" in opened.open("/hq/import")


def test_a_large_import_that_is_none_is_refused_at_once(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    opened.open("/hq/import")
    answer = opened.client.post(
        "/hq/import-large",
        data={"token": opened.token},
        files={"file": ("x.zip", b"PK\x05\x06" + bytes(17))},
        headers={"Accept-Language": CHINESE},
    )
    assert answer.status_code == 422
    other = f"/hq/import-large/{uuid.uuid4()}"
    assert opened.client.get(other).status_code == 404
    assert browse("read").client.get(other).status_code == 403


# ---------------------------------------------------------------- people, webhooks, orders


def post(opened: Console, path: str, values: dict[str, str], page: str) -> str:
    """Send a form of that page."""
    opened.open(page)
    return opened.send(path, values)


def test_a_colleague_is_added_changed_and_shown_out(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    new = {"role": "read", "name": "财务小王", "email": "Wang@example.com"}
    told = post(opened, "/hq/people", new, "/hq/people")
    (link,) = re.findall(r"http://localhost:8000/hq/password/[\w-]+", told)
    assert link.rpartition("/")[2] not in opened.open("/hq/people"), "the link is told once"
    (person,) = [p for p in shop.hq.get("/api/v1/people").json()["people"] if p["email"]]
    assert (person["name"], person["role"]) == ("财务小王", "read")
    page = f"/hq/person?person={person['person_id']}"
    change = {"person": person["person_id"], "name": "小王", "role": "hq", "active": "no"}
    assert "已保存。" in post(opened, "/hq/person", {**change, "email": new["email"]}, page)
    changed = shop.hq.get(f"/api/v1/people/{person['person_id']}").json()
    assert (changed["name"], changed["role"], changed["active"]) == ("小王", "hq", False)
    post(opened, "/hq/people", {**new, "email": "no address"}, "/hq/people")
    assert opened.page.status_code == 422
    for path in ("/hq/people", page, "/hq/invitations", "/hq/sessions", "/hq/webhooks"):
        reader = browse("read")
        reader.open(path)
        assert reader.page.status_code == 403, path


def test_managers_are_invited_by_a_link_that_can_be_withdrawn(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    told = post(opened, "/hq/invitations", {"stores": "S1，S2", "name": "老李"}, "/hq/invitations")
    (link,) = re.findall(r"http://localhost:8000(/m/join/[\w-]+)", told)
    (picture,) = re.findall(r'src="(/m/join/[^"]+/qr.svg)"', opened.page.text)
    assert opened.client.get(picture).headers["content-type"].startswith("image/svg")
    assert "老李" in opened.client.get(link, headers={"Accept-Language": CHINESE}).text
    (invitation,) = shop.hq.get("/api/v1/invitations").json()["invitations"]
    assert invitation["stores"] == ["S1", "S2"]
    sent = {"invitation": invitation["invitation_id"]}
    assert "已撤回" in post(opened, "/hq/invitations/revoke", sent, "/hq/invitations")
    assert shop.hq.get("/api/v1/invitations").json()["invitations"][0]["state"] == "revoked"
    post(opened, "/hq/invitations", {"stores": "S404"}, "/hq/invitations")
    assert opened.page.status_code == 422
    opened.open("/hq/invitations")
    opened.page = opened.client.post(
        "/hq/invitations/import",
        data={"token": opened.token},
        files={"file": ("m.csv", b"store,name\nS1,Ann\nS404,Bob\n")},
    )
    assert len(set(re.findall(r"/m/join/[\w-]{20,}", opened.page.text))) == 1
    assert "S404" in opened.text


def test_a_browser_is_signed_out_from_the_list(shop: Chain, browse: Any) -> None:
    opened, other = browse("hq"), browse("read")
    assert "人员" not in other.open("/hq"), "a reader has no such page"
    opened.open("/hq/sessions")
    (session,) = re.findall(r'name="session" value="([^"]+)"', opened.page.text)
    assert "已退出。" in opened.send("/hq/sessions/end", {"session": session})
    assert "密钥" in other.open("/hq")
    assert 'name="key"' in other.page.text, "signed out"


def test_a_webhook_is_made_changed_and_deleted(shop: Chain, browse: Any) -> None:
    opened = browse("hq")
    new = {"url": "https://192.168.0.10/hook", "description": "CRM", "events": "join.left"}
    assert "没有保存" in post(opened, "/hq/webhooks", new, "/hq/webhooks"), "a private network"
    assert shop.hq.get("/api/v1/webhooks").json()["webhooks"] == []
    new["url"] = "https://1.1.1.1/hook"  # nobody leaves here, so nothing is ever sent there
    told = post(opened, "/hq/webhooks", new, "/hq/webhooks")
    assert "whsec_" in told
    (made,) = shop.hq.get("/api/v1/webhooks").json()["webhooks"]
    page = f"/hq/webhook?webhook={made['webhook_id']}"
    assert "whsec_" not in opened.open(page), "the secret is told once"
    change = {**new, "webhook": made["webhook_id"], "enabled": "no"}
    assert "已保存。" in post(opened, "/hq/webhook", change, page)
    assert shop.hq.get("/api/v1/webhooks").json()["webhooks"][0]["enabled"] is False
    gone = post(opened, "/hq/webhook/delete", {"webhook": made["webhook_id"]}, page)
    assert "推送已删除" in gone
    assert shop.hq.get("/api/v1/webhooks").json()["webhooks"] == []


def test_orders_are_listed_and_the_unmatched_are_not_hidden(busy: Chain, browse: Any) -> None:
    scan_id = busy.scan("buyer", placement="poster-1")
    busy.locate(scan_id, *HERE)
    busy.tell(scan_id, "pressed")
    at = datetime.now(UTC).isoformat()
    orders = [
        {"order": "W1", "at": at, "amount": "18.50", "scan_id": scan_id},
        {"order": "W2", "at": at, "amount": "7.00", "member": "nobody-known"},
    ]
    running.answered(busy.hq.post("/api/v1/orders", json={"orders": orders}))
    opened = browse("hq")
    told = opened.open("/hq/orders")
    assert "W1" in told
    assert "没对上" in told
    assert "W1" not in opened.open("/hq/orders?matched=no").partition("订单号")[2]
    _head, *rows = rows_of(opened.client.get("/hq/orders.csv?matched=yes"))
    assert [row[0] for row in rows] == ["W1"]
    tree = opened.open("/hq/revenue?by=store")
    assert "收入 18.50 已减退款" in tree
    assert "没有对上会员的订单 1 7.00" in tree
    assert "新会员 · " in tree


def test_orders_are_searched_sorted_and_paged(busy: Chain, browse: Any) -> None:
    now = datetime.now(UTC)
    sent = [
        {"order": f"N{number:03}", "at": now.isoformat(), "amount": f"{number}.25", "store": "S1"}
        for number in range(60)
    ]
    sent[7] |= {"member": "phone:13800138000", "store": "S2"}
    sent[8] |= {"member": "VIP-77", "at": (now - timedelta(days=2)).isoformat()}
    running.answered(busy.hq.post("/api/v1/orders", json={"orders": sent}))
    opened = browse("hq")

    def numbers(query: str) -> list[str]:
        _head, *rows = rows_of(opened.client.get(f"/hq/orders.csv?{query}"))
        return [row[0] for row in rows]

    assert numbers("q=n017") == ["N017"]
    assert numbers("q=13800138000") == ["N007"], "by the phone, of which only a hash is kept"
    assert numbers("q=vip-77") == ["N008"]
    assert len(numbers("q=人民广场店")) == 59
    assert len(numbers("store=S1")) == 59
    assert numbers("sort=-amount")[:2] == ["N059", "N058"]
    assert numbers("sort=order")[:2] == ["N000", "N001"]
    assert numbers("")[-1] == "N008", "the newest first"
    assert numbers("sort=at")[0] == "N008"
    assert numbers("matched=yes") == []
    told = opened.open("/hq/orders?sort=amount&page=2")
    assert "共 60 条" in told
    assert "第 2 / 2 页" in told
    assert "N059" in told
    assert "N049" not in told
    assert "没有符合条件的内容" in opened.open("/hq/orders?q=%27%22%25_")
    excel = opened.client.get("/hq/orders.xlsx?q=n017")
    sheet = openpyxl.load_workbook(io.BytesIO(excel.content)).active
    assert sheet is not None
    assert [cell.value for cell in sheet["C"]] == ["金额", 17.25]


def test_the_map_the_boards_and_the_comparison_show_the_reports(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    assert "人民广场店 S1 上海市 8 4 50.0%" in opened.open("/hq/map?q=S1")
    assert "附近没有门店 西藏自治区 拉萨市" in opened.open("/hq/map?show=unserved")
    assert "1 人民广场店 S1 · 上海市 8 4 50.0%" in opened.open("/hq/boards")
    assert "门口海报 poster-1 海报" in opened.open("/hq/results")
    assert "还没有两个版本可比" in opened.open("/hq/compare")
    for variant in "ab":
        body = {"placement": variant, "name": variant, "channel": "sms", "variant": variant.upper()}
        running.answered(busy.hq.post(f"/api/v1/entries/{busy.entry}/placements", json=body))
        for number in range(15):
            scan_id = busy.scan(f"{variant}{number}", placement=variant)
            busy.locate(scan_id, *HERE)
            if variant == "b":
                busy.tell(scan_id, "pressed")
    compared = busy.hq.get("/api/v1/reports/compare").json()
    assert compared["winner"] == "B"
    assert compared["sentence"]["zh"] in opened.open("/hq/compare")
    assert compared["sentence"]["en"] in opened.open("/hq/compare", ENGLISH)


def test_growth_from_few_is_a_dash_that_says_why(busy: Chain, browse: Any) -> None:
    opened = browse("hq")
    day = (datetime.now(SHANGHAI) + timedelta(days=1)).date().isoformat()
    tomorrow = f"/hq/boards?q=S1&since={day}&until={day}"
    opened.open(tomorrow)
    assert "上期只有 4 人入群" in opened.page.text
    assert "−100.0%" not in opened.page.text
    told = busy.hq.get(f"/api/v1/reports/stores?since={day}&until={day}").json()["rows"]
    assert next(row["growth"] for row in told if row["store"] == "S1") == -1
    for number in range(boards.GROWTH_FROM - 4):
        scan_id = busy.scan(f"more-{number}")
        busy.locate(scan_id, *HERE)
        busy.tell(scan_id, "pressed")
    opened.open(tomorrow)
    assert "−100.0%" in opened.page.text
    assert "上期只有" not in opened.page.text.partition("<table")[2].partition("</table")[0]


def test_every_change_that_is_logged_has_words() -> None:
    root = Path(service.__file__).parent
    logged = {
        action
        for file in root.rglob("*.py")
        if not {"web", "hq"} & set(file.relative_to(root).parts)
        for action in re.findall(r'"([a-z_]+\.[a-z_]+)"', file.read_text("utf-8"))
        if f"thing.{action.partition('.')[0]}" in hq_words.KEYS
    }
    files = {name for name in logged if name.endswith((".csv", ".json"))}
    missing = {f"verb.{name.partition('.')[2]}" for name in logged - files} - hq_words.KEYS
    assert len(logged) > 20
    assert missing == set()
