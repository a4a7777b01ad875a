"""What is kept of the pictures that codes were read from, and what a preview tells beforehand."""

import base64
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from PIL import Image

from service import copies, db, qr
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

GROUP_CARD = "https://weixin.qq.com/g/AwYAAOrdinaryGroup_1"
PERSONAL = "https://u.wechat.com/EBx_someBody1"


def photograph(payload: str) -> bytes:
    """A JPEG of the code that tells where it was taken."""
    exif = Image.Exif()
    exif[0x0110] = "SecretCamera"
    exif.get_ifd(0x8825)[2] = (31.0, 14.0, 25.0)
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(qr.png(payload, size_px=900))).convert("RGB")
    picture.save(out, "JPEG", exif=exif)
    return out.getvalue()


def put_up(chain: Chain, payload: str, store: str = "S1") -> dict[str, Any]:
    files = {"image": ("code.jpg", photograph(payload))}
    return running.answered(chain.hq.post(f"/api/v1/stores/{store}/codes", files=files))


def preview(chain: Chain, payload: str, store: str = "S1", **params: Any) -> dict[str, Any]:
    files = {"image": ("code.jpg", photograph(payload))}
    path = f"/api/v1/stores/{store}/codes/preview"
    return running.answered(chain.manager.post(path, files=files, params=params))


async def rows_of(chain: Chain, table: str) -> int:
    connection = await db.connect(chain.database_url)
    try:
        count: int = await connection.fetchval(
            f"SELECT count(*) FROM {table} JOIN chains USING (chain_id) WHERE chain = $1",
            chain.chain,
        )
        return count
    finally:
        await connection.close()


# ---------------------------------------------------------------- the copy that is kept


def test_a_codes_picture_is_kept_small_and_without_its_position(chain: Chain) -> None:
    code = put_up(chain, running.payload("one"))
    for client in (chain.hq, chain.manager, chain.read):
        answer = client.get(code["picture"])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"].startswith("private")
    assert len(answer.content) <= 40_000
    assert b"SecretCamera" not in answer.content
    kept = Image.open(io.BytesIO(answer.content))
    assert max(kept.size) == 480
    assert not kept.getexif()
    assert qr.decode(answer.content) == running.payload("one")


def test_a_code_that_came_without_a_picture_has_none(chain: Chain) -> None:
    code = chain.put_code("S1", "one")
    assert code["picture"] is None
    assert chain.hq.get(f"/api/v1/codes/{code['code_id']}/picture").status_code == 404


def test_a_picture_is_for_its_managers_and_hq_alone(chain: Chain, shared: Running) -> None:
    chain.put_store("S9", *chains.S1)
    code = put_up(chain, running.payload("one"), store="S9")
    assert chain.visitor.get(code["picture"]).status_code == 401
    assert chain.manager.get(code["picture"]).status_code == 404, "another store's manager"
    with chains.own(shared) as other:
        assert other.hq.get(code["picture"]).status_code == 404


def test_a_renewed_codes_picture_is_the_new_one(chain: Chain) -> None:
    code = put_up(chain, running.payload("one"))
    files = {"image": ("code.jpg", photograph(running.payload("two")))}
    renewed = chain.hq.put(f"/api/v1/codes/{code['code_id']}/image", files=files)
    kept = chain.hq.get(running.answered(renewed)["picture"])
    assert qr.decode(kept.content) == running.payload("two")


async def test_a_retired_codes_picture_is_gone_at_once(chain: Chain) -> None:
    code = put_up(chain, running.payload("one"))
    kept = put_up(chain, running.payload("two"), store="S2")
    chain.hq.patch(f"/api/v1/codes/{code['code_id']}", json={"status": "retired"})
    assert chain.hq.get(code["picture"]).status_code == 404
    assert chain.code(code["code_id"])["picture"] is None
    assert await rows_of(chain, "code_pictures") == 1
    chain.hq.delete("/api/v1/stores/S2").raise_for_status()
    assert chain.hq.get(kept["picture"]).status_code == 404
    assert await rows_of(chain, "code_pictures") == 0


# ---------------------------------------------------------------- the preview


async def test_a_preview_tells_what_a_picture_would_be_and_puts_nothing_up(chain: Chain) -> None:
    told = preview(chain, GROUP_CARD)
    assert (told["payload"], told["kind"], told["capacity"]) == (GROUP_CARD, "wechat_group", 200)
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert left / timedelta(days=1) == pytest.approx(7, abs=0.01)
    assert (told["in_use"], told["used_before"], told["doubts"]) == (None, None, [])
    assert told["pending"] is None
    scheme, _, drawn = told["image"].partition(",")
    assert scheme == "data:image/svg+xml;base64"
    assert re.match(rb"<svg [^>]*viewBox", base64.b64decode(drawn))
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []
    for table in ("code_pictures", "pending_codes"):
        assert await rows_of(chain, table) == 0


