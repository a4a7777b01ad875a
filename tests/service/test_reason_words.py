"""Every reason for which an import refuses something has Chinese words."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest

from geo import area, datum, point
from service import (
    bulk,
    catalog,
    importing,
    members,
    order_rows,
    orders,
    pictures,
    qr,
    reading,
    tabular,
)
from service.web import reason_words

# What takes a sentence that says why.
SAYING = {
    "Mistake", "Rejected", "Refused", "NotAKey", "UnknownDatum", "InvalidArea", "UnknownPayload",
    "UnreadableTable", "NoCode", "SeveralCodes", "TooHard", "NotAPicture", "PictureTooLarge",
    "FieldError",
}  # fmt: skip
# Of members and joins as JSON, which no page imports.
ELSEWHERE = {
    "must be an object", "is no field here", "name a join or a scan, and not both",
    "send the phone or its hash, not both", "one of 7 is needed", "there is no such join",
}  # fmt: skip


def sentences(module: ModuleType) -> Iterator[str]:
    """Those that the module's source holds, with 7 for whatever is filled in."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in SAYING:
                yield from filter(None, map(text, node.args))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "detail":
            yield from filter(None, [text(node.value)])


def text(node: ast.expr) -> str:
    """A sentence; '' for what is none, such as a field's name."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if " " in node.value else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values
        )
    return ""


@pytest.mark.parametrize(
    "module",
    [
        area, datum, point, bulk, catalog, importing, members, order_rows, orders, pictures, qr,
        reading, tabular,
    ],
    ids=lambda module: module.__name__,
)  # fmt: skip
def test_every_reason_to_refuse_has_chinese_words(module: ModuleType) -> None:
    said = set(sentences(module)) - ELSEWHERE
    if module is qr:
        said |= {reason for _pattern, _word, reason in qr._STRANGERS}
    without = {sentence for sentence in said if reason_words.chinese(sentence) is None}
    assert without == set()


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("'SH001' is in row 3 already", "「SH001」 在第 3 行已经出现过"),
        ("the longitude is not a number: 'x'", "经度不是数字：「x」"),
        ("latitude 91.0 is not between -90 and 90 degrees", "纬度 91.0 不在 -90 到 90 度之间"),
        (
            "the position lies in 苏州市, but '上海市' is stated; read as GCJ-02 and not as WGS-84 "
            "it would lie there",
            "位置在苏州市，填写的却是 「上海市」；如果按 GCJ-02 而不是 WGS-84 读，就对得上",
        ),
        (
            "this is a payment code (收款码); upload the group's QR code",
            "这是收款码，请上传群的二维码",
        ),
        ("this code is up at SH001", "这个群码已经在用：SH001"),
    ],
)
def test_a_reason_is_worded_with_what_was_found(english: str, chinese: str) -> None:
    assert reason_words.worded("zh", english) == chinese
    assert reason_words.worded("en", english) == english


def test_what_has_no_words_stays_as_it_is() -> None:
    assert reason_words.worded("zh", "something new is wrong") == "something new is wrong"
