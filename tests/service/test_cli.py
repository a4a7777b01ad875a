"""The nearcode command: what each subcommand does, told by its output, its exit code and its work.

Those that end by themselves run in this process, since a new one takes seconds to start; what is
about processes (ports, signals, the embedded database) runs as users run it.
"""

import base64
import contextlib
import csv
import getpass
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import pypdfium2
import pytest
import zxingcpp
from PIL import Image, ImageDraw

from service import accounts, catalog, cli, db, demo, importing, logs, qr, tabular
from service.settings import Settings
from tests import conftest, receiver, running

FIXTURES = Path(__file__).parents[2] / "fixtures"
COMMAND = Path(sys.executable).with_name("nearcode")
CHAIN, ENTRY = ("--chain", "nearcode-tea"), ("--entry", "tea")
HERE = ("121.4737", "31.2304")


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str


class Nearcode(Protocol):
    def __call__(self, *arguments: object) -> Done: ...


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str, template: str) -> str:
    """The sample chain, whose only entry is `tea`; and one with a single store,
    `coffee`. A test that counts what it makes makes a chain of its own."""
    create = f"CREATE DATABASE test_cli TEMPLATE {template}"
    running.run(conftest.execute(postgres_url, create))
    url = conftest.with_database(postgres_url, "test_cli")
    running.run(_load(url))
    return url


async def _load(url: str) -> None:
    connection = await db.connect(url)
    try:
        await demo.load(connection, CHEAP)
        coffee = await accounts.create_chain(connection, "coffee", "咖啡")
        store = importing.stores(
            tabular.one({"store": "SH001", "name": "一店", "lon": 121.5, "lat": 31.2})
        )
        await catalog.put_stores(connection, coffee, store.rows)
    finally:
        await connection.close()


@pytest.fixture
def nearcode(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Nearcode:
    """Runs a subcommand against the module's database."""
    monkeypatch.setenv("NEARCODE_DATABASE_URL", module_database_url)
    # Logs are set up once a process; this one is pytest's.
    monkeypatch.setattr(logs, "configure", lambda settings: None)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["nearcode", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return Done(0 if code is None else int(code), out, err)

    return run


def well(done: Done) -> str:
    """The output of a command that has gone well."""
    assert done.code == 0, done.err + done.out
    return done.out


def badly(done: Done) -> str:
    """What a command that has failed says: a line or two, and no traceback."""
    assert done.code != 0
    assert "Traceback" not in done.err
    assert done.err
    return done.err


def test_a_new_installation_is_told_step_by_step_what_to_do_next(
    nearcode: Nearcode, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.run(conftest.execute(postgres_url, "CREATE DATABASE test_cli_new"))
    url = conftest.with_database(postgres_url, "test_cli_new")
    monkeypatch.setenv("NEARCODE_DATABASE_URL", url)
    assert "The database is empty: run `nearcode migrate`" in badly(nearcode("key", "list"))
    assert "nearcode migrate" in badly(nearcode("serve", "--port", free_port()))
    out = nearcode("doctor")
    assert out.code == 1
    assert re.search(r"failed\s+schema: .*nearcode migrate", out.out)
    assert "0001_initial.sql" in well(nearcode("migrate"))
    assert "current" in well(nearcode("migrate"))
    assert "there is no chain yet" in badly(nearcode("key", "list"))
    well(nearcode("chain", "create", "mint", "--name", "薄荷", "--timezone", "Asia/Tokyo"))
    well(nearcode("key", "list"))
    how = "nearcode entry create ENTRY --name NAME"
    assert how in badly(nearcode("route", *HERE))
    assert how in badly(nearcode("poster", "mint"))
    assert how in badly(
        nearcode("placement", "create", "mint", "p-1", "--name", "海报", "--channel", "poster")
    )
    well(nearcode("entry", "create", "mint", "--name", "活码"))
    assert "Outcome: unserved, no_store" in well(nearcode("route", *HERE))


def test_a_chain_is_named_if_there_are_several(nearcode: Nearcode) -> None:
    badly(nearcode("chain", "create", "Not A Name"))
    badly(nearcode("chain", "create", "moon", "--timezone", "Moon/Crater"))
    said = badly(nearcode("key", "list"))
    assert "coffee" in said
    assert "tea" in said
    assert "咖啡" in well(nearcode("chain", "list"))


def test_a_chain_is_given_another_currency_and_time_zone(nearcode: Nearcode) -> None:
    well(nearcode("chain", "create", "plum"))
    named = ("--currency", "HKD", "--timezone", "Asia/Hong_Kong")
    assert "plum, Asia/Hong_Kong, HKD" in well(nearcode("chain", "set", "--chain", "plum", *named))
    for wrong in (("--currency", "XYZ"), ("--timezone", "Moon/Crater"), ("--name", " ")):
        badly(nearcode("chain", "set", "--chain", "plum", *wrong))


def test_stores_and_codes_come_from_tables_after_a_dry_run(nearcode: Nearcode) -> None:
    well(nearcode("chain", "create", "milk"))
    for kind, file, rows in (("stores", "stores.csv", 201), ("codes", "codes.csv", 384)):
        command = ("import", kind, FIXTURES / file, "--chain", "milk")
        created = f"created {rows}, updated 0, unchanged 0, rejected 0"
        tried = well(nearcode(*command, "--dry-run"))
        assert "Nothing was changed" in tried
        assert created in tried
        assert created in well(nearcode(*command))
        again = well(nearcode(*command))
        assert f"created 0, updated 0, unchanged {rows}, rejected 0" in again


def test_rejected_rows_are_told_with_their_reasons(nearcode: Nearcode, tmp_path: Path) -> None:
    file = tmp_path / "stores.csv"
    file.write_text(
        "store,name,lon,lat\n[bold],a,121.5,31.2\n[bold],b,121.5,31.2\nX,c,31.2,121.5\n[/red],d,1,2\n",
        encoding="utf-8",
    )
    said = well(nearcode("import", "stores", file, "--chain", "coffee", "--dry-run"))
    assert "created 1, updated 0, unchanged 0, rejected 3" in said
    # What looks like rich's markup is printed as it stands.
    assert re.search(r"3\s+store\s+'\[bold\]' is in row 2 already", said)
    assert re.search(r"5\s+store\s+.*'\[/red\]'", said)
    assert re.search(r"4\s+lat\s+longitude and latitude are swapped", said)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "empty"), ("a,b\n1,2\n", "no column"), ('store,"name\n', "quote marks")],
)
def test_a_file_that_is_no_table_is_told_why(
    nearcode: Nearcode, tmp_path: Path, content: str, reason: str
) -> None:
    file = tmp_path / "stores.csv"
    file.write_text(content, encoding="utf-8")
    assert reason in badly(nearcode("import", "stores", file, *CHAIN))
    badly(nearcode("import", "stores", tmp_path / "nothing.csv", *CHAIN))
    badly(nearcode("import", "stores", file, "--chain", "nobody"))
    badly(nearcode("import", "stores", file, *CHAIN, "--datum", "mars"))


