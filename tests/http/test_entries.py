"""Entries, their placements, and the codes that are printed of them."""

import base64
import io
import re
import zlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image, ImageDraw

from service import qr
from service.settings import Settings
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

PUBLIC_URL = "https://qr.example.com"


@pytest.fixture(scope="module")
def shared(shared_database_url: str) -> Any:
    """As of all modules, but with a public address of its own and a proxy that is believed."""
    settings = Settings.model_validate(
        {
            "sweep_s": 0.1,
            "poll_s": 0.2,
            "database_pool": 5,
            "public_url": PUBLIC_URL + "/",
            "trusted_proxies": "127.0.0.0/8",
        }
    )
    with running.running(shared_database_url, settings) as started:
        yield started


def placed(chain: Chain, placement: str, **values: Any) -> dict[str, Any]:
    body = {"placement": placement, "name": "门口海报", "channel": "poster", **values}
    return running.answered(chain.hq.post(f"/api/v1/entries/{chain.entry}/placements", json=body))


# ---------------------------------------------------------------- entries


def test_an_entry_that_was_made_is_given_back_and_changed_field_by_field(chain: Chain) -> None:
    made = chain.hq.post("/api/v1/entries", json={"entry": chain.entry, "name": "活码"})
    assert made.status_code == 201
    entry = made.json()
    assert entry["url"] == f"{PUBLIC_URL}/q/{chain.entry}"
    expected: dict[str, Any] = {
        "name": "活码",
        "radius_m": None,
        "brands": [],
        "ip_policy": "choose",
        "fallback": [],
    }
    assert {name: entry[name] for name in expected} == expected
    code_id = chain.put_code("S1", "one")["code_id"]
    changes = {
        "name": "新活码", "radius_m": 3000.0, "brands": ["茶"], "ip_policy": "nearest",
        "fallback": [code_id],
    }  # fmt: skip
    for field, value in changes.items():
        entry |= {field: value}
        patched = chain.hq.patch(f"/api/v1/entries/{chain.entry}", json={field: value})
        assert running.answered(patched) == entry
    assert chain.get(f"/api/v1/entries/{chain.entry}") == entry
    assert chain.get("/api/v1/entries") == {"entries": [entry], "next": None}
    emptied = {"radius_m": None, "brands": None, "fallback": None}
    patched = chain.hq.patch(f"/api/v1/entries/{chain.entry}", json=emptied)
    assert running.answered(patched) == entry | {"radius_m": None, "brands": [], "fallback": []}


