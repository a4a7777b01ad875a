"""A manager's phone: from the invitation to a visitor who sees the code, and all that comes after;
with JavaScript and without, in both languages, by day and by night."""

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pypdfium2
import pytest
import zxingcpp
from axe_playwright_python.async_playwright import Axe
from PIL import Image, ImageFilter
from playwright.async_api import Locator, Page, expect

from service import qr
from tests import running
from tests.browser.conftest import HERE, GetContext, GetPhone
from tests.browser.test_console import LONG_NAME, PALE_TEXTS, PHONE, SMALL_TARGETS, fits
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

scripted = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])

SignIn = Callable[..., Awaitable[Page]]


@pytest.fixture
def sign_in(contexts: GetContext, service: Running) -> SignIn:
    """A manager's phone, signed in by an invitation to S1 and S2."""

    async def get(*, script: bool = True, **options: Any) -> Page:
        body = {"name": "王芳", "stores": ["S1", "S2"]}
        made = running.answered(service.hq.post("/api/v1/invitations", json=body))
        context = await contexts(
            PHONE, java_script_enabled=script, accept_downloads=True, **options
        )
        page = await context.new_page()
        await page.goto(f"{service.base_url}/m/join/{made['link'].rpartition('/')[2]}")
        await page.locator("main button").click()
        await expect(page).to_have_url(f"{service.base_url}/m")
        return page

    return get


def photograph(payload: str) -> bytes:
    """A code as a phone's camera sees it on another screen: small, askew, a little blurred."""
    code = Image.open(io.BytesIO(qr.png(payload, size_px=500))).convert("RGB")
    scene = Image.new("RGB", (1200, 1600), (96, 88, 80))
    scene.paste(code, (330, 520))
    scene = scene.rotate(7, resample=Image.Resampling.BICUBIC, fillcolor=(96, 88, 80))
    out = io.BytesIO()
    scene.filter(ImageFilter.GaussianBlur(1.5)).save(out, "JPEG", quality=80)
    return out.getvalue()


async def choose(page: Page, image: bytes, *, script: bool, by: str = "camera") -> None:
    """Take or choose a picture; with a script it goes off by itself."""
    file: Any = {"name": "IMG_0001.JPG", "mimeType": "image/jpeg", "buffer": image}
    field = page.locator(f"input[name={by}]")
    if script:
        async with page.expect_navigation():
            await field.set_input_files(file)
    else:
        await field.set_input_files(file)
        await page.get_by_role("button", name="下一步").click()


def shop(page: Page, name: str) -> Locator:
    return page.locator("section.store", has_text=name)


@scripted
async def test_from_the_invitation_to_the_first_code_that_a_visitor_sees(
    service: Running, sign_in: SignIn, phones: GetPhone, script: bool
) -> None:
    service.put_store("S1", *HERE, name="人民广场店", address="人民大道120号")
    service.put_entry()
    page = await sign_in(script=script)
    own = shop(page, "人民广场店")
    await expect(own).to_contain_text("还没有群码")
    await own.get_by_role("link", name="给人民广场店添加群码").click()
    await choose(page, photograph(running.payload("first")), script=script)
    await expect(page.locator("h1")).to_have_text("确认群码")
    await expect(page.locator("main")).to_contain_text("企业微信群活码")
    shown = page.locator(".preview img")
    assert await shown.evaluate("image => image.complete && image.naturalWidth > 0")
    (read,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(await shown.screenshot())))
    assert read.text == running.payload("first")
    await page.get_by_label("群里现在有多少人").fill("12")
    await page.get_by_role("button", name="确认添加").click()
    await expect(own.get_by_role("status")).to_contain_text("已添加")
    await expect(own).to_contain_text("还能再加入 188 人")
    await expect(own.locator("li.code")).to_be_in_viewport()

    visitor = await phones(at=HERE)
    await visitor.scan()
    await visitor.view("code")
    await visitor.picture()
    assert "人民广场店" in await visitor.text()
    picture = await visitor.page.locator(".code").screenshot()
    (seen,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)))
    assert seen.text == running.payload("first")


