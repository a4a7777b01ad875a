"""What must be true of the seats at any moment, asked of PostgreSQL; a chain to be busy with."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import asyncpg

from geo.point import Point
from service import accounts, catalog, db, importing, qr, tabular
from service.directory import Directory
from service.domain import Fix, Routing, Scan, Source
from service.journal import Journal
from service.settings import Settings
from service.spool import Spool
from service.steps import scan
from tests import running

# A row of each is a fault. $1: the chain.
_FAULTS = {
    "a code is oversold": """
        SELECT code_id, capacity, members, held FROM codes
        WHERE chain_id = $1 AND held > 0 AND members + held > capacity""",
    "a counter differs from its rows": """
        SELECT c.code_id, c.held, count(h.hold_id) AS rows_held
        FROM codes c LEFT JOIN holds h ON h.chain_id = c.chain_id AND h.code_id = c.code_id
            AND h.state = 'held'
        WHERE c.chain_id = $1
        GROUP BY c.chain_id, c.code_id HAVING c.held <> count(h.hold_id)""",
    "a seat that its visitor does not come back to": """
        SELECT h.hold_id, v.hold_id AS remembered
        FROM holds h LEFT JOIN visitors v USING (chain_id, visitor_id, entry)
        WHERE h.chain_id = $1 AND h.state = 'held' AND v.hold_id IS DISTINCT FROM h.hold_id""",
    "a visitor with two seats": """
        SELECT visitor_id, entry, count(*) FROM holds WHERE chain_id = $1 AND state = 'held'
        GROUP BY visitor_id, entry HAVING count(*) > 1""",
    "a code shown without its seat": """
        SELECT r.routing_id, r.hold_id, h.code_id AS seat_of
        FROM routings r
        JOIN scans s ON s.chain_id = r.chain_id AND s.scan_id = r.scan_id
        LEFT JOIN holds h ON h.chain_id = r.chain_id AND h.hold_id = r.hold_id
            AND h.code_id = r.code_id AND h.visitor_id = s.visitor_id
        WHERE r.chain_id = $1 AND r.hold_id IS NOT NULL AND h.hold_id IS NULL""",
    "a decision of a scan that is not there": """
        SELECT r.routing_id FROM routings r LEFT JOIN scans s USING (chain_id, scan_id)
        WHERE r.chain_id = $1 AND s.scan_id IS NULL""",
    "a scan without a decision": """
        SELECT s.scan_id FROM scans s LEFT JOIN routings r USING (chain_id, scan_id)
        WHERE s.chain_id = $1 AND r.scan_id IS NULL""",
    "a member without one join, or a join without a member": """
        SELECT h.hold_id, h.state, count(j.join_id) FROM holds h
        LEFT JOIN joins j ON j.chain_id = h.chain_id AND j.hold_id = h.hold_id
            AND j.left_at IS NULL
        WHERE h.chain_id = $1 GROUP BY h.chain_id, h.hold_id
        HAVING count(j.join_id) <> CASE WHEN h.state = 'joined' THEN 1 ELSE 0 END""",
    "a member without evidence that counts": """
        SELECT h.hold_id FROM holds h WHERE h.chain_id = $1 AND h.state = 'joined'
        AND NOT EXISTS (SELECT FROM evidence e WHERE e.chain_id = h.chain_id
                        AND e.hold_id = h.hold_id AND e.counts)""",
    "evidence that is there twice": """
        SELECT scan_id, hold_id, kind, count(*) FROM evidence WHERE chain_id = $1
        GROUP BY scan_id, hold_id, kind HAVING count(*) > 1""",
}


async def faults(connection: db.Connection, chain_id: uuid.UUID) -> dict[str, list[str]]:
    """What is wrong with a chain's seats, with the rows that say so; nothing if all is well.

    In one snapshot: visitors may go on meanwhile.
    """
    found = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for fault, query in _FAULTS.items():
            if rows := await connection.fetch(query, chain_id):
                found[fault] = [str(dict(row)) for row in rows]
    return found


async def members(
    connection: db.Connection, chain_id: uuid.UUID
) -> Mapping[uuid.UUID, tuple[int, int]]:
    """By code: its members as counted, and its seats that were joined."""
    rows = await connection.fetch(
        """SELECT c.code_id, c.members, count(h.hold_id) FILTER (WHERE h.state = 'joined') AS joined
        FROM codes c LEFT JOIN holds h ON h.chain_id = c.chain_id AND h.code_id = c.code_id
        WHERE c.chain_id = $1 GROUP BY c.chain_id, c.code_id""",
        chain_id,
    )
    return {row["code_id"]: (row["members"], row["joined"]) for row in rows}


def fix_at(lon: float, lat: float, accuracy_m: float = 10) -> Fix:
    return Fix(point=Point(lon, lat), accuracy_m=accuracy_m, source=Source.GPS)


class Worker:
    """A worker as it is in a process of its own: its own directory, which may lag behind."""

    def __init__(
        self, pool: asyncpg.Pool, settings: Settings, entry: str, *, spool: Spool | None = None
    ) -> None:
        self.pool, self.settings, self._entry = pool, settings, entry
        self.directory = Directory()
        self.journal = Journal(pool, self.directory, settings, b"secret", spool=spool)

    async def hears(self) -> None:
        """Of what was changed in the catalog."""
        async with db.acquire(self.pool) as connection:
            await self.directory.refresh(connection)

    async def opened(
        self,
        visitor: uuid.UUID | None = None,
        *,
        via: str = "api",
        user_agent: str = "",
        placement: str | None = None,
    ) -> tuple[Scan, Routing]:
        client = scan.Client(visitor or uuid.uuid4(), via, user_agent)
        return await self.journal.open(self.directory.entries[self._entry], placement, client)


async def build(
    connection: db.Connection, chain: str, stores: Mapping[str, tuple[float, float]]
) -> uuid.UUID:
    """A chain with these stores (lon, lat), and an entry of the chain's own name; its id."""
    chain_id = await accounts.create_chain(connection, chain, chain)
    for store, (lon, lat) in stores.items():
        row = {"store": store, "name": store, "lon": lon, "lat": lat}
        await catalog.put_stores(connection, chain_id, importing.stores(tabular.one(row)).rows)
    values = catalog.EntryValues(chain)
    await catalog.create_entry(connection, chain_id, chain, values, datetime.now(UTC), Settings())
    return chain_id


async def put_code(
    connection: db.Connection, chain_id: uuid.UUID, store: str | None, capacity: int
) -> uuid.UUID:
    payload = running.payload(uuid.uuid4().hex[:16])
    new = catalog.NewCode(store, payload, qr.classify(payload), capacity)
    row = await catalog.create_code(connection, chain_id, new, datetime.now(UTC), Settings())
    code_id: uuid.UUID = row["code_id"]
    return code_id
