"""Pictures of codes in, payloads known, codes drawn again."""

import base64
import io
import random
import re
import struct
import zlib
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from service import qr, reading
from tests import photographing

FIXTURES = Path(__file__).parents[2] / "fixtures"
GROUP = "https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef"
OTHER = "https://weixin.qq.com/g/AwYAAMadeUpTokenOfTheRightShape-0123456789_abcdefghijklmnopqrst"
ENTRY = "https://go.example.com/q/tea?p=poster-lujiazui"


def drawn(payload: str = GROUP, size_px: int = 400) -> Image.Image:
    return Image.open(io.BytesIO(qr.png(payload, size_px=size_px))).convert("L")


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def beside(*pictures: Image.Image) -> Image.Image:
    """The pictures in a row on white."""
    sheet = Image.new("L", (sum(p.width for p in pictures), max(p.height for p in pictures)), 255)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width
    return sheet


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_code_is_read_from_every_usual_picture_format(kind: str, mode: str) -> None:
    assert qr.decode(saved(drawn().convert(mode), kind)) == GROUP


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_a_code_is_read_in_every_colour_mode(mode: str) -> None:
    picture = drawn()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    else:
        picture = picture.convert("RGB").convert(mode) if mode != "LA" else picture.convert("LA")
    assert picture.mode == mode
    assert qr.decode(saved(picture, "JPEG" if mode == "CMYK" else "PNG")) == GROUP


CHANGES = {
    "turned by 10 degrees": lambda p: p.rotate(10, expand=True, fillcolor=255),
    "turned by 90 degrees": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "upside down": lambda p: p.transpose(Image.Transpose.ROTATE_180),
    "mirrored": ImageOps.mirror,
    "dark mode": ImageOps.invert,
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(2)),
    "pale": lambda p: p.point(lambda value: 200 + value // 20),
    "tiny": lambda p: p.resize((70, 70), Image.Resampling.LANCZOS),
    "without a quiet zone": lambda p: ImageOps.crop(p, p.width * 4 // 41),
    "in a large screenshot": lambda p: ImageOps.expand(p, 1000, 230),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_code_is_read_as_people_send_it(change: object) -> None:
    assert callable(change)
    assert qr.decode(saved(change(drawn()), "JPEG", quality=70)) == GROUP


@pytest.mark.parametrize("spoiled", photographing.SPOILED)
def test_a_group_card_is_read_as_people_photograph_it(spoiled: str) -> None:
    for number in range(2):
        chance = random.Random(f"1 {spoiled} {number}")
        found = photographing.photograph(chance, spoiled, photographing.SPOILED[spoiled])
        if found.payload is None:
            with pytest.raises(qr.NoCode):
                qr.decode(found.data)
        else:
            assert qr.decode(found.data) == found.payload


def test_a_photograph_of_a_group_card_is_read_and_known() -> None:
    payload = qr.decode((FIXTURES / "group-photo.jpg").read_bytes())
    assert payload.startswith("https://weixin.qq.com/g/AwYAANearcodeSamplePhoto")
    assert qr.classify(payload) is qr.CodeKind.WECHAT_GROUP


def test_a_transparent_picture_is_read_as_if_on_white() -> None:
    black = Image.new("L", (400, 400), 0)
    ink_alone = Image.merge("LA", (black, ImageOps.invert(drawn())))
    assert qr.decode(saved(ink_alone)) == GROUP


def test_a_picture_held_sideways_is_turned_by_its_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    tall = ImageOps.expand(drawn(), (0, 0, 0, 100), 255)
    assert qr.decode(saved(tall, "JPEG", exif=exif)) == GROUP


def test_bar_codes_and_micro_codes_beside_the_code_do_not_count() -> None:
    others = [
        Image.fromarray(np.asarray(zxingcpp.create_barcode("12345", kind).to_image(scale=4)))
        for kind in (zxingcpp.BarcodeFormat.Code128, zxingcpp.BarcodeFormat.MicroQRCode)
    ]
    assert qr.decode(saved(beside(drawn(), *others))) == GROUP


def test_the_same_code_twice_in_a_picture_is_one_code() -> None:
    assert qr.decode(saved(beside(drawn(), drawn(size_px=300)))) == GROUP


@pytest.mark.parametrize("second", [OTHER, ENTRY])
def test_several_codes_in_a_picture_are_refused_even_if_one_alone_is_a_group(second: str) -> None:
    with pytest.raises(qr.SeveralCodes, match="2 QR codes"):
        qr.decode(saved(beside(drawn(), drawn(second))))


def half_a_code() -> Image.Image:
    return drawn().crop((0, 0, 400, 200))


@pytest.mark.parametrize("picture", [Image.new("L", (1, 1)), half_a_code()])
def test_a_picture_without_a_whole_code_is_refused(picture: Image.Image) -> None:
    with pytest.raises(qr.NoCode, match="no QR code"):
        qr.decode(saved(picture))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG's beginning: the size stands in its header, and no pixel follows."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    data = struct.pack(">I", 1000) + b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + data


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "not a JPEG"),
        (b"hello", "not a JPEG"),
        (b"%PDF-1.7\n", "not a JPEG"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "damaged or cut off"),
        (saved(drawn(), "JPEG")[:900], "damaged or cut off"),
        (saved(drawn(), "PNG")[:200], "damaged or cut off"),
        (png_claiming(100, 100), "damaged or cut off"),
        (saved(drawn(), "TIFF"), "not a JPEG"),
    ],
)
def test_what_is_no_picture_is_refused(image: bytes, reason: str) -> None:
    with pytest.raises(qr.NotAPicture, match=reason):
        qr.decode(image)


