"""QR codes known and drawn: what a payload leads to, and the code of a payload again.

How they are read is in `reading.py`, whose names are here, too.
"""

import base64
import enum
import functools
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import qrcode
import qrcode.constants
import qrcode.exceptions
import qrcode.util
from PIL import Image, ImageOps
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen import canvas

from service import reading
from service.reading import DoesNotFit as DoesNotFit
from service.reading import NoCode as NoCode
from service.reading import NotAPicture as NotAPicture
from service.reading import PictureTooLarge as PictureTooLarge
from service.reading import QrError as QrError
from service.reading import SeveralCodes as SeveralCodes
from service.reading import TooHard as TooHard
from service.reading import UnknownPayload as UnknownPayload
from service.reading import decode as decode

PAYLOAD_MAX_LENGTH = 512

WECHAT_GROUP_LIFETIME = timedelta(days=7)
"""How long WeChat honours a group's QR code after it was made; the card prints the date."""

LOGO_WIDTH_SHARE = 0.2
"""Of the symbol's width: 4 % of its area, where error correction H restores up to 30 %."""

BORDER_MODULES = 4
"""The quiet zone that ISO/IEC 18004 asks for, on each side."""


class CodeKind(enum.StrEnum):
    """What a scanner of the code gets into."""

    WECOM_GROUP = "wecom_group"  # WeCom join way: never expires, rolls over to a new group
    WECHAT_GROUP = "wechat_group"  # a WeChat or WeCom group's own card: dies after 7 days
    WECOM_CONTACT = "wecom_contact"  # adds a member of staff in WeCom
    WECOM_ACQUISITION = "wecom_acquisition"  # acquisition link: adds staff, may carry a channel
    WECHAT_PERSONAL = "wechat_personal"  # adds somebody's personal WeChat


GROUPS = frozenset({CodeKind.WECOM_GROUP, CodeKind.WECHAT_GROUP})
"""The kinds whose seats WeChat limits; a contact takes thousands."""


class ErrorCorrection(enum.StrEnum):
    """How much of a symbol may be lost, after ISO/IEC 18004."""

    L = "L"  # 7 %
    M = "M"  # 15 %
    Q = "Q"  # 25 %: print without a logo
    H = "H"  # 30 %: print with a logo


# Anchored by fullmatch and spelled as the apps draw them: https, lower-case host, no port, no
# user part. A payload is shown again to customers as it is, so whatever could be read as another
# host is not merely repaired. http is refused as well: WeChat has drawn https for all five kinds
# for longer than any group code lives.
_TOKEN = r"[A-Za-z0-9_\-]{4,256}"  # noqa: S105 (a pattern, not a secret)
_QUERY = r"(?:\?[A-Za-z0-9_.~%&=+:@,;/\-]*)?"
_KINDS: tuple[tuple[re.Pattern[str], CodeKind], ...] = tuple(
    (re.compile(pattern + _QUERY), kind)
    for pattern, kind in (
        (r"https://work\.weixin\.qq\.com/gm/[0-9a-f]{32}", CodeKind.WECOM_GROUP),
        (rf"https://weixin\.qq\.com/g/{_TOKEN}", CodeKind.WECHAT_GROUP),
        (rf"https://c\.weixin\.com/g/{_TOKEN}", CodeKind.WECHAT_GROUP),
        (rf"https://work\.weixin\.qq\.com/ct/{_TOKEN}", CodeKind.WECOM_CONTACT),
        (rf"https://work\.weixin\.qq\.com/u/vc{_TOKEN}", CodeKind.WECOM_CONTACT),
        (rf"https://work\.weixin\.qq\.com/ca/cawcde{_TOKEN}", CodeKind.WECOM_ACQUISITION),
        (rf"https://u\.wechat\.com/{_TOKEN}", CodeKind.WECHAT_PERSONAL),
    )
)

