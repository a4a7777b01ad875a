"""A phone with a browser, as the tests hold it: opens pages, presses, and notes what went on."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request

# WeChat on Android; also because a browser that calls itself headless counts as a bot.
WECHAT = (
    "Mozilla/5.0 (Linux; Android 10; V2034A) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0"
    " Chrome/89.0.4389.72 MQQBrowser/6.2 TBS/046295 Mobile Safari/537.36"
    " MicroMessenger/8.0.33.2320(0x28002151) Process/tools WeChat/arm64 Language/zh_CN"
)

# How the phone answers when the page asks where it is, in place of the browser's own answer.
NEVER = "navigator.geolocation.getCurrentPosition = () => {};"
UNAVAILABLE = """
navigator.geolocation.getCurrentPosition = (found, failed) => setTimeout(failed, 50, {code: 2});
"""
LATE = """
navigator.geolocation.getCurrentPosition = found => setTimeout(found, 3500, {
  coords: {longitude: 121.4737, latitude: 31.2304, accuracy: 20}
});
"""


@dataclass
class Phone:
    """One visitor's phone. `errors` are the console's and the page's, `addresses` all that was
    asked for, as (method, URL)."""

    context: BrowserContext
    page: Page
    base_url: str
    errors: list[str] = field(default_factory=list)
    addresses: list[tuple[str, str]] = field(default_factory=list)

    def watch(self) -> None:
        self.context.on("request", self._requested)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _requested(self, request: Request) -> None:
        self.addresses.append((request.method, request.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    async def scan(self, path: str = "/q/tea") -> None:
        """Open what a poster's code leads to."""
        await self.page.goto(self.base_url + path)

    async def view(self, name: str) -> None:
        """Wait until the page shows this view."""
        await self.page.locator(f'main[data-view="{name}"]').wait_for(timeout=15_000)

    async def text(self) -> str:
        return " ".join((await self.page.locator("main").inner_text()).split())

    async def code_id(self) -> str:
        return await self.page.locator("main").get_attribute("data-code") or ""

    async def picture(self) -> None:
        """Wait until the code's picture is there."""
        image = self.page.locator(".code img")
        for _ in range(100):
            if await image.evaluate("image => image.complete && image.naturalWidth > 0"):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the code's picture did not arrive")

    async def press(self, seconds: float) -> None:
        """Put a finger on the code and hold it there."""
        box = await self.page.locator(".code img").bounding_box()
        assert box
        touching: dict[str, Any] = {
            "type": "touchStart",
            "touchPoints": [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}],
        }
        devtools = await self.context.new_cdp_session(self.page)
        await devtools.send("Input.dispatchTouchEvent", touching)
        await asyncio.sleep(seconds)
        await devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        await devtools.detach()

    def told(self) -> int:
        """How often the page's script told an event."""
        return sum(url.endswith("/events") for _, url in self.addresses)
