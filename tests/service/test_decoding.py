"""Pictures are read by processes of their own, within limits; what they do to them stays there."""

import asyncio
import io
import os
import signal
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image

from service import decoding, errors, qr, reading
from service.settings import Settings
from tests.readers import children, open_files, told_of

GROUP = "https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef"


@pytest.fixture
async def decoder() -> AsyncIterator[decoding.Decoder]:
    async with decoding.running(Settings(decoders=1)) as started:
        yield started


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def png_of(width: int, height: int) -> bytes:
    """A true PNG of one grey, made without its pixels ever being in memory: large, it is a bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    rows = zlib.compressobj(9)
    row = b"\x00" + b"\x80" * width
    packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


async def test_a_picture_is_read_with_a_small_copy_of_it(decoder: decoding.Decoder) -> None:
    found = await decoder.read(qr.png(GROUP, size_px=1200))
    assert (found.payload, found.kind) == (GROUP, qr.CodeKind.WECOM_GROUP)
    copy = Image.open(io.BytesIO(found.copy.data))
    assert copy.size == (found.copy.width, found.copy.height) == (480, 480)
    assert qr.decode(found.copy.data) == GROUP


REFUSED = [
    (b"hello", "not_a_picture"),
    (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "svg"),
    (png_of(100, 100), "no_code"),
    (png_of(100, 100)[:60], "damaged"),
    (png_of(60_000, 1_200), "too_many_pixels"),
    (qr.png("wxp://f2f0abc"), "payment_code"),
    (qr.png("https://example.com/"), "unknown_payload"),
]


@pytest.mark.parametrize(("picture", "word"), REFUSED, ids=[word for _, word in REFUSED])
async def test_a_refusal_has_a_word_for_programs(
    decoder: decoding.Decoder, picture: bytes, word: str
) -> None:
    with pytest.raises(qr.QrError) as refusal:
        await decoder.read(picture)
    assert refusal.value.word == word


@linux
async def test_processes_start_when_the_first_picture_comes_and_end_with_the_service() -> None:
    before = children()
    async with decoding.running(Settings(decoders=2)) as decoder:
        assert children() == before
        await decoder.read(qr.png(GROUP))
        (process,) = children() - before
        await decoder.read(qr.png(GROUP))
        assert children() - before == {process}, "the start is paid once"
    assert children() == before


@linux
async def test_a_reading_process_inherits_no_connection_and_no_secret(
    decoder: decoding.Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_DATABASE_URL", "postgresql://user:secret@host/db")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        before = children()
        await decoder.read(qr.png(GROUP))
        (process,) = children() - before
        files = open_files(process)
        assert sum(file.startswith("socket:") for file in files) == 1, files
        assert "NEARCODE" not in told_of(process, "environ")


@linux
async def test_a_process_that_dies_is_replaced(decoder: decoding.Decoder) -> None:
    before = children()
    await decoder.read(qr.png(GROUP))
    (process,) = children() - before
    os.kill(process, signal.SIGSTOP)
    reading_one = asyncio.create_task(decoder.read(qr.png(GROUP)))
    await asyncio.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(qr.TooHard) as refusal:
        await reading_one
    assert refusal.value.word == "too_hard"
    assert (await decoder.read(qr.png(GROUP))).payload == GROUP
    assert process not in children()


@linux
async def test_a_process_that_takes_too_long_is_killed_and_replaced() -> None:
    before = children()
    async with decoding.running(Settings(decoders=1, decode_timeout_s=0.5)) as decoder:
        await decoder.read(qr.png(GROUP))
        (process,) = children() - before
        os.kill(process, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(qr.TooHard):
            await decoder.read(qr.png(GROUP))
        assert time.monotonic() - started < 10
        assert children() == before
        assert (await decoder.read(qr.png(GROUP))).payload == GROUP


@linux
async def test_what_takes_more_memory_than_allowed_is_refused() -> None:
    large = Image.new("RGB", (4_800, 4_800), "white")
    out = io.BytesIO()
    large.save(out, "PNG")
    async with decoding.running(Settings(decoders=1, decode_memory_mb=100)) as decoder:
        with pytest.raises(qr.TooHard):
            await decoder.read(out.getvalue())
        assert (await decoder.read(qr.png(GROUP))).payload == GROUP


@linux
async def test_a_reading_process_can_write_no_file_and_has_its_limits(
    decoder: decoding.Decoder,
) -> None:
    before = children()
    await decoder.read(qr.png(GROUP))
    (process,) = children() - before
    limits = told_of(process, "limits")
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
    assert soft["Max file size"] == "0"
    assert soft["Max core file size"] == "0"
    assert soft["Max address space"] == "1000000000"
    assert 15 <= int(soft["Max cpu time"]) <= 20


async def test_who_comes_when_too_many_wait_is_told_to_come_again() -> None:
    async with decoding.running(Settings(decoders=1, decode_queue=2)) as decoder:
        several = [decoder.read(qr.png(GROUP)) for _ in range(6)]
        done: list[Any] = await asyncio.gather(*several, return_exceptions=True)
    refused = [one for one in done if isinstance(one, errors.Unavailable)]
    assert len(refused) == 3, "one is read and two wait"
    assert all(one.retry_after_s >= 1 for one in refused)
    assert sum(isinstance(one, decoding.Picture) for one in done) == 3


async def test_who_has_many_pictures_waits_and_leaves_a_process_to_the_others() -> None:
    async with decoding.running(Settings(decoders=2, decode_queue=1)) as decoder:
        many = [
            asyncio.create_task(decoder.read_one_of_many(lambda: qr.png(GROUP))) for _ in range(12)
        ]
        await asyncio.sleep(0)
        await decoder.read(qr.png(GROUP))
        assert sum(task.done() for task in many) < len(many), "it did not wait behind them all"
        assert {found.payload for found in await asyncio.gather(*many)} == {GROUP}


async def test_a_logo_comes_back_as_a_small_png(decoder: decoding.Decoder) -> None:
    out = io.BytesIO()
    Image.new("CMYK", (2000, 1000), (0, 255, 255, 0)).save(out, "JPEG")
    logo = Image.open(io.BytesIO(await decoder.logo(out.getvalue())))
    assert (logo.format, logo.mode, logo.size) == ("PNG", "RGBA", (512, 256))


# ---------------------------------------------------------------- the copy


def jpeg_with_position() -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (31.0, 14.0, 25.0)
    out = io.BytesIO()
    Image.open(io.BytesIO(qr.png(GROUP))).convert("RGB").save(
        out, "JPEG", exif=exif, icc_profile=b"SecretProfile" * 10, comment=b"SecretComment"
    )
    return out.getvalue()


def test_the_copy_holds_no_position_and_no_camera() -> None:
    sent = jpeg_with_position()
    assert b"SecretCamera" in sent
    assert b"SecretProfile" in sent
    _, copy = reading.read(sent)
    kept = Image.open(io.BytesIO(copy.data))
    assert b"Secret" not in copy.data
    assert not kept.getexif()
    assert "icc_profile" not in kept.info


def test_the_copy_of_the_noisiest_picture_is_small() -> None:
    noise = Image.frombytes("RGB", (900, 1200), os.urandom(900 * 1200 * 3))
    copy = reading.copy_of(noise)
    assert (copy.width, copy.height) == (360, 480)
    assert len(copy.data) <= reading.COPY_MAX_BYTES