def test_codes_come_from_a_folder_and_a_zip(nearcode: Nearcode, tmp_path: Path) -> None:
    def imported(source: Path) -> str:
        return well(nearcode("import", "codes", source, *CHAIN))

    folder = tmp_path / "codes"
    folder.mkdir()
    (folder / "SH001.png").write_bytes(qr.png(running.payload("one")))
    (folder / "SH001-2.jpg").write_bytes((FIXTURES / "group-photo.jpg").read_bytes())
    (folder / "XX999.png").write_bytes(qr.png(running.payload("two")))
    (folder / "SH002.png").write_bytes(b"no picture")
    tried = well(nearcode("import", "codes", folder, *CHAIN, "--dry-run"))
    assert "created 2, updated 0, unchanged 0, rejected 2" in tried
    said = imported(folder)
    assert "created 2, updated 0, unchanged 0, rejected 2" in said
    assert "XX999.png: there is no store XX999" in said
    assert "SH002.png: this is not a JPEG" in said
    told = tmp_path / "told.csv"
    again = nearcode("import", "codes", folder, *CHAIN, "--report", told)
    assert "created 0, updated 0, unchanged 2, rejected 2" in well(again)
    with told.open(encoding="utf-8-sig", newline="") as lines:
        became = {row["file"]: (row["became"], row["reason"]) for row in csv.DictReader(lines)}
    assert became == {
        "SH001.png": ("unchanged", ""),
        "SH001-2.jpg": ("unchanged", ""),
        "SH002.png": ("rejected", "not_a_picture"),
        "XX999.png": ("rejected", "no_store"),
    }
    packed = tmp_path / "codes.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
        archive.writestr("SH003.png", qr.png(running.payload("three")))
    assert "created 1, updated 0, unchanged 2, rejected 2" in imported(packed)
    packed.write_bytes(packed.read_bytes()[:-30])
    badly(nearcode("import", "codes", packed, *CHAIN))


