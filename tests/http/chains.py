"""Chains of their own for tests that share one running service: they see nothing of each other."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from service import accounts, catalog, db, importing, tabular
from service.domain import Role
from tests import running
from tests.running import Running

_numbers = itertools.count(1)

# S1 and S2 stand 954 m apart in Shanghai.
S1 = (121.4737, 31.2304)
S2 = (121.4837, 31.2304)


@dataclass(frozen=True, slots=True)
class Chain(Running):
    """A chain with the stores S1 and S2, keys for each role, and an entry's name of its own."""

    chain: str
    entry: str

    def put_entry(self, **values: Any) -> dict[str, Any]:
        return Running.put_entry(self, **{"entry": self.entry, **values})

    def scan(self, visitor: str, **values: Any) -> str:
        return Running.scan(self, visitor, **{"entry": self.entry, **values})

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        return running.answered(self.hq.get(path, params=params))


@contextlib.contextmanager
def own(service: Running, *, timezone: str = "Asia/Shanghai") -> Iterator[Chain]:
    """A new chain in the running service."""
    number = next(_numbers)
    name = f"chain-{number}"
    keys = running.run(_make(service.database_url, name, timezone))
    with contextlib.ExitStack() as stack:

        def client(key: str | None = None) -> httpx.Client:
            return stack.enter_context(opened(service.base_url, key))

        shared = {
            field.name: getattr(service, field.name)
            for field in dataclasses.fields(Running)
            if field.name in ("base_url", "database_url", "settings")
        }
        yield Chain(
            **shared,
            keys=keys,
            visitor=client(),
            hq=client(keys["hq"]),
            manager=client(keys["manager"]),
            read=client(keys["read"]),
            chain=name,
            entry=f"entry-{number}",
        )


def opened(base_url: str, key: str | None = None) -> httpx.Client:
    """A client that sends the key, and that no proxy of the environment stands in the way of."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(
        base_url=base_url, headers=headers, timeout=60, trust_env=False, verify=False
    )


async def _make(database_url: str, name: str, timezone: str) -> dict[str, str]:
    connection = await db.connect(database_url)
    try:
        chain_id = await accounts.create_chain(connection, name, name, timezone)
        for store, (lon, lat) in {"S1": S1, "S2": S2}.items():
            row = {"store": store, "name": f"{store}店", "lon": lon, "lat": lat}
            await catalog.put_stores(connection, chain_id, importing.stores(tabular.one(row)).rows)
        keys = {}
        for role in Role:
            stores = frozenset(running.MANAGED) if role is Role.MANAGER else frozenset()
            _, keys[role.value] = await accounts.create_key(
                connection, chain_id, role, name=role.value, stores=stores
            )
        return keys
    finally:
        await connection.close()