@pytest.mark.parametrize(("width", "height"), [(10_000, 6_501), (12_000, 12_000), (60_000, 60_000)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    width: int, height: int
) -> None:
    with pytest.raises(qr.PictureTooLarge, match="at most 65,000,000"):
        qr.decode(png_claiming(width, height))


def test_a_picture_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(qr.PictureTooLarge, match="at most 20,000,000"):
        qr.decode(saved(drawn()) + b"\x00" * reading.PICTURE_MAX_BYTES)


def test_every_refusal_is_a_qr_error() -> None:
    refusals = (
        qr.NotAPicture, qr.PictureTooLarge, qr.NoCode, qr.SeveralCodes, qr.UnknownPayload,
        qr.DoesNotFit, qr.TooHard,
    )  # fmt: skip
    assert all(issubclass(refusal, qr.QrError) for refusal in refusals)
    assert issubclass(qr.QrError, ValueError)


# ---------------------------------------------------------------- knowing

KNOWN = [
    (GROUP, qr.CodeKind.WECOM_GROUP),
    (OTHER, qr.CodeKind.WECHAT_GROUP),
    ("https://weixin.qq.com/g/AYmadeUpOld16chr", qr.CodeKind.WECHAT_GROUP),
    ("https://c.weixin.com/g/-MadeUp_Token-16", qr.CodeKind.WECHAT_GROUP),
    ("https://work.weixin.qq.com/ct/wcde0123456789abcdef0123", qr.CodeKind.WECOM_CONTACT),
    ("https://work.weixin.qq.com/u/vc0123456789abcdef", qr.CodeKind.WECOM_CONTACT),
    ("https://work.weixin.qq.com/u/vc0123456789abcdef?v=4.1.0.1", qr.CodeKind.WECOM_CONTACT),
    ("https://work.weixin.qq.com/ca/cawcde0123456789abcdef", qr.CodeKind.WECOM_ACQUISITION),
    (
        "https://work.weixin.qq.com/ca/cawcde0123456789?customer_channel=SH001%3Aposter",
        qr.CodeKind.WECOM_ACQUISITION,
    ),
    ("https://u.wechat.com/EMadeUpTokenOf23Letters?s=2", qr.CodeKind.WECHAT_PERSONAL),
]


@pytest.mark.parametrize(("payload", "kind"), KNOWN)
def test_a_payload_is_known_by_its_form(payload: str, kind: qr.CodeKind) -> None:
    assert qr.classify(payload) is kind


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "empty"),
        ("wxp://f2f0MadeUp", "payment code"),
        ("WXP://F2F0MADEUP", "payment code"),
        ("https://qr.alipay.com/fkx00000madeup", "payment code"),
        ("https://go.example.com/q/tea", "entry code"),
        ("http://127.0.0.1:8000/q/tea?p=poster", "entry code"),
        ("http://weixin.qq.com/r/MadeUp", "official account"),
        ("https://qm.qq.com/cgi-bin/qm/qr?k=MadeUp", "QQ group"),
        ("http://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef", "begins with http://"),
        ("https://work.weixin.qq.com.evil.com/gm/0123456789abcdef0123456789abcdef", "not the code"),
        ("https://evil.com/work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef", "not the code"),
        ("https://work.weixin.qq.com@evil.com/gm/0123456789abcdef0123456789abcdef", "not the code"),
        ("https://work.weixin.qq.com:444/gm/0123456789abcdef0123456789abcdef", "not the code"),
        ("https://workxweixin.qq.com/gm/0123456789abcdef0123456789abcdef", "not the code"),
        ("https://work.weixin.qq.com/gm/0123456789abcdef", "not the code"),
        ("https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdeg", "not the code"),
        ("https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef/x", "not the code"),
        ("https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef#x", "not the code"),
        ("https://weixin.qq.com/g/", "not the code"),
        ("https://weixin.qq.com/g/../../x", "not the code"),
        ("https://weixin.qq.com/g/токен-токен", "not the code"),
        (f" {GROUP}", "spaces or control"),
        (f"{GROUP}\n", "spaces or control"),
        (f"{GROUP}\u202e", "spaces or control"),
        (OTHER + "x" * 512, "at most 512"),
        ("BEGIN:VCARD", "not the code"),
    ],
)
def test_any_other_payload_is_refused_with_its_reason(payload: str, reason: str) -> None:
    with pytest.raises(qr.UnknownPayload, match=reason):
        qr.classify(payload)


