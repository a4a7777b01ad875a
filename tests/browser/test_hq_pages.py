"""What axe-core finds of HQ's pages in Chromium: on a desk and on a phone, in light and in dark."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe

from service.settings import Settings
from tests import conftest, running
from tests.browser import hq
from tests.browser.conftest import GetPage
from tests.browser.test_console import DESK, PHONE, SMALL_TARGETS, fits
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def service(postgres_url: str, template: str) -> Iterator[Running]:
    """A chain like the demo's, made once: here its pages are only looked at."""
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE hq_pages TEMPLATE {template}"))
    settings = Settings(sweep_s=0.1, poll_s=0.2, database_pool=5)
    url = conftest.with_database(postgres_url, "hq_pages")
    with running.running(url, settings) as started:
        hq.fill(started)
        yield started


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault_on_any_page(
    service: Running, open_page: GetPage, size: Any, scheme: str
) -> None:
    locale = "zh-CN" if scheme == "light" else "en-GB"
    page = await open_page("hq", size, locale=locale, color_scheme=scheme, java_script_enabled=True)
    axe, faults = Axe(), []
    for path in hq.PAGES:
        answer = await page.goto(service.base_url + path)
        assert answer is not None
        assert answer.status == 200, path
        await hq.drawn(page)
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
