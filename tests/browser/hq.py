"""A chain like the demo's for HQ's pages, and which pages there are."""

from pathlib import Path

from playwright.async_api import Page

from tests import running
from tests.browser.conftest import HERE
from tests.browser.test_console import LONG_NAME
from tests.running import Running

FIXTURES = Path(__file__).parents[2] / "fixtures"
LHASA = (91.1322, 29.6604)

FIGURES = (
    "/hq", "/hq/map", "/hq/map?show=load", "/hq/map?show=unserved", "/hq/breakdown?by=store",
    "/hq/breakdown?by=day", "/hq/boards?rank=conversion", "/hq/boards?of=managers", "/hq/results",
    "/hq/compare", "/hq/revenue",
)  # fmt: skip
PAGES = (
    *FIGURES, "/hq/warnings", "/hq/stores", "/hq/store?store=S1", "/hq/store", "/hq/codes",
    "/hq/entries", "/hq/entry?entry=tea", "/hq/placements", "/hq/placement?entry=tea&placement=p-a",
    "/hq/orders", "/hq/import", "/hq/people", "/hq/invitations", "/hq/sessions", "/hq/chain",
    "/hq/keys", "/hq/webhooks", "/hq/audit",
)  # fmt: skip

DRAWN = """() => [...document.querySelectorAll(".plot[data-chart]")].every(plot =>
  plot.dataset.drawn && plot.querySelector("svg.main-svg"))"""


def fill(service: Running) -> None:
    """The sample's 201 stores and their codes, S1 and S2 beside them, two posters, some forty
    scans, and a few orders."""
    tables = {"stores": "stores.csv", "codes": "codes.csv"}
    for noun, name in tables.items():
        file = {"file": (name, (FIXTURES / name).read_bytes())}
        running.answered(service.hq.post(f"/api/v1/{noun}/import", files=file))
    service.put_store("S1", *HERE, name="人民广场店", city="上海市")
    service.put_store("S2", 121.4837, 31.2304, name=LONG_NAME, city="上海市")
    service.put_entry()
    service.put_code("S1", "one", capacity=200)
    service.put_code("S2", "two", capacity=5, members=5)
    for variant in "ab":
        placement = {"placement": f"p-{variant}", "name": f"门口海报 {variant}", "printed": 100}
        body = {**placement, "channel": "poster", "variant": variant.upper(), "cost": 50}
        running.answered(service.hq.post("/api/v1/entries/tea/placements", json=body))
    for number in range(36):
        scan_id = service.scan(f"v{number}", placement=f"p-{'ab'[number % 2]}")
        if number % 6 == 0:
            service.locate(scan_id, *LHASA)
            continue
        service.locate(scan_id, *HERE)
        if number % 3:
            service.tell(scan_id, "pressed")
            order = {"order": f"W{number}", "at": "2026-01-01T12:00:00+08:00", "amount": "18.50"}
            service.hq.post("/api/v1/orders", json={"orders": [{**order, "scan_id": scan_id}]})


async def drawn(page: Page) -> None:
    """Wait until every chart of the page is there."""
    await page.wait_for_function(DRAWN, timeout=20_000)