@given(st.sampled_from([payload for payload, _ in KNOWN]), st.integers(0, 40), st.characters())
def test_a_changed_host_is_never_taken(payload: str, place: int, character: str) -> None:
    host_end = payload.index("/", len("https://"))
    place = place % host_end
    changed = payload[:place] + character + payload[place:]
    with pytest.raises(qr.UnknownPayload):
        qr.classify(changed)


def test_only_wechat_groups_expire_by_themselves_after_seven_days() -> None:
    expiring = {kind: qr.default_expiry(kind) for kind in qr.CodeKind if qr.default_expiry(kind)}
    assert expiring == {qr.CodeKind.WECHAT_GROUP: timedelta(days=7)}


# ---------------------------------------------------------------- drawing

PAYLOADS = st.one_of(
    st.from_regex(r"https://work\.weixin\.qq\.com/gm/[0-9a-f]{32}", fullmatch=True),
    st.from_regex(r"https://weixin\.qq\.com/g/[A-Za-z0-9_-]{64}", fullmatch=True),
    st.from_regex(r"https://go\.example\.com/q/[a-z0-9-]{1,40}\?p=[a-z0-9-]{1,40}", fullmatch=True),
)


def logo() -> bytes:
    """A wide, coloured, partly transparent logo."""
    picture = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((10, 10, 290, 190), fill=(20, 120, 60, 255))
    return saved(picture)


def from_path(data: str, side: int) -> Image.Image:
    """Draws the runs of an SVG path made of `Mx yhNv1h-Nz`, eight pixels a unit."""
    picture = Image.new("L", (side * 8, side * 8), 255)
    pen = ImageDraw.Draw(picture)
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", data)
    assert "".join(f"M{x} {y}h{n}v1h-{back}z" for x, y, n, back in runs) == data
    for x, y, length, back in ((int(a), int(b), int(c), int(d)) for a, b, c, d in runs):
        assert length == back
        pen.rectangle((x * 8, y * 8, (x + length) * 8 - 1, y * 8 + 7), fill=0)
    return picture


@settings(max_examples=30, deadline=None)
@given(payload=PAYLOADS, size_px=st.integers(200, 1100))
def test_a_drawn_png_decodes_back_to_its_payload(payload: str, size_px: int) -> None:
    image = qr.png(payload, size_px=size_px)
    assert qr.decode(image) == payload
    picture = Image.open(io.BytesIO(image))
    assert picture.mode == "1", "one bit a pixel holds nothing but black and white"
    assert picture.size == (size_px, size_px)
    assert len(image) < 5_000
    # Crisp: every module is a block of whole pixels.
    dark = ~np.asarray(picture)
    rows = np.flatnonzero(dark.any(axis=1))
    scale = int(np.flatnonzero(~dark[rows[0], rows[0] :])[0]) // 7
    code = dark[rows[0] : rows[-1] + 1, rows[0] : rows[-1] + 1]
    assert len(code) % scale == 0
    assert (code[::scale, ::scale].repeat(scale, 0).repeat(scale, 1) == code).all()
    assert rows[0] >= 4 * scale, "the quiet zone"


@settings(max_examples=30, deadline=None)
@given(payload=PAYLOADS)
def test_a_drawn_svg_decodes_back_to_its_payload(payload: str) -> None:
    root = ElementTree.fromstring(qr.svg(payload))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("shape-rendering") == "crispEdges"
    left, top, width, height = map(int, root.get("viewBox", "").split())
    assert (left, top) == (0, 0)
    assert width == height
    [path] = root.findall("{http://www.w3.org/2000/svg}path")
    assert qr.decode(saved(from_path(path.get("d", ""), width))) == payload


@pytest.mark.parametrize("size_px", [720, 240, 120])
@pytest.mark.parametrize("with_logo", [False, True])
def test_an_entry_code_decodes_to_exactly_its_url_even_reduced(
    size_px: int, with_logo: bool
) -> None:
    image = qr.png(ENTRY, size_px=720, logo=logo() if with_logo else None)
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    reduced = picture.resize((size_px, size_px), Image.Resampling.LANCZOS)
    assert qr.decode(saved(reduced, "JPEG", quality=60)) == ENTRY


