"""A crowd at a running service, over real HTTP: what it was told to do, and what the service's own
reports say of it."""

import asyncio
import dataclasses
import re
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from geo.point import Point
from service import errors
from service.settings import Settings
from service.simulate import crowd, drive
from tests import running
from tests.running import ENTRY, Running
from tests.service.crowd import UNLIMITED
from tests.service.test_cli import badly, nearcode, started, well

__all__ = ["nearcode"]

HABITS = crowd.Habits(late=0, spread=0, complains=0.03, refuses=0.3, bots=0.1, far=0.1)


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str) -> str:
    """What the command is given and does not ask for: it knows the service alone."""
    return postgres_url


@pytest.fixture(autouse=True)
def no_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARCODE_DATA_DIR", str(tmp_path))


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate({**UNLIMITED, "rollup_s": 0.5})


@pytest.fixture
def place(service: Running) -> Running:
    """Five stores, four of which have a group with room for all, and placements of two channels."""
    service.put_entry(ip_policy="choose")
    for number in range(3, 6):
        service.put_store(f"S{number}", 121.40 + 0.02 * number, 31.21)
    for number in range(1, 5):
        service.put_code(f"S{number}", f"code-{number}", capacity=100_000)
    for placement, channel in (("door", "poster"), ("sms", "sms")):
        body = {"placement": placement, "name": placement, "channel": channel, "printed": 100}
        running.answered(service.hq.post(f"/api/v1/entries/{ENTRY}/placements", json=body))
    return service


def run_of(service: Running, **changes: Any) -> drive.Run:
    run = drive.Run(
        base_url=service.base_url, entry=ENTRY, seed=5, rate=60, visitors=240,
        key=service.keys["hq"], haste=500,
    )  # fmt: skip
    return dataclasses.replace(run, **changes)


def come(run: drive.Run, habits: crowd.Habits = HABITS) -> drive.Figures:
    async def work() -> drive.Figures:
        return await drive.drive(run, await drive.world_of(run, habits))

    return running.run(work())