def test_keys_are_made_listed_and_revoked(nearcode: Nearcode) -> None:
    made = nearcode("key", "create", "--role", "manager", "--store", "SH001", "--store", "SH002",
                    *CHAIN, "--name", "店长")  # fmt: skip
    key = well(made).strip()
    assert re.fullmatch(r"nck_[\w-]{43}", key), "the key alone is on stdout"
    listed = well(nearcode("key", "list", *CHAIN))
    assert key not in listed
    assert "SH001, SH002" in listed
    key_id = re.search(r"Key ([0-9a-f-]{36})", made.err)
    assert key_id is not None
    badly(nearcode("key", "revoke", key_id[1], "--chain", "coffee"))
    well(nearcode("key", "revoke", key_id[1], *CHAIN))
    (row,) = [line for line in well(nearcode("key", "list", *CHAIN)).splitlines()
              if key_id[1] in line]  # fmt: skip
    assert len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", row)) == 2, "created and revoked"
    badly(nearcode("key", "create", "--role", "manager", *CHAIN))
    badly(nearcode("key", "create", "--role", "king", *CHAIN))
    for role in ("hq", "read"):
        well(nearcode("key", "create", "--role", role, *CHAIN))


def path_of(link: str) -> str:
    return urlsplit(link).path


def test_colleagues_are_made_listed_reset_and_shown_out(
    nearcode: Nearcode, module_database_url: str
) -> None:
    made = nearcode("person", "create", "--role", "hq", "--name", "李敏", *CHAIN,
                    "--email", "Li.Min@example.com")  # fmt: skip
    first = well(made).strip()
    assert re.fullmatch(r"http://localhost:8000/hq/password/[\w-]{43}", first)
    badly(nearcode("person", "create", "--role", "hq", "--name", "x", *CHAIN,
                   "--email", "li.min@example.com"))  # fmt: skip
    badly(nearcode("person", "create", "--role", "manager", "--name", "x", *CHAIN,
                   "--email", "m@example.com"))  # fmt: skip
    listed = well(nearcode("person", "list", *CHAIN))
    assert "li.min@example.com" in listed
    second = well(nearcode("person", "reset", "LI.MIN@example.com", *CHAIN)).strip()
    badly(nearcode("person", "reset", "nobody@example.com", *CHAIN))
    badly(nearcode("person", "reset", "li.min@example.com", "--chain", "coffee"))
    with running.served(module_database_url, CHEAP) as base_url, opened(base_url) as client:
        form = {"password": "correct horse", "again": "correct horse"}
        assert client.post(path_of(first), data=form).status_code == 410
        assert client.post(path_of(second), data=form).status_code == 303
        assert client.get("/api/v1/me").json()["name"] == "李敏"
        well(nearcode("person", "deactivate", "li.min@example.com", *CHAIN))
        assert client.get("/api/v1/me").status_code == 401
        badly(nearcode("person", "reset", "li.min@example.com", *CHAIN))
        well(nearcode("person", "activate", "li.min@example.com", *CHAIN))
        entry = {"email": "li.min@example.com", "password": "correct horse"}
        assert client.post("/hq/sign-in", data=entry).status_code == 303
        rows = client.get("/api/v1/audit?who=cli&action=person.update").json()["audit"]
        assert [row["after"] for row in rows] == [{"active": True}, {"active": False}]
        assert rows[0]["who"]["name"] == getpass.getuser()


def test_managers_are_invited_one_by_one_and_by_a_table(
    nearcode: Nearcode, module_database_url: str, tmp_path: Path
) -> None:
    made = nearcode("invite", "--store", "SH001", "--store", "SH002", "--name", "王芳",
                    *CHAIN)  # fmt: skip
    link = well(made).strip()
    assert re.fullmatch(r"http://localhost:8000/m/join/[\w-]{43}", link), "the link alone"
    assert "█" in made.err, "and its code, to be scanned from the screen"
    badly(nearcode("invite", "--store", "XX999", *CHAIN))
    badly(nearcode("invite", *CHAIN))
    file = tmp_path / "managers.csv"
    file.write_text('store,name\n"SH001,SH003",赵磊\nXX999,谁\nSH002,\n', "utf-8")
    many = nearcode("invite", "--file", file, *CHAIN)
    rows = list(csv.DictReader(io.StringIO(well(many).removeprefix("\ufeff"))))
    assert [(row["row"], row["name"], row["store"]) for row in rows[:1]] == [
        ("2", "赵磊", "SH001,SH003"),
    ]  # fmt: skip
    assert "invited 2, rejected 1" in many.err
    assert "there is no store XX999" in many.err
    badly(nearcode("invite", "--file", file, "--store", "SH001", *CHAIN))
    with running.served(module_database_url, CHEAP) as base_url, opened(base_url) as client:
        assert client.post(path_of(rows[0]["link"])).status_code == 303
        me = client.get("/api/v1/me").json()
        assert (me["name"], me["stores"]) == ("赵磊", ["SH001", "SH003"])
        again = well(nearcode("invite", "--person", me["id"], *CHAIN)).strip()
        assert client.post(path_of(again)).status_code == 303
        assert client.get("/api/v1/me").json()["id"] == me["id"]
        listed = well(nearcode("person", "list", *CHAIN))
        (row,) = [line for line in listed.splitlines() if "赵磊" in line]
        assert "SH001, SH003" in row
        assert "1 device" in row


