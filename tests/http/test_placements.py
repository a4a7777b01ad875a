"""Placements in bulk: a table in, a ZIP of codes to print out."""

import csv
import io
import zipfile
from typing import Any

import httpx
import openpyxl

from service import qr
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

HEADER = "投放编号,名称,渠道,门店编号,印数,成本,版本"


def imported(chain: Chain, *rows: str, header: str = HEADER, **params: Any) -> dict[str, Any]:
    return running.answered(sent(chain, "\n".join((header, *rows)).encode("gb18030"), **params))


def sent(chain: Chain, data: bytes, name: str = "placements.csv", **params: Any) -> httpx.Response:
    path = f"/api/v1/entries/{chain.entry}/placements/import"
    return chain.hq.post(path, files={"file": (name, data)}, params=params)


def placements(chain: Chain) -> dict[str, dict[str, Any]]:
    found = chain.get(f"/api/v1/entries/{chain.entry}/placements")["placements"]
    return {row["placement"]: row for row in found}


def printed(chain: Chain, **params: Any) -> dict[str, bytes]:
    """The ZIP's files by name."""
    answer = chain.read.get(f"/api/v1/entries/{chain.entry}/qr.zip", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


# ---------------------------------------------------------------- in


def test_a_table_of_placements_is_taken_row_by_row_and_a_bad_row_keeps_no_other_out(
    chain: Chain,
) -> None:
    chain.put_entry()
    rows = (
        "door-a,门口海报,poster,S1,20,360.5,A",
        "no way,坏编号,poster,,,,",
        "door-b,,poster,S9,,,",
        "sms-1,,短信,,80000,3200,",
        "no-channel,没渠道,,,,,",
        "door-a,又一个,poster,,,,",
        "minus,负数,poster,,-1,,",
        "dear,太贵,poster,,1,一百,",
    )
    dry = imported(chain, *rows, dry_run=True)
    assert placements(chain) == {}
    done = imported(chain, *rows)
    assert len(dry.pop("changes")) == 2
    assert dry == done
    assert (done["created"], done["updated"], done["unchanged"]) == (2, 0, 0)
    assert [(each["row"], each["field"]) for each in done["rejected"]] == [
        (3, "placement"), (4, "store"), (6, "channel"), (7, "placement"), (8, "printed"),
        (9, "cost"),
    ]  # fmt: skip
    (logged,) = chain.get("/api/v1/audit", action="placement.import")["audit"]
    assert logged["after"]["placements"] == ["door-a", "sms-1"]
    there = placements(chain)
    door = {name: there["door-a"][name] for name in ("channel", "store", "printed", "variant")}
    assert door == {"channel": "poster", "store": "S1", "printed": 20, "variant": "A"}
    assert there["door-a"]["cost"] == 360.5
    assert (there["sms-1"]["name"], there["sms-1"]["channel"]) == ("sms-1", "短信")


def test_a_table_sent_again_changes_what_differs_and_keeps_what_it_leaves_out(
    chain: Chain,
) -> None:
    chain.put_entry()
    imported(chain, "a,甲,poster,S1,10,1,A", "b,乙,poster,,,,", "c,丙,poster,,,,")
    again = imported(chain, "a,,,,20,,", "b,乙,poster,,,,", header=HEADER)
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 1, 1)
    changed = placements(chain)["a"]
    kept = ("甲", "poster", "S1", 20, 1.0, "A")
    fields = ("name", "channel", "store", "printed", "cost", "variant")
    assert tuple(changed[field] for field in fields) == kept


def test_a_workbook_with_english_headings_is_taken_as_well(chain: Chain) -> None:
    chain.put_entry()
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Placement", "Name", "Channel", "Sent", "Cost", "Variant"])
    sheet.append(["ad-1", "Map ad", "online_ad", 1000, 12.345, "B"])
    file = io.BytesIO()
    book.save(file)
    assert running.answered(sent(chain, file.getvalue(), "ads.xlsx"))["created"] == 1
    found = placements(chain)["ad-1"]
    assert (found["printed"], found["cost"], found["variant"]) == (1000, 12.35, "B")