# What managers upload by mistake: a word for programs, and the sentence that helps them on.
_STRANGERS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), word, reason)
    for pattern, word, reason in (
        (
            r"wxp://.*|weixin://wxpay/.*|https?://qr\.alipay\.com/.*",
            "payment_code",
            "this is a payment code (收款码); upload the group's QR code",
        ),
        (
            r"https?://[^/?#]+/q/[^/?#]+/?(?:[?#].*)?",
            "entry_code",
            "this is an entry code (活码), which leads to the nearest group itself; "
            "upload the group's own QR code",
        ),
        (
            r"https?://(?:weixin\.qq\.com|mp\.weixin\.qq\.com)/(?:r|s|a|mp)(?:/.*|\?.*)?",
            "official_account",
            "this leads to an official account or mini-program, not to a group",
        ),
        (
            r"https?://(?:qm\.qq\.com|jq\.qq\.com)(?:/.*)?",
            "qq_group",
            "this is a QQ group; only WeChat and WeCom groups can be used",
        ),
        (
            r"http://(?:work\.weixin\.qq\.com|weixin\.qq\.com|c\.weixin\.com|u\.wechat\.com)/.*",
            "not_https",
            "the payload begins with http://, but WeChat's own codes begin with https://",
        ),
    )
)


# ---------------------------------------------------------------- knowing


def classify(payload: str) -> CodeKind:
    """What the payload leads to, by its exact form. Raises UnknownPayload, saying why.

    Source of the forms: WeCom's and WeChat's own cards and documents, November 2026.
    """
    if len(payload) > PAYLOAD_MAX_LENGTH:
        raise UnknownPayload(
            f"the payload has {len(payload):,} characters; "
            f"group codes have at most {PAYLOAD_MAX_LENGTH}"
        )
    if not payload:
        raise UnknownPayload("the payload is empty")
    if any(character.isspace() or not character.isprintable() for character in payload):
        raise UnknownPayload("the payload holds spaces or control characters")
    for pattern, kind in _KINDS:
        if pattern.fullmatch(payload):
            return kind
    for pattern, word, reason in _STRANGERS:
        if pattern.fullmatch(payload):
            raise UnknownPayload(reason, word)
    raise UnknownPayload("this is not the code of a WeChat or WeCom group or contact")


def default_expiry(kind: CodeKind) -> timedelta | None:
    """How long a code of this kind lives from when it was made; None: it does not expire."""
    return WECHAT_GROUP_LIFETIME if kind is CodeKind.WECHAT_GROUP else None


# ---------------------------------------------------------------- drawing

_LEVELS = {
    ErrorCorrection.L: qrcode.constants.ERROR_CORRECT_L,
    ErrorCorrection.M: qrcode.constants.ERROR_CORRECT_M,
    ErrorCorrection.Q: qrcode.constants.ERROR_CORRECT_Q,
    ErrorCorrection.H: qrcode.constants.ERROR_CORRECT_H,
}

Modules = npt.NDArray[np.bool_]
"""Square, row by row from the top, True is dark; without the quiet zone; its side is odd."""


def png(
    payload: str,
    *,
    size_px: int = 720,
    border: int = BORDER_MODULES,
    logo: bytes | None = None,
    error_correction: ErrorCorrection | None = None,
) -> bytes:
    """A square PNG of exactly `size_px`: whole pixels a module, what is left over is white rim.

    1-bit black and white; with a logo an 8-bit palette in which the code stays pure black and
    white. `border` is in modules. The default error correction is Q, H with a logo.
    Raises DoesNotFit; NotAPicture or PictureTooLarge for the logo.
    """
    modules = _modules(payload, _level(error_correction, logo))
    side = len(modules)
    scale = size_px // (side + 2 * border)
    if scale < 1:
        raise DoesNotFit(f"the code needs at least {side + 2 * border} pixels, not {size_px}")
    window = _logo_modules(side) if logo else 0
    pixels = np.full((size_px, size_px), 255, dtype=np.uint8)
    start = (size_px - side * scale) // 2
    pixels[start : start + side * scale, start : start + side * scale] = np.where(
        _with_window(modules, window).repeat(scale, axis=0).repeat(scale, axis=1), 0, 255
    )
    drawing = Image.fromarray(pixels)
    if logo is None:
        drawing = drawing.convert("1", dither=Image.Dither.NONE)
    else:
        drawing = _paste_logo(drawing, _logo(logo, (window - 1) * scale))
    out = io.BytesIO()
    drawing.save(out, "PNG", optimize=True)
    return out.getvalue()