@scripted
async def test_a_refused_picture_is_told_in_plain_words_and_the_next_one_may_be_sent_at_once(
    stores: Running, sign_in: SignIn, script: bool
) -> None:
    page = await sign_in(script=script)
    await page.goto(f"{stores.base_url}/m/add?store=S1")
    blank = io.BytesIO()
    Image.new("RGB", (300, 300), "white").save(blank, "JPEG")
    for image, says in (
        (blank.getvalue(), "没有找到二维码"),
        (b"not a picture", "不是能读取的图片"),
        (photograph("wxp://f2f0abcdefgh"), "这是收款码"),
    ):
        await choose(page, image, script=script, by="album")
        await expect(page.get_by_role("alert")).to_contain_text(says)
        assert await fits(page)
    await choose(page, photograph(running.payload("two")), script=script, by="album")
    await expect(page.get_by_role("alert")).to_contain_text("已经在")
    await expect(page.get_by_role("button", name="确认添加")).to_have_count(0)
    await page.get_by_role("link", name="去看看它").click()
    await expect(page.locator("h1")).to_have_text("群码 1")


@scripted
async def test_a_code_is_counted_paused_resumed_ordered_renewed_and_retired(
    stores: Running, sign_in: SignIn, script: bool
) -> None:
    second = stores.put_code("S1", "later", capacity=80, label="老顾客群")["code_id"]
    page = await sign_in(script=script)
    own = shop(page, "人民广场店")
    await expect(own.locator(".name")).to_have_text(["群码 1", "老顾客群"])

    # Two taps: the code, and what is to be done with it.
    await own.get_by_role("link", name="老顾客群").click()
    await page.get_by_label("现在有多少人").fill("70")
    await page.get_by_role("button", name="保存人数").click()
    await expect(page.get_by_role("status").first).to_contain_text("人数已保存")
    await expect(page.locator(".state")).to_have_text("将满")
    await page.get_by_role("button", name="暂停加人").click()
    await expect(page.locator(".state")).to_have_text("已暂停")
    assert stores.code(second)["status"] == "paused"
    await page.get_by_role("button", name="恢复服务").click()
    await expect(page.locator(".state")).to_have_text("将满")

    await expect(page.get_by_role("button", name="往后移")).to_be_disabled()
    await page.get_by_role("button", name="往前移").click()
    await expect(page.locator("main")).to_contain_text("第 1 个，共 2 个")
    await page.get_by_role("link", name="人民广场店").click()
    await expect(shop(page, "人民广场店").locator(".name")).to_have_text(["老顾客群", "群码 2"])

    await page.locator(".name", has_text="老顾客群").click()
    await choose(page, photograph("https://weixin.qq.com/g/AwYAAOnlyForTests"), script=script)
    await expect(page.locator("main")).to_contain_text("这是另一个群")
    await page.get_by_role("button", name="确认更换").click()
    await expect(page.get_by_role("status").first).to_contain_text("已换上新的群码")
    await expect(page.locator("main")).to_contain_text("7 天")
    renewed = stores.code(second)
    assert (renewed["members"], renewed["capacity"], renewed["position"]) == (0, 80, 0)

    await page.get_by_text("名称、容量和有效期").click()
    await page.get_by_label("名称（顾客看不到）").fill("新群")
    await page.get_by_role("button", name="保存", exact=True).click()
    await expect(page.locator("h1")).to_have_text("新群")

    await page.get_by_role("link", name="停用并移除").click()
    await page.get_by_role("link", name="不停用").click()
    assert stores.code(second)["status"] == "active"
    await page.get_by_role("link", name="停用并移除").click()
    await page.get_by_role("button", name="确定停用").click()
    await expect(page.get_by_role("status").first).to_contain_text("已停用")
    await expect(shop(page, "人民广场店").locator("li.code")).to_have_count(1)
    await page.get_by_role("button", name="退出").click()
    await expect(page.locator("header")).to_have_count(0)