def funnel(service: Running, scans: int, **params: Any) -> dict[str, Any]:
    """The service's report, once it knows of so many scans and all that became of them."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = running.answered(service.hq.get("/api/v1/reports/funnel", params=params))
        settled = found.get("as_of")
        if found["total"]["scans"] == scans and settled:
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def test_the_services_reports_count_what_the_crowd_did(place: Running) -> None:
    told = come(run_of(place))
    assert not told.errors
    time.sleep(1)
    found = funnel(place, told.scans, by="channel")
    total = found["total"]
    assert told.visitors == 240 == told.scans + told.bots
    counted = {name: total[name] for name in ("scans", "shown", "joined", "reported", "left")}
    assert counted == {name: getattr(told, name) for name in counted}
    assert total["bots"] == told.bots
    assert total["orders"] == told.orders
    assert told.left > 0 < told.orders
    channels = {row["key"] for row in found["rows"]}
    assert {"poster", "sms"} <= channels
    unserved = running.answered(place.hq.get("/api/v1/reports/unserved"))["rows"]
    assert sum(row["scans"] for row in unserved) > 0


def test_the_crowd_keeps_to_the_shares_that_it_was_told(place: Running) -> None:
    told = come(run_of(place, key=None), dataclasses.replace(HABITS, joins=0.48, complains=0))
    for count, among, share in (
        (told.joined, told.shown, 0.48),
        (told.bots, told.visitors, 0.1),
        (told.reported, told.joined, HABITS.reports),
    ):
        spread = (among * share * (1 - share)) ** 0.5
        assert abs(count - share * among) < 4 * spread, (count, among, share)
    assert 0 < told.denied < 0.45 * told.scans
    assert (told.left, told.orders) == (0, 0), "without a key nobody leaves and nobody buys"


def test_the_same_seed_gives_the_same_decisions(place: Running) -> None:
    run = run_of(place, visitors=80, key=None)
    # Who comes back while they are still there may or may not have their code already.
    habits = dataclasses.replace(HABITS, returns=0)
    first, again = come(run, habits), come(run, habits)
    other = come(dataclasses.replace(run, seed=6), habits)
    names = ("scans", "bots", "denied", "shown", "joined", "reported", "complained", "located")

    def counted(told: drive.Figures) -> list[int]:
        return [getattr(told, name) for name in names]

    assert counted(first) == counted(again)
    assert counted(first) != counted(other)


def test_a_day_has_its_night_and_its_noon_though_it_passes_in_minutes() -> None:
    world = crowd.World([crowd.Place("S1", Point(121.4, 31.2))], seed=3)
    start = datetime(2026, 5, 4, tzinfo=UTC)
    came: Counter[int] = Counter()
    for plan in world.crowd(start, 50, day_s=240):
        passed_s = (plan.at - start).total_seconds()
        if passed_s >= 480:
            break
        came[int(passed_s / 10) % 24] += 1
    assert came.total() == pytest.approx(24_000, rel=0.05), "the rate is that of a whole day"
    assert came[3] < 100 < 2000 < came[12]
    assert came[12] > came[15] > came[9] > came[23] > came[5]


def test_visitors_come_when_they_come_however_slow_the_service_is(place: Running) -> None:
    run = run_of(place, rate=20, visitors=None, seconds=2.0)
    began = time.monotonic()
    told = come(run)
    assert 15 <= told.visitors <= 70
    assert time.monotonic() - began >= 1.5


def test_a_crowd_that_is_stopped_ends_with_what_it_has(place: Running) -> None:
    async def work() -> drive.Figures:
        stop = asyncio.Event()
        run = run_of(place, rate=30, visitors=100_000, haste=1, key=None)
        coming = asyncio.create_task(drive.drive(run, await drive.world_of(run, HABITS), stop=stop))
        await asyncio.sleep(1.5)
        stop.set()
        return await asyncio.wait_for(coming, 20)

    told = running.run(work())
    assert 5 < told.visitors < 200
    assert told.there == 0
    assert not told.errors


def test_a_service_that_is_not_there_or_has_no_such_entry_is_told(place: Running) -> None:
    with pytest.raises(errors.NearcodeError):
        come(run_of(place, entry="nobody"))
    with pytest.raises(errors.Unavailable):
        come(run_of(place, base_url="http://127.0.0.1:9"))


# ---------------------------------------------------------------- by the command line


def test_the_command_shows_figures_and_ends_with_a_table(nearcode: Any, place: Running) -> None:
    said = well(
        nearcode(
            "simulate", "--base-url", place.base_url, "--entry", ENTRY, "--key", place.keys["hq"],
            "--visitors", 40, "--rate", 40, "--haste", 100,
        )
    )  # fmt: skip
    assert re.search(r"visitors\s+40\b", said)
    assert re.search(r"joined\s+\d+\s+\d+\.\d%", said)
    assert re.search(r"request, p99\s+[\d.,]+ ms", said)


def test_no_crowd_is_let_loose_on_another_machine_by_accident(nearcode: Any) -> None:
    said = badly(nearcode("simulate", "--base-url", "https://codes.example.com", "--entry", "tea"))
    assert "--yes" in said
    assert "--base-url" in badly(nearcode("simulate"))


def people(service: Running) -> int:
    """Scans that the service's process has counted."""
    text = service.visitor.get("/metrics").text
    found = re.search(r'^nearcode_scans_total\{by="person"\} (\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0


def test_ctrl_c_ends_a_crowd_with_its_table(place: Running) -> None:
    before = people(place)
    with started(
        "simulate", "--base-url", place.base_url, "--entry", ENTRY, "--minutes", 5, "--rate", 20,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 90
        while people(place) < before + 10:
            assert time.monotonic() < deadline, "no crowd has come"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert re.search(r"scans\s+\d+", out)
