"""A shop's own poster: the chain's unified code on a page to print, A4 or A5.

Drawn once, for A4; A5 is the same at 1/√2. Nothing stands nearer to the edge than 10 mm, so that an
office printer and a careless cut take nothing away, and no bleed is needed. The code is vectors in
black ink alone; fonts are embedded.
"""

import io
import math
from dataclasses import dataclass
from enum import StrEnum

from reportlab.lib.colors import CMYKColor
from reportlab.lib.units import mm
from reportlab.pdfgen import canvas

from service import qr
from service.web import poster_words, typesetting
from service.web.words import Lang

_WIDTH, _HEIGHT = 210 * mm, 297 * mm
_MARGIN = 12 * mm
_GREEN = CMYKColor(0.88, 0.25, 0.88, 0.18)
_PALE = CMYKColor(0.88 / 8, 0.25 / 8, 0.88 / 8, 0)
CODE_MM = 128
"""The code's side on A4, quiet zone and all."""


class Paper(StrEnum):
    A4 = "a4"
    A5 = "a5"

    @property
    def scale(self) -> float:
        return 1.0 if self is Paper.A4 else math.sqrt(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poster:
    """What stands on it. `placement` is the id that the code carries, `placement_name` what people
    call it."""

    url: str
    chain: str
    store: str
    address: str
    placement: str
    placement_name: str


def pdf(poster: Poster, paper: Paper, lang: Lang) -> bytes:
    """One page; the same input gives the same bytes."""
    out = io.BytesIO()
    size = (_WIDTH * paper.scale, _HEIGHT * paper.scale)
    page = canvas.Canvas(out, pagesize=size, invariant=1, initialFontName=typesetting.main_font())
    page.setTitle(poster_words.say(lang, "document", store=poster.store))
    page.setAuthor(poster.chain)
    page.setSubject(poster.url)
    page.setTrimBox((0, 0, *size))
    page.scale(paper.scale, paper.scale)
    _panel(page, poster, lang)
    _steps(page, lang)
    _shop(page, poster)
    _foot(page, poster)
    page.showPage()
    page.save()
    return out.getvalue()


def _from_top(millimetres: float) -> float:
    return float(_HEIGHT - millimetres * mm)


def _panel(page: canvas.Canvas, poster: Poster, lang: Lang) -> None:
    """The green ground with the headline, and the code on its white card."""
    across = _WIDTH - 2 * _MARGIN
    page.setFillColor(_GREEN)
    page.roundRect(_MARGIN, _from_top(204), across, 192 * mm, 9 * mm, stroke=0, fill=1)
    page.setFillColorCMYK(0, 0, 0, 0)
    middle, inside = _WIDTH / 2, across - 20 * mm
    (chain,), size = typesetting.fitted(poster.chain, inside, (17, 13), 1)
    typesetting.draw_centred(page, chain, middle, _from_top(28), size)
    (title,), size = typesetting.fitted(
        poster_words.say(lang, "title"), inside, (50, 44, 38, 34, 30), 1
    )
    typesetting.draw_centred(page, title, middle, _from_top(48), size)
    other: Lang = "en" if lang == "zh" else "zh"
    second = typesetting.settable(poster_words.say(other, "title"))
    typesetting.draw_centred(page, second, middle, _from_top(58.5), 17)
    side = CODE_MM * mm
    left, bottom = middle - side / 2, _from_top(67) - side
    page.roundRect(left, bottom, side, side, 6 * mm, stroke=0, fill=1)
    qr.paint(page, poster.url, left=left, bottom=bottom, side=side)


def _steps(page: canvas.Canvas, lang: Lang) -> None:
    """What to do, in three steps side by side."""
    column = (_WIDTH - 2 * _MARGIN) / 3
    for number in (1, 2, 3):
        middle = _MARGIN + column * (number - 0.5)
        page.setFillColor(_PALE)
        page.circle(middle, _from_top(216), 5.5 * mm, stroke=0, fill=1)
        page.setFillColor(_GREEN)
        typesetting.draw_centred(page, str(number), middle, _from_top(218), 16)
        page.setFillGray(0.1)
        text = poster_words.say(lang, f"step.{number}")
        (line,), size = typesetting.fitted(text, column - 4 * mm, (15, 14, 13, 12), 1)
        typesetting.draw_centred(page, line, middle, _from_top(228), size)


def _shop(page: canvas.Canvas, poster: Poster) -> None:
    """The store's name, as large as it fits, and its address."""
    across = _WIDTH - 2 * _MARGIN - 10 * mm
    names, size = typesetting.fitted(poster.store, across, (34, 30, 26, 23, 20), 2)
    lines = [(line, size) for line in names]
    if poster.address:
        addresses, small = typesetting.fitted(poster.address, across, (13, 12, 11), 2)
        lines += [(line, small) for line in addresses]
    # In the middle of what is left between the steps and the foot.
    gap = 2 * mm
    height = sum(1.35 * size for _, size in lines) + gap
    y = (_from_top(232) + _from_top(279) + height) / 2
    page.setFillGray(0.1)
    for number, (line, size) in enumerate(lines):
        y -= 1.35 * size + (gap if number == len(names) else 0)
        typesetting.draw_centred(page, line, _WIDTH / 2, y + 0.3 * size, size)


def _foot(page: canvas.Canvas, poster: Poster) -> None:
    """Which poster this is, small: for whoever hangs it up."""
    page.setStrokeColor(_PALE)
    page.setLineWidth(0.8)
    page.line(_MARGIN, _from_top(279), _WIDTH - _MARGIN, _from_top(279))
    page.setFillGray(0.4)
    half = (_WIDTH - 2 * _MARGIN) / 2 - 2 * mm
    named = f"{poster.placement} · {poster.placement_name}"
    (left,), size = typesetting.fitted(named, half, (9, 8, 7), 1)
    typesetting.draw(page, left, _MARGIN, _from_top(284.5), size)
    address = poster.url.split("://", 1)[-1].partition("?")[0]
    (right,), size = typesetting.fitted(address, half, (9, 8, 7), 1)
    x = _WIDTH - _MARGIN - typesetting.width(right, size)
    typesetting.draw(page, right, x, _from_top(284.5), size)
