"""HQ's console in Chromium over a chain like the demo's: on a desk and on a phone, in light and in
dark, and what axe-core finds of it."""

import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Download, Page, expect

from tests import running
from tests.browser.conftest import HERE, GetPage
from tests.browser.test_console import DESK, LONG_NAME, PHONE, SMALL_TARGETS, fits
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FIXTURES = Path(__file__).parents[2] / "fixtures"
LHASA = (91.1322, 29.6604)

FIGURES = (
    "/hq", "/hq/map", "/hq/map?show=load", "/hq/map?show=unserved", "/hq/breakdown?by=store",
    "/hq/breakdown?by=day", "/hq/boards?rank=conversion", "/hq/boards?of=managers", "/hq/results",
    "/hq/compare", "/hq/revenue",
)  # fmt: skip
PAGES = (
    *FIGURES, "/hq/warnings", "/hq/stores", "/hq/store?store=S1", "/hq/store", "/hq/codes",
    "/hq/entries", "/hq/entry?entry=tea", "/hq/placements", "/hq/placement?entry=tea&placement=p-a",
    "/hq/orders", "/hq/import", "/hq/people", "/hq/invitations", "/hq/sessions", "/hq/keys",
    "/hq/webhooks", "/hq/audit",
)  # fmt: skip

DRAWN = """() => [...document.querySelectorAll(".plot[data-chart]")].every(plot =>
  plot.dataset.drawn && plot.querySelector("svg.main-svg"))"""


@pytest.fixture
def chain(service: Running) -> Running:
    """The sample's 201 stores and their codes, S1 and S2 beside them, two posters, some forty
    scans, and a few orders."""
    tables = {"stores": "stores.csv", "codes": "codes.csv"}
    for noun, name in tables.items():
        file = {"file": (name, (FIXTURES / name).read_bytes())}
        running.answered(service.hq.post(f"/api/v1/{noun}/import", files=file))
    service.put_store("S1", *HERE, name="人民广场店", city="上海市")
    service.put_store("S2", 121.4837, 31.2304, name=LONG_NAME, city="上海市")
    service.put_entry()
    service.put_code("S1", "one", capacity=200)
    service.put_code("S2", "two", capacity=5, members=5)
    for variant in "ab":
        placement = {"placement": f"p-{variant}", "name": f"门口海报 {variant}", "printed": 100}
        body = {**placement, "channel": "poster", "variant": variant.upper(), "cost": 50}
        running.answered(service.hq.post("/api/v1/entries/tea/placements", json=body))
    for number in range(36):
        scan_id = service.scan(f"v{number}", placement=f"p-{'ab'[number % 2]}")
        if number % 6 == 0:
            service.locate(scan_id, *LHASA)
            continue
        service.locate(scan_id, *HERE)
        if number % 3:
            service.tell(scan_id, "pressed")
            order = {"order": f"W{number}", "at": "2026-01-01T12:00:00+08:00", "amount": "18.50"}
            service.hq.post("/api/v1/orders", json={"orders": [{**order, "scan_id": scan_id}]})
    return service


async def drawn(page: Page) -> None:
    """Wait until every chart of the page is there."""
    await page.wait_for_function(DRAWN, timeout=20_000)


async def test_hq_finds_from_the_overview_to_a_store_and_takes_the_numbers_along(
    chain: Running, open_page: GetPage
) -> None:
    page = await open_page("hq", DESK, java_script_enabled=True)
    await drawn(page)
    await expect(page.locator("main")).to_contain_text("从扫码到入群")
    tile = page.locator(".tiles .card", has_text="扫码").first
    await expect(tile).to_contain_text("36")

    # Filters stay in links, from page to page.
    await page.locator("select[name=channel]").select_option("poster")
    await page.get_by_role("button", name="应用").click()
    assert "channel=poster" in page.url
    await page.locator("#menu").get_by_role("link", name="明细").click()
    assert "channel=poster" in page.url
    await page.get_by_role("link", name="门店", exact=True).first.click()
    await drawn(page)
    await page.goto(f"{chain.base_url}/hq/breakdown?by=store&channel=poster")
    rows = page.locator("table.grid tbody tr")
    await expect(rows.first).to_contain_text("人民广场店")

    # Sorted by a heading, and turned over.
    await page.locator("thead").get_by_role("link", name="入群").click()
    await expect(page.locator("[aria-sort=descending]")).to_contain_text("入群")
    await page.locator("thead").get_by_role("link", name="入群").click()
    await expect(page.locator("[aria-sort=ascending]")).to_contain_text("入群")
    assert "channel=poster" in page.url

    # The same as files.
    async with page.expect_download() as started:
        await page.locator(".list .files a", has_text="CSV").click()
    data = (await path_of(await started.value)).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    table = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    assert any(row[0] == "人民广场店" for row in table)
    async with page.expect_download() as started:
        await page.locator(".list .files a", has_text="XLSX").click()
    book = io.BytesIO((await path_of(await started.value)).read_bytes())
    sheet = openpyxl.load_workbook(book).worksheets[0]
    assert sheet.max_row == len(table)

    await page.get_by_role("link", name="人民广场店").first.click()
    await expect(page.locator("h1")).to_have_text("人民广场店")
    await page.locator("input[name=name]").fill("人民广场旗舰店")
    await page.get_by_role("button", name="保存").click()
    await expect(page.get_by_role("status")).to_have_text("已保存。")
    await expect(page.locator("h1")).to_have_text("人民广场旗舰店")


