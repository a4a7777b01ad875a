"""The shop's poster as a printer sees it: PDFium draws the page, and its code is read."""

import itertools
import re

import numpy as np
import pypdfium2
import pytest
import zxingcpp
from PIL import Image, ImageFilter

from service.web import poster, poster_words, typesetting
from service.web.poster import Paper, Poster
from service.web.words import Lang

_MM = 72 / 25.4
A4, A5 = (210, 297), (148.5, 210)

LONG_NAME = "内蒙古自治区呼和浩特市新城区新华东街万达广场购物中心二楼东侧旗舰体验店（KTV 旁）"
LONG_URL = "https://weixin-codes.tea-house-international.example.com.cn/q/" + "e" * 60

SHOPS = [
    Poster(
        url="https://codes.example.com/q/tea?p=store-SH001",
        chain="近码茶社",
        store="近码茶社上海陆家嘴店",
        address="上海市浦东新区世纪大道8号国金中心L2-12",
        placement="store-SH001",
        placement_name="近码茶社上海陆家嘴店",
    ),
    Poster(
        url=f"{LONG_URL}?p=store-{'7' * 16}",
        chain=f"{LONG_NAME}有限公司",
        store=LONG_NAME * 3,
        address=LONG_NAME * 4,
        placement="store-7777777777777777",
        placement_name=LONG_NAME,
    ),
    Poster(
        url="http://localhost:8000/q/t?p=store-1",
        chain="T",
        store="Lane Crawford @ IFC",
        address="",
        placement="store-1",
        placement_name="1",
    ),
]


def page_of(pdf: bytes) -> pypdfium2.PdfPage:
    document = pypdfium2.PdfDocument(pdf)
    assert len(document) == 1
    return document[0]


def drawn(pdf: bytes, dots_per_mm: float) -> Image.Image:
    picture: Image.Image = page_of(pdf).render(scale=dots_per_mm / _MM, grayscale=True).to_pil()
    return picture


def text_of(pdf: bytes) -> str:
    text: str = page_of(pdf).get_textpage().get_text_range()
    return text


@pytest.mark.parametrize("shop", SHOPS, ids=["usual", "long", "short"])
@pytest.mark.parametrize("paper", list(Paper))
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_printed_at_three_centimetres_the_code_scans(
    shop: Poster, paper: Paper, lang: Lang
) -> None:
    # The whole page made so small that the code, with its quiet zone, is 3 cm wide on paper.
    smaller = 30 / (poster.CODE_MM * paper.scale)
    picture = drawn(poster.pdf(shop, paper, lang), 300 / 25.4 * smaller)
    blurred = picture.filter(ImageFilter.GaussianBlur(1.2))
    grain = np.random.default_rng(7).normal(0, 25, (picture.height, picture.width))
    noisy = Image.fromarray(
        np.clip(np.asarray(blurred, dtype=float) + grain, 0, 255).astype(np.uint8)
    )
    for seen in (picture, blurred, noisy, picture.rotate(11, fillcolor=255)):
        (code,) = zxingcpp.read_barcodes(seen)
        assert code.text == shop.url


@pytest.mark.parametrize(("paper", "size"), [(Paper.A4, A4), (Paper.A5, A5)])
def test_the_page_has_the_papers_size_and_nothing_near_its_edge(
    paper: Paper, size: tuple[float, float]
) -> None:
    for shop in SHOPS:
        pdf = poster.pdf(shop, paper, "zh")
        assert page_of(pdf).get_size() == pytest.approx([side * _MM for side in size], abs=0.1)
        ink = np.asarray(drawn(pdf, 4)) < 250
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        rim = 8 * 4 if paper is Paper.A5 else 11 * 4
        assert min(rows[0], columns[0]) >= rim
        assert rows[-1] < ink.shape[0] - rim
        assert columns[-1] < ink.shape[1] - rim


