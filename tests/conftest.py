"""What every test may ask for: a database of its own, migrated, and a connection to it.

PostgreSQL starts when the first test asks, once for the session, and with fsync on as in
production (off, a database is made and dropped no faster: see `database_url`).
"""

import asyncio
import itertools
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from service import db, embedded

T = TypeVar("T")

TEMPLATE = "template_of_tests"
_numbers = itertools.count(1)


def run(coroutine: Coroutine[object, object, T]) -> T:
    """`asyncio.run`, leaving the event loop that pytest-asyncio has set for the test alone."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


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
    # Not pytest's own temporary folder, whose mode a second pytest on the machine resets.
    with (
        tempfile.TemporaryDirectory(prefix="nearcode-tests-") as folder,
        embedded.EmbeddedPostgres(Path(folder) / "data") as server,
    ):
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