def id_in(listed: str, text: str) -> str:
    """The id at the beginning of the only line with this text."""
    (line,) = [line for line in listed.splitlines() if text in line]
    return line.split()[0]


def test_invitations_are_listed_and_revoked(nearcode: Nearcode, module_database_url: str) -> None:
    link = well(nearcode("invite", "--store", "SH007", "--name", "陈静", *CHAIN)).strip()
    for_store = ("invitation", "list", "--store", "SH007", *CHAIN)
    listed = well(nearcode(*for_store, "--state", "open"))
    assert link.rpartition("/")[2] not in listed
    revoke = ("invitation", "revoke", id_in(listed, "陈静"))
    badly(nearcode(*revoke, "--chain", "coffee"))
    well(nearcode(*revoke, *CHAIN))
    assert "陈静" not in well(nearcode(*for_store, "--state", "open"))
    assert re.search(r"陈静\s+SH007\s+revoked", well(nearcode(*for_store)))
    with running.served(module_database_url, CHEAP) as base_url, opened(base_url) as client:
        assert client.post(path_of(link)).status_code == 410
        used = well(nearcode("invite", "--store", "SH007", "--name", "周杰", *CHAIN)).strip()
        assert client.post(path_of(used)).status_code == 303
    used_id = id_in(well(nearcode(*for_store)), "周杰")
    assert "It was used" in badly(nearcode("invitation", "revoke", used_id, *CHAIN))


def test_webhooks_are_made_tried_changed_and_deleted(
    nearcode: Nearcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ("webhook", "create", "--event", "join.created", "--event", "order.matched", *CHAIN)
    with receiver.receiving() as crm:
        url = f"{crm.url}/hook"
        assert badly(nearcode(*create, url)).startswith("url:"), "a private address"
        monkeypatch.setenv("NEARCODE_WEBHOOK_PRIVATE_NETWORKS", receiver.PRIVATE)
        secret = well(nearcode(*create, url, "--description", "会员")).strip()
        listed = well(nearcode("webhook", "list", *CHAIN))
        assert secret not in listed
        assert re.search(r"/hook\s+join.created, order.matched\s+enabled\s+0\s+会员", listed)
        webhook = (id_in(listed, url), *CHAIN)
        assert "delivered: answered 200" in well(nearcode("webhook", "test", *webhook))
        assert crm.received[0].verified(secret)["type"] == "webhook.test"
        new = well(nearcode("webhook", "secret", *webhook)).strip()
        crm.answer = lambda received, number: receiver.Answer(500)
        tried = nearcode("webhook", "test", *webhook)
        assert tried.code == 1
        assert "dead: answered 500" in tried.out
        for either in (secret, new):
            assert crm.received[1].verified(either)["data"] == {"chain": "nearcode-tea"}
    badly(nearcode("webhook", "change", *webhook))
    badly(nearcode("webhook", "change", *webhook, "--url", "ftp://example.com/"))
    well(nearcode("webhook", "change", *webhook, "--event", "join.left", "--disabled"))
    listed = well(nearcode("webhook", "list", *CHAIN))
    assert re.search(r"/hook\s+join.left\s+disabled\s", listed)
    badly(nearcode("webhook", "delete", webhook[0], "--chain", "coffee"))
    well(nearcode("webhook", "delete", *webhook))
    assert url not in well(nearcode("webhook", "list", *CHAIN))
    badly(nearcode("webhook", "test", *webhook))


def test_what_was_given_up_is_listed_and_sent_again(
    nearcode: Nearcode, module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_WEBHOOK_PRIVATE_NETWORKS", receiver.PRIVATE)
    with receiver.receiving() as crm:
        crm.answer = lambda received, number: receiver.Answer(500 if number <= 3 else 200)
        url = f"{crm.url}/orders"
        well(nearcode("webhook", "create", url, "--event", "order.matched", *CHAIN))
        webhook = (id_in(well(nearcode("webhook", "list", *CHAIN)), url), *CHAIN)
        for _ in range(3):
            assert nearcode("webhook", "test", *webhook).code == 1
        dead = ("webhook", "deliveries", *webhook, "--state", "dead")
        first = well(nearcode(*dead)).splitlines()[-2].split()[0]
        badly(nearcode("webhook", "retry", *webhook))
        badly(nearcode("webhook", "retry", webhook[0], first, "--dead", *CHAIN))
        badly(nearcode("webhook", "retry", webhook[0], webhook[0], *CHAIN))
        assert "1 to be sent" in well(nearcode("webhook", "retry", webhook[0], first, *CHAIN))
        assert first not in well(nearcode(*dead))
        assert "2 to be sent" in well(nearcode("webhook", "retry", *webhook, "--dead"))
        assert "dead" not in well(nearcode(*dead))
        private = CHEAP.model_copy(
            update={"webhook_private_networks": Settings().webhook_private_networks}
        )
        with running.served(module_database_url, private):
            again = crm.wait_for(6)[3:]
        assert {each.message_id for each in again} == {each.message_id for each in crm.received[:3]}
    well(nearcode("webhook", "delete", *webhook))


@contextlib.contextmanager
def opened(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, trust_env=False, timeout=30) as client:
        yield client


CHEAP = Settings(database_pool=5, password_memory_mb=1, password_rounds=1)
FALLBACK = "https://work.weixin.qq.com/ct/wcde0119e9a63b6b799de1480ba7cec9ea76"


def test_an_entry_and_its_placements_are_made_and_listed(
    nearcode: Nearcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_PUBLIC_URL", "https://qr.example.com")
    of_coffee = ("--chain", "coffee")
    create = ("entry", "create", "latte", "--name", "活码", "--radius-m", "5000")
    policy = ("--ip-policy", "never", "--fallback", FALLBACK)
    assert badly(nearcode(*create, "--fallback", "no code", *of_coffee)).startswith("fallback:")
    assert "https://qr.example.com/q/latte" in well(nearcode(*create, *policy, *of_coffee))
    assert "taken" in badly(nearcode(*create, *of_coffee))
    place = ("placement", "create", "latte", "p-1", "--name", "海报", "--channel", "poster")
    more = ("--store", "SH001", "--printed", 20, "--cost", "36.5", "--variant", "a")
    assert "https://qr.example.com/q/latte?p=p-1" in well(nearcode(*place, *more, *of_coffee))
    assert "store" in badly(nearcode(*place, "--store", "XX999", *of_coffee))
    listed = well(nearcode("entry", "list", *of_coffee))
    (row,) = [line for line in listed.splitlines() if "/q/latte" in line]
    assert re.search(r"latte\s+活码\s+5,000 m\s+never\s+1\s+p-1\s+https://qr", row)
    assert "/q/latte" not in well(nearcode("entry", "list", *CHAIN))
    assert "no entry latte" in badly(nearcode(*place, *CHAIN))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("entry", "create", "活码", "--name", "x"), "entry"),
        (("entry", "create", "a/b", "--name", "x"), "entry"),
        (("entry", "create", "x", "--name", ""), "--name"),
        (("entry", "create", "x", "--name", "x", "--radius-m", "nan"), "--radius-m"),
        (("entry", "create", "x", "--name", "x", "--radius-m", "0"), "--radius-m"),
        (("placement", "create", "tea", ".p", "--name", "x", "--channel", "x"), "placement"),
        (("placement", "create", "tea", "p", "--name", "x", "--channel", ""), "--channel"),
        (
            ("placement", "create", "tea", "p", "--name", "x", "--channel", "x", "--cost", "nan"),
            "--cost",
        ),
    ],
)
def test_what_no_entry_or_placement_can_be_is_refused_by_name(
    nearcode: Nearcode, arguments: tuple[str, ...], field: str
) -> None:
    assert badly(nearcode(*arguments, *CHAIN)).startswith(f"{field}:")


