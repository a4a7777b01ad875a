"""What every test may ask for: a database of its own, migrated, and a connection to it.

PostgreSQL starts when the first test asks, once for the session, with fsync on as in production: a
database costs a test some 0.15 s, and without fsync not measurably less.
"""

import itertools
import os
import shutil
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from service import db
from service.settings import Settings
from tests import running
from tests.running import run

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TEMPLATE = "template_of_tests"

# The files that take longest, longest first. Where several processes share the work
# (`make test`), each is given a file at a time: with these first, the short ones fill up the end.
LONG = (
    "browser/test_hq_pages.py",
    "browser/test_visitor_page.py",
    "browser/test_hq.py",
    "browser/test_manager.py",
    "service/test_outbox.py",
    "service/test_drive.py",
    "http/test_webhooks.py",
    "service/test_cli.py",
    "service/test_crash.py",
    "http/test_uploads.py",
    "service/test_orders_machine.py",
    "service/test_seats_race.py",
    "service/test_embedded.py",
    "service/test_history.py",
    "service/test_outage.py",
    "http/test_imports.py",
    "service/test_server.py",
    "service/test_failover.py",
    "service/test_seats_machine.py",
)
_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return  # one process alone: the order makes no difference
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") is None or find_chromium() is not None:
        return
    reason = "there is no Chromium: install one (Debian: apt-get install chromium)"
    if os.environ.get("NEARCODE_REQUIRE_BROWSER", "0") not in {"", "0"}:
        pytest.fail(f"{reason}, or unset NEARCODE_REQUIRE_BROWSER")
    pytest.skip(reason)


def find_chromium() -> str | None:
    return next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program. Tests that ask for it are marked `browser`, and skipped without it."""
    found = find_chromium()
    assert found is not None, "mark the test: @pytest.mark.browser"
    return found


def with_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    return urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The session's PostgreSQL: its maintenance database."""
    with running.own_server() as server:
        yield with_database(server.url, "postgres")


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """A migrated database that nobody is connected to; its name."""
    run(execute(postgres_url, f"CREATE DATABASE {TEMPLATE}"))
    run(db.migrate(with_database(postgres_url, TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A migrated, empty database for this test alone, gone after it."""
    name = f"test_{next(_numbers)}"
    run(execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield with_database(postgres_url, name)
    # FORCE: a test of crashes may have left connections.
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[db.Connection]:
    """A connection to the test's database, prepared as the service's own are."""
    connection = await db.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def settings() -> Settings:
    """The service's settings: quick to see changes, to free seats and to hash passwords."""
    return Settings(
        sweep_s=0.1, poll_s=0.2, database_pool=5, password_memory_mb=1, password_rounds=1
    )


@pytest.fixture
def service(database_url: str, settings: Settings) -> Iterator[running.Running]:
    """A running service with a database of its own."""
    with running.running(database_url, settings) as started:
        yield started
