"""Pictures in: the text of the one QR code in a photograph, and a small copy of it to keep.

Whatever is sent ends up here, so nothing here is to be called where visitors wait: `decoding` has
it done by processes that may die of it.

QrError(ValueError)
├── NotAPicture        these bytes are no picture that can be read
├── PictureTooLarge    more bytes or pixels than are worth decoding
├── TooHard            reading it took too much time or memory
├── NoCode             no QR code was found
├── SeveralCodes       more than one, and nobody said which
├── UnknownPayload     the code leads to no group and no contact
└── DoesNotFit         the payload, or the size asked for, makes no drawable code
"""

import contextlib
import functools
import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import pillow_heif
import zxingcpp
from PIL import Image, ImageFilter, ImageOps

PICTURE_MAX_BYTES = 20_000_000
PICTURE_MAX_PIXELS = 65_000_000
"""What the largest sensors that phones save by default take: 9248 x 6936."""

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "GIF", "BMP")

COPY_SIDE_PX = 480
COPY_MAX_BYTES = 40_000
COPY_MEDIA_TYPE = "image/webp"

_LARGE_PIXELS = 24_000_000
"""More than this is halved while it is read: no code is so small in so large a picture."""

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Of HEIC files, in their first box (ISO/IEC 23008-12, annex B)."""

pillow_heif.register_heif_opener(thumbnails=False)


class QrError(ValueError):
    """A picture, payload or drawing that cannot be used. The message tells a manager why; `word`
    tells a program."""

    usual_word: ClassVar[str] = "unusable"

    def __init__(self, detail: str, word: str | None = None) -> None:
        super().__init__(detail)
        self.word = word or self.usual_word


class NotAPicture(QrError):
    usual_word = "not_a_picture"


class PictureTooLarge(QrError):
    usual_word = "too_large"


class TooHard(QrError):
    usual_word = "too_hard"


class NoCode(QrError):
    usual_word = "no_code"


class SeveralCodes(QrError):
    usual_word = "several_codes"


class UnknownPayload(QrError):
    usual_word = "unknown_payload"


class DoesNotFit(QrError):
    usual_word = "does_not_fit"


@dataclass(frozen=True, slots=True)
class Copy:
    """What is kept of a picture: WebP, at most `COPY_SIDE_PX` wide and high, and of its pixels
    alone: no position, no camera, no thumbnail comes along."""

    data: bytes
    width: int
    height: int


def decode(image: bytes) -> str:
    """The text of the one QR code in a JPEG, PNG, WebP, HEIC, GIF or BMP picture.

    Read turned, mirrored, inverted, tilted and small. The same payload found twice counts once.
    Raises NotAPicture, PictureTooLarge, NoCode or SeveralCodes; several are refused even if only
    one of them leads to a group, because nobody said which is meant.
    """
    return _text_in(_luminance(opened(image)))


def read(image: bytes) -> tuple[str, Copy]:
    """`decode`, and the copy to keep."""
    picture = opened(image)
    text = _text_in(_luminance(picture))
    return text, copy_of(picture)


def copy_of(picture: Image.Image) -> Copy:
    """The picture made small, on white where it is transparent."""
    small = picture.copy() if picture.width * picture.height <= 1_000_000 else picture
    if small.mode not in ("L", "RGB", "RGBA"):
        small = small.convert("RGBA" if small.has_transparency_data else "RGB")
    small = ImageOps.contain(small, _at_most(small.size, COPY_SIDE_PX), Image.Resampling.BOX)
    # A new picture: whatever else came with the old one stays behind.
    plain = Image.new("RGB", small.size, "white")
    plain.paste(small, mask=small.getchannel("A") if small.mode == "RGBA" else None)
    for quality in (80, 60, 40, 20, 5):
        out = io.BytesIO()
        plain.save(out, "WEBP", quality=quality, method=4)
        if out.tell() <= COPY_MAX_BYTES:
            break
    return Copy(out.getvalue(), *plain.size)


def logo_of(image: bytes, side_px: int = 512) -> bytes:
    """A picture, whatever is in it, as a PNG of at most `side_px`, as large as it came otherwise.

    Raises NotAPicture, PictureTooLarge.
    """
    picture = opened(image).convert("RGBA")
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    plain = Image.new("RGBA", picture.size)
    plain.paste(picture)
    out = io.BytesIO()
    plain.save(out, "PNG")
    return out.getvalue()


def _at_most(size: tuple[int, int], side: int) -> tuple[int, int]:
    return min(size[0], side), min(size[1], side)


# ---------------------------------------------------------------- finding the code

_Attempt = tuple[Image.Image, zxingcpp.Binarizer]
_LOCAL, _GLOBAL = zxingcpp.Binarizer.LocalAverage, zxingcpp.Binarizer.GlobalHistogram

_THRESHOLDS = (220, 160, 100, 50)
"""Of luminance: for codes filled with a picture, or on one, where neither the neighbourhood nor the
histogram tells light from dark."""

_SHARPENED = ((4, 600), (8, 300))
"""Radius in pixels and percent: for pictures out of focus."""

_PRESSED = (0.6, 0.9, 1.2, 1.4, -0.6, -0.9, -1.2, -1.4)
"""A card round a cup or a column: half the angle that is seen, in radians; below zero, from
within."""

_BULGED = (-0.04, -0.07, -0.1, -0.14, 0.05, 0.1, 0.15, 0.2)
"""A lens that bulges: the first term of its radial distortion (Brown 1966), in half widths of the
picture."""

_BENT_SIDE_PX = 700
_BEND_STEPS = 16

_Bend = Callable[[float, float], tuple[float, float]]
"""Where a point of the straight cutting lies in the bent one; both from -1 to 1 on each axis."""


@dataclass(frozen=True, slots=True)
class _Cutting:
    """What looks like a code and could not be read, and where it lies in its picture, in pixels."""

    pixels: Image.Image
    box: tuple[float, float, float, float]
    whole: tuple[int, int]

    def bends(self) -> Iterator[_Bend]:
        for k in _PRESSED:
            yield functools.partial(_pressed_aside, k)
            yield functools.partial(_pressed_along, k)
        for k in _BULGED:
            yield functools.partial(self._bulged, k)

    def _bulged(self, k: float, x: float, y: float) -> tuple[float, float]:
        left, top, right, bottom = self.box
        unit = min(self.whole) / 2
        half_x, half_y = (right - left) / 2 / unit, (bottom - top) / 2 / unit
        from_x = ((left + right) - self.whole[0]) / 2 / unit
        from_y = ((top + bottom) - self.whole[1]) / 2 / unit
        lens_x, lens_y = from_x + x * half_x, from_y + y * half_y
        scale = 1 + k * (lens_x * lens_x + lens_y * lens_y)
        return (lens_x * scale - from_x) / half_x, (lens_y * scale - from_y) / half_y


def _text_in(luminance: Image.Image) -> str:
    for attempt, binarizer in _attempts(luminance):
        texts = {barcode.text for barcode in _barcodes(attempt, binarizer) if barcode.text}
        if len(texts) > 1:
            raise SeveralCodes(f"the picture holds {len(texts)} QR codes; cut out the one meant")
        if texts:
            return texts.pop()
    raise NoCode("no QR code was found in the picture; take it straight, sharp and whole")


def _attempts(picture: Image.Image) -> Iterator[_Attempt]:
    """The picture as it is, then changed: cheapest first, each reads what those before missed."""
    yield picture, _LOCAL
    # Tiny, tilted and pale codes read at three times the size, with the quiet zone they may lack;
    # in a large picture blur and noise are the trouble, and those shrink away.
    pixels = picture.width * picture.height
    scale = 3.0 if pixels <= 2_000_000 else 0.5
    padded = ImageOps.expand(ImageOps.autocontrast(picture), border=20, fill=255)
    resized = padded.resize(
        (max(1, round(padded.width * scale)), max(1, round(padded.height * scale))),
        Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX,
    )
    yield resized, _LOCAL
    yield resized, _GLOBAL
    padded.thumbnail((1600, 1600), Image.Resampling.BOX)
    for threshold in _THRESHOLDS:
        # As a table, since a function would be called for each of its 256 values anyway.
        yield padded.point([0] * threshold + [255] * (256 - threshold)), _GLOBAL
    for radius, percent in _SHARPENED:
        sharp = padded.filter(ImageFilter.UnsharpMask(radius, percent, threshold=0))
        if sharp.width * sharp.height <= 1_200_000:
            sharp = sharp.resize((sharp.width * 2, sharp.height * 2), Image.Resampling.BICUBIC)
        yield sharp, _LOCAL
    for seen in _seen(picture, padded, resized):
        for bend in seen.bends():
            straightened = _straightened(seen.pixels, bend)
            yield straightened, _LOCAL
            yield straightened, _GLOBAL


def _barcodes(
    picture: Image.Image, binarizer: zxingcpp.Binarizer, *, with_errors: bool = False
) -> list[zxingcpp.Barcode]:
    # Model 2 alone: micro codes and bar codes around the group's code are none of ours.
    return zxingcpp.read_barcodes(
        picture,
        formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2),
        binarizer=binarizer,
        text_mode=zxingcpp.TextMode.Plain,
        return_errors=with_errors,
    )


def _seen(*pictures: Image.Image) -> Iterator[_Cutting]:
    """What looks like a code, in the first of the pictures in which something does."""
    for picture in pictures:
        for binarizer in (_LOCAL, _GLOBAL):
            for barcode in _barcodes(picture, binarizer, with_errors=True):
                at = barcode.position
                corners = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
                box = _around([(corner.x, corner.y) for corner in corners])
                yield _Cutting(_cut(picture, box), box, picture.size)
                return


def _around(points: list[tuple[int, int]]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, with a margin on each side."""
    xs, ys = zip(*points, strict=True)
    margin_x, margin_y = (max(xs) - min(xs)) * 0.12, (max(ys) - min(ys)) * 0.12
    return min(xs) - margin_x, min(ys) - margin_y, max(xs) + margin_x, max(ys) + margin_y


