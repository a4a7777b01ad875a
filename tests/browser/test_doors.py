"""The doors in Chromium: an invitation on a phone, HQ's sign-in, a password; without JavaScript."""

from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests import running
from tests.browser.conftest import HERE, GetContext, GetPage
from tests.browser.test_console import DESK, LONG_NAME, PHONE, can_be_read_and_tapped
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def open_page(contexts: GetContext, service: Running) -> GetPage:
    """A browser window that nobody has signed in with."""

    async def get(path: str, size: ViewportSize = PHONE, **options: Any) -> Page:
        page = await (await contexts(size, **options)).new_page()
        await page.goto(service.base_url + path)
        return page

    return get


def invited(service: Running, **body: Any) -> str:
    """An invitation's address on this service."""
    body = {"stores": ["S1"], "name": "王芳", **body}
    made = running.answered(service.hq.post("/api/v1/invitations", json=body))
    return "/m/join/" + str(made["link"]).rpartition("/")[2]


def colleague(service: Running) -> str:
    """The address at which a new colleague chooses their password."""
    body = {"role": "hq", "name": "李敏", "email": "li.min@example.com"}
    made = running.answered(service.hq.post("/api/v1/people", json=body))
    return "/hq/password/" + str(made["password_link"]).rpartition("/")[2]


async def test_a_manager_opens_the_link_taps_once_and_stays_signed_in(
    service: Running, open_page: GetPage
) -> None:
    path = invited(service, stores=["S1", "S2"])
    page = await open_page(path)
    await expect(page.get_by_role("heading", name="王芳，您好")).to_be_visible()
    await expect(page.get_by_text("一店")).to_be_visible()
    await page.get_by_role("button", name="在这部手机上登录").click()
    await expect(page).to_have_url(f"{service.base_url}/m")
    await expect(page.get_by_role("heading", name="一店")).to_be_visible()
    cookie = (await page.context.cookies())[0]
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("nc_session", True, "Lax")
    # The message with the link is still in the chat.
    await page.goto(service.base_url + path)
    await expect(page).to_have_url(f"{service.base_url}/m")
    another = await open_page(path)
    await expect(another.get_by_role("heading", name="这个邀请已经用过了")).to_be_visible()


async def test_a_colleague_chooses_a_password_and_signs_in_with_it(
    service: Running, open_page: GetPage
) -> None:
    page = await open_page(colleague(service), DESK)
    await page.get_by_label("新密码").fill("short and thin")
    await page.get_by_label("再输入一次").fill("something else")
    await page.get_by_role("button", name="保存并登录").click()
    await expect(page.get_by_role("alert")).to_have_text("两次输入的不一样。")
    for label in ("新密码", "再输入一次"):
        await page.get_by_label(label).fill("correct horse battery")
    await page.get_by_role("button", name="保存并登录").click()
    await expect(page).to_have_url(f"{service.base_url}/hq")
    await page.get_by_role("button", name="退出").click()
    await page.get_by_label("邮箱").fill("li.min@example.com")
    await page.get_by_label("密码", exact=True).fill("wrong horse battery")
    await page.get_by_role("button", name="登录", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("邮箱或密码不对")
    await expect(page.get_by_label("邮箱")).to_have_value("li.min@example.com")
    await page.get_by_label("密码", exact=True).fill("correct horse battery")
    await page.get_by_role("button", name="登录", exact=True).click()
    await expect(page).to_have_url(f"{service.base_url}/hq")
    await expect(page.get_by_text("李敏")).to_be_visible()
    await page.get_by_role("link", name="修改密码").click()
    await page.get_by_label("现在的密码").fill("wrong horse battery")
    for label in ("新密码", "再输入一次"):
        await page.get_by_label(label).fill("another horse battery")
    await page.get_by_role("button", name="保存").click()
    await expect(page.get_by_role("alert")).to_have_text("现在的密码不对。")


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
async def test_every_door_fits_can_be_read_and_tapped(
    service: Running, open_page: GetPage, locale: str
) -> None:
    service.put_store("S1", *HERE, name=LONG_NAME)
    used = invited(service)
    assert service.visitor.post(used).status_code == 303
    paths = [
        "/hq",
        "/m",
        invited(service, name=LONG_NAME, stores=["S1", "S2"]),
        used,
        "/m/join/cut-off",
        colleague(service),
        "/hq/password/cut-off",
    ]
    page = await open_page("/m", locale=locale)
    for path in paths:
        await page.goto(service.base_url + path)
        await can_be_read_and_tapped(page)