def test_route_explains_a_decision_and_takes_no_seat(nearcode: Nearcode) -> None:
    # Guomao in the sample: of BJ001's codes one has expired, the other is paused.
    guomao = ("116.4529", "39.9063")
    for _ in range(2):
        said = well(nearcode("route", *guomao, *ENTRY))
        assert re.search(r"skipped\s+.*\(BJ001\)\s+\d+ m\s+expired", said)
        assert re.search(r"shown\s+.*\(BJ005\)\s+\d+ m\s+next_store", said)
        assert "Outcome: code" in said
        assert " 0 held" in said
    told = json.loads(well(nearcode("route", *guomao, *ENTRY, "--json")))
    assert (told["outcome"], told["store"]["store"]) == ("code", "BJ005")
    assert [hop["skipped"] for hop in told["hops"]] == ["expired", "paused"]
    there = well(nearcode("route", "121.5001", "31.2388", "--datum", "gcj02", *ENTRY, "--json"))
    assert json.loads(there)["located"]["city"] == "上海市"
    far = json.loads(well(nearcode("route", "-73.98", "-40.75", *ENTRY, "--json")))
    assert (far["outcome"], far["reason"]) == ("code", "fallback")
    badly(nearcode("route", "200", "31"))
    badly(nearcode("route", *HERE, "--entry", "nobody"))
    badly(nearcode("route", *HERE, "--datum", "mars"))


