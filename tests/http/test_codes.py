"""Group codes: put up from a picture or a payload, changed, renewed, drawn again, imported."""

import io
import re
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from service import qr
from tests import running
from tests.http import chains
from tests.http.chains import Chain

PHOTO = (Path(__file__).parents[2] / "fixtures" / "group-photo.jpg").read_bytes()
CODE_FIELDS = {
    "code_id", "store", "kind", "payload", "capacity", "members", "held", "counted_by", "status",
    "serving", "expires_at", "position",
}  # fmt: skip
GROUP_CARD = "https://weixin.qq.com/g/AwYAAOrdinaryGroup_{}"  # an ordinary group: 7 days
CONTACT = "https://u.wechat.com/EBx_someBody{}"


def upload(chain: Chain, picture: bytes, store: str = "S1", **fields: str) -> httpx.Response:
    files = {"image": ("code.png", picture)}
    return chain.hq.post(f"/api/v1/stores/{store}/codes", files=files, data=fields)


def patched(chain: Chain, code_id: str, **change: Any) -> dict[str, Any]:
    return running.answered(chain.hq.patch(f"/api/v1/codes/{code_id}", json=change))


def in_days(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)) / timedelta(days=1)


# ---------------------------------------------------------------- putting up


def test_a_drawn_code_is_read_classified_and_served(chain: Chain) -> None:
    payload = running.payload("drawn")
    answer = upload(chain, qr.png(payload), capacity="30", members="4", label="一群")
    assert answer.status_code == 201
    code = answer.json()
    assert code.keys() >= CODE_FIELDS
    assert (code["store"], code["kind"], code["payload"]) == ("S1", "wecom_group", payload)
    assert (code["capacity"], code["members"], code["held"], code["label"]) == (30, 4, 0, "一群")
    assert (code["status"], code["serving"], code["counted_by"]) == ("active", True, "pressed")
    assert code["expires_at"] is None, "WeCom's own codes do not expire"
    assert chain.code(code["code_id"]) == code
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == [code]


def test_a_photograph_of_a_groups_card_becomes_a_code_with_seven_days(chain: Chain) -> None:
    code = running.answered(upload(chain, PHOTO))
    assert code["kind"] == "wechat_group"
    assert code["payload"] == qr.decode(PHOTO)
    assert in_days(code["expires_at"]) == pytest.approx(7, abs=0.01)


def test_a_stated_expiry_goes_before_the_seven_days(chain: Chain) -> None:
    stated = "2099-01-02T03:04:05+08:00"
    code = running.answered(upload(chain, qr.png(GROUP_CARD.format("1")), expires_at=stated))
    assert datetime.fromisoformat(code["expires_at"]) == datetime.fromisoformat(stated)


def test_a_payload_alone_makes_a_code(chain: Chain) -> None:
    code = chain.put_code("S1", "json", capacity=7, members=7)
    assert (code["capacity"], code["serving"]) == (7, False)
    contact = {"payload": CONTACT.format(1)}
    made = chain.hq.post("/api/v1/stores/S1/codes", json=contact)
    assert made.status_code == 201
    assert made.json()["kind"] == "wechat_personal"
    assert made.json()["position"] > code["position"], "behind the store's others"


def beside(*pictures: bytes) -> bytes:
    opened = [Image.open(io.BytesIO(picture)).convert("L") for picture in pictures]
    both = Image.new("L", (sum(p.width for p in opened), max(p.height for p in opened)), 255)
    left = 0
    for picture in opened:
        both.paste(picture, (left, 0))
        left += picture.width
    out = io.BytesIO()
    both.save(out, "PNG")
    return out.getvalue()


def plain(size: tuple[int, int] = (200, 200)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, 200).save(out, "PNG")
    return out.getvalue()


REFUSED = [
    (plain(), "no QR code"),
    (
        beside(qr.png(running.payload("a")), qr.png(running.payload("b"))),
        "2 QR codes",
    ),
    (qr.png("https://example.com/"), "not the code of a WeChat"),
    (qr.png("wxp://f2f0abcdef"), "payment code"),
    (qr.png("http://localhost:8000/q/tea"), "entry code"),
    (b"GIF89a but no more", "not a JPEG"),
    (qr.png(running.payload("cut"))[:300], "damaged"),
    (b"", "empty"),
]


@pytest.mark.parametrize(("picture", "reason"), REFUSED)
def test_a_picture_that_is_no_groups_code_is_refused_with_the_reason(
    chain: Chain, picture: bytes, reason: str
) -> None:
    answer = upload(chain, picture)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "image"
    assert reason in error["detail"]
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []


