"""Codes in bulk: a ZIP of pictures named by store, what became of each, and imports that go on."""

import io
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from service import db, imports, pictures, qr
from service.settings import Settings
from tests import conftest, running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

PHOTO = (Path(__file__).parents[2] / "fixtures" / "group-photo.jpg").read_bytes()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def sent(client: httpx.Client, data: bytes, **params: Any) -> httpx.Response:
    files = {"file": ("codes.zip", data)}
    return client.post("/api/v1/codes/import", files=files, params=params)


def ended(client: httpx.Client, started: httpx.Response) -> dict[str, Any]:
    """The import when it has ended."""
    assert started.status_code == 202, started.text
    where = started.headers["location"]
    until = time.monotonic() + 60
    while (found := running.answered(client.get(where)))["state"] == "running":
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return found


def drawn(token: str) -> bytes:
    return qr.png(running.payload(token))


# ---------------------------------------------------------------- file by file


def test_each_file_of_a_zip_is_told_what_became_of_it(chain: Chain) -> None:
    chain.put_code("S2", "up")
    data = zipped(
        {
            "S1.png": drawn("one"),
            "S1-b.png": drawn("up"),
            "S1-c.png": qr.png("wxp://f2f0abcdef"),
            "S2.png": drawn("up"),
            "S2-b.jpg": b"hello",
            "S7.png": drawn("seven"),
            "readme.txt": b"hello",
        }
    )
    done = running.answered(sent(chain.hq, data))
    assert (done["created"], done["unchanged"], len(done["rejected"])) == (1, 1, 5)
    assert [(f["file"], f["became"], f.get("reason")) for f in done["files"]] == [
        ("S1-b.png", "rejected", "in_use"),
        ("S1-c.png", "rejected", "payment_code"),
        ("S1.png", "created", None),
        ("S2-b.jpg", "rejected", "not_a_picture"),
        ("S2.png", "unchanged", None),
        ("S7.png", "rejected", "no_store"),
        ("readme.txt", "rejected", "not_a_picture"),
    ]
    for line in done["rejected"]:
        assert line["file"] in line["detail"]
    (code,) = chain.get("/api/v1/stores/S1/codes")["codes"]
    assert qr.decode(chain.hq.get(code["picture"]).content) == running.payload("one")


def test_the_same_zip_again_changes_nothing_and_brings_nothing_back(chain: Chain) -> None:
    names = {f"S1-{number}.png": drawn(str(number)) for number in range(4)}
    assert running.answered(sent(chain.hq, zipped(names)))["created"] == 4
    codes = chain.get("/api/v1/stores/S1/codes")["codes"]
    path = f"/api/v1/codes/{codes[0]['code_id']}"
    chain.hq.patch(path, json={"status": "retired"}).raise_for_status()
    files = {"image": ("new.png", drawn("new"))}
    chain.hq.put(f"/api/v1/codes/{codes[1]['code_id']}/image", files=files).raise_for_status()
    before = chain.get("/api/v1/stores/S1/codes")["codes"]

    again = running.answered(sent(chain.hq, zipped(names)))
    assert (again["created"], again["unchanged"]) == (0, 2)
    assert [line["reason"] for line in again["rejected"]] == ["used_before", "used_before"]
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == before


def test_a_dry_run_of_many_files_tells_what_the_import_then_does(chain: Chain) -> None:
    names = {f"S1-{number:02}.png": drawn(str(number)) for number in range(62)}
    names |= {"S1-99.png": drawn("0"), "S2.png": drawn("1")}
    tried = running.answered(sent(chain.hq, zipped(names), dry_run=True))
    assert (tried["created"], tried["unchanged"], len(tried["rejected"])) == (62, 1, 1)
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []
    assert len(tried.pop("changes")) == 62
    assert running.answered(sent(chain.hq, zipped(names))) == tried


def test_a_managers_zip_reaches_their_own_stores_alone(chain: Chain) -> None:
    chain.put_store("S9", *chains.S1)
    done = running.answered(sent(chain.manager, zipped({"S1.png": drawn("1"), "S9.png": PHOTO})))
    assert [(f["file"], f["became"]) for f in done["files"]] == [
        ("S1.png", "created"),
        ("S9.png", "rejected"),
    ]
    assert chain.get("/api/v1/stores/S9/codes")["codes"] == []


# ---------------------------------------------------------------- imports that go on


