"""`GET /metrics`: one scrape tells of every worker, and to nobody outside."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.http.chains import Chain
from tests.running import Running
from tests.service.test_server import serving

SCAN = {"route": "/api/v1/scans", "method": "POST", "status": "2xx"}
ALIVE = {"route": "/healthz", "method": "GET", "status": "2xx"}


def scraped(base_url: str) -> Callable[..., float]:
    """All values, by name and labels; what is not there is 0."""
    answer = httpx.get(f"{base_url}/metrics", trust_env=False, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    return lambda name, **labels: float(found.get((name, frozenset(labels.items())), 0))


def eventually(true: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_a_scrape_tells_what_a_worker_knows_and_did(chain: Chain, shared: Running) -> None:
    before = scraped(shared.base_url)
    shared.visitor.get("/q/no-such-entry")
    shared.visitor.get("/no/such/page")
    after = scraped(shared.base_url)
    page = {"route": "/q/{entry}", "method": "GET", "status": "4xx"}
    nothing = {"route": "none", "method": "GET", "status": "4xx"}
    for kind in (page, nothing):
        name = "nearcode_requests_total"
        assert after(name, **kind) == before(name, **kind) + 1
    assert after("nearcode_stores") >= 2
    assert after("nearcode_workers") == 1
    assert after("nearcode_database_silence_seconds") < 5
    assert after("nearcode_directory_age_seconds") < 5
    assert after("nearcode_listener_connected") == 1


def test_a_scrape_names_no_store_no_entry_and_no_visitor(chain: Chain, shared: Running) -> None:
    shared.visitor.get("/q/very-unheard-of-entry")
    shared.hq.get("/api/v1/stores/UNHEARD-OF-STORE")
    told = httpx.get(f"{shared.base_url}/metrics", trust_env=False).text
    assert "unheard-of" not in told.lower()
    assert "127.0.0.1" not in told


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_what_came_through_a_proxy_is_not_answered(shared: Running, header: str) -> None:
    answer = shared.visitor.get("/metrics", headers={header: "203.0.113.9"})
    assert answer.status_code == 404
    assert "nearcode_" not in answer.text


def test_readiness_tells_of_trouble_that_stops_nobody(shared: Running) -> None:
    assert shared.visitor.get("/readyz").json()["trouble"] == []


@contextlib.contextmanager
def stopped(process_id: int) -> Iterator[None]:
    """The process stands still: whatever is answered meanwhile, another answers."""
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def workers_of(base_url: str) -> list[int]:
    """The process ids of the workers that serve this address: its supervisor's spawned children."""
    port = base_url.rpartition(":")[2]
    found: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
            found[int(folder.name)] = parent, command
    (supervisor,) = [pid for pid, (_, command) in found.items() if f"--port {port}" in command]
    return [
        pid
        for pid, (parent, command) in found.items()
        if parent == supervisor and "spawn_main" in command
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
def test_whichever_worker_is_asked_tells_of_all(database_url: str, tmp_path: Path) -> None:
    """Two real processes: each counts requests that the other tells of. One is killed: what it
    counted stays, what it measured goes, and another takes its place."""

    def ask(number: int) -> None:
        for _ in range(number):
            assert httpx.get(f"{base_url}/healthz", trust_env=False, timeout=10).is_success

    def requests() -> float:
        return scraped(base_url)("nearcode_requests_total", **ALIVE)

    with serving(database_url, tmp_path / "log", "--workers", "2") as base_url:
        eventually(lambda: scraped(base_url)("nearcode_workers") == 2)
        one, other = workers_of(base_url)
        before = requests()
        with stopped(one):
            ask(7)
            time.sleep(1.5)  # counted once a second
        with stopped(other):
            assert requests() == before + 7
            ask(4)
            assert requests() == before + 11
        os.kill(one, signal.SIGKILL)
        eventually(lambda: one not in workers_of(base_url) and len(workers_of(base_url)) == 2)
        eventually(lambda: scraped(base_url)("nearcode_workers") == 2)
        # `other` was not the one that was killed, and had told of all that it counted.
        assert requests() == before + 11
        eventually(lambda: scraped(base_url)("nearcode_listener_connected") == 1)
        environment = Path(f"/proc/{other}/environ").read_text().split("\0")
        (folder,) = [Path(v.partition("=")[2]) for v in environment if v.startswith("PROMETHEUS_")]
        assert list(folder.glob(f"gauge_live*_{other}.db"))
        assert not list(folder.glob(f"gauge_live*_{one}.db"))
    assert not folder.exists()
