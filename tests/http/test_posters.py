"""A shop's own poster over HTTP: whose it is, its placement, which entry, which paper."""

import pypdfium2
import pytest
import zxingcpp

from tests import running
from tests.http.browsing import HERE
from tests.http.chains import Chain


def read(pdf: bytes) -> tuple[str, str, float]:
    """(what the code says, the text, the page's width in millimetres)."""
    page = pypdfium2.PdfDocument(pdf)[0]
    (code,) = zxingcpp.read_barcodes(page.render(scale=2).to_pil())
    return code.text, page.get_textpage().get_text_range(), page.get_width() / 72 * 25.4


def placements(shop: Chain, entry: str = "") -> list[dict[str, object]]:
    found = running.answered(shop.hq.get(f"/api/v1/entries/{entry or shop.entry}/placements"))
    return list(found["placements"])


@pytest.fixture
def shop(chain: Chain) -> Chain:
    chain.put_store("S1", *HERE, name="人民广场店", address="人民大道120号")
    chain.put_entry()
    return chain


def test_the_poster_carries_a_placement_that_is_made_once(shop: Chain) -> None:
    for _ in range(2):
        answer = shop.manager.get("/api/v1/stores/S1/poster.pdf")
        assert answer.headers["content-type"] == "application/pdf"
        code, text, width = read(answer.content)
        assert code == f"http://localhost:8000/q/{shop.entry}?p=store-S1"
        assert "人民广场店" in text
        assert "人民大道120号" in text
        assert width == pytest.approx(210, abs=0.1)
    (placement,) = placements(shop)
    assert placement["placement"] == "store-S1"
    assert placement["name"] == "人民广场店"
    assert (placement["channel"], placement["store"]) == ("poster", "S1")
    # Who scans it is counted to it, and not as of an unknown placement.
    shop.scan("a", placement="store-S1")
    funnel = running.answered(shop.hq.get("/api/v1/reports/funnel?by=placement"))
    assert [row["key"] for row in funnel["rows"]] == ["store-S1"]


def test_what_hq_made_of_the_placement_stays(shop: Chain) -> None:
    shop.manager.get("/api/v1/stores/S1/poster.pdf")
    changed = {"placement": "store-S1", "name": "门口", "channel": "poster", "store": "S1"}
    running.answered(
        shop.hq.post(f"/api/v1/entries/{shop.entry}/placements", json={**changed, "printed": 5})
    )
    assert "门口" in read(shop.manager.get("/api/v1/stores/S1/poster.pdf").content)[1]
    (placement,) = placements(shop)
    assert (placement["name"], placement["printed"]) == ("门口", 5)


def test_paper_and_language_can_be_chosen(shop: Chain) -> None:
    url = "/api/v1/stores/S1/poster.pdf"
    small = shop.hq.get(url, params={"paper": "a5", "lang": "en"})
    _, text, width = read(small.content)
    assert width == pytest.approx(148.5, abs=0.1)
    assert "Press and hold to join" in text
    assert "S1-a5-en.pdf" in small.headers["content-disposition"]
    english = shop.hq.get(url, headers={"Accept-Language": "en"})
    assert "Press and hold to join" in read(english.content)[1]
    assert "长按识别" in read(shop.hq.get(url).content)[1]
    for wrong in ({"paper": "a3"}, {"lang": "fr"}, {"entry": "x" * 65}, {"entry": "\x00"}):
        assert shop.hq.get(url, params=wrong).status_code == 422


def test_a_manager_prints_for_their_own_shops_and_a_reader_for_none(shop: Chain) -> None:
    shop.put_store("S3", 121.5, 31.25, name="别家店")
    assert shop.manager.get("/api/v1/stores/S3/poster.pdf").status_code == 404
    assert shop.manager.get("/api/v1/stores/S9/poster.pdf").status_code == 404
    assert shop.read.get("/api/v1/stores/S1/poster.pdf").status_code == 403
    assert shop.visitor.get("/api/v1/stores/S1/poster.pdf").status_code == 401
    assert placements(shop) == []
    assert shop.hq.get("/api/v1/stores/S3/poster.pdf").status_code == 200


def test_of_several_entries_one_is_named_and_only_those_that_lead_there(shop: Chain) -> None:
    url = "/api/v1/stores/S1/poster.pdf"
    running.answered(
        shop.hq.post("/api/v1/entries", json={"entry": "milk", "name": "奶", "brands": ["奶"]})
    )
    assert read(shop.manager.get(url).content)[0].startswith(
        f"http://localhost:8000/q/{shop.entry}?"
    )
    assert shop.manager.get(url, params={"entry": "milk"}).status_code == 404
    running.answered(shop.hq.post("/api/v1/entries", json={"entry": "two", "name": "二"}))
    answer = shop.manager.get(url)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "entry", "detail": f"say which: {shop.entry}, two"}
    ]
    code, _, _ = read(shop.manager.get(url, params={"entry": "two"}).content)
    assert code == "http://localhost:8000/q/two?p=store-S1"
    assert shop.manager.get(url, params={"entry": "nowhere"}).status_code == 404


def test_a_store_whose_number_is_no_placements_name_has_one_all_the_same(chain: Chain) -> None:
    chain.put_entry()
    chain.put_store("朝阳 12", *HERE, name="朝阳店")
    answer = chain.hq.get("/api/v1/stores/朝阳 12/poster.pdf")
    code, _, _ = read(answer.content)
    (placement,) = placements(chain)
    assert code.endswith(f"?p={placement['placement']}")
    assert str(placement["placement"]).startswith("store-")


def test_a_name_that_hq_gave_to_another_store_is_not_taken(shop: Chain) -> None:
    taken = {"placement": "store-S1", "name": "二店门口", "channel": "poster", "store": "S2"}
    running.answered(shop.hq.post(f"/api/v1/entries/{shop.entry}/placements", json=taken))
    code, _, _ = read(shop.manager.get("/api/v1/stores/S1/poster.pdf").content)
    assert not code.endswith("?p=store-S1")
    assert {p["store"] for p in placements(shop)} == {"S1", "S2"}


def test_a_chain_without_an_entry_has_no_poster(chain: Chain) -> None:
    answer = chain.manager.get("/api/v1/stores/S1/poster.pdf")
    assert answer.status_code == 404
    assert "no entry" in answer.json()["detail"]
