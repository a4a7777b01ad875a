"""Uploads that mean harm, by real HTTP: refused with a reason, in bounded time and memory, and
nothing is kept of them."""

import io
import os
import random
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from service import db, qr
from service.settings import Settings
from tests import readers, running
from tests.running import Running

pillow_heif.register_heif_opener()

PAYLOAD = running.payload("fuzzed")
EXAMPLES = int(os.environ.get("NEARCODE_FUZZ_EXAMPLES", "40"))
WITHIN_S = 60
"""For one request, on the slowest machine; the service's own limit is `decode_timeout_s`."""
PEAK_MB = 1000 if sys.platform == "linux" else float("inf")


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Running]:
    limits = Settings(sweep_s=0.1, poll_s=0.2, database_pool=5, decoders=1, decode_timeout_s=5)
    with running.running(shared_database_url, limits) as started:
        yield started


async def _kept(url: str) -> tuple[int, ...]:
    tables = ("codes", "code_pictures", "pending_codes", "former_payloads")
    connection = await db.connect(url)
    try:
        return tuple([await connection.fetchval(f"SELECT count(*) FROM {t}") for t in tables])
    finally:
        await connection.close()


def kept(service: Running) -> tuple[int, ...]:
    """How much is stored: codes, pictures, pictures that wait, payloads of before."""
    return running.run(_kept(service.database_url))


def send(
    service: Running,
    picture: bytes,
    *,
    name: str = "code.png",
    kind: str = "image/png",
    path: str = "/api/v1/stores/S1/codes",
    method: str = "POST",
    **params: Any,
) -> httpx.Response:
    files = {"image": (name, picture, kind)}
    return service.hq.request(method, path, files=files, params=params, timeout=WITHIN_S)


def is_refused(answer: httpx.Response) -> str:
    """With a reason in plain words, and a word for programs, which it returns."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"] == "image"
    assert len(error["detail"]) > 10
    return str(error["reason"])


def picture_of(kind: str, payload: str = PAYLOAD, size_px: int = 300) -> bytes:
    out = io.BytesIO()
    drawn = Image.open(io.BytesIO(qr.png(payload, size_px=size_px))).convert("RGB")
    drawn.save(out, kind)
    return out.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "HEIF", "GIF", "BMP")
PICTURES = {kind: picture_of(kind) for kind in KINDS}


# ---------------------------------------------------------------- bombs and disguises


def chunk(kind: bytes, data: bytes) -> bytes:
    whole = kind + data
    return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))


def png(width: int, height: int, *chunks: bytes, rows: int | None = None) -> bytes:
    """A grey PNG of true rows, as many as its header says or `rows`, never all in memory."""
    packing = zlib.compressobj(9)
    line = bytes(width + 1)
    data = b"".join(packing.compress(line) for _ in range(height if rows is None else rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    whole = (header, *chunks, chunk(b"IDAT", data + packing.flush()), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def jpeg_claiming(width: int, height: int) -> bytes:
    data = PICTURES["JPEG"]
    return patched(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def heic_claiming(width: int, height: int) -> bytes:
    data = PICTURES["HEIF"]
    at = data.index(b"ispe") + 8
    return patched(data, at, struct.pack(">II", width, height))


def jpeg_of_many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last pass comes again and again: few bytes, a long time."""
    out = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(out, "JPEG", progressive=True, quality=30)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def moving(kind: str) -> bytes:
    out = io.BytesIO()
    first = Image.open(io.BytesIO(PICTURES["PNG"])).convert("RGB")
    first.save(out, kind, save_all=True, append_images=[first.rotate(90)], duration=100)
    return out.getvalue()


def png_with_texts(count: int) -> bytes:
    info = PngImagePlugin.PngInfo()
    for number in range(count):
        info.add_text(f"k{number}", "x" * 60_000, zip=True)
    out = io.BytesIO()
    Image.open(io.BytesIO(PICTURES["PNG"])).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def saved_as(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (200, 200), "white").save(out, kind)
    return out.getvalue()


ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">'
    b'<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg"><text>&b;</text></svg>'
)

