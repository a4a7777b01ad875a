"""Spreadsheets as rows: CSV, XLSX or GeoJSON bytes in, one shape of table out.

What a file is is told by its content; its name only makes a refusal clearer. What the columns
mean is `importing`'s business.
"""

import csv
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple, Protocol

import openpyxl

FILE_MAX_BYTES = 50_000_000
UNPACKED_MAX_BYTES = 300_000_000
"""Of an XLSX file, all parts together: 30,000 stores take about 25 MB."""
ROWS_MAX = 200_000
COLUMNS_MAX = 500

Value = object
"""str, int, float, bool, datetime, or None for an empty cell; in GeoJSON also list and dict."""


class UnreadableTable(ValueError):
    """A file that is no table; the message says what to do instead."""


class Row(NamedTuple):
    """One row that has anything in it."""

    number: int  # as the spreadsheet shows it: the header is row 1; in GeoJSON the feature's place
    values: Mapping[str, Value]  # by header; empty cells are None
    surplus: int = 0  # cells with content to the right of the header's last: columns have shifted


@dataclass(frozen=True, slots=True)
class Table:
    """A header and its rows, in the file's order; columns without a heading are left out."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def one(values: Mapping[str, Value]) -> Table:
    """A table of a single row, by header."""
    return Table(tuple(values), (Row(1, values),))


def read(data: bytes, filename: str | None = None) -> Table:
    """The table in a CSV (UTF-8, UTF-16, GB18030), XLSX or GeoJSON (Points) file.

    A CSV's values are text as typed, trimmed. An XLSX gives its first sheet that has content:
    numbers without a fraction are int, numbers shown with leading zeros are text as shown, dates
    are naive datetimes. GeoJSON gives properties and `lon`, `lat`.
    Raises UnreadableTable.
    """
    if len(data) > FILE_MAX_BYTES:
        raise UnreadableTable(f"the file has more than {FILE_MAX_BYTES:,} bytes")
    if not data.strip(b"\x00\t\n\r ") or data in _BYTE_ORDER_MARKS:
        raise UnreadableTable("the file is empty")
    if data.startswith(b"PK\x03\x04"):
        return _from_grid(_xlsx_grid(data))
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableTable(
            "this is an old or password-protected Excel file (XLS); "
            "save it as XLSX or CSV without a password"
        )
    text = _text(data, filename)
    if text.lstrip().startswith(("{", "[")):
        return _geojson(text)
    return _from_grid(_csv_grid(text))


# ---------------------------------------------------------------- text

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def _text(data: bytes, filename: str | None) -> str:
    # GB18030 last: it can read nearly anything, while UTF-8 fails on what is not UTF-8.
    encodings = ["utf-8-sig", "gb18030"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]  # Excel's "Unicode text"
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text
    named = f" ({filename})" if filename else ""
    raise UnreadableTable(f"this file{named} is not CSV, XLSX or GeoJSON")


def _csv_grid(text: str) -> Iterator[tuple[int, list[Value]]]:
    """(row number, cells) of every record that has content. Blank lines count as rows."""
    first_line, _, rest = text.partition("\n")
    declared = re.fullmatch(r"sep=(.)\s*", first_line, re.IGNORECASE)
    delimiter = declared.group(1) if declared else _delimiter(text)
    # Excel does not show its own "sep=" line.
    source = io.StringIO(rest if declared else text, newline="")
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, record in enumerate(reader, start=1):
            cells: list[Value] = [cell.strip() or None for cell in record]
            if any(cell is not None for cell in cells):
                yield number, cells
    except csv.Error:
        # Read on in spite of it, one stray quote would swallow every row up to the next.
        raise UnreadableTable(f'row {number + 1}: its quote marks (") do not match') from None


def _delimiter(text: str) -> str:
    """Comma, tab or semicolon: the one that splits the first line with content most often."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(",\t;", key=unquoted.count)


# ---------------------------------------------------------------- XLSX


def _xlsx_grid(data: bytes) -> Iterator[tuple[int, list[Value]]]:
    """(row number, cells) of every row with content of the first visible sheet that has any."""
    _check_archive(data)
    try:
        with warnings.catch_warnings():
            # openpyxl warns of styles and extensions that it drops; values are all we take.
            warnings.simplefilter("ignore")
            workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            for sheet in workbook.worksheets:
                if sheet.sheet_state != "visible":
                    continue
                rows = list(_sheet_rows(sheet))
                if rows:
                    return iter(rows)
            return iter(())
    except UnreadableTable:
        raise
    except Exception:  # a damaged workbook makes openpyxl raise nearly anything
        raise UnreadableTable("the XLSX file is damaged; save it again") from None