def test_a_printed_entry_is_given_to_nobody_else(chain: Chain, shared: Running) -> None:
    chain.put_entry()
    again = chain.hq.post("/api/v1/entries", json={"entry": chain.entry, "name": "x"})
    assert again.status_code == 409
    with chains.own(shared) as other:
        payload = running.payload("fallback")
        body = {"entry": chain.entry, "name": "x", "fallback": payload}
        assert other.hq.post("/api/v1/entries", json=body).status_code == 409
        # What was refused has left nothing behind: the payload is free for a store.
        assert other.put_code("S1", "fallback")["payload"] == payload
        assert other.hq.get(f"/api/v1/entries/{chain.entry}").status_code == 404
    assert chain.get(f"/api/v1/entries/{chain.entry}")["name"] == "活码"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"entry": "has space"}, "entry"),
        ({"entry": "a/b"}, "entry"),
        ({"entry": "a\n"}, "entry"),
        ({"entry": "x" * 65}, "entry"),
        ({"name": ""}, "name"),
        ({"name": "a\u0000"}, "name"),
        ({"radius_m": 0}, "radius_m"),
        ({"radius_m": "far"}, "radius_m"),
        ({"ip_policy": "guess"}, "ip_policy"),
        ({"brands": "茶"}, "brands"),
        ({"fallback": "https://example.com"}, "fallback"),
        ({"fallback": "01a20107-04ae-7209-ba26-4aab3fbbea2c"}, "fallback"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_entry_is_refused_with_its_field(
    chain: Chain, change: dict[str, Any], field: str
) -> None:
    body = {"entry": chain.entry, "name": "活码", **change}
    answer = chain.hq.post("/api/v1/entries", json=body)
    assert answer.status_code == 422
    assert {error["field"].split(".")[0] for error in answer.json()["errors"]} == {field}
    assert chain.get("/api/v1/entries")["entries"] == []


def test_the_list_of_entries_is_read_page_by_page(chain: Chain) -> None:
    names = [f"{chain.entry}-{letter}" for letter in "abc"]
    for name in names:
        chain.put_entry(entry=name)
    first = chain.get("/api/v1/entries", limit=2)
    second = chain.get("/api/v1/entries", limit=2, cursor=first["next"])
    assert [e["entry"] for e in (*first["entries"], *second["entries"])] == names
    assert second["next"] is None


# ---------------------------------------------------------------- what entries do


def test_a_fallback_by_payload_serves_who_is_out_of_range(chain: Chain) -> None:
    payload = running.payload("fallback")
    (code_id,) = chain.put_entry(fallback=payload)["fallback"]
    code = chain.code(code_id)
    assert (code["store"], code["payload"], code["serving"]) == (None, payload, True)
    chain.put_code("S1", "one")
    routing = chain.locate(chain.scan("a"), 87.6, 43.8)
    assert (routing["outcome"], routing["reason"]) == ("code", "fallback")
    assert (routing["code"]["code_id"], routing["store"]) == (code_id, None)
    # The same payload again means the same code.
    patched = chain.hq.patch(f"/api/v1/entries/{chain.entry}", json={"fallback": [payload]})
    assert running.answered(patched)["fallback"] == [code_id]


def test_a_fallback_by_id_may_be_a_stores_code(chain: Chain) -> None:
    code_id = chain.put_code("S2", "two")["code_id"]
    chain.put_entry(fallback=[code_id])
    routing = chain.locate(chain.scan("a"), 87.6, 43.8)
    assert (routing["reason"], routing["code"]["code_id"]) == ("fallback", code_id)


def test_an_entry_of_one_brand_leads_to_its_stores_alone(chain: Chain) -> None:
    chain.put_store("S2", *chains.S2, brand="茶")
    chain.put_code("S1", "one")
    chain.put_code("S2", "two")
    chain.put_entry(brands=["茶"])
    assert chain.locate(chain.scan("a"), *chains.S1)["store"]["store"] == "S2"
    listed = running.answered(chain.visitor.get(f"/api/v1/entries/{chain.entry}/stores"))
    assert [store["store"] for store in listed["stores"]] == ["S2"]
    chain.put_entry(entry=f"{chain.entry}-coffee", brands=["咖啡"])
    scan_id = chain.scan("b", entry=f"{chain.entry}-coffee")
    routing = chain.locate(scan_id, *chains.S1)
    assert (routing["outcome"], routing["reason"]) == ("unserved", "no_store")


def test_an_entrys_radius_is_how_far_a_store_may_be(chain: Chain) -> None:
    chain.put_code("S2", "two")
    chain.hq.delete("/api/v1/stores/S1").raise_for_status()
    chain.put_entry(radius_m=900)
    routing = chain.locate(chain.scan("a"), *chains.S1)
    assert (routing["outcome"], routing["reason"]) == ("unserved", "out_of_range")
    running.answered(chain.hq.patch(f"/api/v1/entries/{chain.entry}", json={"radius_m": 1000}))
    assert chain.locate(chain.scan("b"), *chains.S1)["outcome"] == "code"


@pytest.mark.parametrize(
    ("policy", "outcome", "reason"),
    [
        ("choose", "choose", "ip_only"),
        ("nearest", "code", "nearest"),
        ("never", "choose", "position_needed"),
    ],
)
def test_what_an_ip_address_decides_is_the_entrys_policy(
    chain: Chain, policy: str, outcome: str, reason: str
) -> None:
    chain.put_code("S1", "one")
    chain.put_code("S2", "two")
    chain.put_entry(ip_policy=policy)
    routing = by_ip(chain, chain.scan("a"), "202.96.209.5")
    assert (routing["outcome"], routing["reason"]) == (outcome, reason)
    if policy == "never":
        assert routing["located"] is None
    else:
        assert routing["located"]["source"] == "ip"
        assert routing["located"]["province"] == "上海市"


def by_ip(chain: Chain, scan_id: str, address: str) -> dict[str, Any]:
    answer = chain.visitor.post(
        f"/api/v1/scans/{scan_id}/position",
        json={"source": "ip"},
        headers={"X-Forwarded-For": address},
    )
    return running.answered(answer)


# ---------------------------------------------------------------- placements


def test_a_placement_is_made_listed_and_corrected(chain: Chain) -> None:
    chain.put_entry()
    values = {"store": "S1", "printed": 200, "cost": 360.5, "variant": "A"}
    made = placed(chain, "poster-1", **values)
    assert {name: made[name] for name in values} == values
    assert made["url"] == f"{PUBLIC_URL}/q/{chain.entry}?p=poster-1"
    placed(chain, "card.2026-11", channel="package_card")
    path = f"/api/v1/entries/{chain.entry}/placements"
    listed = chain.get(path)
    assert [p["placement"] for p in listed["placements"]] == ["card.2026-11", "poster-1"]
    assert listed["next"] is None
    first = chain.get(path, limit=1)
    assert chain.get(path, limit=1, cursor=first["next"])["placements"] == [made]
    body = {"placement": "poster-1", "name": "新海报", "channel": "poster"}
    again = chain.hq.post(path, json=body)
    assert again.status_code == 200
    assert again.json()["name"] == "新海报"
    assert len(chain.get(path)["placements"]) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"placement": "has space"}, "placement"),
        ({"placement": ".hidden"}, "placement"),
        ({"channel": ""}, "channel"),
        ({"store": "S9"}, "store"),
        ({"printed": -1}, "printed"),
        ({"cost": "much"}, "cost"),
        ({"variant": "a\u0000"}, "variant"),
    ],
)
def test_a_bad_placement_is_refused_with_its_field(
    chain: Chain, change: dict[str, Any], field: str
) -> None:
    chain.put_entry()
    path = f"/api/v1/entries/{chain.entry}/placements"
    body = {"placement": "p", "name": "p", "channel": "poster", **change}
    answer = chain.hq.post(path, json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert chain.get(path)["placements"] == []


def test_the_printed_url_counts_for_its_placement(chain: Chain) -> None:
    chain.put_entry()
    url = urlsplit(placed(chain, "poster-1")["url"])
    page = chain.visitor.get(f"{url.path}?{url.query}", headers={"User-Agent": "MicroMessenger"})
    assert page.status_code == 200
    (row,) = chain.get("/api/v1/reports/funnel", by="placement")["rows"]
    assert (row["key"], row["scans"]) == ("poster-1", 1)


# ---------------------------------------------------------------- print


def logo() -> bytes:
    picture = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(picture).ellipse((20, 20, 280, 180), fill="red")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def read(form: str, picture: bytes) -> str:
    """What a phone reads from the print; SVG and PDF are drawn by their rectangles alone."""
    if form == "png":
        return qr.decode(picture)
    if form == "svg":
        svg = picture.decode()
        side = float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1])  # type: ignore[index]
        found = re.findall(r"M(\d+) (\d+)h(\d+)v1h", svg)
        boxes = [(float(x), float(y), float(w), 1.0) for x, y, w in found]
        return qr.decode(drawn(side, boxes))
    streams = re.findall(rb"/FlateDecode \].*?stream\r?\n(.*?)endstream", picture, re.DOTALL)
    texts = (zlib.decompress(base64.a85decode(b"<~" + s.strip(), adobe=True)) for s in streams)
    content = next(text for text in texts if text.count(b" re") > 10).decode("latin-1")
    number = r"(-?[\d.]+)"
    rectangles = re.findall(rf"{number} {number} {number} {number} re", content)
    (_, _, wide, high), *rest = [tuple(map(float, rectangle)) for rectangle in rectangles]
    upright = [(x, high - y - h, w, h) for x, y, w, h in rest]
    return qr.decode(drawn(max(wide, high), upright))