def test_route_draws_the_decision_where_it_is_told(nearcode: Nearcode, tmp_path: Path) -> None:
    guomao = ("116.4529", "39.9063", *ENTRY)
    for name, start in (("why.svg", "<svg "), ("why.html", "<!doctype html>")):
        assert "shown" in well(nearcode("route", *guomao, "--map", tmp_path / name))
        drawn = (tmp_path / name).read_text("utf-8")
        assert drawn.lstrip().startswith(start)
        assert 'data-store="BJ005"' in drawn
    json.loads(well(nearcode("route", *guomao, "--json", "--map", tmp_path / "beside.svg")))
    assert (tmp_path / "beside.svg").exists()
    assert "why.png" in badly(nearcode("route", *guomao, "--map", tmp_path / "why.png"))
    badly(nearcode("route", *guomao, "--map", tmp_path / "no such folder" / "why.svg"))


def test_report_tells_conversion_in_three_forms(nearcode: Nearcode) -> None:
    table = well(nearcode("report", *CHAIN, "--by", "store"))
    assert "conversion" in table
    told = json.loads(well(nearcode("report", *CHAIN, "--format", "json")))
    assert told["total"]["scans"] == 0
    assert [row["key"] for row in told["rows"]] == ["all"]
    text = well(nearcode("report", *CHAIN, "--by", "none", "--format", "csv"))
    (row,) = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    assert (row["key"], row["scans"], row["conversion"]) == ("all", "0", "")
    since = ("--since", "2026-01-01", "--until", "2026-01-31")
    well(nearcode("report", *CHAIN, "--by", "day", *since))
    badly(nearcode("report", *CHAIN, "--since", "yesterday"))
    badly(nearcode("report", *CHAIN, "--by", "moon"))


def test_rollups_are_compared_with_the_raw_rows_and_made_anew(
    nearcode: Nearcode, module_database_url: str
) -> None:
    scanned = (
        "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
        " SELECT chain_id, uuid7_floor(now()), 'a', chain_id, now(), 'api' FROM chains"
        " WHERE chain = 'coffee'",
        "INSERT INTO touched_scans SELECT chain_id, scan_id FROM scans",
    )
    running.run(conftest.execute(module_database_url, *scanned))
    check = ("rollup", "check", "--chain", "coffee")
    assert "1 days, 1 scans: 0 days differ" in well(nearcode(*check))
    running.run(conftest.execute(module_database_url, "DELETE FROM report_chunks"))
    differs = nearcode(*check)
    assert differs.code == 1
    assert "1 days differ" in differs.out
    assert "1 days rebuilt." in well(nearcode("rollup", "rebuild", "--chain", "coffee"))
    assert "0 days differ" in well(nearcode(*check))
    badly(nearcode(*check, "--since", "yesterday"))


def test_retention_says_what_it_drops(nearcode: Nearcode, module_database_url: str) -> None:
    well(nearcode("migrate"))
    running.run(conftest.execute(module_database_url, "SELECT ensure_month('2024-05-01')"))
    badly(nearcode("retention"))
    assert "2024-05 would be dropped." in well(nearcode("retention", "--months", 6, "--dry-run"))
    told = well(nearcode("retention", "--months", 6))
    assert "2024-05 dropped:" in told
    assert "scans_2024_05" in told
    assert "2024-05" not in well(nearcode("retention", "--months", 6))