HOSTILE: dict[str, tuple[Any, set[str]]] = {
    "60,000 x 60,000, claimed": (lambda: png(60_000, 60_000, rows=3), {"too_many_pixels"}),
    "60,000 x 1,200, true": (lambda: png(60_000, 1_200), {"too_many_pixels"}),
    "8,000 x 8,000, true": (lambda: png(8_000, 8_000), {"no_code"}),
    "a JPEG that claims 65,500 x 65,500": (
        lambda: jpeg_claiming(65_500, 65_500),
        {"too_many_pixels"},
    ),
    "a JPEG that claims 8,000 x 8,000": (
        lambda: jpeg_claiming(8_000, 8_000),
        {"no_code", "damaged", "too_hard"},
    ),
    "a HEIC that claims 60,000 x 60,000": (
        lambda: heic_claiming(60_000, 60_000),
        {"too_many_pixels", "damaged"},
    ),
    "a GIF that claims 65,535 x 65,535": (
        lambda: patched(PICTURES["GIF"], 6, b"\xff\xff\xff\xff"),
        {"too_many_pixels"},
    ),
    "a BMP that claims 60,000 x 60,000": (
        lambda: patched(PICTURES["BMP"], 18, struct.pack("<ii", 60_000, 60_000)),
        {"too_many_pixels"},
    ),
    "a JPEG of 2,000 passes": (lambda: jpeg_of_many_scans(2_000), {"too_hard", "no_code"}),
    "a profile that unpacks to 200 MB": (
        lambda: png(50, 50, chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(200_000_000), 9))),
        {"no_code", "damaged", "not_a_picture"},
    ),
    "a text that unpacks to 200 MB": (
        lambda: png(50, 50, chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(200_000_000), 9))),
        {"no_code", "damaged", "not_a_picture"},
    ),
    "5,000 packed texts": (lambda: png_with_texts(5_000), {"damaged", "not_a_picture"}),
    "a moving GIF": (lambda: moving("GIF"), {"animated"}),
    "a moving WebP": (lambda: moving("WEBP"), {"animated"}),
    "a moving PNG": (lambda: moving("PNG"), {"animated"}),
    "an SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"svg"}),
    "an SVG of entities": (lambda: ENTITIES, {"svg"}),
    "a TIFF": (lambda: saved_as("TIFF"), {"not_a_picture"}),
    "an icon": (lambda: saved_as("ICO"), {"not_a_picture"}),
    "a PDF": (lambda: saved_as("PDF"), {"not_a_picture"}),
    "an EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n", {"not_a_picture"}),
    "a ZIP": (lambda: b"PK\x03\x04" + bytes(100), {"not_a_picture"}),
    "a web page": (lambda: b"<!DOCTYPE html><script>alert(1)</script>", {"not_a_picture"}),
    "random bytes": (lambda: random.Random(1).randbytes(100_000), {"not_a_picture"}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_means_harm_is_refused_and_leaves_nothing(service: Running, name: str) -> None:
    make, words = HOSTILE[name]
    before = kept(service)
    started = time.monotonic()
    answer = send(service, make())
    assert is_refused(answer) in words, answer.text
    assert time.monotonic() - started < WITHIN_S
    assert kept(service) == before
    assert readers.peak_mb() < PEAK_MB
    # Nor is the next one's picture the worse for it.
    assert send(service, PICTURES["PNG"], path="/api/v1/stores/S1/codes/preview").is_success


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_is_cut_off_is_refused_wherever_it_is_cut(
    service: Running, kind: str
) -> None:
    whole = PICTURES[kind]
    before = kept(service)
    for share in (0.01, 0.1, 0.3, 0.6):
        assert is_refused(send(service, whole[: int(len(whole) * share)])) in {
            "not_a_picture", "damaged", "no_code",
        }  # fmt: skip
    assert kept(service) == before


POLYGLOTS = {
    "a ZIP behind a PNG": PICTURES["PNG"] + b"PK\x03\x04evil.exe" + bytes(50),
    "a script behind a GIF": PICTURES["GIF"] + b"<script>alert(1)</script>",
    "PHP in a JPEG's comment": PICTURES["JPEG"][:2]
    + b"\xff\xfe\x00\x20<?php system($_GET['c']); ?> "[:34]
    + PICTURES["JPEG"][2:],
    "a page behind a WebP": PICTURES["WEBP"] + b"<html><body onload=alert(1)>",
}


@pytest.mark.parametrize("name", POLYGLOTS)
def test_of_a_picture_that_is_something_else_too_the_picture_alone_is_kept(
    service: Running, name: str
) -> None:
    code = running.answered(send(service, POLYGLOTS[name]))
    try:
        assert code["payload"] == PAYLOAD
        answer = service.hq.get(code["picture"])
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["x-content-type-options"] == "nosniff"
        for evil in (b"evil", b"script", b"php", b"onload", b"PK\x03\x04"):
            assert evil not in answer.content
    finally:
        path = f"/api/v1/codes/{code['code_id']}"
        running.answered(service.hq.patch(path, json={"status": "retired"}))


# ---------------------------------------------------------------- fuzzing

_EDITS = st.lists(
    st.tuples(
        st.sampled_from(("set", "cut", "insert", "copy", "flip")),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=12,
)
_HOSTILE_NUMBERS = st.sampled_from(
    [
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x80\x00\x00\x00",
        b"\xea\x60",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A picture of one of the formats, some of it changed: as often at its head as elsewhere."""
    data = bytearray(PICTURES[draw(st.sampled_from(KINDS))])
    for what, where, value in draw(_EDITS):
        at = int(where * len(data)) if draw(st.booleans()) else int(where * min(200, len(data)))
        if draw(st.booleans()):
            value = draw(_HOSTILE_NUMBERS)
        match what:
            case "set":
                data[at : at + len(value)] = value
            case "cut":
                del data[at : at + 7 * len(value)]
            case "insert":
                data[at:at] = value * 3
            case "copy":
                data[at:at] = data[at : at + 200]
            case "flip" if at < len(data):
                data[at] ^= 1 << len(value) % 8
        if not data:
            break
    return bytes(data)


_NAMES = st.one_of(
    st.sampled_from(
        [
            "../../../../etc/passwd", "..\\..\\boot.ini", "code.png\x00.exe", "a" * 5_000, "",
            'x"; filename="y', "名\u202egpj.exe", "con", "/dev/stdin", "%00", "${jndi:ldap://x}",
            "'; DROP TABLE codes; --", "\ud7ff\uffff", "line\r\nX-Injected: 1",
        ]
    ),
    st.text(max_size=60),
)  # fmt: skip
_TYPES = st.one_of(
    st.sampled_from(
        [
            "image/png", "image/svg+xml", "text/html", "application/x-php", "multipart/form-data",
            "application/zip", "a/b; charset=\"", "image/heic", "",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
)  # fmt: skip
_PATHS = st.sampled_from(
    [
        ("POST", "/api/v1/stores/S1/codes"),
        ("POST", "/api/v1/stores/S1/codes/preview"),
        ("PUT", "image"),
    ]
)

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@fuzzed
@given(picture=mutated(), name=_NAMES, kind=_TYPES, where=_PATHS)
def test_no_picture_breaks_the_service_or_leaves_anything_unread(
    service: Running, picture: bytes, name: str, kind: str, where: tuple[str, str]
) -> None:
    method, path = where
    if path == "image":
        code = running.answered(
            service.hq.post("/api/v1/stores/S2/codes", json={"payload": running.payload("other")})
        )
        path = f"/api/v1/codes/{code['code_id']}/image"
    before = kept(service)
    try:
        answer = send(service, picture, name=name, kind=kind, path=path, method=method)
        # 400 is for a name too long for a form.
        assert answer.status_code in (200, 201, 400, 422), answer.text
        if answer.is_success:
            # Read for all its changes, it is read right.
            assert answer.json()["payload"] == PAYLOAD
        else:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]
            assert kept(service) == before
        assert readers.peak_mb() < PEAK_MB
    finally:
        clear(service)


def clear(service: Running) -> None:
    running.run(_clear(service.database_url))


async def _clear(url: str) -> None:
    connection = await db.connect(url)
    try:
        for table in ("code_pictures", "pending_codes", "former_payloads", "codes"):
            await connection.execute(f"DELETE FROM {table}")
    finally:
        await connection.close()


# A form that ends within a file leaves it to Python to close that file.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@fuzzed
@given(body=st.binary(max_size=2_000), kind=_TYPES, cut=st.integers(0, 400))
def test_no_body_that_claims_to_be_a_form_breaks_the_service(
    service: Running, body: bytes, kind: str, cut: int
) -> None:
    before = kept(service)
    boundary = "x"
    good = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + PICTURES["PNG"]
        + b"\r\n--x--\r\n"
    )
    for content in (body, good[:cut], good[:cut] + body, body + good[cut:]):
        for claimed in (f"multipart/form-data; boundary={boundary}", kind):
            headers = {"Content-Type": claimed.strip() or "multipart/form-data"}
            path = "/api/v1/stores/S1/codes/preview"
            answer = service.hq.post(path, content=content, headers=headers, timeout=WITHIN_S)
            assert answer.status_code in (200, 400, 415, 422), (claimed, answer.text)
    assert kept(service) == before


@fuzzed
@given(picture=mutated(), name=_NAMES)
def test_no_logo_breaks_the_service(service: Running, picture: bytes, name: str) -> None:
    if service.hq.get("/api/v1/entries/tea").status_code == 404:
        service.put_entry()
    answer = service.hq.post(
        "/api/v1/entries/tea/qr.png", files={"logo": (name, picture)}, timeout=WITHIN_S
    )
    assert answer.status_code in (200, 400, 422), answer.text
    assert readers.peak_mb() < PEAK_MB


@fuzzed
@given(pictures=st.lists(mutated(), max_size=4), cut=st.integers(0, 300), name=_NAMES)
def test_no_zip_breaks_the_service(
    service: Running, pictures: list[bytes], cut: int, name: str
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, picture in enumerate(pictures):
            archive.writestr(f"S1-{number}.png", picture)
    data = out.getvalue()
    before = kept(service)
    for sent in (data, data[: max(0, len(data) - cut)], data[:cut] + data[cut + 5 :]):
        files = {"file": (name, sent)}
        params = {"dry_run": True}
        answer = service.hq.post(
            "/api/v1/codes/import", files=files, params=params, timeout=WITHIN_S
        )
        assert answer.status_code in (200, 400, 422), answer.text
    assert kept(service) == before