def drawn(side: float, boxes: list[tuple[float, float, float, float]]) -> bytes:
    scale = 1200 / side
    picture = Image.new("L", (1200, 1200), 255)
    draw = ImageDraw.Draw(picture)
    for x, y, width, height in boxes:
        corners = (x, y, x + width, y + height)
        left, top, right, bottom = (round(corner * scale) for corner in corners)
        draw.rectangle((left, top, right - 1, bottom - 1), fill=0)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


MEDIA = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("with_logo", [False, True], ids=["plain", "logo"])
@pytest.mark.parametrize("placement", [None, "poster.2026-11_A"])
def test_the_printed_code_reads_as_exactly_the_url(
    chain: Chain, form: str, with_logo: bool, placement: str | None
) -> None:
    chain.put_entry(name="近码茶社活码")
    url = f"{PUBLIC_URL}/q/{chain.entry}"
    if placement:
        placed(chain, placement)
        url += f"?p={placement}"
    path = f"/api/v1/entries/{chain.entry}/qr.{form}"
    params = {"placement": placement} if placement else {}
    if with_logo:
        answer = chain.read.post(path, params=params, files={"logo": ("logo.png", logo())})
    else:
        answer = chain.read.get(path, params=params)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MEDIA[form]
    assert read(form, answer.content) == url
    assert parse_qs(urlsplit(url).query).get("p", [None]) == [placement]