def test_a_poster_reads_as_the_url_in_every_form(
    nearcode: Nearcode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_PUBLIC_URL", "https://qr.example.com")
    monkeypatch.chdir(tmp_path)
    url = "https://qr.example.com/q/tea"
    well(nearcode("poster", "tea"))
    assert read(tmp_path / "tea.svg") == url
    for form in ("svg", "png", "pdf"):
        file = tmp_path / f"out.{form}"
        well(nearcode("poster", "tea", "--placement", "poster-lujiazui", "--out", file))
        assert read(file) == f"{url}?p=poster-lujiazui"
        well(nearcode("poster", "tea", "--placement", "poster-lujiazui", "--format", form))
        assert read(tmp_path / f"tea-poster-lujiazui.{form}") == f"{url}?p=poster-lujiazui"
    badly(nearcode("poster", "nobody"))
    badly(nearcode("poster", "tea", "--placement", "nowhere"))
    badly(nearcode("poster", "tea", "--out", tmp_path / "missing" / "out.svg"))
    logo = tmp_path / "logo.png"
    logo.write_bytes(b"no picture")
    badly(nearcode("poster", "tea", "--logo", logo))


def test_a_shop_gets_a_poster_with_a_placement_of_its_own(
    nearcode: Nearcode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_PUBLIC_URL", "https://qr.example.com")
    monkeypatch.chdir(tmp_path)
    for arguments, file in (
        (CHAIN, "store-SH001-a4.pdf"),
        (("tea", "--paper", "a5", "--lang", "en"), "store-SH001-a5.pdf"),
    ):
        told = well(nearcode("poster", *arguments, "--store", "SH001"))
        assert file in told
        page = pypdfium2.PdfDocument(tmp_path / file)[0]
        (code,) = zxingcpp.read_barcodes(page.render(scale=2).to_pil())
        assert code.text == "https://qr.example.com/q/tea?p=store-SH001"
    badly(nearcode("poster", "tea", "--store", "nowhere"))
    badly(nearcode("poster", "nobody", "--store", "SH001"))
    badly(nearcode("poster", "tea", "--store", "SH001", "--placement", "poster-lujiazui"))
    badly(nearcode("poster", "tea", "--store", "SH001", "--format", "png"))
    badly(nearcode("poster"))


def read(file: Path) -> str:
    """What a phone reads from the print; SVG and PDF are drawn by their rectangles alone."""
    data = file.read_bytes()
    if file.suffix == ".png":
        return qr.decode(data)
    boxes: list[tuple[float, float, float, float]]
    if file.suffix == ".svg":
        side = float(re.search(rb'viewBox="0 0 ([\d.]+) ', data)[1])  # type: ignore[index]
        runs = re.findall(rb"M(\d+) (\d+)h(\d+)v1h", data)
        boxes = [(float(x), float(y), float(width), 1.0) for x, y, width in runs]
    else:
        streams = re.findall(rb"/FlateDecode \].*?stream\r?\n(.*?)endstream", data, re.DOTALL)
        texts = [zlib.decompress(base64.a85decode(b"<~" + s.strip(), adobe=True)) for s in streams]
        content = max(texts, key=lambda text: text.count(b" re")).decode("latin-1")
        found = re.findall(r"(-?[\d.]+) (-?[\d.]+) (-?[\d.]+) (-?[\d.]+) re", content)
        (_, _, _, side), *rest = [tuple(map(float, numbers)) for numbers in found]
        boxes = [(x, side - y - height, width, height) for x, y, width, height in rest]
    scale = 1200 / side
    picture = Image.new("L", (1200, 1200), 255)
    for x, y, width, height in boxes:
        corners = (x, y, x + width, y + height)
        left, top, right, bottom = (round(corner * scale) for corner in corners)
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill=0)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return qr.decode(out.getvalue())


def test_placements_are_imported_and_printed_in_bulk(nearcode: Nearcode, tmp_path: Path) -> None:
    file = FIXTURES / "placements.csv"
    of_tea = (*CHAIN, *ENTRY)
    assert "created 6, updated 0" in well(
        nearcode("import", "placements", file, *of_tea, "--dry-run")
    )
    assert "created 6, updated 0" in well(nearcode("import", "placements", file, *of_tea))
    assert "unchanged 6" in well(nearcode("import", "placements", file, *of_tea))
    zipped = tmp_path / "codes.zip"
    well(nearcode("poster", "tea", "--all", "--channel", "poster", "--out", zipped))
    with zipfile.ZipFile(zipped) as archive:
        names = archive.namelist()
    assert {"door-sh010-a.svg", "door-sh010-b.svg", "placements.csv"} <= set(names)
    assert not [name for name in names if name.startswith("sms")]
    assert list(tmp_path.iterdir()) == [zipped]
    assert "no such placements" in badly(
        nearcode("poster", "tea", "--all", "--channel", "radio", "--out", zipped)
    )
    assert "--all" in badly(nearcode("poster", "tea", "--all", "--placement", "x"))


def test_orders_are_imported_and_again_change_nothing(nearcode: Nearcode) -> None:
    file = FIXTURES / "orders.csv"
    well(nearcode("import", "stores", FIXTURES / "stores.csv", *CHAIN))
    said = well(nearcode("import", "orders", file, *CHAIN, "--dry-run"))
    assert "Nothing was changed" in said
    assert "created 22, updated 0, unchanged 0, rejected 0" in said
    said = well(nearcode("import", "orders", file, *CHAIN))
    assert "created 22" in said
    assert "matched to joins 0, unmatched 22" in said
    assert "unchanged 22" in well(nearcode("import", "orders", file, *CHAIN))


def test_orders_with_mistakes_are_told_row_by_row(nearcode: Nearcode, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes("订单号,下单时间,金额\nX1,2026-01-01,1.23456\nX2,昨天,1\n".encode("gb18030"))
    said = well(nearcode("import", "orders", file, *CHAIN))
    assert "created 0, updated 0, unchanged 0, rejected 2" in said
    assert re.search(r"2\s+amount\s+has more than 4 decimals", said)
    assert re.search(r"3\s+at\s+", said)
    file.write_text("名称,金额\nX1,1\n")
    assert "order: " in badly(nearcode("import", "orders", file, *CHAIN))


def test_the_doctor_finds_a_good_installation_well(
    nearcode: Nearcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = well(nearcode("doctor"))
    for subject in ("database", "schema", "clock", "IP database", "places", "proxies"):
        assert re.search(rf"ok\s+{subject}: ", said), subject
    assert re.search(r"warning\s+public URL: .*NEARCODE_PUBLIC_URL", said)
    monkeypatch.setenv("NEARCODE_TRUSTED_PROXIES", "0.0.0.0/0")
    assert nearcode("doctor").code == 1
    monkeypatch.setenv("NEARCODE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    gone = nearcode("doctor")
    assert gone.code == 1
    assert re.search(r"failed\s+database: ", gone.out)
    assert "does not answer" in badly(nearcode("key", "list"))


def test_settings_lists_every_setting_and_tells_no_password(
    nearcode: Nearcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_DATABASE_URL", "postgresql://me:geheim@127.0.0.1/nearcode")
    monkeypatch.setenv("NEARCODE_HOLD_S", "77")
    said = well(nearcode("settings"))
    for name in Settings.model_fields:
        assert f"NEARCODE_{name.upper()}" in said
    assert "geheim" not in said
    assert re.search(r"NEARCODE_HOLD_S\s+77\S*\s+900", said)
    monkeypatch.setenv("NEARCODE_HOLD_S", "soon")
    assert "NEARCODE_HOLD_S" in badly(nearcode("settings"))
    monkeypatch.setenv("NEARCODE_HOLD_S", "77")
    monkeypatch.setenv("NEARCODE_TRUSTED_PROXIES", "not-an-address")
    assert "NEARCODE_TRUSTED_PROXIES" in badly(nearcode("settings"))


def test_a_port_in_use_is_a_clear_message(nearcode: Nearcode) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in ("serve", "demo"):
            assert f"Port {port} is in use" in badly(nearcode(command, "--port", port))


# ---------------------------------------------------------------- as users run it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(*arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own; killed at the end, if it is still there."""
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        env={**os.environ, **environment, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until_ready(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError("".join(process.communicate()))
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the service does not get ready")


CARD = {
    "base_url", "visitor_url", "hq_url", "manager_url", "chain", "entry", "keys", "hq_person",
    "invitation_url",
}  # fmt: skip


def test_the_demo_serves_keeps_its_data_and_leaves_nothing_running(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    first = demo_run(data, port, signal.SIGINT)
    began = time.monotonic()
    second = demo_run(data, port, signal.SIGTERM)
    assert time.monotonic() - began < 40
    for kept in ("keys", "hq_person", "invitation_url"):
        assert second[kept] == first[kept]
    assert second["scans"] == first["scans"] + 1


def demo_run(data: Path, port: int, ending: signal.Signals) -> dict[str, Any]:
    """One run from start to end; what demo.json said, and the scans counted."""
    environment = {"NEARCODE_DATA_DIR": str(data)}
    with started("demo", "--port", port, "--no-history", **environment) as process:
        until_ready(process, port)
        file = data / "demo.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        card = json.loads(file.read_text("utf-8"))
        assert card.keys() == CARD
        assert card["base_url"] == f"http://localhost:{port}"
        assert card["visitor_url"] == f"{card['base_url']}/q/{card['entry']}"
        base = f"http://127.0.0.1:{port}"
        assert card["keys"].keys() == {"hq", "manager", "read"}
        with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
            for role, key in card["keys"].items():
                headers = {"Authorization": f"Bearer {key}"}
                assert client.get("/api/v1/stores", headers=headers).status_code == 200, role
                status = client.get("/api/v1/keys", headers=headers).status_code
                assert status == (200 if role == "hq" else 403), role
            agent = {"User-Agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50"}
            assert client.get(f"/q/{card['entry']}", headers=agent).status_code == 200
            signed_in = client.post("/hq/sign-in", data=card["hq_person"])
            assert signed_in.status_code == 303
            assert client.get(urlsplit(card["invitation_url"]).path).status_code == 200
            client.cookies.clear()
            hq = {"Authorization": f"Bearer {card['keys']['hq']}"}
            funnel = client.get("/api/v1/reports/funnel", headers=hq).json()
        process.send_signal(ending)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    for told in (card["visitor_url"], card["hq_url"], card["manager_url"], *card["keys"].values(),
                 *card["hq_person"].values(), card["invitation_url"]):  # fmt: skip
        assert told in out
    assert "█" in out, "the visitor's QR code, drawn in the terminal"
    assert not (data / "postgresql" / "postmaster.pid").exists(), "the database has ended, too"
    assert not postgres_of(data)
    kept = {name: card[name] for name in ("keys", "hq_person", "invitation_url")}
    return {**kept, "scans": funnel["total"]["scans"]}


def postgres_of(data: Path) -> list[str]:
    """Command lines of processes that still work in the data folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = line.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(data) in command:
                found.append(command)
    return found