def test_the_code_is_vectors_and_every_font_is_embedded() -> None:
    for shop in SHOPS:
        pdf = poster.pdf(shop, Paper.A4, "zh")
        fonts = re.findall(rb"/Type /Font\b", pdf)
        assert len(fonts) >= 1
        assert len(fonts) == pdf.count(b"/FontFile2"), "no font but those in the file"
        assert b"/Subtype /Image" not in pdf
        assert len(pdf) < 120_000, "of a font of megabytes only what is used"


def test_it_says_store_address_placement_and_what_to_do() -> None:
    chinese = text_of(poster.pdf(SHOPS[0], Paper.A4, "zh"))
    english = text_of(poster.pdf(SHOPS[0], Paper.A5, "en"))
    for text, lang in itertools.product((chinese, english), ("zh", "en")):
        assert poster_words.say("zh" if lang == "zh" else "en", "title") in text
        assert "近码茶社上海陆家嘴店" in text
        assert "世纪大道8号" in text
        assert "store-SH001" in text
        assert "codes.example.com/q/tea" in text
    assert "打开微信扫一扫" in chinese
    assert "Scan with WeChat" in english


def test_a_rare_character_is_set_and_what_no_font_has_is_marked() -> None:
    assert typesetting.settable("甪直堎碶㙟店") == "甪直堎碶㙟店"
    assert typesetting.settable("茶\n 社\u200b\ufe0f😀𠮷") == "茶 社〓〓"
    shop = Poster(
        url="https://c.example/q/t?p=s", chain="茶", store="甪直㙟店", address="", placement="s",
        placement_name="s",
    )  # fmt: skip
    assert "甪直㙟店" in text_of(poster.pdf(shop, Paper.A4, "zh"))


def test_every_character_of_daily_use_is_in_the_fonts() -> None:
    two_bytes = (bytes((a, b)) for a in range(0xB0, 0xF8) for b in range(0xA1, 0xFF))
    chinese = "".join(pair.decode("gb2312", "ignore") for pair in two_bytes)
    assert len(chinese) == 6763
    assert typesetting.settable(chinese) == chinese
    whole_block = "".join(map(chr, range(0x4E00, 0x9FA6)))
    assert typesetting.settable(whole_block) == whole_block


def test_lines_break_where_chinese_and_latin_may() -> None:
    def lines(text: str, across: float = 100) -> list[str]:
        found, _ = typesetting.fitted(text, across, (20,), 9)
        return found

    assert lines("上海市浦东新区店") == ["上海市浦", "东新区店"], "no single character alone"
    for line in lines("一二三四，五六七八九。「十」" * 3):
        assert line[0] not in "，。」"
        assert line[-1] not in "「"
    assert lines("Lane Crawford 店", 140) == ["Lane", "Crawford 店"], "words stay whole"
    assert "".join(lines("W" * 30)) == "W" * 30, "but for one that is longer than a line"
    assert all(typesetting.width(line, 20) <= 100.01 for line in lines("W" * 30))


def test_what_does_not_fit_is_made_smaller_and_then_cut_short() -> None:
    assert typesetting.fitted("茶社", 100, (30, 20), 1) == (["茶社"], 30)
    assert typesetting.fitted("茶社的店", 100, (30, 20), 1) == (["茶社的店"], 20)
    lines, size = typesetting.fitted("茶社的店" * 9, 100, (30, 20), 2)
    assert (lines[0], lines[1][-1], size) == ("茶社的店茶", "…", 20)
    assert all(typesetting.width(line, size) <= 100 for line in lines)


def test_the_same_poster_is_the_same_file() -> None:
    assert poster.pdf(SHOPS[0], Paper.A4, "zh") == poster.pdf(SHOPS[0], Paper.A4, "zh")


def test_both_languages_fill_the_same_gaps() -> None:
    for key in poster_words.KEYS:
        chinese, english = poster_words._WORDS[key]
        assert re.findall(r"\{\w+\}", chinese) == re.findall(r"\{\w+\}", english)