def svg(
    payload: str,
    *,
    border: int = BORDER_MODULES,
    logo: bytes | None = None,
    error_correction: ErrorCorrection | None = None,
) -> bytes:
    """An SVG of one path, one user unit a module, on white. Arguments and errors as `png`."""
    modules = _modules(payload, _level(error_correction, logo))
    side = len(modules)
    window = _logo_modules(side) if logo else 0
    runs = "".join(
        f"M{border + column} {border + row}h{length}v1h-{length}z"
        for row, column, length in _runs(_with_window(modules, window))
    )
    whole = side + 2 * border
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}"'
        ' shape-rendering="crispEdges">',
        f'<rect width="{whole}" height="{whole}" fill="#fff"/>',
        f'<path fill="#000" d="{runs}"/>',
    ]
    if logo is not None:
        out = io.BytesIO()
        _logo(logo, 512).save(out, "PNG", optimize=True)
        edge = border + (side - window) / 2 + 0.5
        parts.append(
            f'<image x="{edge:g}" y="{edge:g}" width="{window - 1}" height="{window - 1}"'
            f' href="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"/>'
        )
    parts.append("</svg>")
    return "".join(parts).encode()


_PDF_FONT = "STSong-Light"
_CAPTION_PT = 18.0
_CAPTION_SMALLEST_PT = 9.0


def pdf(
    payload: str,
    *,
    caption: str = "",
    side_mm: float = 100.0,
    border: int = BORDER_MODULES,
    logo: bytes | None = None,
    error_correction: ErrorCorrection | None = None,
) -> bytes:
    """A one-page PDF: the code as vectors, `side_mm` wide with its quiet zone, caption below.

    The page is as large as that, to be placed in a layout. The caption may have several lines;
    Chinese is set in STSong-Light, which PDF readers bring along and the file does not embed.
    Black is device grey, so it prints in the black ink alone. The same input gives the same bytes.
    Arguments and errors otherwise as `png`.
    """
    modules = _modules(payload, _level(error_correction, logo))
    side = len(modules)
    window = _logo_modules(side) if logo else 0
    width = side_mm * mm
    unit = width / (side + 2 * border)
    lines, font_size = _set_caption(caption, width - 2 * border * unit)
    leading = font_size * 1.4
    foot = leading * len(lines) + (border * unit if lines else 0.0)

    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(width, width + foot), invariant=1)
    page.setTitle(lines[0] if lines else "QR")
    page.setFillGray(1)
    page.rect(0, 0, width, width + foot, stroke=0, fill=1)
    page.setFillGray(0)
    _fill(page, _with_window(modules, window), border * unit, foot + border * unit, unit)
    if logo is not None:
        edge = (border + (side - window) / 2 + 0.5) * unit
        logo_side = (window - 1) * unit
        picture = ImageReader(_logo(logo, 512).convert("RGB"))
        page.drawImage(picture, edge, foot + edge, logo_side, logo_side)
    if lines:
        page.setFont(_PDF_FONT, font_size)
        for number, line in enumerate(lines):
            page.drawCentredString(width / 2, foot - leading * number - font_size, line)
    page.showPage()
    page.save()
    return out.getvalue()


def paint(page: canvas.Canvas, payload: str, *, left: float, bottom: float, side: float) -> None:
    """The code as vectors on a white part of a page: a square of `side` points, quiet zone and all.
    Device grey; error correction Q. Raises DoesNotFit."""
    modules = _modules(payload, ErrorCorrection.Q)
    unit = side / (len(modules) + 2 * BORDER_MODULES)
    page.setFillGray(0)
    quiet = BORDER_MODULES * unit
    _fill(page, modules, left + quiet, bottom + quiet, unit)


