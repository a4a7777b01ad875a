"""A running service for tests: uvicorn on a free port, over real HTTP, with a key for each role."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from service import accounts, app, catalog, db, embedded, importing, server, tabular
from service.domain import Role
from service.settings import Settings

T = TypeVar("T")

CHAIN = "tea"
ENTRY = "tea"
MANAGED = ("S1", "S2")


@contextlib.contextmanager
def own_server() -> Iterator[embedded.EmbeddedPostgres]:
    """A PostgreSQL of its own, which goes with the block.

    Not in pytest's own temporary folder, whose mode a second pytest on the machine resets.
    """
    with (
        tempfile.TemporaryDirectory(prefix="nearcode-tests-") as folder,
        embedded.EmbeddedPostgres(Path(folder) / "data") as started,
    ):
        yield started


@dataclass(frozen=True, slots=True)
class Running:
    """Clients have the service's address; `hq`, `manager` and `read` send their keys.

    The manager's key is for the stores S1 and S2, which exist.
    """

    base_url: str
    database_url: str
    settings: Settings
    keys: dict[str, str]
    visitor: httpx.Client
    hq: httpx.Client
    manager: httpx.Client
    read: httpx.Client

    def put_store(self, store: str, lon: float, lat: float, **values: Any) -> dict[str, Any]:
        body = {"name": f"{store}店", "lon": lon, "lat": lat, **values}
        return answered(self.hq.put(f"/api/v1/stores/{store}", json=body))

    def put_code(self, store: str, token: str, **values: Any) -> dict[str, Any]:
        """A WeCom group code whose payload ends in `token`."""
        body = {"payload": payload(token), **values}
        return answered(self.hq.post(f"/api/v1/stores/{store}/codes", json=body))

    def put_entry(self, **values: Any) -> dict[str, Any]:
        body = {"entry": ENTRY, "name": "活码", **values}
        return answered(self.hq.post("/api/v1/entries", json=body))

    def scan(self, visitor: str, **values: Any) -> str:
        """A new scan of this visitor's; its id."""
        body = {"entry": ENTRY, **values}
        answer = self.visitor.post("/api/v1/scans", json=body, headers={"X-Visitor": visitor})
        return str(answered(answer)["scan_id"])

    def locate(self, scan_id: str, lon: float, lat: float, **values: Any) -> dict[str, Any]:
        body = {"lon": lon, "lat": lat, "accuracy_m": 10, **values}
        return answered(self.visitor.post(f"/api/v1/scans/{scan_id}/position", json=body))

    def tell(self, scan_id: str, event: str) -> dict[str, Any]:
        return answered(self.visitor.post(f"/api/v1/scans/{scan_id}/events", json={"event": event}))

    def code(self, code_id: str) -> dict[str, Any]:
        return answered(self.hq.get(f"/api/v1/codes/{code_id}"))


def answered(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of a success; fails with what was answered otherwise."""
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


def payload(token: str) -> str:
    """A WeCom group's payload of the right shape, made up from a token."""
    return f"https://work.weixin.qq.com/gm/{token.encode().hex():0<32}"[:62]


@contextlib.contextmanager
def running(database_url: str, settings: Settings) -> Iterator[Running]:
    """The service on a migrated, empty database; a chain with two stores and keys is made."""
    keys = run(_prepare(database_url))
    with served(database_url, settings) as base_url, contextlib.ExitStack() as stack:

        def client(key: str | None = None) -> httpx.Client:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            # No proxy of the environment stands between the test and this machine.
            opened = httpx.Client(base_url=base_url, headers=headers, timeout=30, trust_env=False)
            return stack.enter_context(opened)

        yield Running(
            base_url=base_url,
            database_url=database_url,
            settings=settings,
            keys=keys,
            visitor=client(),
            hq=client(keys["hq"]),
            manager=client(keys["manager"]),
            read=client(keys["read"]),
        )


@contextlib.contextmanager
def served(database_url: str, settings: Settings) -> Iterator[str]:
    """The service on a free port, in a thread of its own; its address."""
    listener = server.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    config = server.configured(app.create_app(settings, database_url))
    config.timeout_graceful_shutdown = 5
    uvicorn_server = uvicorn.Server(config)
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not uvicorn_server.started:
            assert thread.is_alive(), "the service did not start"
            thread.join(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        uvicorn_server.should_exit = True
        thread.join(15)
        listener.close()


async def _prepare(database_url: str) -> dict[str, str]:
    connection = await db.connect(database_url)
    try:
        chain_id = await accounts.create_chain(connection, CHAIN, "茶")
        rows = [
            {"store": "S1", "name": "一店", "lon": 121.4737, "lat": 31.2304},
            {"store": "S2", "name": "二店", "lon": 121.4837, "lat": 31.2304},
        ]
        for row in rows:
            parsed = importing.stores(tabular.one(row))
            await catalog.put_stores(connection, chain_id, parsed.rows)
        keys = {}
        for role in Role:
            stores = frozenset(MANAGED) if role is Role.MANAGER else frozenset()
            _, keys[role.value] = await accounts.create_key(
                connection, chain_id, role, name=role.value, stores=stores
            )
        return keys
    finally:
        await connection.close()


def run(coroutine: Coroutine[object, object, T]) -> T:
    """`asyncio.run`, leaving the event loop that pytest-asyncio has set for the test alone."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)