def test_no_table_no_entry_and_another_chains_entry_are_told_apart(
    chain: Chain, shared: Running
) -> None:
    assert sent(chain, b"placement,channel\na,poster").status_code == 404
    chain.put_entry()
    nothing = sent(chain, b"name,channel\na,poster")
    assert nothing.status_code == 422
    assert nothing.json()["errors"][0]["field"] == "placement"
    assert sent(chain, b"").status_code == 422
    with chains.own(shared) as other:
        path = f"/api/v1/entries/{chain.entry}/placements/import"
        theirs = other.hq.post(path, files={"file": ("a.csv", b"placement,channel\na,b")})
        assert theirs.status_code == 404
        assert other.hq.get(f"/api/v1/entries/{chain.entry}/qr.zip").status_code == 404
    assert placements(chain) == {}


# ---------------------------------------------------------------- out


def test_the_zip_holds_a_code_for_each_placement_named_by_it_and_a_table_of_them(
    chain: Chain,
) -> None:
    chain.put_entry()
    imported(chain, "door-1,陆家嘴海报,poster,S1,20,,A", 'formula,"=1+1",poster,,,,')
    imported(chain, "sms-1,短信,sms,,,,")
    files = printed(chain, format="png", size=300)
    assert files.keys() == {"door-1.png", "formula.png", "sms-1.png", "placements.csv"}
    for placement in ("door-1", "formula", "sms-1"):
        url = placements(chain)[placement]["url"]
        assert url.endswith(f"/q/{chain.entry}?p={placement}")
        assert qr.decode(files[f"{placement}.png"]) == url
    table = files["placements.csv"].decode("utf-8-sig")
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(table))}
    assert rows["door-1.png"]["name"] == "陆家嘴海报"
    assert rows["door-1.png"]["url"] == placements(chain)["door-1"]["url"]
    assert rows["formula.png"]["name"].startswith("'=")


def test_the_zip_can_be_of_one_channel_and_of_each_format(chain: Chain) -> None:
    chain.put_entry()
    imported(chain, "door-1,海报,poster,S1,20,,A", "sms-1,短信,sms,,,,")
    for form, start in (("svg", b"<svg "), ("pdf", b"%PDF-")):
        files = printed(chain, format=form, channel="sms")
        assert files.keys() == {f"sms-1.{form}", "placements.csv"}
        assert files[f"sms-1.{form}"].startswith(start)
    path = f"/api/v1/entries/{chain.entry}/qr.zip"
    for query, status in (
        ("channel=radio", 404),
        ("format=gif", 422),
        ("format=png&size=100", 200),
        ("format=png&size=5", 422),
    ):
        assert chain.read.get(f"{path}?{query}").status_code == status, query


def test_files_keep_apart_where_capitals_do_not_count_and_are_names_on_every_system(
    chain: Chain,
) -> None:
    chain.put_entry()
    names = ("A-1", "a-1", "con", "NUL.x", "end.", "end")
    imported(chain, *(f"{name},名,poster,,,," for name in names))
    files = printed(chain)
    assert len({name.casefold() for name in files}) == len(names) + 1
    stems = [name.removesuffix(".svg").casefold() for name in files]
    for stem in stems:
        assert stem.split(".")[0] not in {"con", "nul"}
        assert not stem.endswith(".")


def test_hundreds_of_codes_are_sent_as_they_are_drawn(chain: Chain) -> None:
    chain.put_entry()
    imported(chain, *(f"p-{number},第{number}张,poster,,,," for number in range(300)))
    path = f"/api/v1/entries/{chain.entry}/qr.zip"
    with chain.hq.stream("GET", path, headers={"Accept-Encoding": "identity"}) as answer:
        parts = [len(part) for part in answer.iter_raw()]
    assert "content-length" not in answer.headers
    assert len(parts) > 3
    assert max(parts) < sum(parts) / 2