def _cut(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    size = (_BENT_SIDE_PX, _BENT_SIDE_PX)
    extent, smooth = Image.Transform.EXTENT, Image.Resampling.BILINEAR
    return picture.transform(size, extent, box, smooth, fillcolor=255)


def _straightened(picture: Image.Image, bend: _Bend) -> Image.Image:
    """The picture as it was before it was bent."""
    half = _BENT_SIDE_PX / 2
    edges = [round(_BENT_SIDE_PX * step / _BEND_STEPS) for step in range(_BEND_STEPS + 1)]
    at = {}
    for x in edges:
        for y in edges:
            bent_x, bent_y = bend(x / half - 1, y / half - 1)
            at[x, y] = (bent_x + 1) * half, (bent_y + 1) * half
    mesh = [
        ((x0, y0, x1, y1), (*at[x0, y0], *at[x0, y1], *at[x1, y1], *at[x1, y0]))
        for x0, x1 in itertools.pairwise(edges)
        for y0, y1 in itertools.pairwise(edges)
    ]
    return picture.transform(
        picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR, fillcolor=255
    )


def _pressed_aside(k: float, x: float, y: float) -> tuple[float, float]:
    return _pressed(k, x), y


def _pressed_along(k: float, x: float, y: float) -> tuple[float, float]:
    return x, _pressed(k, y)


def _pressed(k: float, x: float) -> float:
    """Along a circle that is seen from its side, or from within it."""
    if k > 0:
        return math.sin(k * x) / math.sin(k)
    return math.asin(max(-1.0, min(1.0, x * math.sin(-k)))) / -k


# ---------------------------------------------------------------- opening what was sent


def _luminance(picture: Image.Image) -> Image.Image:
    """8-bit grey, transparent parts white."""
    if not picture.has_transparency_data:
        return picture.convert("L")
    grey_alpha = picture.convert("RGBA").convert("LA")
    white = Image.new("L", picture.size, 255)
    white.paste(grey_alpha.getchannel("L"), mask=grey_alpha.getchannel("A"))
    return white


def opened(image: bytes) -> Image.Image:
    """The decoded picture, turned upright by its EXIF, halved if it is large.

    The size is checked before anything is decoded. Raises NotAPicture, PictureTooLarge.
    """
    if len(image) > PICTURE_MAX_BYTES:
        raise PictureTooLarge(
            f"the picture has {len(image):,} bytes; at most {PICTURE_MAX_BYTES:,} are read"
        )
    with warnings.catch_warnings():
        # What Pillow finds worth a warning is refused below, or read for all that.
        warnings.simplefilter("ignore")
        picture = _recognized(image)
        pixels = picture.width * picture.height
        if pixels > PICTURE_MAX_PIXELS:
            raise PictureTooLarge(
                f"the picture has {picture.width:,} x {picture.height:,} pixels; "
                f"at most {PICTURE_MAX_PIXELS:,} are read",
                "too_many_pixels",
            )
        # A phone's JPEG may hold a second picture, and is none the less one.
        if picture.format in ("GIF", "PNG", "WEBP") and _moves(picture):
            raise NotAPicture("the picture moves; send a still one", "animated")
        try:
            return _upright(picture)
        except MemoryError:
            raise TooHard("the picture takes too much memory; send a smaller one") from None
        except Exception:  # on hostile bytes the format plug-ins raise nearly anything
            raise NotAPicture("the picture is damaged or cut off", "damaged") from None


def _recognized(image: bytes) -> Image.Image:
    start = image[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<") and b"<svg" in start:
        raise NotAPicture("this is an SVG drawing; send a photograph or a screenshot", "svg")
    try:
        # Whatever the name or the first bytes say: these formats and no others are tried.
        return Image.open(io.BytesIO(image), formats=PICTURE_FORMATS)
    except Image.DecompressionBombError:
        raise PictureTooLarge(
            f"the picture has too many pixels; at most {PICTURE_MAX_PIXELS:,} are read",
            "too_many_pixels",
        ) from None
    except Exception:  # as above
        if image[4:8] == b"ftyp" and image[8:12] in _BRANDS:
            raise NotAPicture("the picture is damaged or cut off", "damaged") from None
        raise NotAPicture("this is not a JPEG, PNG, WebP, HEIC, GIF or BMP picture") from None


def _moves(picture: Image.Image) -> bool:
    with contextlib.suppress(Exception):
        return bool(getattr(picture, "is_animated", False))
    return False


def _upright(picture: Image.Image) -> Image.Image:
    large = picture.width * picture.height > _LARGE_PIXELS
    if large:
        # JPEG decodes to half the size by itself, for a quarter of the time and memory.
        picture.draft(None, (picture.width // 2, picture.height // 2))
    picture.load()
    if picture.width * picture.height > _LARGE_PIXELS:
        if picture.mode not in ("L", "LA", "RGB", "RGBA"):
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        exif = picture.getexif()
        picture = picture.reduce(2)
        picture.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(picture)
