"""The database goes away and comes back: no poster goes dark, nothing is lost, nothing told twice.

A server for this module alone, which is stopped and started under running services; a database for
each test. NEARCODE_TEST_OUTAGE_S=60 lets it be away for a minute.
"""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from service import db, embedded, journal
from service.settings import Settings
from tests import receiver, running
from tests.conftest import execute, with_database
from tests.running import ENTRY, Running
from tests.service import processes
from tests.service.crowd import UNLIMITED, Crowd, put_up_stores

AWAY_S = float(os.environ.get("NEARCODE_TEST_OUTAGE_S", "3"))
BACK_WITHIN_S = 20  # five on a machine that does nothing else; what it is gets printed

HERE = (121.4737, 31.2304)
PHONE = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49 NetType/WIFI Language/zh_CN",
    "Accept-Language": "zh-CN",
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.EmbeddedPostgres]:
    with running.own_server() as started:
        yield started


@pytest.fixture
def url(server: embedded.EmbeddedPostgres) -> Iterator[str]:
    """A migrated database on that server, which runs."""
    name = f"outage_{next(_numbers)}"
    server.start()
    running.run(execute(server.url, f"CREATE DATABASE {name}"))
    running.run(db.migrate(with_database(server.url, name)))
    yield with_database(server.url, name)
    server.start()
    running.run(execute(server.url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **UNLIMITED)


@pytest.fixture
def stores(url: str, settings: Settings) -> Iterator[Running]:
    """S1, near which all visitors stand, with three seats; S2 and S3, which have room for all."""
    with running.running(url, settings) as service:
        put_up_stores(service)
        yield service


@pytest.fixture
def other(stores: Running) -> Iterator[Running]:
    """A second worker on the same machine."""
    with (
        running.served(stores.database_url, stores.settings) as base_url,
        httpx.Client(base_url=base_url, timeout=30, trust_env=False) as client,
    ):
        yield Running(
            base_url=base_url,
            database_url=stores.database_url,
            settings=stores.settings,
            keys=stores.keys,
            visitor=client,
            hq=client,
            manager=client,
            read=client,
        )


@contextlib.contextmanager
def away(server: embedded.EmbeddedPostgres, *workers: Running) -> Iterator[None]:
    """The database is away, and all of these have noticed. At the end it is there again."""
    server.stop()
    for worker in workers:
        # Somebody must be refused first: it is by what fails that an outage is noticed.
        until(lambda worker=worker: opened(worker, "first").status_code == 201, "no outage")  # type: ignore[misc]
    yield
    server.start()


def until(true: Callable[[], object], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def until_written(folder: Path) -> None:
    """The spool is in the database; nothing of it was put aside."""
    spool = folder / "spool"
    until(lambda: not list(spool.glob("*.spool")), "the spool is not written")
    assert list(spool.glob("*")) == []


def opened(service: Running, visitor: str) -> httpx.Response:
    return service.visitor.post(
        "/api/v1/scans", json={"entry": ENTRY}, headers={"X-Visitor": visitor}
    )


def shown(service: Running, scan_id: str) -> dict[str, Any]:
    return running.answered(service.visitor.get(f"/api/v1/scans/{scan_id}"))


def count(url: str, query: str) -> int:
    async def fetch() -> int:
        connection = await db.connect(url)
        try:
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    return running.run(fetch())


def listed(ids: list[str]) -> str:
    return ", ".join(f"'{one}'" for one in ids)


# As visitors see it


def test_posters_do_not_go_dark_and_what_happened_is_written_once(
    stores: Running, server: embedded.EmbeddedPostgres, tmp_path: Path
) -> None:
    before = stores.locate(stores.scan("before"), *HERE)
    assert before["code"]["held_until"] is not None
    scans = {}
    with away(server, stores):
        for visitor in ("a", "b", "c", "d"):
            scans[visitor] = running.answered(opened(stores, visitor))["scan_id"]
            routing = stores.locate(scans[visitor], *HERE)
            assert (routing["outcome"], routing["store"]["store"]) == ("code", "S1")
            # Nobody has a seat, and nobody is told so.
            assert routing["code"]["held_until"] is None
            assert stores.visitor.get(routing["code"]["image"]).status_code == 200
            again = stores.locate(scans[visitor], *HERE)
            assert again["code"] == routing["code"]
            assert shown(stores, scans[visitor]) == again
        for visitor in ("a", "b"):
            stores.tell(scans[visitor], "pressed")
            stores.tell(scans[visitor], "joined")
        moved = stores.tell(scans["c"], "full")
        assert moved["store"]["store"] == "S2"
        assert list((tmp_path / "spool").iterdir())
    until_written(tmp_path)
    ids = listed([*scans.values()])
    url = stores.database_url
    assert count(url, f"SELECT count(*) FROM scans WHERE scan_id IN ({ids})") == 4
    assert count(url, f"SELECT count(*) FROM fixes WHERE scan_id IN ({ids})") == 8
    assert count(url, f"SELECT count(*) FROM complaints WHERE scan_id IN ({ids})") == 1
    # Two of three places were free: both who said that they joined are members.
    joined = f"SELECT count(*) FROM joins WHERE scan_id IN ({ids}) AND evidence = 'reported'"
    assert count(url, joined) == 2
    assert stores.code(before["code"]["code_id"])["members"] == 2
    # Life goes on, for those of the outage as well.
    routing = stores.locate(scans["d"], *HERE)
    assert routing["store"]["store"] == "S2"
    assert routing["code"]["held_until"] is not None
    assert stores.locate(scans["a"], *HERE)["store"]["store"] == "S1"


def test_the_page_shows_the_code_as_last_known_and_says_nothing_of_a_kept_place(
    stores: Running, server: embedded.EmbeddedPostgres
) -> None:
    with (
        away(server, stores),
        httpx.Client(base_url=stores.base_url, headers=PHONE, trust_env=False) as phone,
    ):
        page = phone.get(f"/q/{ENTRY}")
        assert page.status_code == 200
        assert 'data-view="locate"' in page.text
        found = re.search(r'data-api="/api/v1/scans/([^"]+)"', page.text)
        assert found is not None
        home = f"/q/{ENTRY}/s/{found[1]}"
        position = {"lon": HERE[0], "lat": HERE[1], "accuracy_m": 10}
        running.answered(phone.post(f"/api/v1/scans/{found[1]}/position", json=position))
        for path in (home, home):  # and a reload
            page = phone.get(path)
            assert page.status_code == 200
            assert 'data-view="code"' in page.text
            assert "一店" in page.text
            assert "保留" not in page.text
        image = re.search(r'<img src="([^"]+)"', page.text)
        code = re.search(r'data-code="([^"]+)"', page.text)
        assert image is not None
        assert code is not None
        assert phone.get(image[1]).headers["content-type"] == "image/png"
        listing = phone.get(f"{home}/stores")
        assert listing.status_code == 200
        assert "二店" in listing.text
        # A complaint leads on to the next code; so does a store that is picked by hand.
        page = phone.post(
            f"{home}/tell", data={"event": "full", "code": code[1]}, follow_redirects=True
        )
        assert page.status_code == 200
        assert "二店" in page.text
        assert "保留" not in page.text
        page = phone.post(f"{home}/tell", data={"event": "joined"}, follow_redirects=True)
        assert "谢谢" in page.text
        # Without a script: by the network address.
        page = phone.post(f"{home}/locate", follow_redirects=True)
        assert page.status_code == 200


def test_who_has_scanned_before_is_shown_a_code_though_their_request_was_the_first_to_fail(
    stores: Running, server: embedded.EmbeddedPostgres
) -> None:
    path = f"/api/v1/scans/{stores.scan('early')}/position"
    position = {"lon": HERE[0], "lat": HERE[1], "accuracy_m": 10}
    server.stop()
    refused = stores.visitor.post(path, json=position)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    until(lambda: stores.visitor.post(path, json=position).is_success, "no code", 10)


def test_a_reload_alone_is_enough_to_notice_the_outage(
    stores: Running, server: embedded.EmbeddedPostgres
) -> None:
    scan_id = stores.scan("early")
    routing = stores.locate(scan_id, *HERE)
    server.stop()
    page = f"/q/{ENTRY}/s/{scan_id}"
    until(lambda: stores.visitor.get(page).status_code == 200, "it never is", 10)
    assert shown(stores, scan_id)["code"]["code_id"] == routing["code"]["code_id"]


def test_the_consoles_say_honestly_that_they_cannot_work(
    stores: Running, server: embedded.EmbeddedPostgres
) -> None:
    signed_in = stores.visitor.post(
        "/hq/sign-in", data={"key": stores.keys["hq"]}, follow_redirects=True
    )
    assert signed_in.status_code == 200
    with away(server, stores):
        for path in ("/hq", "/m"):
            page = stores.visitor.get(path, headers={"Accept-Language": "zh-CN"})
            assert page.status_code == 503, path
            assert int(page.headers["Retry-After"]) >= 1
            assert "Traceback" not in page.text
            assert "请过几秒再试" in page.text
        refused = stores.hq.get("/api/v1/stores")
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert stores.visitor.get("/readyz").status_code == 503
        assert stores.visitor.get("/healthz").status_code == 200
    until(lambda: stores.visitor.get("/hq").status_code == 200, "the console is not back")


def test_a_join_in_an_outage_is_told_to_other_systems_once_it_is_written(
    server: embedded.EmbeddedPostgres, url: str, tmp_path: Path
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        webhook_retry_s=0.2,
        webhook_private_networks=(ip_network(receiver.PRIVATE),),
        **UNLIMITED,
    )
    with receiver.receiving() as crm, running.running(url, settings) as service:
        put_up_stores(service)
        crm.answer = lambda received, number: receiver.json_of(next_url="https://mall.example/")
        body = {"url": f"{crm.url}/hook", "events": ["join.created"]}
        running.answered(service.hq.post("/api/v1/webhooks", json=body))
        with away(server, service):
            scan_id = service.scan("a")
            assert service.locate(scan_id, *HERE)["outcome"] == "code"
            assert "next_url" not in service.tell(scan_id, "joined")
            assert crm.received == []
        until_written(tmp_path)
        (told,) = crm.wait_for(1)
        path = f"/api/v1/scans/{scan_id}"
        until(lambda: "next_url" in running.answered(service.visitor.get(path)), "it leads nowhere")
        assert told.message["data"]["scan_id"] == scan_id
        assert len(running.answered(service.hq.get("/api/v1/joins"))["joins"]) == 1
        assert len(crm.received) == 1


def test_a_full_spool_asks_visitors_for_patience(
    url: str, settings: Settings, server: embedded.EmbeddedPostgres
) -> None:
    small = settings.model_copy(update={"spool_mb": 0.01})
    with running.running(url, small) as service:
        service.put_entry()
        service.put_code("S1", "one", capacity=3)
        with away(server, service):
            answers = [opened(service, f"v{number}") for number in range(60)]
            assert [a.status_code for a in answers[:5]] == [201] * 5
            assert answers[-1].status_code == 503
            assert "Retry-After" in answers[-1].headers
            kept = [a.json()["scan_id"] for a in answers if a.status_code == 201]
        until_written(settings.data_dir)
        assert count(url, f"SELECT count(*) FROM scans WHERE scan_id IN ({listed(kept)})") == len(
            kept
        )
        until(lambda: opened(service, "after").status_code == 201, "it is not back")


# Two workers


def test_a_scan_that_one_worker_opened_goes_on_at_the_other(
    stores: Running, other: Running, server: embedded.EmbeddedPostgres, tmp_path: Path
) -> None:
    with away(server, stores, other):
        scan_id = running.answered(opened(stores, "wanders"))["scan_id"]
        routing = other.locate(scan_id, *HERE)
        assert routing["store"]["store"] == "S1"
        # Whichever is asked then knows what the other has shown, and what has failed.
        assert shown(stores, scan_id)["code"] == routing["code"]
        stores.tell(scan_id, "pressed")
        moved = other.tell(scan_id, "full")
        assert moved["store"]["store"] == "S2"
        assert shown(stores, scan_id)["code"] == moved["code"]
        assert stores.locate(scan_id, *HERE)["code"] == moved["code"]
        stores.tell(scan_id, "joined")
    until_written(tmp_path)
    until(lambda: shown(stores, scan_id)["code"]["code_id"] == moved["code"]["code_id"], "code")
    assert shown(other, scan_id)["code"]["code_id"] == moved["code"]["code_id"]
    assert count(stores.database_url, f"SELECT count(*) FROM fixes WHERE scan_id = '{scan_id}'")
    # Nor has either forgotten it when life goes on, in whichever order the spools were written.
    for worker in (stores, other):
        worker.tell(scan_id, "joined")


# Exactly once


def test_of_a_worker_that_is_killed_while_it_writes_the_spool_another_writes_the_rest(
    stores: Running, server: embedded.EmbeddedPostgres, tmp_path: Path
) -> None:
    settings = {"max_holds_per_address": "0", "max_holds_per_subnet": "0"}
    worker = processes.Server(stores.database_url, tmp_path, settings=settings)
    worker.start()
    try:
        worker.wait_until_ready()
        server.stop()
        with httpx.Client(base_url=worker.base_url, trust_env=False) as client:
            kept = spool_up(client, 120)
        server.start()
        until_half_written(stores.database_url, worker.kill)
        assert list((tmp_path / "spool").glob("*.spool")), "it was too quick to be killed"
    finally:
        worker.stop()
    until_written(tmp_path)
    assert_written_once(stores.database_url, kept)


def test_a_database_that_goes_away_again_while_the_spool_is_written_gets_nothing_twice(
    stores: Running,
    server: embedded.EmbeddedPostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "_SPOOLED_AT_ONCE", 5)
    with away(server, stores):
        kept = spool_up(stores.visitor, 100)
    until_half_written(stores.database_url, server.stop)
    until(lambda: opened(stores, "again").status_code == 201, "no outage")
    kept.update(spool_up(stores.visitor, 10, start=1000))
    server.start()
    until_written(tmp_path)
    assert_written_once(stores.database_url, kept)


def spool_up(client: httpx.Client, visitors: int, start: int = 0) -> dict[str, str]:
    """So many visitors come, say where they are, and press; their scans, and the codes shown.

    The database is away.
    """
    kept = {}
    for number in range(start, start + visitors):
        headers = {"X-Visitor": f"spooled {number}"}
        answers: list[httpx.Response] = []

        def comes(headers: dict[str, str] = headers, answers: list[Any] = answers) -> bool:
            answers.append(client.post("/api/v1/scans", json={"entry": ENTRY}, headers=headers))
            return bool(answers[-1].is_success)

        until(comes, "nobody can come")
        path = f"/api/v1/scans/{answers[-1].json()['scan_id']}"
        position = {"lon": HERE[0], "lat": HERE[1], "accuracy_m": 10}
        routing = running.answered(client.post(f"{path}/position", json=position))
        running.answered(client.post(f"{path}/events", json={"event": "pressed"}))
        kept[routing["scan_id"]] = routing["code"]["code_id"]
    return kept


def until_half_written(url: str, then: Callable[[], object]) -> None:
    """Do this as soon as some of the spool is in the database."""

    async def wait() -> None:
        connection = await db.connect(url)
        deadline = time.monotonic() + 30
        try:
            while not await connection.fetchval(
                "SELECT sum(records) FROM spools WHERE records > 9"
            ):
                assert time.monotonic() < deadline, "nothing is written"
        finally:
            connection.terminate()

    running.run(wait())
    then()


def assert_written_once(url: str, kept: dict[str, str]) -> None:
    ids = listed([*kept])
    for table in ("scans", "fixes", "evidence"):
        rows = f"SELECT count(*) FROM {table} WHERE scan_id IN ({ids})"
        assert count(url, rows) == len(kept), table
        assert count(url, rows.replace("(*)", "(DISTINCT scan_id)")) == len(kept), table
    # Two decisions each: where are you, and the code.
    rows = f"SELECT count(*) FROM routings WHERE scan_id IN ({ids})"
    assert count(url, rows) == 2 * len(kept)
    # S1 takes three; the others of those pressed its code in vain, for it was full by then.
    first = next(iter(kept.values()))
    elsewhere = sum(code != first for code in kept.values())
    assert count(url, f"SELECT count(*) FROM joins WHERE scan_id IN ({ids})") == 3 + elsewhere
    assert count(url, "SELECT members FROM codes WHERE store = 'S1'") == 3
    assert count(url, "SELECT count(*) FROM holds WHERE state = 'joined'") == 3 + elsewhere


# Under load


def test_connections_that_are_cut_cost_no_seat_and_nobody_their_place(
    stores: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd, back = Crowd([stores.base_url]), []
    with crowd.visiting():
        until(lambda: crowd.seated_at, "nobody is served")
        for _ in range(8):
            time.sleep(0.2)
            running.run(cut(stores.database_url))
            back.append(crowd.seated_after(time.monotonic()))
    with capsys.disabled():
        print(f"\nconnections cut 8 times: {crowd}; back after {max(back):.2f} s at the most")
    assert crowd.statuses[503] > 0, "nobody was hit"
    assert set(crowd.statuses) <= {200, 201, 503}
    # It was not away, and nobody was told a code without a seat.
    assert crowd.away_at == []
    assert crowd.faults(stores.database_url, away=False) == {}
    assert max(back) < BACK_WITHIN_S


async def cut(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("away_s", [0, AWAY_S], ids=["restarted", "away"])
def test_what_was_answered_is_there_once_when_the_database_is_back(
    stores: Running,
    other: Running,
    server: embedded.EmbeddedPostgres,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    away_s: float,
) -> None:
    crowd = Crowd([stores.base_url, other.base_url])
    with crowd.visiting():
        until(lambda: len(crowd.seated_at) > 30, "nobody is served")
        gone_at = time.monotonic()
        server.stop()
        if away_s:
            until(lambda: crowd.away_at, "nobody is served while the database is away")
            dark_s = crowd.away_at[0] - gone_at  # its orderly end included
            time.sleep(away_s)
        server.start()
        back_s = crowd.seated_after(time.monotonic())
        time.sleep(0.5)
    until_written(tmp_path)
    with capsys.disabled():
        print(f"\ndatabase away for {away_s:.0f} s: {crowd}; back after {back_s:.2f} s")
        if away_s:
            print(f"codes as last known after {dark_s:.2f} s")
    assert set(crowd.statuses) <= {200, 201, 503}
    assert crowd.faults(stores.database_url, away=True) == {}
    assert back_s < BACK_WITHIN_S