def test_entry_codes_are_q_and_with_a_logo_h() -> None:
    def level(image: bytes) -> str:
        [code] = zxingcpp.read_barcodes(Image.open(io.BytesIO(image)).convert("L"))
        return str(code.ec_level)

    assert level(qr.png(ENTRY)) == "Q"
    assert level(qr.png(ENTRY, logo=logo())) == "H"
    assert level(qr.png(ENTRY, error_correction=qr.ErrorCorrection.M)) == "M"


def test_a_logo_covers_a_fifth_of_the_width_at_most_and_leaves_the_code_black_and_white() -> None:
    image = qr.png(ENTRY, size_px=800, border=0, logo=logo())
    picture = Image.open(io.BytesIO(image))
    assert picture.mode == "P"
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    coloured = (pixels.max(axis=2) != pixels.min(axis=2)).nonzero()
    assert len(coloured[0]) > 1000, "the logo is there"
    for axis in coloured:
        assert axis.min() >= 320
        assert axis.max() <= 480
    outside = np.ones(pixels.shape[:2], dtype=bool)
    outside[320:480, 320:480] = False
    assert set(np.unique(pixels[outside])) == {0, 255}


def test_a_payload_of_many_zeros_is_drawn() -> None:
    payload = "https://weixin.qq.com/g/" + "0" * 64
    assert qr.decode(qr.png(payload)) == payload


def test_a_drawing_that_cannot_be_is_refused() -> None:
    with pytest.raises(qr.DoesNotFit, match="at least"):
        qr.png(ENTRY, size_px=30)
    with pytest.raises(qr.DoesNotFit, match="do not fit"):
        qr.png("x" * 3000)
    with pytest.raises(qr.NotAPicture):
        qr.svg(ENTRY, logo=b"no picture")


def page_of(pdf: bytes) -> tuple[float, float, str]:
    """(width, height, drawing operators) of a one-page PDF of reportlab's."""
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert box is not None
    streams = re.findall(rb"/FlateDecode \].*?stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    content = zlib.decompress(base64.a85decode(b"<~" + streams[-1].strip(), adobe=True))
    return float(box[1]), float(box[2]), content.decode("latin-1")


@pytest.mark.parametrize("caption", ["", "近码茶社·陆家嘴店\n扫码进群"])
def test_a_pdf_holds_the_code_as_vectors_of_the_size_asked_for(caption: str) -> None:
    pdf = qr.pdf(ENTRY, caption=caption, side_mm=50)
    width, height, content = page_of(pdf)
    assert width == pytest.approx(50 / 25.4 * 72, abs=0.01)
    assert (height > width) == bool(caption)
    picture = Image.new("L", (round(width * 4), round(height * 4)), 255)
    pen = ImageDraw.Draw(picture)
    black = content[content.index("\n0 g") :]
    for numbers in re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re", black):
        x, y, w, h = (float(number) * 4 for number in numbers)
        top = picture.height - y - h
        pen.rectangle((round(x), round(top), round(x + w) - 1, round(top + h) - 1), fill=0)
    assert qr.decode(saved(picture)) == ENTRY
    assert b"/Subtype /Image" not in pdf


def test_a_pdfs_caption_is_chinese_text_in_a_chinese_font() -> None:
    pdf = qr.pdf(ENTRY, caption="近码茶社")
    assert b"/STSong-Light" in pdf
    _, _, content = page_of(pdf)
    written = re.findall(r"\((.*)\) Tj", content)
    octal = re.compile(r"\\([0-7]{3})")
    texts = [octal.sub(lambda m: chr(int(m[1], 8)), text) for text in written]
    assert "近码茶社".encode("utf-16-be").decode("latin-1") in texts


@pytest.mark.parametrize(("characters", "lines"), [(5, 1), (24, 1), (60, 3)])
def test_a_long_caption_is_made_smaller_and_then_broken(characters: int, lines: int) -> None:
    _, _, content = page_of(qr.pdf(ENTRY, caption="码" * characters, side_mm=100))
    starts = re.findall(r"BT 1 0 0 1 ([\d.]+) ([\d.]+) Tm /F2 ([\d.]+) Tf", content)
    assert len(starts) == lines
    assert all(float(left) > 0 and float(bottom) > 0 for left, bottom, _ in starts)
    assert all(9 <= float(size) <= 18 for _, _, size in starts)


def test_the_same_drawing_is_the_same_bytes() -> None:
    for draw in (qr.png, qr.svg, qr.pdf):
        assert draw(ENTRY) == draw(ENTRY)
        assert draw(ENTRY) != draw(GROUP)