@scripted
async def test_the_manager_sees_what_a_visitor_sees_and_takes_the_poster_home(
    stores: Running, sign_in: SignIn, script: bool
) -> None:
    page = await sign_in(script=script)
    await shop(page, "人民广场店").get_by_text("看顾客页面").click()
    await expect(page.locator(".trial")).to_contain_text("顾客会看到本店的群码")
    await expect(page.locator("main h1")).to_have_text("人民广场店")
    assert await fits(page)
    codes = running.answered(stores.hq.get("/api/v1/stores/S1/codes"))["codes"]
    assert [code["held"] for code in codes] == [0]
    await page.get_by_role("link", name="返回门店").click()
    await shop(page, "人民广场店").get_by_text("打印海报").click()
    await page.get_by_label("A5（收银台、桌面）").check()
    async with page.expect_download() as started:
        await page.get_by_role("button", name="下载 PDF").click()
    download = await started.value
    assert download.suggested_filename == "S1-a5-zh.pdf"
    sheet = pypdfium2.PdfDocument(await download.path())[0]
    (code,) = zxingcpp.read_barcodes(sheet.render(scale=2).to_pil())
    assert code.text == "http://localhost:8000/q/tea?p=store-S1"
    assert "人民广场店" in sheet.get_textpage().get_text_range()


async def test_a_form_is_sent_once_however_often_its_button_is_tapped(
    stores: Running, sign_in: SignIn
) -> None:
    page = await sign_in()
    await page.goto(f"{stores.base_url}/m/add?store=S1")
    await choose(page, photograph(running.payload("once")), script=True)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    async with page.expect_navigation():
        await page.locator(".preview form").evaluate(
            "form => { form.requestSubmit(); form.requestSubmit(); form.requestSubmit() }"
        )
    assert sent.count("POST") == 1
    await expect(page.get_by_role("status").first).to_contain_text("已添加")


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
async def test_every_page_fits_a_phone_can_be_read_and_tapped(
    stores: Running, sign_in: SignIn, locale: str
) -> None:
    stores.put_store("S2", 121.4837, 31.2304, name=LONG_NAME, address=LONG_NAME)
    code_id = stores.put_code("S1", "full", capacity=5, members=5, label=LONG_NAME[:60])["code_id"]
    stores.put_code("S1", "nearly", capacity=10, members=9)
    stores.put_code("S1", "over", expires_at="2026-01-01T00:00:00+08:00")
    paused = stores.put_code("S2", "paused")["code_id"]
    stores.hq.patch(f"/api/v1/codes/{paused}", json={"status": "paused"})
    for number in range(3):
        scan_id = stores.scan(f"v{number}")
        stores.locate(scan_id, *HERE)
        stores.tell(scan_id, "full")
    page = await sign_in(locale=locale)
    await page.goto(f"{stores.base_url}/m/add?store=S2")
    async with page.expect_navigation():
        await page.locator("input[name=album]").set_input_files(
            {
                "name": "a.jpg",
                "mimeType": "image/jpeg",
                "buffer": photograph("https://u.wechat.com/a-person"),
            }
        )
    preview = page.url.removeprefix(stores.base_url)
    paths = [
        "/m", "/m?store=S1", f"/m/codes/{code_id}", f"/m/codes/{code_id}/retire",
        "/m/add?store=S2", f"/m/add?code={code_id}", preview, "/m/test?store=S1",
        "/m/test?store=S2", "/m/poster?store=S2",
    ]  # fmt: skip
    for path in paths:
        await page.goto(stores.base_url + path)
        for details in await page.locator("summary").all():
            await details.click()
        assert await page.evaluate(SMALL_TARGETS) == [], path
        assert await fits(page), path
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            assert await page.evaluate(PALE_TEXTS) == [], (path, scheme)
            # By night nothing but the colours differs.
            rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else None
            found = await Axe().run(page, options=rules)
            assert found.violations_count == 0, f"{path}, {scheme}\n{found.generate_report()}"
