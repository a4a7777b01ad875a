"""The consoles in Chromium: a manager's phone, HQ's desk, without JavaScript and in the dark."""

import pytest
from playwright.async_api import Page, ViewportSize

from tests.browser.conftest import HERE, GetPage
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1440, height=900)

LONG_NAME = "内蒙古自治区呼和浩特市新城区新华东街万达广场购物中心二楼东侧旗舰体验店" * 2

# Every text that is seen, with the contrast ratio (WCAG 2.2, 1.4.3) against the first ground
# behind it that is not transparent, where it is too low.
PALE_TEXTS = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const color = rgb(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(rgb(style.color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) pale.push([walker.currentNode.data.trim(), ratio]);
  }
  return pale;
}"""

# What can be tapped and is smaller than a finger (WCAG 2.2, 2.5.8: 24 px).
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, input, summary")]
  .filter(e => e.getClientRects().length && !e.matches(".skip"))
  .filter(e => e.getBoundingClientRect().height < 24)
  .map(e => e.outerHTML)"""


async def fits(page: Page) -> bool:
    """Whether nothing stands out to the side."""
    # Playwright's own scripts run where the page's may not.
    width: bool = await page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


async def can_be_read_and_tapped(page: Page) -> None:
    """The page as it stands: on a phone and on a desk, by day and by night."""
    for size in (DESK, PHONE):
        await page.set_viewport_size(size)
        assert await fits(page), (page.url, size)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            assert await page.evaluate(PALE_TEXTS) == [], (page.url, size, scheme)
    assert await page.evaluate(SMALL_TARGETS) == [], page.url


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
async def test_every_text_can_be_read_and_nothing_stands_out(
    stores: Running, open_page: GetPage, locale: str
) -> None:
    stores.put_store("S2", 121.4837, 31.2304, name=LONG_NAME)
    stores.put_code("S1", "full", capacity=5, members=5)
    stores.put_code("S1", "nearly", capacity=10, members=9)
    stores.put_code("S1", "over", expires_at="2026-01-01T00:00:00+08:00", label=LONG_NAME)
    paused = stores.put_code("S2", "paused")["code_id"]
    stores.hq.patch(f"/api/v1/codes/{paused}", json={"status": "paused"})
    stores.locate(stores.scan("a"), *HERE)
    stores.locate(stores.scan("b"), 91.1322, 29.6604)
    page = await open_page("hq", PHONE, locale=locale)
    for path in ("/m", "/m?store=S9"):
        await page.goto(stores.base_url + path)
        for details in await page.locator("summary").all():
            await details.click()
        await can_be_read_and_tapped(page)
