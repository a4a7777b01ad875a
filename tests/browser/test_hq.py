"""HQ's console in Chromium over a chain like the demo's: found, filtered, downloaded, imported."""

import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from playwright.async_api import Download, expect

from tests.browser import hq
from tests.browser.conftest import GetPage
from tests.browser.test_console import DESK, PHONE, fits
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def chain(service: Running) -> Running:
    hq.fill(service)
    return service


async def test_hq_finds_from_the_overview_to_a_store_and_takes_the_numbers_along(
    chain: Running, open_page: GetPage
) -> None:
    page = await open_page("hq", DESK, java_script_enabled=True)
    await hq.drawn(page)
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
    await hq.drawn(page)
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
    await hq.drawn(page)
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
    await hq.drawn(page)
    await expect(page.locator(".plot .legendtext")).to_contain_text("附近没有门店 6")


async def test_an_empty_chain_is_shown_where_to_begin(service: Running, open_page: GetPage) -> None:
    page = await open_page("hq", DESK, java_script_enabled=True)
    await expect(page.locator(".welcome")).to_contain_text("先建一个活码")
    for path in hq.FIGURES:
        answer = await page.goto(service.base_url + path)
        assert answer is not None
        assert answer.status == 200, path
        await hq.drawn(page)
        assert await fits(page), path
    await page.goto(f"{service.base_url}/hq")
    await page.locator(".welcome").get_by_role("link", name="新建活码").click()
    await page.locator("input[name=entry]").fill("tea")
    await page.locator("input[name=name]").fill("活码")
    await page.get_by_role("button", name="新建").click()
    await expect(page.get_by_role("status")).to_have_text("已新建。")
    loaded = await page.locator("img.qr").evaluate("img => img.complete && img.naturalWidth")
    assert loaded > 0, "the session is enough for the picture of the code"
