"""Chinese and Latin type on a PDF page: embedded fonts, lines that break where they may.

The fonts come with the package (fonts/README.md). What the main one lacks, rare characters of
people's and places' names, is set from the other; what neither has becomes 〓, as printers mark a
character that they do not have.
"""

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

_FOLDER = Path(__file__).parent / "fonts"
_FONTS = ("NotoSansSC-Medium", "DroidSansFallback-Rare")
_MISSING = "〓"

# What may not begin a line, and what may not end one (JLREQ and CLREQ, 3.1.2, in short).
_NOT_FIRST = frozenset("!),.:;?]}·—…‐’”、。〉》」』】〕〗〟！），．：；？］｝～%℃")
_NOT_LAST = frozenset("([{‘“〈《「『【〔〖〝（［｛￥$")

# A word of letters and digits stays whole where it can; any other character stands for itself.
_PIECES = re.compile(r"[0-9A-Za-z\u00c0-\u024f][0-9A-Za-z\u00c0-\u024f'’&+./_-]*|\s+|.", re.DOTALL)


@functools.cache
def _fonts() -> tuple[tuple[str, frozenset[int]], ...]:
    """(name, characters) of each font, the one to prefer first."""
    found = []
    for name in _FONTS:
        font = TTFont(name, str(_FOLDER / f"{name}.ttf"))
        pdfmetrics.registerFont(font)
        found.append((name, frozenset(font.face.charToGlyph)))
    return tuple(found)


def main_font() -> str:
    """What a page may begin with, so that no font is named in the file that it does not embed."""
    return _fonts()[0][0]


def settable(text: str) -> str:
    """The text with spaces made single, what cannot be seen left out, what no font has as 〓."""
    seen = "".join(c for c in " ".join(text.split()) if c.isprintable() and not _joins(c))
    return "".join(c if _font_of(c) is not None else _MISSING for c in seen)


def _joins(character: str) -> bool:
    """Whether it only changes the one before it: variation selectors, as emoji have."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _font_of(character: str) -> str | None:
    return next((name for name, has in _fonts() if ord(character) in has), None)


def _runs(text: str) -> Iterable[tuple[str, str]]:
    """(font, text) of each stretch that one font sets."""
    for font, characters in itertools.groupby(text, _font_of):
        if font is not None:
            yield font, "".join(characters)


def width(text: str, size: float) -> float:
    return sum(float(pdfmetrics.stringWidth(run, font, size)) for font, run in _runs(text))


def draw(page: canvas.Canvas, text: str, x: float, y: float, size: float) -> None:
    """From `x` on the base line `y`; the text as `settable` gave it."""
    for font, run in _runs(text):
        page.setFont(font, size)
        page.drawString(x, y, run)
        x += float(pdfmetrics.stringWidth(run, font, size))


def draw_centred(page: canvas.Canvas, text: str, middle: float, y: float, size: float) -> None:
    draw(page, text, middle - width(text, size) / 2, y, size)


def fitted(
    text: str, across: float, sizes: Sequence[float], most_lines: int
) -> tuple[list[str], float]:
    """The text in lines of about the same length and none longer than `across`, in the largest of
    the sizes in which it takes at most `most_lines`; in the smallest it is cut short by an …"""
    text = settable(text)
    for size in sizes:
        lines = broken(text, across, size)
        if len(lines) <= most_lines:
            return _even(text, across, size, lines), size
    size = sizes[-1]
    lines = broken(text, across, size)[:most_lines]
    while width(f"{lines[-1]}…", size) > across:
        lines[-1] = lines[-1][:-1]
    lines[-1] += "…"
    return lines, size


def _even(text: str, across: float, size: float, lines: list[str]) -> list[str]:
    """As many lines, but as narrow as that allows: no single character on the last one."""
    if len(lines) < 2:
        return lines
    low, high = across / 2, across
    while high - low > size / 8:
        middle = (low + high) / 2
        if len(broken(text, middle, size)) == len(lines):
            high = middle
        else:
            low = middle
    return broken(text, high, size)


def broken(text: str, across: float, size: float) -> list[str]:
    """Lines no longer than `across`, but for a single character that is."""
    lines = [""]
    for piece in _unbreakable(text):
        if width(lines[-1] + piece.rstrip(), size) <= across:
            lines[-1] += piece
        elif width(piece, size) <= across:
            lines.append(piece.lstrip())
        else:
            for character in piece:
                if lines[-1] and width(lines[-1] + character, size) > across:
                    lines.append("")
                lines[-1] += character
    return [line.strip() for line in lines if line.strip()]


def _unbreakable(text: str) -> list[str]:
    """What no line may end within."""
    pieces: list[str] = []
    for piece in _PIECES.findall(text):
        sticks = piece in _NOT_FIRST or (pieces and pieces[-1][-1] in _NOT_LAST)
        if pieces and sticks:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces
