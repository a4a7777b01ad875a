"""A real Chromium, and phones to visit the service with.

Skipped where there is no Chromium; with NEARCODE_REQUIRE_BROWSER=1 that is a failure.
"""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    async_playwright,
    expect,
)

from service.settings import Settings
from tests.browser.phone import WECHAT, Phone
from tests.running import Running

HERE = (121.4737, 31.2304)  # where S1 stands; S2 is 954 m to the east

# A name that leads here, but is neither https nor localhost: no position is to be had there.
INSECURE = "nearcode.test"

GetPhone = Callable[..., Awaitable[Phone]]
GetContext = Callable[..., Awaitable[BrowserContext]]
GetPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("NEARCODE_REQUIRE_BROWSER") == "1":
            pytest.fail("NEARCODE_REQUIRE_BROWSER=1, but there is no Chromium on the PATH")
        pytest.skip("there is no Chromium on the PATH")
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(chromium_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path,
            args=[
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1",
            ],
        )
        yield browser
        await browser.close()


@pytest.fixture
def settings() -> Settings:
    """Less patient than others; and a phone may say by header which address is its own."""
    return Settings(
        sweep_s=0.1,
        poll_s=0.2,
        database_pool=5,
        locate_timeout_s=2,
        trusted_proxies=(ip_network("127.0.0.1"),),
    )


@pytest.fixture
def stores(service: Running) -> Running:
    """S1 and S2 with one code each, and an entry."""
    service.put_store("S1", *HERE, name="人民广场店", address="人民大道120号", city="上海市")
    service.put_store(
        "S2", 121.4837, 31.2304, name="外滩店", address="中山东一路8号", city="上海市"
    )
    service.put_entry()
    service.put_code("S1", "one", capacity=2)
    service.put_code("S2", "two", capacity=5)
    return service


@pytest_asyncio.fixture(loop_scope="session")
async def phones(chromium: Browser, service: Running) -> AsyncIterator[GetPhone]:
    """Makes phones. `at`: where it is, with the visitor's leave to say so; without, it refuses.
    `address`: its IP address. `answers`: a script in place of the browser's own geolocation.

    At the end no phone may have asked anybody else for anything, or have had an error that the
    test did not take out of `errors`.
    """
    opened: list[Phone] = []
    async with AsyncExitStack() as stack:

        async def get(
            at: tuple[float, float] | None = None,
            *,
            accuracy_m: float = 20,
            locale: str = "zh-CN",
            address: str | None = None,
            answers: str | None = None,
            base_url: str = service.base_url,
            **options: Any,
        ) -> Phone:
            if at is not None:
                options["permissions"] = ["geolocation"]
                options["geolocation"] = {
                    "longitude": at[0],
                    "latitude": at[1],
                    "accuracy": accuracy_m,
                }
            if address is not None:
                options["extra_http_headers"] = {"X-Forwarded-For": address}
            context = await chromium.new_context(
                locale=locale,
                user_agent=WECHAT,
                viewport={"width": 390, "height": 760},
                has_touch=True,
                is_mobile=True,
                timezone_id="Asia/Shanghai",
                **options,
            )
            stack.push_async_callback(context.close)
            if answers is not None:
                await context.add_init_script(answers)
            phone = Phone(context, await context.new_page(), base_url)
            phone.watch()
            opened.append(phone)
            return phone

        yield get
    for phone in opened:
        strangers = [
            url for _, url in phone.addresses if not url.startswith((phone.base_url, "data:"))
        ]
        assert strangers == []
        assert phone.errors == []


@pytest_asyncio.fixture(loop_scope="session")
async def contexts(chromium: Browser, service: Running) -> AsyncIterator[GetContext]:
    """Makes browsers' contexts for pages of the service. At the end none may have asked anybody
    else for anything, had an error or an answer of 5xx, or been refused anything by the pages' own
    policy."""
    strangers: list[str] = []
    troubles: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((service.base_url, "data:")):
            strangers.append(request.url)

    def answered(response: Response) -> None:
        if response.status >= 500:
            troubles.append(f"{response.status} {response.url}")

    def said(message: ConsoleMessage) -> None:
        # A refused form is answered with 4xx, which the console calls an error.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            troubles.append(message.text)

    async with AsyncExitStack() as stack:

        async def get(size: ViewportSize, **options: Any) -> BrowserContext:
            options = {"locale": "zh-CN", "java_script_enabled": False, **options}
            context = await chromium.new_context(viewport=size, **options)
            stack.push_async_callback(context.close)
            context.on("request", asked)
            context.on("response", answered)
            context.on("console", said)
            return context

        yield get
    assert strangers == []
    assert troubles == []


@pytest.fixture
def open_page(contexts: GetContext, service: Running) -> GetPage:
    """A browser window, signed in with a role's key."""

    async def get(role: str, size: ViewportSize, **options: Any) -> Page:
        context = await contexts(size, **options)
        page = await context.new_page()
        await page.goto(f"{service.base_url}/{'m' if role == 'manager' else 'hq'}")
        await page.locator("input[name=key]").fill(service.keys[role])
        await page.locator("input[name=key]").press("Enter")
        await expect(page.locator("header")).to_be_visible()
        return page

    return get