def test_an_import_that_is_not_waited_for_tells_how_far_it_has_come(chain: Chain) -> None:
    names = {f"S1-{number}.png": drawn(str(number)) for number in range(70)}
    names["S2.png"] = b"hello"
    started = sent(chain.hq, zipped(names), wait=False)
    begun = started.json()
    assert (begun["state"], begun["file"], begun["dry_run"]) == ("running", "codes.zip", False)
    done = ended(chain.hq, started)
    assert done["state"] == "done"
    assert (done["total"], done["done"]) == (71, 71)
    assert (done["created"], done["unchanged"], done["rejected"]) == (70, 0, 1)
    assert len(done["report"]["files"]) == 71
    assert done["report"]["rejected"][0]["reason"] == "not_a_picture"
    assert done["ended_at"] > done["started_at"]
    assert len(chain.get("/api/v1/stores/S1/codes")["codes"]) == 70
    (listed,) = chain.get("/api/v1/imports")["imports"]
    assert listed == {name: value for name, value in done.items() if name != "report"}


def test_a_dry_run_that_is_not_waited_for_changes_nothing(chain: Chain) -> None:
    done = ended(chain.hq, sent(chain.hq, zipped({"S1.png": drawn("1")}), wait=False, dry_run=True))
    assert (done["state"], done["created"], done["dry_run"]) == ("done", 1, True)
    assert chain.get("/api/v1/stores/S1/codes")["codes"] == []


def test_a_table_need_not_be_waited_for_either(chain: Chain) -> None:
    table = f"store,payload\nS1,{running.payload('one')}\nS9,{running.payload('two')}\n".encode()
    files = {"file": ("codes.csv", table)}
    started = chain.hq.post("/api/v1/codes/import", files=files, params={"wait": False})
    done = ended(chain.hq, started)
    assert (done["created"], done["rejected"], done["total"]) == (1, 1, 2)
    assert done["report"]["rejected"][0]["row"] == 3
    assert "files" not in done["report"]


def test_a_file_that_cannot_be_used_is_refused_at_once(chain: Chain) -> None:
    for data in (b"", b"hello\xff\xfe\x00", zipped({"S1.png": PHOTO})[:-30]):
        assert sent(chain.hq, data, wait=False).status_code == 422
    assert chain.get("/api/v1/imports")["imports"] == []


def test_an_import_is_seen_by_its_chain_and_a_managers_by_the_manager(
    chain: Chain, shared: Running
) -> None:
    by_hq = sent(chain.hq, zipped({"S1.png": drawn("1")}), wait=False)
    by_manager = sent(chain.manager, zipped({"S2.png": drawn("2")}), wait=False)
    for client, started in ((chain.hq, by_hq), (chain.manager, by_manager)):
        assert ended(client, started)["created"] == 1
    assert chain.hq.get(by_manager.headers["location"]).status_code == 200
    assert chain.manager.get(by_hq.headers["location"]).status_code == 404
    mine = running.answered(chain.manager.get("/api/v1/imports"))["imports"]
    assert [one["import_id"] for one in mine] == [by_manager.json()["import_id"]]
    with chains.own(shared) as other:
        assert other.hq.get(by_hq.headers["location"]).status_code == 404


async def test_an_import_whose_worker_died_is_given_up_and_the_file_sent_again_does_the_rest(
    chain: Chain,
) -> None:
    files = {"S1.png": drawn("1"), "S1-2.png": drawn("2")}
    started = sent(chain.hq, zipped({"S1.png": files["S1.png"]}), wait=False)
    where = started.headers["location"]
    ended(chain.hq, started)
    connection = await db.connect(chain.database_url)
    try:
        dead = "UPDATE imports SET state = 'running', ended_at = NULL, seen_at = now() - {}"
        mine = f" WHERE import_id = '{started.json()['import_id']}'"
        await connection.execute(dead.format("interval '30 seconds'") + mine)
        await imports.sweep(connection)
        assert chain.get(where)["state"] == "running", "it may only be slow"
        await connection.execute(dead.format("interval '61 seconds'") + mine)
        await imports.sweep(connection)
        given_up = chain.get(where)
        assert (given_up["state"], given_up["done"], given_up["created"]) == ("failed", 1, 1)
        assert "send the file again" in given_up["detail"]
    finally:
        await connection.close()
    rest = running.answered(sent(chain.hq, zipped(files)))
    assert (rest["created"], rest["unchanged"], rest["rejected"]) == (1, 1, [])
    assert len(chain.get("/api/v1/stores/S1/codes")["codes"]) == 2