def _check_archive(data: bytes) -> None:
    """Refuses zip bombs by the sizes the archive declares: `zipfile` never unpacks more."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        raise UnreadableTable("the XLSX file is damaged or cut off; save it again") from None
    if sum(part.file_size for part in parts) > UNPACKED_MAX_BYTES or len(parts) > 5_000:
        raise UnreadableTable(f"the XLSX file unpacks to more than {UNPACKED_MAX_BYTES:,} bytes")
    if "xl/workbook.xml" not in {part.filename for part in parts}:
        raise UnreadableTable("this is a ZIP file, but no XLSX spreadsheet")


class _Cell(Protocol):
    """What is used of openpyxl's read-only cells."""

    value: object
    number_format: str
    data_type: str


class _Sheet(Protocol):
    """What is used of openpyxl's read-only sheets."""

    sheet_state: str

    def reset_dimensions(self) -> None: ...

    def iter_rows(self) -> Iterable[Iterable[_Cell]]: ...


def _sheet_rows(sheet: _Sheet) -> Iterator[tuple[int, list[Value]]]:
    # A sheet declares its own size, and often a wrong one: too small loses rows, and a million
    # formatted but empty columns would all be made.
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_cell_value(cell) for cell in row]
        if any(cell is not None for cell in cells):
            yield number, cells


def _cell_value(cell: _Cell) -> Value:
    value = cell.value
    if value is None or cell.data_type == "e":  # #N/A and its kin say nothing
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int):
        # Store numbers like 0012 are often the number 12 in the format "0000".
        zeros = re.fullmatch(r"0{2,20}", cell.number_format)
        return str(value).zfill(len(cell.number_format)) if zeros and value >= 0 else value
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    if isinstance(value, time | timedelta):
        return str(value)
    return value


# ---------------------------------------------------------------- rows of cells


def _from_grid(grid: Iterator[tuple[int, list[Value]]]) -> Table:
    """The first row with content is the header."""
    header_number, header = next(grid, (0, []))
    if not header_number:
        raise UnreadableTable("the file is empty")
    _check_header(header_number, header)
    named = [(place, str(cell)) for place, cell in enumerate(header) if cell is not None]
    width = named[-1][0] + 1
    rows: list[Row] = []
    for number, cells in grid:
        values = {name: cells[place] if place < len(cells) else None for place, name in named}
        surplus = sum(cell is not None for cell in cells[width:])
        rows.append(Row(number, values, surplus))
        _check_count(len(rows))
    return Table(tuple(name for _, name in named), tuple(rows))


def _check_header(number: int, header: list[Value]) -> None:
    names = [cell for cell in header if cell is not None]
    if len(names) > COLUMNS_MAX:
        raise UnreadableTable(f"the table has more than {COLUMNS_MAX} columns")
    for name in names:
        if not isinstance(name, str) or re.fullmatch(r"[-+]?[\d.,]+%?|https?://.*", name):
            raise UnreadableTable(
                f"row {number} should name the columns, but holds {str(name)[:40]!r}: "
                "add a header row"
            )
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise UnreadableTable(f"row {number} names the column {min(map(str, doubled))!r} twice")


def _check_count(rows: int) -> None:
    if rows > ROWS_MAX:
        raise UnreadableTable(f"the table has more than {ROWS_MAX:,} rows; import it in parts")


# ---------------------------------------------------------------- GeoJSON


def _geojson(text: str) -> Table:
    """Properties and geometry of each feature; without a Point, `lon` and `lat` are None."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableTable("the file begins like GeoJSON, but is not valid JSON") from None
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or document.get("type") != "FeatureCollection":
        raise UnreadableTable("JSON files must be a GeoJSON FeatureCollection of Points")
    if not features:
        raise UnreadableTable("the GeoJSON file has no features")
    _check_count(len(features))
    rows = [_feature(number, feature) for number, feature in enumerate(features, start=1)]
    columns = dict.fromkeys(name for row in rows for name in row.values)
    return Table(tuple(columns), tuple(rows))


def _feature(number: int, feature: object) -> Row:
    if not isinstance(feature, dict):
        raise UnreadableTable(f"feature {number} is not a GeoJSON Feature")
    properties = feature.get("properties")
    values: dict[str, Value] = dict(properties) if isinstance(properties, dict) else {}
    values["lon"], values["lat"] = _position(feature.get("geometry"))
    return Row(number, values)


def _position(geometry: object) -> tuple[Value, Value]:
    if isinstance(geometry, dict) and geometry.get("type") == "Point":
        position = geometry.get("coordinates")
        if isinstance(position, list) and len(position) >= 2:
            return position[0], position[1]
    return None, None
