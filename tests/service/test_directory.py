"""What a worker knows follows what others change, without pausing."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from geo import distance
from geo.point import Point
from service import accounts, catalog, db, importing, qr, tabular
from service.directory import Chain, Directory
from service.domain import StoreStatus
from service.importing import StoreRow
from service.settings import Settings
from tests import running
from tests.running import Running

HERE = (121.4737, 31.2304)
SETTINGS = Settings()


def rows(*stores: tuple[str, float, float], **values: object) -> tuple[StoreRow, ...]:
    found: list[StoreRow] = []
    for store, lon, lat in stores:
        row = {"store": store, "name": store, "lon": lon, "lat": lat, **values}
        found += importing.stores(tabular.one(row)).rows
    return tuple(found)


@pytest.fixture
async def chain_id(conn: db.Connection) -> uuid.UUID:
    return await accounts.create_chain(conn, "tea", "茶")


async def put_code(conn: db.Connection, chain_id: uuid.UUID, store: str) -> uuid.UUID:
    payload = running.payload(uuid.uuid4().hex[:8])
    new = catalog.NewCode(store, payload, qr.classify(payload), 1)
    row = await catalog.create_code(conn, chain_id, new, datetime.now(UTC), SETTINGS)
    code_id: uuid.UUID = row["code_id"]
    return code_id


async def test_what_another_process_changes_is_shown_soon(service: Running) -> None:
    """Opened, moved, closed, filled and re-opened, by a connection of its own. The worker looks
    five times a second; what is above that is left to a busy machine."""
    service.put_entry()
    service.put_code("S1", "one")
    connection = await db.connect(service.database_url)

    async def nearest_becomes(store: str | None) -> None:
        began = time.monotonic()
        while True:
            path = f"/api/v1/route?entry=tea&lon={HERE[0]}&lat={HERE[1]}"
            answer = await asyncio.to_thread(service.hq.get, path)
            found = running.answered(answer)["store"]
            if (found and found["store"]) == store:
                return
            assert time.monotonic() - began < 10, f"{found} and not {store}"
            await asyncio.sleep(0.02)

    try:
        chain_id = await accounts.chain_id_of(connection, None)
        await nearest_becomes("S1")
        await catalog.put_stores(connection, chain_id, rows(("S1", *HERE), status="closed"))
        await nearest_becomes(None)
        await catalog.put_stores(connection, chain_id, rows(("NEW", 121.48, 31.23)))
        code_id = await put_code(connection, chain_id, "NEW")
        await nearest_becomes("NEW")
        await catalog.change_code(connection, chain_id, code_id, {"members": 1}, SETTINGS)
        await nearest_becomes(None)
        await catalog.put_stores(connection, chain_id, rows(("S1", *HERE), status="open"))
        await nearest_becomes("S1")
        await catalog.change_code(connection, chain_id, code_id, {"members": 0}, SETTINGS)
        await catalog.put_stores(connection, chain_id, rows(("S1", 121.5, 31.3)))
        await nearest_becomes("NEW")
        await catalog.delete_store(connection, chain_id, "NEW")
        await nearest_becomes("S1")
    finally:
        await connection.close()


async def test_a_change_is_read_by_itself_and_not_with_everything(
    conn: db.Connection, chain_id: uuid.UUID
) -> None:
    await catalog.put_stores(conn, chain_id, rows(("A", *HERE), ("B", 121.5, 31.2)))
    directory = Directory()
    await directory.refresh(conn)
    before = directory.chains[chain_id].stores["A"]
    await catalog.put_stores(conn, chain_id, rows(("B", 121.6, 31.2)))
    assert await directory.refresh(conn)
    chain = directory.chains[chain_id]
    assert chain.stores["A"] is before
    assert chain.stores["B"].point == Point(121.6, 31.2)
    assert not await directory.refresh(conn)


async def test_many_changes_at_once_leave_every_index_right(
    conn: db.Connection, chain_id: uuid.UUID
) -> None:
    """Enough for both indexes to be built anew, in a thread, while single changes go on."""
    rng = random.Random(4)

    def anywhere() -> tuple[float, float]:
        return 121 + rng.random(), 31 + rng.random()

    places = {f"N{i:04}": anywhere() for i in range(1500)}
    stores = rows(*((store, *at) for store, at in places.items()))
    await catalog.put_stores(conn, chain_id, stores)
    directory = Directory()
    await directory.refresh(conn)
    codes = {store: await put_code(conn, chain_id, store) for store in list(places)[:60]}
    await directory.refresh(conn)
    chain = directory.chains[chain_id]

    moved = {store: anywhere() for store in places}
    await catalog.put_stores(conn, chain_id, rows(*((s, *at) for s, at in moved.items())))
    refreshing = asyncio.ensure_future(directory.refresh(conn))
    filled = set(list(codes)[::2])
    while not refreshing.done():
        for store in filled:
            code = directory.codes[codes[store]]
            code.members = 1
            chain.settle(store, datetime.now(UTC))
        await asyncio.sleep(0)
    await refreshing

    assert set(_keys(chain, serving=True)) == set(codes) - filled
    assert set(_keys(chain, serving=False)) == set(places) - (set(codes) - filled)
    at = Point(121.5, 31.5)
    told = [near.key for near in chain.dark.walk(at)][:50]
    order = sorted(
        set(places) - (set(codes) - filled),
        key=lambda s: (round(distance.geodesic_m(at, Point(*moved[s])) * 1000), s),
    )
    assert told == order[:50]


async def test_a_store_that_changes_keeps_its_codes_and_changes_its_city(
    conn: db.Connection, chain_id: uuid.UUID
) -> None:
    await catalog.put_stores(conn, chain_id, rows(("A", *HERE), city="上海市"))
    code_id = await put_code(conn, chain_id, "A")
    directory = Directory()
    await directory.refresh(conn)
    chain = directory.chains[chain_id]
    assert [list(part) for part in chain.served_in(())["上海市"]] == [["A"]]
    await catalog.put_stores(conn, chain_id, rows(("A", 120.6, 31.3), city="苏州市"))
    await directory.refresh(conn)
    assert [code.code_id for code in chain.codes_of("A")] == [code_id]
    assert [list(part) for part in chain.served_in(())["苏州市"]] == [["A"]]
    assert "上海市" not in chain.served_in(())


async def test_a_store_with_a_service_area_is_found_by_those_in_it(
    conn: db.Connection, chain_id: uuid.UUID
) -> None:
    lon, lat = HERE
    ring = [[lon - 1, lat - 1], [lon + 1, lat - 1], [lon + 1, lat + 1], [lon - 1, lat + 1]]
    drawn = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    await catalog.put_stores(conn, chain_id, rows(("FAR", lon + 0.9, lat), service_area=drawn))
    await catalog.put_stores(conn, chain_id, rows(("NEAR", *HERE), service_area=drawn))
    await catalog.put_stores(conn, chain_id, rows(("WITHOUT", *HERE)))
    directory = Directory()
    await directory.refresh(conn)
    chain = directory.chains[chain_id]
    assert [near.key for near in chain.areas_nearest(Point(*HERE))] == ["NEAR", "FAR"]
    assert sorted(chain.areas_at(Point(*HERE))) == ["FAR", "NEAR"]
    await catalog.put_stores(conn, chain_id, rows(("NEAR", *HERE), status="closed"))
    await directory.refresh(conn)
    assert chain.areas_at(Point(*HERE)) == ["FAR"]


def _keys(chain: Chain, *, serving: bool) -> list[str]:
    index = chain.serving if serving else chain.dark
    return [near.key for near in index.walk(Point(121.5, 31.5))]


@pytest.fixture
async def cut(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await db.connect(database_url)
    yield connection
    await connection.close()


async def test_a_reading_that_was_cut_off_is_made_good_by_the_next(
    conn: db.Connection, cut: db.Connection, chain_id: uuid.UUID
) -> None:
    await catalog.put_stores(conn, chain_id, rows(("A", *HERE)))
    directory = Directory()
    await directory.refresh(cut)
    await put_code(conn, chain_id, "A")
    cut.terminate()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await directory.refresh(cut)
    assert await directory.refresh(conn)
    chain = directory.chains[chain_id]
    assert "A" in chain.serving
    assert chain.stores["A"].status is StoreStatus.OPEN
