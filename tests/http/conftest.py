"""One service for each module of tests, and a chain of its own in it for each test that asks."""

from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests import conftest, running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running


@pytest.fixture(scope="module")
def shared_database_url(postgres_url: str, template: str, request: pytest.FixtureRequest) -> str:
    """A migrated database for the module alone."""
    name = request.node.name.rpartition("/")[2].removesuffix(".py")
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    return conftest.with_database(postgres_url, name)


@pytest.fixture(scope="module")
def shared(shared_database_url: str) -> Iterator[Running]:
    """A running service for the module: what one test does in it, the others may see."""
    settings = Settings(sweep_s=0.1, poll_s=0.2, database_pool=5)
    with running.running(shared_database_url, settings) as started:
        yield started


@pytest.fixture
def chain(shared: Running) -> Iterator[Chain]:
    """A chain for this test alone."""
    with chains.own(shared) as made:
        yield made