async def path_of(download: Download) -> Path:
    return await download.path()


async def test_lists_are_searched_and_paged_without_javascript(
    chain: Running, open_page: GetPage
) -> None:
    page = await open_page("hq", PHONE)
    await page.get_by_role("link", name="菜单").click()
    await page.locator("#menu").get_by_role("link", name="门店", exact=True).click()
    await expect(page.locator(".count")).to_have_text("共 203 条")
    await page.get_by_role("link", name="下一页").click()
    await expect(page.locator(".pager")).to_contain_text("第 2 / 5 页")
    await page.locator("input[type=search]").fill("人民广场店")
    await page.get_by_role("button", name="查找").click()
    await expect(page.locator("table.grid tbody tr")).to_have_count(1)
    assert await fits(page)


async def test_an_import_is_looked_at_and_then_confirmed(
    chain: Running, open_page: GetPage
) -> None:
    page = await open_page("hq", DESK)
    await page.goto(f"{chain.base_url}/hq/import")
    table = (
        "门店编号,门店名称,经度,纬度\nS1,改名的店,121.4737,31.2304\nN1,新店,121.5,31.2\nN2,坏,,\n"
    )
    section = page.locator("section", has=page.locator("#import-stores"))
    await section.locator("input[type=file]").set_input_files(file("门店.csv", table.encode()))
    await section.get_by_role("button", name="预览").click()
    await expect(page.locator("h1")).to_have_text("预览：门店.csv")
    await expect(page.locator("main")).to_contain_text("人民广场店 → 改名的店")
    assert chain.hq.get("/api/v1/stores/N1").status_code == 404
    await page.get_by_role("button", name="确认导入 2 条").click()
    await expect(page.get_by_role("status")).to_contain_text("新建 1，更新 1，不变 0，不能导入 1")
    assert chain.hq.get("/api/v1/stores/S1").json()["name"] == "改名的店"


def file(name: str, data: bytes) -> Any:
    return {"name": name, "mimeType": "text/csv", "buffer": data}


async def test_the_map_is_drawn_on_our_own_outlines_and_zooms(
    chain: Running, open_page: GetPage
) -> None:
    page = await open_page("hq", DESK, java_script_enabled=True)
    await page.goto(f"{chain.base_url}/hq/map")
    await drawn(page)
    width = "document.querySelector('.plot')._fullLayout.xaxis.range.reduce((a, b) => b - a)"
    whole = await page.evaluate(width)
    points = "document.querySelector('.plot')._fullData.map(trace => trace.x.length)"
    outline, *stores = await page.evaluate(points)
    assert outline > 5000
    assert sum(stores) == 203
    await page.get_by_role("button", name="放大").click()
    await page.wait_for_function(f"Math.abs({width}) < {whole} * 0.7")
    await page.get_by_role("button", name="还原").click()
    await page.wait_for_function(f"Math.abs({width} - {whole}) < 0.01")
    await page.get_by_role("link", name="没接待到的顾客").first.click()
    await drawn(page)
    await expect(page.locator(".plot .legendtext")).to_contain_text("附近没有门店 6")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault_on_any_page(
    chain: Running, open_page: GetPage, size: Any, scheme: str
) -> None:
    locale = "zh-CN" if scheme == "light" else "en-GB"
    page = await open_page("hq", size, locale=locale, color_scheme=scheme, java_script_enabled=True)
    axe, faults = Axe(), []
    for path in PAGES:
        answer = await page.goto(chain.base_url + path)
        assert answer is not None
        assert answer.status == 200, path
        await drawn(page)
        assert await fits(page), path
        if size is PHONE:
            assert await page.evaluate(SMALL_TARGETS) == [], path
        found = await axe.run(page)
        faults += [
            (path, fault["id"], [node["html"] for node in fault["nodes"]][:2])
            for fault in found.response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    assert faults == []


async def test_an_empty_chain_is_shown_where_to_begin(service: Running, open_page: GetPage) -> None:
    page = await open_page("hq", DESK, java_script_enabled=True)
    await expect(page.locator(".welcome")).to_contain_text("先建一个活码")
    for path in FIGURES:
        answer = await page.goto(service.base_url + path)
        assert answer is not None
        assert answer.status == 200, path
        await drawn(page)
        assert await fits(page), path
    await page.goto(f"{service.base_url}/hq")
    await page.locator(".welcome").get_by_role("link", name="新建活码").click()
    await page.locator("input[name=entry]").fill("tea")
    await page.locator("input[name=name]").fill("活码")
    await page.get_by_role("button", name="新建").click()
    await expect(page.get_by_role("status")).to_have_text("已新建。")
    loaded = await page.locator("img.qr").evaluate("img => img.complete && img.naturalWidth")
    assert loaded > 0, "the session is enough for the picture of the code"
