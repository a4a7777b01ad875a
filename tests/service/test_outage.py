"""The database goes away and comes back: no poster goes dark, nothing is lost, nothing is told twice.

A server of its own for each test, which is stopped and started under a running service.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from service import db, embedded
from service.settings import Settings
from tests import running
from tests.running import ENTRY, Running

HERE = (121.4737, 31.2304)
PHONE = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49 NetType/WIFI Language/zh_CN"
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[embedded.EmbeddedPostgres]:
    with embedded.EmbeddedPostgres(tmp_path / "data") as started:
        yield started


@pytest.fixture
def stores(server: embedded.EmbeddedPostgres, tmp_path: Path) -> Iterator[Running]:
    """S1, near which all visitors stand, and S2, with a code each."""
    running.run(db.migrate(server.url))
    settings = Settings(data_dir=tmp_path / "data", sweep_s=0.2, poll_s=0.2, database_pool=5)
    with running.running(server.url, settings) as service:
        service.put_entry()
        service.put_code("S1", "one", capacity=3)
        service.put_code("S2", "two", capacity=100)
        yield service


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def open_scan(service: Running, visitor: str) -> httpx.Response:
    return service.visitor.post(
        "/api/v1/scans", json={"entry": ENTRY}, headers={"X-Visitor": visitor}
    )


def wait_for_outage(service: Running) -> None:
    """Somebody must be refused first: it is by a write that fails that the outage is noticed."""
    until(lambda: open_scan(service, "first").status_code == 201, "no outage was noticed")


def rows(url: str, query: str) -> list[asyncpg.Record]:
    async def fetch() -> list[asyncpg.Record]:
        connection = await db.connect(url)
        try:
            found: list[asyncpg.Record] = await connection.fetch(query)
            return found
        finally:
            await connection.close()

    return running.run(fetch())


def test_posters_do_not_go_dark_and_what_happened_is_written_once(
    stores: Running, server: embedded.EmbeddedPostgres, tmp_path: Path
) -> None:
    before = stores.locate(stores.scan("before"), *HERE)
    assert before["code"]["held_until"] is not None
    server.stop()
    wait_for_outage(stores)

    page = stores.visitor.get(f"/q/{ENTRY}", headers=PHONE)
    assert page.status_code == 200
    opened = {}
    for visitor in ("a", "b", "c", "d"):
        opened[visitor] = running.answered(open_scan(stores, visitor))["scan_id"]
        routing = stores.locate(opened[visitor], *HERE)
        assert (routing["outcome"], routing["store"]["store"]) == ("code", "S1")
        # Nobody has a seat, and nobody is told so.
        assert routing["code"]["held_until"] is None
        assert stores.visitor.get(routing["code"]["image"]).status_code == 200
        again = stores.locate(opened[visitor], *HERE)
        assert again["code"] == routing["code"]
        assert stores.visitor.get(f"/api/v1/scans/{opened[visitor]}").json() == again
    for visitor in ("a", "b"):
        stores.tell(opened[visitor], "pressed")
        stores.tell(opened[visitor], "joined")
    moved = stores.tell(opened["c"], "full")
    assert moved["store"]["store"] == "S2"
    assert list((tmp_path / "data" / "spool").iterdir())

    server.start()
    until(lambda: not list((tmp_path / "data" / "spool").iterdir()), "the spool is not written")
    ids = ", ".join(f"'{scan_id}'" for scan_id in opened.values())
    assert len(rows(server.url, f"SELECT FROM scans WHERE scan_id IN ({ids})")) == 4
    assert len(rows(server.url, f"SELECT FROM fixes WHERE scan_id IN ({ids})")) == 8
    assert len(rows(server.url, f"SELECT FROM complaints WHERE scan_id IN ({ids})")) == 1
    # Two of three places were free: both who said that they joined are members.
    joins = rows(server.url, f"SELECT evidence FROM joins WHERE scan_id IN ({ids})")
    assert [join["evidence"] for join in joins] == ["reported", "reported"]
    assert stores.code(before["code"]["code_id"])["members"] == 2
    # Life goes on, for those of the outage as well.
    routing = stores.locate(opened["d"], *HERE)
    assert routing["store"]["store"] == "S2"
    assert routing["code"]["held_until"] is not None
    assert stores.locate(opened["a"], *HERE)["store"]["store"] == "S1"