def test_a_png_has_the_size_asked_for(chain: Chain) -> None:
    chain.put_entry()
    path = f"/api/v1/entries/{chain.entry}/qr.png"
    picture = chain.hq.get(path, params={"size": 555}).content
    assert Image.open(io.BytesIO(picture)).size == (555, 555)
    for size in (99, 4001, "large"):
        answer = chain.hq.get(path, params={"size": size})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "size"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("{entry}/qr.gif", 404),
        ("{entry}/qr.png?placement=unknown", 404),
        ("unknown/qr.png", 404),
        ("unknown/placements", 404),
        ("unknown", 404),
    ],
)
def test_what_an_entry_has_not_is_not_found(chain: Chain, path: str, status: int) -> None:
    chain.put_entry()
    assert chain.hq.get(f"/api/v1/entries/{path.format(entry=chain.entry)}").status_code == status


def test_a_logo_that_is_no_picture_is_refused(chain: Chain) -> None:
    chain.put_entry()
    path = f"/api/v1/entries/{chain.entry}/qr.png"
    answer = chain.hq.post(path, files={"logo": ("logo.png", b"no picture")})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "logo"


# ---------------------------------------------------------------- dry run


def test_a_dry_run_tells_every_hop_and_takes_no_seat(chain: Chain) -> None:
    chain.put_entry()
    full = chain.put_code("S1", "one", capacity=1, members=1)["code_id"]
    code_id = chain.put_code("S2", "two")["code_id"]
    lon, lat = chains.S1
    routing = chain.get("/api/v1/route", entry=chain.entry, lon=lon, lat=lat)
    assert routing["scan_id"] is None
    assert (routing["outcome"], routing["reason"]) == ("code", "next_store")
    assert routing["code"]["code_id"] == code_id
    assert [(h["store"], h["code_id"], h["skipped"]) for h in routing["hops"]] == [
        ("S1", full, "full")
    ]
    assert chain.code(code_id)["held"] == 0
    assert chain.get("/api/v1/reports/funnel")["total"]["scans"] == 0
    shown = chain.locate(chain.scan("a"), lon, lat)
    for name in ("outcome", "reason", "store", "hops", "located"):
        if name != "located":
            assert shown[name] == routing[name]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"lon": 181}, "lon"), ({"lat": "x"}, "lat"), ({"datum": "mars"}, "datum"),
     ({"accuracy_m": -1}, "accuracy_m"), ({"lon": "nan"}, "lon")],
)  # fmt: skip
def test_a_bad_dry_run_is_refused(chain: Chain, change: dict[str, Any], field: str) -> None:
    chain.put_entry()
    params = {"entry": chain.entry, "lon": 121, "lat": 31, **change}
    answer = chain.hq.get("/api/v1/route", params=params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