def _fill(page: canvas.Canvas, modules: Modules, left: float, bottom: float, unit: float) -> None:
    path = page.beginPath()
    for row, column, length in _runs(modules):
        top = bottom + (len(modules) - row) * unit
        path.rect(left + column * unit, top - unit, length * unit, unit)
    page.drawPath(path, stroke=0, fill=1)


def _set_caption(caption: str, width: float) -> tuple[list[str], float]:
    """(lines, size in points): made smaller to fit `width` points, then broken anywhere, which
    Chinese allows."""
    pdfmetrics.registerFont(UnicodeCIDFont(_PDF_FONT))
    given = [line.strip() for line in caption.splitlines() if line.strip()]
    widest = max((pdfmetrics.stringWidth(line, _PDF_FONT, 1) for line in given), default=1.0)
    size = max(_CAPTION_SMALLEST_PT, min(_CAPTION_PT, width / widest))
    lines: list[str] = []
    for line in given:
        lines.append("")
        for character in line:
            longer = lines[-1] + character
            if lines[-1] and pdfmetrics.stringWidth(longer, _PDF_FONT, size) > width + 0.01:
                lines.append(character)
            else:
                lines[-1] = longer
    return lines, size


def _level(wanted: ErrorCorrection | None, logo: bytes | None) -> ErrorCorrection:
    if wanted is not None:
        return wanted
    return ErrorCorrection.Q if logo is None else ErrorCorrection.H


@functools.lru_cache(maxsize=1024)
def _modules(payload: str, level: ErrorCorrection) -> Modules:
    """Kept, because trying out the masks costs tens of milliseconds and codes are drawn often."""
    code = qrcode.QRCode(error_correction=_LEVELS[level], border=0)
    # As bytes throughout: in digits, a run of zeros can make a block of nothing but zeros, which
    # qrcode 8.2 cannot compute (its issue 330, "glog(0)"); and payloads have few capitals to save.
    code.add_data(qrcode.util.QRData(payload.encode(), mode=qrcode.util.MODE_8BIT_BYTE))
    try:
        code.make(fit=True)
    except (qrcode.exceptions.DataOverflowError, ValueError):
        raise DoesNotFit(f"{len(payload):,} characters do not fit into a QR code") from None
    modules = np.array(code.get_matrix(), dtype=np.bool_)
    modules.setflags(write=False)
    return modules


def _runs(modules: Modules) -> Iterator[tuple[int, int, int]]:
    """(row, column, length) of each horizontal run of dark modules."""
    for row, line in enumerate(modules):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0]))))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            yield row, start, end - start


def _logo_modules(side: int) -> int:
    """Width of the logo's window in modules: odd like the side, so that it sits in the middle."""
    window = int(side * LOGO_WIDTH_SHARE)
    return window if window % 2 else window - 1


def _with_window(modules: Modules, window: int) -> Modules:
    """A copy with a light square of `window` modules in the middle."""
    opened = modules.copy()
    start = (len(modules) - window) // 2
    opened[start : start + window, start : start + window] = False
    return opened


def _logo(logo: bytes, side_px: int) -> Image.Image:
    """The logo, whole and undistorted, in the middle of a white RGB square."""
    picture = reading.opened(logo).convert("RGBA")
    fitted = ImageOps.contain(picture, (side_px, side_px), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side_px, side_px), "white")
    corner = ((side_px - fitted.width) // 2, (side_px - fitted.height) // 2)
    square.paste(fitted, corner, mask=fitted.getchannel("A"))
    return square


def _paste_logo(drawing: Image.Image, logo: Image.Image) -> Image.Image:
    """Black and white keep the palette's first two places, so no colour bleeds into the code."""
    colours = logo.quantize(254, dither=Image.Dither.NONE)
    palette = colours.getpalette() or []
    indices = (np.asarray(drawing) > 0).astype(np.uint8)
    corner = (drawing.width - logo.width) // 2
    inside = slice(corner, corner + logo.width)
    indices[inside, inside] = np.asarray(colours) + 2
    combined = Image.fromarray(indices).convert("L")
    combined.putpalette([0, 0, 0, 255, 255, 255, *palette])
    return combined
