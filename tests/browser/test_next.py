"""After joining: the page that a system of the chain names is a button away."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from playwright.async_api import expect

from service.settings import Settings
from tests import receiver, running
from tests.browser.conftest import HERE, GetPhone
from tests.receiver import Answer, Received, Receiver
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def settings() -> Settings:
    return Settings(
        sweep_s=0.1,
        poll_s=0.2,
        database_pool=5,
        locate_timeout_s=2,
        webhook_private_networks=(ip_network(receiver.PRIVATE),),
    )


@pytest.fixture
def crm(stores: Running) -> Iterator[Receiver]:
    with receiver.receiving() as made:
        body = {"url": f"{made.url}/hook", "events": ["join.created"]}
        running.answered(stores.hq.post("/api/v1/webhooks", json=body))
        made.answer = lambda received, number: receiver.json_of(
            next_url="https://mall.example/coupon?c=1"
        )
        yield made


@pytest.mark.parametrize("way", ["presses", "says so"])
async def test_who_joins_is_shown_the_way_to_the_page_that_the_crm_names(
    crm: Receiver, phones: GetPhone, way: str
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    await phone.picture()
    link = phone.page.get_by_role("link", name="领取优惠")
    await expect(link).to_have_count(0)
    if way == "presses":
        await phone.press(0.8)
    else:
        await phone.page.get_by_role("button", name="我已入群").click()
    await expect(link).to_be_visible(timeout=15_000)
    await expect(link).to_have_attribute("href", "https://mall.example/coupon?c=1")
    await expect(link).to_have_attribute("rel", "noopener")
    assert len(crm.received) == 1
    # A reload, without a script, shows it as well.
    await phone.page.reload()
    await phone.view("code")
    await expect(link).to_be_visible()


async def test_a_page_waits_quietly_for_a_crm_that_says_nothing(
    crm: Receiver, phones: GetPhone
) -> None:
    def answer(received: Received, number: int) -> Answer:
        return Answer(204)

    crm.answer = answer
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    await phone.page.get_by_role("button", name="我已入群").click()
    await expect(phone.page.get_by_text("谢谢，欢迎入群！")).to_be_visible()
    crm.wait_for(1)
    await phone.page.wait_for_timeout(2500)
    await expect(phone.page.get_by_role("link", name="领取优惠")).to_have_count(0)
    await expect(phone.page.locator("#notice")).to_be_hidden()


async def test_where_no_crm_listens_nobody_is_asked_for_a_page(
    stores: Running, phones: GetPhone
) -> None:
    phone = await phones(at=HERE)
    await phone.scan()
    await phone.view("code")
    await phone.page.get_by_role("button", name="我已入群").click()
    await expect(phone.page.get_by_text("谢谢，欢迎入群！")).to_be_visible()
    await phone.page.wait_for_timeout(1500)
    assert not [url for method, url in phone.addresses if method == "GET" and "/api/" in url]
