"""The visitor's page in Chromium while the database is away: it goes on by itself."""

import asyncio
import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from service import db, embedded
from service.settings import Settings
from tests import running
from tests.browser.conftest import HERE, GetPhone
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The phone finds out where it is when the test says so.
WHEN_TOLD = """
navigator.geolocation.getCurrentPosition = found => {
  window.tellPosition = () => found({
    coords: {longitude: 121.4737, latitude: 31.2304, accuracy: 20}
  });
};
"""
TELL = "window.tellPosition()"


@pytest.fixture
def server() -> Iterator[embedded.EmbeddedPostgres]:
    """A server of its own, to be stopped."""
    with running.own_server() as started:
        yield started


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        sweep_s=0.1,
        poll_s=0.2,
        database_pool=5,
        locate_timeout_s=60,
        trusted_proxies=(ip_network("127.0.0.1"),),
    )


@pytest.fixture
def service(server: embedded.EmbeddedPostgres, settings: Settings) -> Iterator[Running]:
    running.run(db.migrate(server.url))
    with running.running(server.url, settings) as started:
        yield started


async def test_a_page_that_was_open_when_the_database_went_shows_a_code_by_itself(
    stores: Running, phones: GetPhone, server: embedded.EmbeddedPostgres
) -> None:
    phone = await phones(at=HERE, answers=WHEN_TOLD)
    english = await phones(at=HERE, answers=WHEN_TOLD, locale="en-GB")
    for visitor in (phone, english):
        await visitor.page.set_viewport_size({"width": 390, "height": 844})
        await visitor.scan()
        await visitor.view("locate")
        await visitor.page.wait_for_function("!!window.tellPosition")
    await asyncio.to_thread(server.stop)
    for visitor, store, kept in ((phone, "人民广场店", "保留"), (english, "人民广场店", "kept")):
        await visitor.page.evaluate(TELL)
        await visitor.view("code")
        await visitor.picture()
        text = await visitor.text()
        assert store in text
        assert kept not in text
    if folder := os.environ.get("NEARCODE_TEST_SCREENSHOTS"):
        for visitor, name in ((phone, "zh"), (english, "en")):
            await visitor.page.screenshot(path=Path(folder) / f"away-{name}.png")
    # The first of them was refused once, and asked again by itself.
    refused = [error for error in phone.errors if "503" in error]
    assert refused
    phone.errors[:] = [error for error in phone.errors if "503" not in error]
    # What fails leads on to the next, and who joins is thanked.
    await phone.page.locator("summary").click()
    await phone.page.get_by_role("button", name="群已满").click()
    await phone.page.get_by_role("heading", name="外滩店").wait_for()
    await phone.page.get_by_role("button", name="我已入群").click()
    await phone.page.get_by_text("谢谢，欢迎入群").wait_for()
    # When the database is back the page is the same, and the seat is a member's.
    await asyncio.to_thread(server.start)
    for _ in range(100):
        joins = stores.hq.get("/api/v1/joins")
        if joins.is_success and joins.json()["joins"]:
            break
        await asyncio.sleep(0.1)
    await phone.page.reload()
    await phone.view("code")
    phone.errors[:] = [error for error in phone.errors if "503" not in error]
    assert "外滩店" in await phone.text()
    (join,) = running.answered(stores.hq.get("/api/v1/joins"))["joins"]
    assert (join["store"], join["evidence"]) == ("S2", "reported")