def test_a_picture_that_is_too_large_is_refused(chain: Chain) -> None:
    limit = int(chain.settings.max_upload_mb * 1_000_000)
    answer = upload(chain, b"\x89PNG" + bytes(limit))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "payload"),
        ({"payload": "https://example.com"}, "payload"),
        ({"payload": running.payload("x"), "capacity": 0}, "capacity"),
        ({"payload": running.payload("x"), "capacity": 501}, "capacity"),
        ({"payload": running.payload("x"), "members": -1}, "members"),
        ({"payload": running.payload("x"), "expires_at": "tomorrow"}, "expires_at"),
        ({"payload": running.payload("x"), "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        (
            {"payload": running.payload("x"), "expires_at": "0001-01-01T00:00:00+08:00"},
            "expires_at",
        ),
        ({"payload": running.payload("x"), "label": "a\u0000"}, "label"),
        ({"payload": running.payload("x"), "colour": "red"}, "colour"),
    ],
)
def test_a_bad_code_is_refused_with_its_field(
    chain: Chain, body: dict[str, Any], field: str
) -> None:
    answer = chain.hq.post("/api/v1/stores/S1/codes", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []


def test_a_form_without_a_picture_says_what_is_missing(chain: Chain) -> None:
    answer = chain.hq.post("/api/v1/stores/S1/codes", files={"photo": ("a.png", plain())})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "image"


def test_a_code_that_is_up_elsewhere_is_refused(chain: Chain) -> None:
    chain.put_code("S1", "one")
    for store, where in (("S1", "this store"), ("S2", "S1")):
        body = {"payload": running.payload("one")}
        answer = chain.hq.post(f"/api/v1/stores/{store}/codes", json=body)
        assert answer.status_code == 409
        assert where in answer.json()["detail"]


def test_two_chains_may_not_disturb_each_other_with_the_same_code(
    chain: Chain, shared: running.Running
) -> None:
    chain.put_code("S1", "one")
    with chains.own(shared) as other:
        assert other.put_code("S1", "one")["store"] == "S1"


# ---------------------------------------------------------------- changing


def test_every_field_of_a_code_can_be_changed_and_the_others_stay(chain: Chain) -> None:
    code = chain.put_code("S1", "one")
    changes: dict[str, Any] = {
        "capacity": 55, "members": 5, "counted_by": "joined", "status": "paused",
        "expires_at": "2099-01-01T00:00:00Z", "position": 9, "label": "茶",
    }  # fmt: skip
    expected = dict(code)
    for field, value in changes.items():
        expected |= {field: value}
        if field == "status":
            expected["serving"] = False
        assert patched(chain, code["code_id"], **{field: value}) == expected
    assert patched(chain, code["code_id"], expires_at=None)["expires_at"] is None
    assert chain.code(code["code_id"])["capacity"] == 55


@pytest.mark.parametrize(
    "change",
    [
        {"capacity": 0}, {"capacity": 501}, {"capacity": None}, {"members": -1},
        {"members": 10**12}, {"members": None}, {"status": "asleep"}, {"status": None},
        {"counted_by": "hope"}, {"position": -1}, {"expires_at": "never"},
        {"expires_at": "9999-12-31T23:59:59-08:00"}, {"payload": "x"}, {"capacity": 2**40},
    ],
)  # fmt: skip
def test_a_bad_change_is_refused_with_its_field(chain: Chain, change: dict[str, Any]) -> None:
    code = chain.put_code("S1", "one")
    answer = chain.hq.patch(f"/api/v1/codes/{code['code_id']}", json=change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == list(change)
    assert chain.code(code["code_id"]) == code


@pytest.mark.parametrize(
    ("change", "serving"),
    [
        ({"status": "paused"}, False),
        ({"status": "retired"}, False),
        ({"members": 200}, False),
        ({"members": 199}, True),
        ({"expires_at": "2020-01-01T00:00:00Z"}, False),
        ({"expires_at": "2099-01-01T00:00:00Z"}, True),
    ],
)
def test_serving_tells_whether_the_next_visitor_could_be_shown_it(
    chain: Chain, change: dict[str, Any], serving: bool
) -> None:
    chain.put_entry()
    code = chain.put_code("S1", "one")
    assert patched(chain, code["code_id"], **change)["serving"] is serving
    outcome = chain.locate(chain.scan("a"), *chains.S1)["outcome"]
    assert (outcome == "code") is serving


def test_the_position_is_the_order_in_which_codes_are_filled(chain: Chain) -> None:
    chain.put_entry()
    first, second = (chain.put_code("S1", token)["code_id"] for token in ("one", "two"))
    assert chain.locate(chain.scan("a"), *chains.S1)["code"]["code_id"] == first
    patched(chain, first, position=5)
    listed = [code["code_id"] for code in chain.get("/api/v1/stores/S1/codes")["codes"]]
    assert listed == [second, first]
    assert chain.locate(chain.scan("b"), *chains.S1)["code"]["code_id"] == second


def test_a_code_that_shrinks_gives_its_youngest_seats_back(chain: Chain) -> None:
    chain.put_entry()
    code_id = chain.put_code("S1", "one", capacity=5)["code_id"]
    scans = {visitor: chain.scan(visitor) for visitor in "abc"}
    for visitor in "abc":
        chain.locate(scans[visitor], *chains.S1)
    assert chain.code(code_id)["held"] == 3
    code = patched(chain, code_id, capacity=2)
    assert (code["held"], code["serving"]) == (2, False)
    # The two who came first still have theirs.
    for visitor in "ab":
        chain.tell(scans[visitor], "pressed")
    code = chain.code(code_id)
    assert (code["members"], code["held"]) == (2, 0)
    # The third comes too late, and no member too many is counted.
    chain.tell(scans["c"], "pressed")
    assert chain.code(code_id)["members"] == 2
    # A manager's head count corrects what was counted, beyond the capacity if so it is.
    code = patched(chain, code_id, members=9)
    assert (code["members"], code["serving"]) == (9, False)


def test_a_retired_code_is_out_of_the_list_and_stays_retired(chain: Chain) -> None:
    code_id = chain.put_code("S1", "one")["code_id"]
    assert patched(chain, code_id, status="retired")["status"] == "retired"
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []
    again = chain.put_code("S2", "one")
    assert again["code_id"] != code_id, "its group may be put up anew, elsewhere too"
    answer = chain.hq.patch(f"/api/v1/codes/{code_id}", json={"status": "active"})
    assert answer.status_code == 409
    assert renew(chain, code_id, running.payload("three")).status_code == 409


# ---------------------------------------------------------------- renewing


def renew(chain: Chain, code_id: str, payload: str) -> httpx.Response:
    files = {"image": ("new.png", qr.png(payload))}
    return chain.hq.put(f"/api/v1/codes/{code_id}/image", files=files)


def test_an_expired_code_is_renewed_in_place(chain: Chain) -> None:
    chain.put_entry()
    before = running.answered(
        chain.hq.post(
            "/api/v1/stores/S1/codes",
            json={
                "payload": GROUP_CARD.format("old"),
                "capacity": 20,
                "members": 12,
                "expires_at": "2020-01-01T00:00:00Z",
            },
        )
    )
    chain.put_code("S1", "second")
    assert not before["serving"]
    after = running.answered(renew(chain, before["code_id"], GROUP_CARD.format("new")))
    assert after["code_id"] == before["code_id"]
    assert after["payload"] == GROUP_CARD.format("new")
    assert (after["capacity"], after["position"]) == (20, before["position"])
    assert after["members"] == 0, "another payload is another group"
    assert after["serving"]
    assert in_days(after["expires_at"]) == pytest.approx(7, abs=0.01)
    routing = chain.locate(chain.scan("a"), *chains.S1)
    assert routing["code"]["code_id"] == before["code_id"]
    assert drawn(chain, before["code_id"]) == GROUP_CARD.format("new")


def test_the_same_picture_again_keeps_the_members(chain: Chain) -> None:
    body = {
        "payload": GROUP_CARD.format("one"),
        "members": 12,
        "expires_at": "2020-01-01T00:00:00Z",
    }
    code_id = running.answered(chain.hq.post("/api/v1/stores/S1/codes", json=body))["code_id"]
    after = running.answered(renew(chain, code_id, GROUP_CARD.format("one")))
    assert (after["members"], after["serving"]) == (12, True)


def test_a_renewal_with_a_code_that_is_up_elsewhere_is_refused(chain: Chain) -> None:
    chain.put_code("S2", "two")
    code = chain.put_code("S1", "one")
    answer = renew(chain, code["code_id"], running.payload("two"))
    assert answer.status_code == 409
    assert chain.code(code["code_id"]) == code


@pytest.mark.parametrize(("picture", "reason"), REFUSED[:4])
def test_a_renewal_needs_a_groups_code(chain: Chain, picture: bytes, reason: str) -> None:
    code = chain.put_code("S1", "one")
    files = {"image": ("new.png", picture)}
    answer = chain.hq.put(f"/api/v1/codes/{code['code_id']}/image", files=files)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["image"]
    assert reason in answer.json()["detail"]
    assert chain.code(code["code_id"]) == code


def test_a_contact_that_becomes_a_group_has_no_more_seats_than_a_group(chain: Chain) -> None:
    body = {"payload": CONTACT.format(7)}
    code = running.answered(chain.hq.post("/api/v1/stores/S1/codes", json=body))
    assert code["capacity"] == chain.settings.contact_capacity
    after = running.answered(renew(chain, code["code_id"], running.payload("group")))
    assert after["kind"] == "wecom_group"
    assert after["capacity"] == chain.settings.default_capacity


# ---------------------------------------------------------------- drawn again


def drawn(chain: Chain, code_id: str) -> str:
    """What a phone reads from the code's picture."""
    return qr.decode(chain.visitor.get(f"/c/{code_id}.png").raise_for_status().content)


def test_a_code_is_drawn_again_from_its_payload_crisp_for_a_phone(chain: Chain) -> None:
    code_id = running.answered(upload(chain, PHOTO))["code_id"]
    answer = chain.visitor.get(f"/c/{code_id}.png")
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.width == picture.height >= 600
    assert qr.decode(answer.content) == qr.decode(PHOTO)
    colours = picture.convert("L").getcolors() or []
    assert {colour for _, colour in colours} == {0, 255}


def from_svg(svg: str, unit: int = 8) -> bytes:
    """The drawing's rectangles as a PNG."""
    side = int(re.search(r'viewBox="0 0 (\d+) ', svg)[1])  # type: ignore[index]
    picture = Image.new("L", (side * unit, side * unit), 255)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h", svg):
        left, top = int(x) * unit, int(y) * unit
        picture.paste(0, (left, top, left + int(width) * unit, top + unit))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_the_svg_holds_the_same_payload(chain: Chain) -> None:
    code_id = chain.put_code("S1", "one")["code_id"]
    answer = chain.visitor.get(f"/c/{code_id}.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert qr.decode(from_svg(answer.text)) == running.payload("one")


def test_a_picture_that_is_known_is_not_sent_again_until_it_changes(chain: Chain) -> None:
    code_id = chain.put_code("S1", "one")["code_id"]
    url = f"/c/{code_id}.png"
    etag = chain.visitor.get(url).headers["etag"]
    for known in (etag, f"W/{etag}", f'"another", {etag}', "*"):
        answer = chain.visitor.get(url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["etag"] == etag
    assert chain.visitor.get(url, headers={"If-None-Match": '"another"'}).status_code == 200
    assert chain.visitor.get(f"/c/{code_id}.svg").headers["etag"] != etag
    running.answered(renew(chain, code_id, running.payload("two")))
    changed = chain.visitor.get(url, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert qr.decode(changed.content) == running.payload("two")


@pytest.mark.parametrize("form", ["gif", "pdf", "html"])
def test_there_are_no_other_forms_of_a_code(chain: Chain, form: str) -> None:
    code_id = chain.put_code("S1", "one")["code_id"]
    assert chain.visitor.get(f"/c/{code_id}.{form}").status_code == 404


# ---------------------------------------------------------------- imports


def imported(chain: Chain, data: bytes, name: str = "codes.csv", **params: Any) -> dict[str, Any]:
    return running.answered(
        chain.hq.post("/api/v1/codes/import", files={"file": (name, data)}, params=params)
    )


def counts(done: dict[str, Any]) -> tuple[int, int, int]:
    return done["created"], done["unchanged"], len(done["rejected"])


def test_codes_come_from_a_table_and_the_same_again_changes_nothing(chain: Chain) -> None:
    chain.put_code("S2", "taken")
    data = (
        "store,payload,capacity,expires_at,label\n"
        f"S1,{running.payload('one')},50,2099-01-01 18:00,一群\n"
        f"S1,{GROUP_CARD.format('x')},,,\n"
        f"S9,{running.payload('nine')},,,\n"
        "S1,https://example.com/,,,\n"
        f"S1,{running.payload('many')},501,,\n"
        f"S1,{running.payload('one')},,,\n"
        f"S1,{running.payload('taken')},,,\n"
    ).encode()
    tried = imported(chain, data, dry_run=True)
    assert counts(tried) == (2, 0, 5)
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []
    done = imported(chain, data)
    assert [change["subject"] for change in tried.pop("changes")] == ["S1", "S1"]
    assert done == tried
    refused = [(r["row"], r["field"]) for r in done["rejected"]]
    assert refused == [
        (4, "store"),
        (5, "payload"),
        (6, "capacity"),
        (7, "payload"),
        (8, "payload"),
    ]
    codes = chain.get("/api/v1/stores/S1/codes")["codes"]
    assert [code["payload"] for code in codes] == [running.payload("one"), GROUP_CARD.format("x")]
    assert (codes[0]["capacity"], codes[0]["label"]) == (50, "一群")
    expiry = datetime.fromisoformat("2099-01-01T18:00:00+08:00")
    assert datetime.fromisoformat(codes[0]["expires_at"]) == expiry
    assert in_days(codes[1]["expires_at"]) == pytest.approx(7, abs=0.01)
    assert counts(imported(chain, data)) == (0, 2, 5)
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == codes


def test_times_without_an_offset_are_in_the_chains_time_zone(shared: running.Running) -> None:
    with chains.own(shared, timezone="Asia/Tokyo") as tokyo:
        data = f"store,payload,expires_at\nS1,{running.payload('one')},2099-01-01 18:00\n"
        assert counts(imported(tokyo, data.encode())) == (1, 0, 0)
        (code,) = tokyo.get("/api/v1/stores/S1/codes")["codes"]
        expiry = datetime.fromisoformat("2099-01-01T18:00:00+09:00")
        assert datetime.fromisoformat(code["expires_at"]) == expiry


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_codes_come_from_pictures_named_by_store(chain: Chain) -> None:
    chain.put_store("SH-001", 121.49, 31.24)
    data = zipped(
        {
            "codes/S1.png": qr.png(running.payload("one")),
            "codes/S1-2.jpg": PHOTO,
            "codes/SH-001-2.png": qr.png(running.payload("dash")),
            "codes/S9.png": qr.png(running.payload("nine")),
            "codes/S2.png": plain(),
            "codes/S2-b.png": qr.png(running.payload("one")),
            "codes/readme.txt": b"hello",
            "__MACOSX/._S1.png": b"apple",
            ".DS_Store": b"apple",
        }
    )
    done = imported(chain, data, "codes.zip")
    assert counts(done) == (3, 0, 4)
    details = " ".join(r["detail"] for r in done["rejected"])
    for name in ("S9.png", "S2.png", "S2-b.png", "readme.txt"):
        assert name in details
    payloads = [code["payload"] for code in chain.get("/api/v1/stores/S1/codes")["codes"]]
    assert sorted(payloads) == sorted([running.payload("one"), qr.decode(PHOTO)])
    (dashed,) = chain.get("/api/v1/stores/SH-001/codes")["codes"]
    assert dashed["payload"] == running.payload("dash")
    assert counts(imported(chain, data, "codes.zip")) == (0, 3, 4)


def test_a_damaged_or_encrypted_picture_in_a_zip_keeps_no_other_out(chain: Chain) -> None:
    good = zipped({"S1.png": qr.png(running.payload("one")), "S2.png": PHOTO})
    broken = bytearray(good)
    info = zipfile.ZipFile(io.BytesIO(good)).getinfo("S2.png")
    start = info.header_offset + 30 + len("S2.png")
    broken[start + 100 : start + 200] = bytes(100)
    done = imported(chain, bytes(broken), "codes.zip")
    assert counts(done) == (1, 0, 1)
    assert "S2.png" in done["rejected"][0]["detail"]
    # The first flag of an entry, here and in the central directory, says that it is encrypted.
    locked = bytearray(good)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = 0
        while (place := locked.find(mark, place)) >= 0:
            locked[place + offset] |= 1
            place += 4
    done = imported(chain, bytes(locked), "codes.zip")
    assert counts(done) == (0, 0, 2)
    assert "password" in done["rejected"][0]["detail"]


def test_a_zip_that_is_cut_off_is_refused(chain: Chain) -> None:
    data = zipped({"S1.png": qr.png(running.payload("one"))})[:-40]
    answer = chain.hq.post("/api/v1/codes/import", files={"file": ("codes.zip", data)})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "file"


def test_the_sample_chains_codes_come_in_at_once(chain: Chain) -> None:
    folder = Path(__file__).parents[2] / "fixtures"
    files = {"file": ("stores.csv", (folder / "stores.csv").read_bytes())}
    running.answered(chain.hq.post("/api/v1/stores/import", files=files))
    codes = (folder / "codes.csv").read_bytes()
    started = time.monotonic()
    assert counts(imported(chain, codes)) == (384, 0, 0)
    assert counts(imported(chain, codes)) == (0, 384, 0)
    assert time.monotonic() - started < 10
