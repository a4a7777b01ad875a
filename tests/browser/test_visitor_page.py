"""The visitor's page in Chromium: from the poster to the group, whatever the phone allows."""

import asyncio
import re
import time
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Route, expect

from tests import running
from tests.browser import phone as phones_answers
from tests.browser.conftest import HERE, INSECURE, GetPhone
from tests.browser.phone import Phone
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LHASA = (91.1322, 29.6604)
SHANGHAI_ADDRESS = "114.80.166.240"


def scans(service: Running) -> int:
    answer = running.answered(service.hq.get("/api/v1/reports/funnel?by=none"))
    return int(answer["total"]["scans"])


def take_seats(service: Running, number: int) -> None:
    for visitor in range(number):
        service.locate(service.scan(f"other-{visitor}"), *HERE)


async def reads(phone: Phone, tmp_path: Any) -> str:
    """What a phone that looks at the screen reads from the code."""
    await phone.picture()
    picture = tmp_path / "code.png"
    await phone.page.locator(".code img").screenshot(path=picture)
    with Image.open(picture) as image:
        (found,) = zxingcpp.read_barcodes(image)
    return found.text


async def evidence(service: Running, number: int = 1) -> list[str]:
    """The evidence of the joins, once there are so many."""
    deadline = time.monotonic() + 10
    while True:
        joins = running.answered(service.hq.get("/api/v1/joins"))["joins"]
        if len(joins) >= number or time.monotonic() > deadline:
            return [join["evidence"] for join in joins]
        await asyncio.sleep(0.1)


# With a position


async def test_a_phone_that_says_where_it_is_shows_the_nearest_stores_code(
    stores: Running, phones: GetPhone, tmp_path: Any
) -> None:
    phone = await phones(at=(121.4757, 31.2304))
    started = time.monotonic()
    await phone.scan("/q/tea")
    await phone.view("code")
    assert time.monotonic() - started < 15
    text = await phone.text()
    for part in ("离您最近的门店", "人民广场店", "人民大道120号", "距您 191 米"):
        assert part in text
    assert "长按识别二维码入群" in text
    await expect(phone.page.locator("img")).to_have_count(1)
    assert await reads(phone, tmp_path) == running.payload("one")


