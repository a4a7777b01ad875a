"""Tables as files that spreadsheets open: CSV and XLSX.

A CSV begins with a byte order mark, so that Excel reads Chinese, and no cell of it can start a
formula. In an XLSX every text is kept as text, which is no formula either.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

Cell = object
"""str, int, float, bool, Decimal, date, datetime or None."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MOST_CHARACTERS = 32_767  # of one cell, by Excel's own limit
_WIDEST = 48


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _plain(cell: Cell) -> Cell:
    """A text that a spreadsheet would take for a formula is quoted (OWASP, CSV injection)."""
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return "'" + cell
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="seconds")
    return cell


def as_xlsx(title: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """One sheet, its header kept in view. Times lose their offset, which XLSX has no place for:
    give them in the zone that is meant. Slow: not for the event loop."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(_sheet_name(title))
    sheet.freeze_panes = "A2"
    for column, name in enumerate(header, 1):
        width = sum(2 if ord(letter) > 0x2E80 else 1 for letter in name) + 4
        sheet.column_dimensions[get_column_letter(column)].width = min(max(width, 12), _WIDEST)
    cells = []
    for name in header:
        cell = WriteOnlyCell(sheet, value=name)
        cell.data_type, cell.font = "s", Font(bold=True)
        cells.append(cell)
    sheet.append(cells)
    for row in rows:
        sheet.append([_typed(sheet, cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _typed(sheet: object, value: Cell) -> object:
    if isinstance(value, str):
        cell = WriteOnlyCell(sheet, value=ILLEGAL_CHARACTERS_RE.sub("", value)[:_MOST_CHARACTERS])
        cell.data_type = "s"
        return cell
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if value is None or isinstance(value, bool | int | float | Decimal | date):
        return value
    return _typed(sheet, str(value))


def _sheet_name(title: str) -> str:
    return "".join(letter for letter in title if letter not in "[]:*?/\\'")[:31] or "1"
