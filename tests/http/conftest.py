"""One service for each module of tests, and a chain of its own in it for each test that asks."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests import conftest, running
from tests.http import chains
from tests.http.browsing import HERE, Console
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
    settings = Settings(
        sweep_s=0.1, poll_s=0.2, database_pool=5, password_memory_mb=1, password_rounds=1
    )
    with running.running(shared_database_url, settings) as started:
        yield started


@pytest.fixture
def chain(shared: Running) -> Iterator[Chain]:
    """A chain for this test alone."""
    with chains.own(shared) as made:
        yield made


@pytest.fixture
def service(chain: Chain) -> Running:
    """What a test of one chain takes for a service of its own, which would cost it a second."""
    return chain


@pytest.fixture
def browse(service: Running) -> Iterator[Any]:
    """Opens consoles: signed in with a role's key, or with none."""
    with ExitStack() as stack:

        def get(role: str | None = None) -> Console:
            client = httpx.Client(
                base_url=service.base_url, timeout=30, trust_env=False, follow_redirects=True
            )
            opened = Console(stack.enter_context(client))
            if role is not None:
                opened.sign_in(service.keys[role], "/m" if role == "manager" else "/hq")
                assert opened.page.status_code == 200
            return opened

        yield get


@pytest.fixture
def shop(chain: Chain) -> Chain:
    """S1 with one code, S2 with none, S3 that is not the manager's, and an entry."""
    chain.put_store("S1", *HERE, name="人民广场店", address="人民大道120号")
    chain.put_store("S3", 121.5, 31.25, name="别家店")
    chain.put_entry()
    return chain
