"""What people send as a spreadsheet, and what is read of it."""

import io
import json
import zipfile
from datetime import datetime

import openpyxl
import pytest

from service import tabular

HEADER = ("门店编号", "门店名称", "经度")
FIRST = ("0012", "近码茶社·一店", "121.47")
SECOND = ("SH002", "近码茶社·二店", "121.48")


def csv_text(delimiter: str = ",", line_end: str = "\n") -> str:
    return line_end.join(delimiter.join(row) for row in (HEADER, FIRST, SECOND)) + line_end


def xlsx(*rows: tuple[object, ...]) -> bytes:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in rows:
        sheet.append(row)
    return saved(workbook)


def saved(workbook: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def repacked(data: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """The XLSX with `old` replaced in one of its parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == part:
                assert old in content
                content = content.replace(old, new)
            target.writestr(name, content)
    return out.getvalue()


def feature(**properties: object) -> dict[str, object]:
    geometry = {"type": "Point", "coordinates": [121.47, 31.23]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def geojson(*features: object) -> bytes:
    document = {"type": "FeatureCollection", "features": list(features)}
    return json.dumps(document, ensure_ascii=False).encode()


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_csv_is_read_in_any_usual_encoding_and_delimiter(
    encoding: str, delimiter: str, line_end: str
) -> None:
    table = tabular.read(csv_text(delimiter, line_end).encode(encoding))
    assert table.columns == HEADER
    assert [(row.number, tuple(row.values.values())) for row in table] == [(2, FIRST), (3, SECOND)]


def test_what_a_file_is_is_told_by_its_content_and_not_by_its_name() -> None:
    assert len(tabular.read(csv_text().encode(), "stores.xlsx")) == 2
    assert len(tabular.read(xlsx(HEADER, FIRST), "stores.csv")) == 1
    assert len(tabular.read(geojson(feature(store="SH001")), "stores.txt")) == 1


def test_rows_have_the_numbers_that_the_spreadsheet_shows() -> None:
    text = '\nstore,name\nSH001,"two\nlines"\n\n , \nSH002,"a ""good"", long name"\n'
    table = tabular.read(text.encode())
    assert [(row.number, row.values["name"]) for row in table] == [
        (3, "two\nlines"),
        (6, 'a "good", long name'),
    ]


def test_excels_own_delimiter_line_is_no_row() -> None:
    table = tabular.read(b"sep=;\r\nstore;name\r\nSH001;a,b\r\n")
    assert [(row.number, row.values) for row in table] == [(2, {"store": "SH001", "name": "a,b"})]


def test_a_comma_inside_quotes_does_not_decide_the_delimiter() -> None:
    table = tabular.read(b'"store, number, of, ours";name\nSH001;x\n')
    assert table.columns == ("store, number, of, ours", "name")


def test_cells_beyond_the_header_are_told_and_missing_ones_are_empty() -> None:
    table = tabular.read(b"store,name\nSH001,No. 1, Nanjing Road\nSH002\nSH003,x,,\n")
    assert [row.surplus for row in table] == [1, 0, 0]
    assert table.rows[1].values == {"store": "SH002", "name": None}


def test_a_column_without_a_heading_is_left_out() -> None:
    table = tabular.read(b"store,,name\nSH001,note,x\n")
    assert [(row.values, row.surplus) for row in table] == [({"store": "SH001", "name": "x"}, 0)]


def test_numbers_of_a_spreadsheet_stay_as_a_person_sees_them() -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(("whole", "float", "padded", "decimal", "date", "broken", "flag"))
    sheet.append((1001, 1001.0, 12, 121.4737, datetime(2026, 1, 31, 18, 0), "#N/A", True))
    sheet["C2"].number_format = "0000"
    [row] = tabular.read(saved(workbook))
    assert row.values == {
        "whole": 1001,
        "float": 1001,
        "padded": "0012",
        "decimal": 121.4737,
        "date": datetime(2026, 1, 31, 18, 0),
        "broken": None,
        "flag": True,
    }
    assert str(row.values["float"]) == "1001"


def test_empty_rows_of_a_spreadsheet_are_skipped_and_counted() -> None:
    table = tabular.read(xlsx((), ("store", "name"), (), ("SH001", " x "), (None, ""), ("SH002",)))
    assert [(row.number, row.values) for row in table] == [
        (4, {"store": "SH001", "name": "x"}),
        (6, {"store": "SH002", "name": None}),
    ]


def test_the_first_visible_sheet_with_content_is_read() -> None:
    workbook = openpyxl.Workbook()
    hidden = workbook.create_sheet("hidden", 0)
    hidden.append(("store", "hidden"))
    hidden.sheet_state = "hidden"
    workbook.create_sheet("stores").append(("store", "name"))
    assert tabular.read(saved(workbook)).columns == ("store", "name")


def test_a_sheet_that_declares_a_wrong_size_loses_no_rows() -> None:
    data = xlsx(("store", "name"), ("SH001", "x"), ("SH002", "y"))
    lying = repacked(data, "xl/worksheets/sheet1.xml", b'ref="A1:B3"', b'ref="A1:A1"')
    assert [row.values["name"] for row in tabular.read(lying)] == ["x", "y"]


def test_geojson_points_become_rows_with_lon_and_lat() -> None:
    no_point = {"type": "Feature", "properties": {"store": "SH002"}, "geometry": None}
    table = tabular.read(geojson(feature(store="SH001", tags=["a", "b"]), no_point))
    assert table.columns == ("store", "tags", "lon", "lat")
    assert [(row.number, row.values) for row in table] == [
        (1, {"store": "SH001", "tags": ["a", "b"], "lon": 121.47, "lat": 31.23}),
        (2, {"store": "SH002", "lon": None, "lat": None}),
    ]


def plain_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b" \r\n\r\n", "empty"),
        (b",,\n,,\n", "empty"),
        (b"\x00" * 100, "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "file (stores.csv) is not CSV, XLSX or"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\x00\x01\x02", "(stores.csv) is not CSV"),
        (b"store,name\nSH001,\xff\xff\xff\n", "(stores.csv) is not CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 512, "save it as XLSX or CSV"),
        (plain_zip(), "no XLSX spreadsheet"),
        (xlsx(HEADER, FIRST)[:400], "damaged or cut off"),
        (xlsx(), "empty"),
        (b"SH001,121.47,31.23\nSH002,121.48,31.24\n", "add a header row"),
        (xlsx(("SH001", 121.47)), "add a header row"),
        (b"store,name,name\nSH001,x,y\n", "'name' twice"),
        (b'store,name\nSH001,x\nSH002,"y\nSH003,z\n', "row 3: its quote marks"),
        (b'{"type": "FeatureCollection", ', "not valid JSON"),
        (b'{"type": "Feature", "geometry": null}', "FeatureCollection of Points"),
        (b"[" * 100_000, "not valid JSON"),
        (geojson(), "no features"),
        (geojson(1), "feature 1 is not"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(tabular.UnreadableTable) as caught:
        tabular.read(data, "stores.csv")
    assert reason in str(caught.value)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "UNPACKED_MAX_BYTES", 1_000_000)
    out = io.BytesIO(xlsx(HEADER, FIRST))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/zeros", b"\x00" * 2_000_000)
    assert len(out.getvalue()) < 20_000
    with pytest.raises(tabular.UnreadableTable, match="unpacks to more than"):
        tabular.read(out.getvalue())


def test_an_entity_bomb_in_a_sheet_is_refused() -> None:
    nested = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    doctype = f'<!DOCTYPE worksheet [<!ENTITY e0 "lol">{nested}]>'
    data = xlsx(("store", "name"), (12345, "x"))
    part = "xl/worksheets/sheet1.xml"
    bomb = repacked(data, part, b"<worksheet", doctype.encode() + b"<worksheet")
    bomb = repacked(bomb, part, b"<v>12345</v>", b"<v>&e9;</v>")
    with pytest.raises(tabular.UnreadableTable, match="damaged"):
        tabular.read(bomb)


@pytest.mark.parametrize("data", [csv_text().encode(), xlsx(HEADER, FIRST, SECOND)])
def test_more_rows_than_allowed_are_refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "ROWS_MAX", 1)
    with pytest.raises(tabular.UnreadableTable, match="more than 1 rows"):
        tabular.read(data)


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "FILE_MAX_BYTES", 10)
    with pytest.raises(tabular.UnreadableTable, match="more than 10 bytes"):
        tabular.read(csv_text().encode())