def test_a_service_that_stops_says_that_its_imports_were_cut_off(
    postgres_url: str, template: str
) -> None:
    running.run(
        conftest.execute(postgres_url, f"CREATE DATABASE cut_off_import TEMPLATE {template}")
    )
    url = conftest.with_database(postgres_url, "cut_off_import")
    settings = Settings(decoders=1, sweep_s=0.1, poll_s=0.2, database_pool=5)
    good = {f"S1-{number:02}.png": drawn(str(number)) for number in range(61)}
    out = io.BytesIO()
    Image.new("L", (4000, 3000), 200).save(out, "PNG")
    slow = {f"S2-{number:03}.png": out.getvalue() for number in range(200)}
    with running.running(url, settings) as service:
        started = sent(service.hq, zipped(good | slow), wait=False)
        assert started.status_code == 202
        key = service.keys["hq"]
    with running.served(url, settings) as base_url, chains.opened(base_url, key) as hq:
        found = running.answered(hq.get(started.headers["location"]))
        assert found["state"] == "failed"
        assert found["done"] < 261
        assert "send the file again" in found["detail"]
        rest = running.answered(sent(hq, zipped(good)))
        assert rest["created"] + found["created"] == 61
        assert rest["rejected"] == []


# ---------------------------------------------------------------- hostile ZIPs


def test_a_zip_bomb_is_refused_file_by_file_and_nothing_is_kept(chain: Chain) -> None:
    bomb = bytes(200_000_000)
    data = zipped({"S1.png": bomb, "S2.png": drawn("two")})
    del bomb
    started = time.monotonic()
    done = running.answered(sent(chain.hq, data))
    assert time.monotonic() - started < 30
    assert [(f["file"], f.get("reason")) for f in done["files"]] == [
        ("S1.png", "too_large"),
        ("S2.png", None),
    ]


def test_the_pictures_of_a_zip_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "UNPACKED_MAX_BYTES", 50_000)
    files = pictures.in_zip(io.BytesIO(zipped({f"S{n}.png": bytes(20_000) for n in range(4)})))
    assert [len(file.load()) for file in files[:2]] == [20_000, 20_000]
    for file in files[2:]:
        with pytest.raises(pictures.Refused, match="too large together"):
            file.load()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_packed_in_a_way_that_takes_memory_at_will_is_refused(
    chain: Chain, method: int
) -> None:
    done = running.answered(sent(chain.hq, zipped({"S1.png": drawn("one")}, method)))
    assert (done["created"], done["rejected"][0]["reason"]) == (0, "damaged")


def test_a_zip_of_too_many_files_is_refused_before_it_is_read(chain: Chain) -> None:
    names = {f"S1-{number}": b"" for number in range(90_000)}
    data = zipped(names, zipfile.ZIP_STORED)
    assert len(data) > 8_000_000
    answer = sent(chain.hq, data)
    assert answer.status_code == 422
    assert "at most 20,000 files" in answer.json()["detail"]


def test_a_zip_whose_end_lies_about_its_list_of_files_is_refused(chain: Chain) -> None:
    data = bytearray(zipped({"S1.png": drawn("one")}))
    at = data.rfind(b"PK\x05\x06")
    struct.pack_into("<L", data, at + 12, 0xFFFFFFF0)
    assert sent(chain.hq, bytes(data)).status_code == 422
    # Of ZIP64, with a size that no memory has.
    wide = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**62, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    struct.pack_into("<L", data, at + 12, 0xFFFFFFFF)
    assert sent(chain.hq, bytes(data[:at] + wide + locator + data[at:])).status_code == 422


def test_names_in_a_zip_lead_nowhere(chain: Chain) -> None:
    names = ("../../S1.png", "/etc/S1-2.png", "..\\S1-3.png", "S1-\u202e4.png", "con/S2.png")
    data = zipped({name: drawn(name) for name in names})
    done = running.answered(sent(chain.hq, data))
    # What begins with a dot is the operating system's.
    assert [(f["file"], f["became"]) for f in done["files"]] == [
        (name, "created") for name in sorted(names[1:2] + names[3:])
    ]
    assert len(chain.get("/api/v1/stores/S1/codes")["codes"]) == 2


def test_who_sends_a_large_file_is_known_before_it_is_taken_in(shared: Running) -> None:
    files = {"file": ("codes.zip", bytes(5_000_000))}
    for client, status in ((shared.visitor, 401), (shared.read, 403)):
        assert client.post("/api/v1/codes/import", files=files).status_code == status