async def test_a_reload_is_no_new_scan_and_takes_no_second_seat(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    code_id = await phone.code_id()
    for _ in range(2):
        await phone.page.reload()
        await phone.view("code")
    assert await phone.code_id() == code_id
    assert scans(stores) == 1
    assert stores.code(code_id)["held"] == 1


async def test_who_comes_back_sees_the_same_code_at_once_and_takes_no_second_seat(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    code_id = await phone.code_id()
    await phone.context.set_geolocation({"longitude": 121.4837, "latitude": 31.2304})
    await phone.scan()
    # As it comes from the server, before any script could ask for it.
    await expect(phone.page.locator("main")).to_have_attribute("data-view", "code")
    assert "欢迎回来" in await phone.text()
    assert await phone.code_id() == code_id
    await phone.page.reload()
    await phone.view("code")
    assert scans(stores) == 2, "a reload is no scan"
    assert stores.code(code_id)["held"] == 1


async def test_if_the_nearest_store_is_full_the_next_is_shown_and_said_to_be(
    stores: Running, phones: GetPhone, tmp_path: Any
) -> None:
    take_seats(stores, 2)
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    assert "「人民广场店」的群已满，这是离您最近的下一家，距您 953 米。" in await phone.text()
    assert await reads(phone, tmp_path) == running.payload("two")


async def test_a_vague_position_offers_the_stores_that_may_be_meant(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE, accuracy_m=1500)
    await phone.scan()
    await phone.view("choose")
    await phone.page.get_by_role("button", name="外滩店").tap()
    await phone.view("code")
    assert "您选择的门店 外滩店" in await phone.text()


async def test_far_from_every_store_the_page_says_so_and_offers_what_there_is(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=LHASA)
    await phone.scan()
    await phone.view("unserved")
    text = await phone.text()
    assert "您附近还没有门店群" in text
    assert re.search(r"人民广场店 29\d\d 公里", text)
    await phone.page.get_by_role("button", name="人民广场店").tap()
    await phone.view("code")
    assert "您选择的门店 人民广场店" in await phone.text()


async def test_when_all_are_full_the_page_says_so_and_can_be_tried_again(
    stores: Running, phones: GetPhone
) -> None:
    take_seats(stores, 7)
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("unserved")
    assert "附近的群暂时都满了" in await phone.text()
    stores.put_code("S2", "three", capacity=1)
    await phone.page.get_by_role("button", name="再试一次").tap()
    await phone.view("code")
    assert "外滩店" in await phone.text()


# Without a position


async def test_who_refuses_is_located_by_address_and_chooses(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(address=SHANGHAI_ADDRESS)
    await phone.scan()
    await phone.view("choose")
    assert "网络位置显示您大约在上海市" in await phone.text()
    assert phone.told() == 1
    await phone.page.get_by_role("button", name="人民广场店").tap()
    await phone.view("code")
    assert "您选择的门店 人民广场店" in await phone.text()


async def test_who_refuses_and_has_an_unknown_address_searches_by_name(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones()
    await phone.scan()
    await phone.view("choose")
    await phone.page.get_by_role("searchbox").fill("外滩")
    await phone.page.get_by_role("button", name="搜索").tap()
    await phone.view("stores")
    await expect(phone.page.locator(".stores li")).to_have_count(1)
    await phone.page.get_by_role("button", name="外滩店").tap()
    await phone.view("code")
    assert "外滩店" in await phone.text()


@pytest.mark.parametrize("answers", [phones_answers.NEVER, phones_answers.UNAVAILABLE])
async def test_nobody_waits_longer_for_a_position_than_the_setting_says(
    stores: Running, phones: GetPhone, answers: str
) -> None:
    phone = await phones(at=HERE, answers=answers, address=SHANGHAI_ADDRESS)
    await phone.scan()
    started = time.monotonic()
    await phone.view("choose")
    # Left to itself a browser waits for ever. What is above the setting is a busy machine's.
    assert time.monotonic() - started < stores.settings.locate_timeout_s + 8
    assert phone.told() == 0, "nobody has refused anything"


async def test_a_position_that_comes_late_still_helps(stores: Running, phones: GetPhone) -> None:
    phone = await phones(at=HERE, answers=phones_answers.LATE)
    await phone.scan()
    await phone.view("choose")
    await phone.view("code")
    assert "离您最近的门店 人民广场店" in await phone.text()


async def test_without_https_there_is_no_position_and_nobody_has_refused(
    stores: Running, phones: GetPhone
) -> None:
    insecure = stores.base_url.replace("127.0.0.1", INSECURE)
    phone = await phones(base_url=insecure, address=SHANGHAI_ADDRESS)
    await phone.scan()
    await phone.view("choose")
    assert phone.told() == 0


async def test_locating_again_says_why_it_does_not_work(stores: Running, phones: GetPhone) -> None:
    phone = await phones(address=SHANGHAI_ADDRESS)
    await phone.scan()
    await phone.view("choose")
    await phone.page.get_by_role("button", name="重新定位").tap()
    await expect(
        phone.page.get_by_text("没有拿到您的位置。您可以在手机设置里允许定位")
    ).to_be_visible()
    await phone.context.grant_permissions(["geolocation"])
    await phone.context.set_geolocation({"longitude": HERE[0], "latitude": HERE[1]})
    await phone.page.get_by_role("button", name="重新定位").tap()
    await phone.view("code")


async def test_without_a_script_all_works_by_forms(
    stores: Running, phones: GetPhone, tmp_path: Any
) -> None:
    phone = await phones(address=SHANGHAI_ADDRESS, java_script_enabled=False)
    await phone.scan()
    assert "您的浏览器没有运行脚本" in await phone.text()
    await phone.page.get_by_role("button", name="按网络位置查找").tap()
    await phone.view("choose")
    await phone.page.get_by_role("button", name="人民广场店").tap()
    await phone.view("code")
    assert await reads(phone, tmp_path) == running.payload("one")
    await phone.page.get_by_text("这个码用不了？").tap()
    await phone.page.get_by_role("button", name="群已满").tap()
    await expect(phone.page.locator("h1")).to_have_text("外滩店")
    assert await reads(phone, tmp_path) == running.payload("two")
    await phone.page.get_by_role("button", name="我已入群").tap()
    await expect(phone.page.get_by_text("谢谢，欢迎入群！")).to_be_visible()
    assert await evidence(stores) == ["reported"]


async def test_without_a_script_a_store_is_found_by_name_and_city(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(java_script_enabled=False)
    await phone.scan()
    await phone.page.get_by_role("link", name="自己选择门店").tap()
    await phone.view("stores")
    await phone.page.get_by_role("searchbox").fill("火星")
    await phone.page.get_by_role("button", name="搜索").tap()
    await expect(phone.page.get_by_text("没有找到符合的门店")).to_be_visible()
    await phone.page.get_by_role("link", name="查看全部门店").tap()
    await phone.page.get_by_role("combobox").select_option("上海市")
    await phone.page.get_by_role("button", name="搜索").tap()
    await expect(phone.page.locator(".stores li")).to_have_count(2)
    await phone.page.get_by_role("button", name="外滩店").tap()
    await phone.view("code")


# The code, and what becomes of it


async def test_a_long_press_is_recorded_once_and_a_tap_is_not(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    await phone.press(0.1)
    await phone.page.wait_for_timeout(700)
    assert phone.told() == 0
    await phone.press(0.8)
    assert await evidence(stores) == ["pressed"]
    await phone.press(0.8)
    assert phone.told() == 1
    assert stores.code(await phone.code_id())["members"] == 1


async def test_the_phones_own_menu_over_the_code_is_not_hindered_and_is_recorded(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    let = await phone.page.locator(".code img").evaluate(
        """image => {
          const box = image.getBoundingClientRect();
          const at = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
          const above = document.elementFromPoint(at.clientX, at.clientY) === image;
          const events = ['contextmenu', 'touchstart', 'selectstart', 'dragstart'].map(
            name => new Event(name, {bubbles: true, cancelable: true})
          );
          events[1].touches = [at];
          return above && events.every(event => image.dispatchEvent(event));
        }"""
    )
    assert let
    assert await evidence(stores) == ["pressed"]


async def test_who_says_that_they_joined_is_thanked(stores: Running, phones: GetPhone) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    await phone.page.get_by_role("button", name="我已入群").tap()
    await expect(phone.page.get_by_text("谢谢，欢迎入群！")).to_be_visible()
    assert await evidence(stores) == ["reported"]
    await phone.page.reload()
    await expect(phone.page.get_by_text("谢谢，欢迎入群！")).to_be_visible()


@pytest.mark.parametrize("complaint", ["群已满", "二维码过期", "无法识别"])
async def test_a_complaint_shows_the_next_code_at_once(
    stores: Running, phones: GetPhone, tmp_path: Any, complaint: str
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    first = await phone.code_id()
    await phone.page.get_by_text("这个码用不了？").tap()
    await phone.page.get_by_role("button", name=complaint).tap()
    await expect(phone.page.locator("h1")).to_have_text("外滩店")
    assert "离您最近的下一家，距您 953 米" in await phone.text()
    assert await reads(phone, tmp_path) == running.payload("two")
    assert stores.code(first)["held"] == 0


async def test_who_comes_back_to_the_page_is_led_on_from_a_code_that_serves_no_more(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    first = await phone.code_id()
    comes_back = "document.dispatchEvent(new Event('visibilitychange'))"
    async with phone.page.expect_response("**/api/v1/scans/*"):
        await phone.page.evaluate(comes_back)
    assert await phone.code_id() == first
    running.answered(stores.hq.patch(f"/api/v1/codes/{first}", json={"status": "paused"}))
    await phone.page.evaluate(comes_back)
    await expect(phone.page.locator("h1")).to_have_text("外滩店")
    assert await phone.code_id() not in ("", first)


async def test_not_this_store_leads_to_others_nearby_and_back(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    await phone.page.get_by_role("link", name="不是这家店？").tap()
    await phone.view("stores")
    assert "外滩店 953 米" in await phone.text()
    await phone.page.go_back()
    await phone.view("code")
    await phone.page.go_forward()
    await phone.view("stores")
    await phone.page.get_by_role("button", name="外滩店").tap()
    await phone.view("code")
    assert "您选择的门店 外滩店" in await phone.text()
    assert scans(stores) == 1


async def test_the_page_speaks_english_to_who_prefers_it(stores: Running, phones: GetPhone) -> None:
    take_seats(stores, 2)
    phone = await phones(at=HERE, locale="en-US")
    await phone.scan()
    await phone.view("code")
    text = await phone.text()
    assert (
        "The group of “人民广场店” is full. This is the next nearest store, 953 m from you." in text
    )
    assert "Press and hold the code to join the group" in text
    assert await phone.page.locator("html").get_attribute("lang") == "en"


# When things go wrong


async def test_a_busy_service_is_asked_again_until_it_answers(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    answers = iter([503, 503])

    async def busy(route: Route) -> None:
        status = next(answers, None)
        if status is None:
            await route.continue_()
        else:
            await route.fulfill(status=status, headers={"Retry-After": "1"}, body="")

    await phone.page.route("**/position", busy)
    await phone.scan()
    await expect(phone.page.get_by_text("网络有点慢，正在自动重试…")).to_be_visible()
    await phone.view("code")
    await expect(phone.page.locator("#notice")).to_be_hidden()
    assert len(phone.errors) == 2
    assert all("503" in error for error in phone.errors)
    phone.errors.clear()


async def test_a_complaint_whose_answer_is_lost_is_not_made_of_the_next_code(
    stores: Running, phones: GetPhone
) -> None:
    stores.put_store("S3", 121.4937, 31.2304, name="陆家嘴店", address="世纪大道1号")
    stores.put_code("S3", "three")
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")

    async def lose(route: Route) -> None:
        await route.fetch(max_redirects=0)
        await route.abort()

    await phone.page.route("**/tell", lose)
    await phone.page.get_by_text("这个码用不了？").tap()
    await phone.page.get_by_role("button", name="群已满").tap()
    await expect(phone.page.locator("h1")).to_have_text("外滩店")
    assert sum(url.endswith("/tell") for _, url in phone.addresses) == 1
    phone.errors.clear()


async def test_a_picture_that_did_not_arrive_is_asked_for_again(
    stores: Running, phones: GetPhone, tmp_path: Any
) -> None:
    phone = await phones(at=HERE)
    lost = iter([True])

    async def lose_once(route: Route) -> None:
        await (route.abort() if next(lost, False) else route.continue_())

    await phone.page.route("**/c/*.png*", lose_once)
    await phone.scan()
    await phone.view("code")
    assert await reads(phone, tmp_path) == running.payload("one")
    phone.errors.clear()


async def test_an_unknown_code_is_told_kindly(stores: Running, phones: GetPhone) -> None:
    phone = await phones()
    await phone.scan("/q/nothing")
    assert "没有找到这个码" in await phone.text()
    phone.errors.clear()  # the browser's own word on a page that is not found
