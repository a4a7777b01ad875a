"""Makes the fonts beside this file from Debian's packages of Noto Sans CJK and Droid Sans Fallback.

    python -m service.web.fonts.make NotoSansCJK-Medium.ttc DroidSansFallbackFull.ttf

reportlab sets TrueType outlines only, and Noto's are cubic: they are redrawn as quadratic curves,
to within a thousandth of the type size. Hinting is left out, as nobody reads a poster at 12 pixels.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fontTools import subset
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont, newTable

HERE = Path(__file__).parent

_SC = "Noto Sans CJK SC"
_ERROR = 1.0  # of 1000 units to the em

# What every font has: Latin with its accents, punctuation, currencies, arrows and circled numbers,
# full-width forms, kana (some brands' names), radicals' neighbours are left out.
_COMMON = [
    *range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x2010, 0x2028), *range(0x2030, 0x203F),
    0x20AC, 0x2103, 0x2116, 0x2122, *range(0x2160, 0x216C), *range(0x2190, 0x2194),
    *range(0x2460, 0x2474), 0x25A0, 0x25A1, 0x25CB, 0x25CF, 0x2605, 0x2606,
    *range(0x3000, 0x3020), *range(0x3041, 0x3097), *range(0x30A0, 0x3100),
    *range(0xFF01, 0xFF5F), 0xFFE5,
]  # fmt: skip


def _decoded(codec: str, leads: range, trails: Callable[[int], range]) -> set[int]:
    found = set()
    for lead in leads:
        for trail in trails(lead):
            try:
                found.add(ord(bytes((lead, trail)).decode(codec)))
            except (UnicodeDecodeError, TypeError):
                continue
    return found


def usual() -> set[int]:
    """GB 2312 whole, and Big5's first level: what is in daily use, simplified and traditional."""
    return (
        set(_COMMON)
        | _decoded("gb2312", range(0xB0, 0xF8), lambda _: range(0xA1, 0xFF))
        | {
            code
            for code in _decoded("big5", range(0xA4, 0xC7), lambda _: range(0x40, 0xFF))
            if 0x4E00 <= code < 0xA000
        }
    )


def rare(of: set[int]) -> set[int]:
    """The other ideographs of the basic block and extension A: names of people and places."""
    return (set(range(0x4E00, 0xA000)) | set(range(0x3400, 0x4DC0))) - of


def _subset(font: TTFont, codes: set[int]) -> None:
    options = subset.Options(
        hinting=False, layout_features=[], name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14],
        notdef_outline=True,
        drop_tables=["DSIG", "BASE", "VORG", "vhea", "vmtx", "GDEF", "GPOS", "GSUB"],
    )  # fmt: skip
    worker = subset.Subsetter(options)
    worker.populate(unicodes=codes)
    worker.subset(font)


def _quadratic(font: TTFont) -> None:
    """CFF outlines as TrueType's, in place."""
    names = font.getGlyphOrder()
    drawn = font.getGlyphSet()
    glyphs = {}
    for name in names:
        pen = TTGlyphPen(drawn)
        drawn[name].draw(Cu2QuPen(pen, _ERROR, reverse_direction=True))
        glyphs[name] = pen.glyph()
    font["loca"] = newTable("loca")
    font["glyf"] = glyf = newTable("glyf")
    glyf.glyphOrder = names
    glyf.glyphs = glyphs
    maxp: Any = font["maxp"]
    maxp.tableVersion = 0x00010000
    for field in ("maxZones", "maxTwilightPoints", "maxStorage", "maxFunctionDefs",
                  "maxInstructionDefs", "maxStackElements", "maxSizeOfInstructions"):  # fmt: skip
        setattr(maxp, field, 0)
    maxp.maxZones = 1
    maxp.maxComponentElements = maxp.maxComponentDepth = 0
    del font["CFF "]
    font["post"].formatType = 3.0
    font.sfntVersion = "\x00\x01\x00\x00"


def _write(font: TTFont, name: str) -> None:
    font["post"].formatType = 3.0
    path = HERE / name
    font.save(path)
    sys.stdout.write(
        f"{name}: {len(font.getBestCmap()):,} characters, {path.stat().st_size:,} bytes\n"
    )


def main(noto: str, droid: str) -> None:
    collection = TTCollection(noto)
    font = next(f for f in collection.fonts if f["name"].getDebugName(1).startswith(_SC))
    _subset(font, usual())
    _quadratic(font)
    _write(font, "NotoSansSC-Medium.ttf")
    fallback = TTFont(droid)
    _subset(fallback, rare(set(font.getBestCmap())))
    _write(fallback, "DroidSansFallback-Rare.ttf")


if __name__ == "__main__":
    main(*sys.argv[1:])