def test_a_preview_of_a_payload_needs_no_picture(chain: Chain) -> None:
    path = "/api/v1/stores/S1/codes/preview"
    told = running.answered(chain.hq.post(path, json={"payload": running.payload("one")}))
    assert (told["kind"], told["expires_at"]) == ("wecom_group", None)
    assert chain.hq.post(path, json={}).status_code == 422
    assert chain.hq.post(path, json={"payload": "wxp://f2f"}).json()["errors"] == [
        {
            "field": "payload",
            "detail": "this is a payment code (收款码); upload the group's QR code",
            "reason": "payment_code",
        }
    ]
    unknown = chain.hq.post("/api/v1/stores/S9/codes/preview", json={"payload": GROUP_CARD})
    assert unknown.status_code == 404


def test_a_preview_warns_of_a_personal_code(chain: Chain) -> None:
    told = preview(chain, PERSONAL)
    assert told["doubts"] == ["personal"]
    assert told["capacity"] == 5000


def test_a_preview_says_where_a_code_is_up_as_far_as_one_may_know(chain: Chain) -> None:
    code = chain.put_code("S2", "one")
    told = preview(chain, running.payload("one"))
    assert told["doubts"] == ["in_use"]
    assert told["in_use"] == {"at": "S2", "store": "S2", "code_id": code["code_id"]}
    assert preview(chain, running.payload("one"), "S2")["in_use"]["at"] == "this store"

    chain.put_store("S9", *chains.S1)
    chain.put_code("S9", "secret")
    hidden = preview(chain, running.payload("secret"))["in_use"]
    assert hidden == {"at": "another place of the chain", "store": None, "code_id": None}


def test_a_preview_says_that_a_code_was_used_before(chain: Chain) -> None:
    retired = chain.put_code("S2", "one")
    chain.hq.patch(f"/api/v1/codes/{retired['code_id']}", json={"status": "retired"})
    told = preview(chain, running.payload("one"))
    assert told["doubts"] == ["used_before"]
    assert told["used_before"]["store"] == "S2"
    until = datetime.fromisoformat(told["used_before"]["until"])
    assert abs(datetime.now(UTC) - until) < timedelta(minutes=1)

    renewed = chain.put_code("S1", "two")
    files = {"image": ("code.png", qr.png(running.payload("three")))}
    chain.hq.put(f"/api/v1/codes/{renewed['code_id']}/image", files=files).raise_for_status()
    told = preview(chain, running.payload("two"))
    assert told["used_before"]["store"] == "S1", "it was replaced there"


# ---------------------------------------------------------------- the yes


def say_yes(chain: Chain, pending: str, store: str = "S1", **values: Any) -> httpx.Response:
    body = {"pending": pending, **values}
    return chain.manager.post(f"/api/v1/stores/{store}/codes", json=body)


async def test_a_picture_that_was_put_aside_is_put_up_without_being_sent_again(
    chain: Chain,
) -> None:
    pending = preview(chain, running.payload("one"), keep=True)["pending"]
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []
    code = running.answered(say_yes(chain, pending, capacity=33))
    assert (code["payload"], code["capacity"]) == (running.payload("one"), 33)
    assert qr.decode(chain.hq.get(code["picture"]).content) == running.payload("one")
    assert await rows_of(chain, "pending_codes") == 0
    assert say_yes(chain, pending).status_code == 404, "a yes counts once"


def test_a_picture_that_was_put_aside_is_for_its_store_and_chain_alone(
    chain: Chain, shared: Running
) -> None:
    pending = preview(chain, running.payload("one"), keep=True)["pending"]
    assert say_yes(chain, pending, "S2").status_code == 404
    with chains.own(shared) as other:
        assert say_yes(other, pending).status_code == 404
    assert say_yes(chain, pending).status_code == 201


async def test_a_yes_that_is_refused_can_be_said_again(chain: Chain) -> None:
    pending = preview(chain, running.payload("one"), keep=True)["pending"]
    assert say_yes(chain, pending, capacity=0).status_code == 422
    assert await rows_of(chain, "pending_codes") == 1
    assert say_yes(chain, pending, capacity=10).status_code == 201


async def test_a_picture_waits_for_a_quarter_of_an_hour(chain: Chain) -> None:
    pending = preview(chain, running.payload("one"), keep=True)["pending"]
    connection = await db.connect(chain.database_url)
    try:
        assert await copies.sweep(connection) == 0
        await connection.execute(
            "UPDATE pending_codes SET read_at = now() - interval '15 minutes'"
            " WHERE pending_id = $1::text::uuid",
            pending,
        )
        assert say_yes(chain, pending).status_code == 404
        assert await copies.sweep(connection) == 1
    finally:
        await connection.close()
    assert await rows_of(chain, "pending_codes") == 0
