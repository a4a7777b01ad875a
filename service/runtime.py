"""One worker's parts, from start to stop: pool, directory, journal, and what runs beside them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import structlog

from geo import iplocate, places
from service import accounts, db, errors
from service.directory import Directory
from service.journal import Journal
from service.settings import Settings

log = structlog.get_logger("nearcode")

_MAINTAIN_EVERY_S = 6 * 3600


@dataclass(slots=True)
class Service:
    """What handlers work with. `trouble` says why the worker is not ready, if it is not."""

    settings: Settings
    pool: asyncpg.Pool
    directory: Directory
    journal: Journal
    locator: iplocate.IpLocator
    secret: bytes
    trouble: str | None = None

    async def refresh(self) -> None:
        """See now what was changed in the catalog, by this process or another."""
        async with self.connection() as connection:
            await self.directory.refresh(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[db.Connection]:
        """A pooled connection. Raises `errors.Unavailable` if the database does not answer."""
        async with db.acquire(self.pool) as connection:
            yield connection


@asynccontextmanager
async def running(settings: Settings, database_url: str) -> AsyncIterator[Service]:
    """A worker's parts, running. Raises `errors.Unavailable`, `errors.SchemaOutdated`."""
    places.default()  # loaded before the first visitor comes, not by them
    pool = await db.connect_pool(database_url, settings.database_pool)
    try:
        directory = Directory()
        async with db.acquire(pool) as connection:
            await db.check_schema(connection)
            secret = await accounts.installation_secret(connection)
            await directory.refresh(connection)
        service = Service(
            settings=settings,
            pool=pool,
            directory=directory,
            journal=Journal(pool, directory, settings, secret),
            locator=iplocate.IpLocator(settings.xdb_files, settings.mmdb_files),
            secret=secret,
        )
        async with _beside(
            _every(settings.poll_s, service.refresh, service),
            _every(settings.sweep_s, service.journal.sweep, service),
            _every(_MAINTAIN_EVERY_S, lambda: _maintain(service), service),
        ):
            yield service
    finally:
        # Connections that are still at work get a moment to finish.
        try:
            await asyncio.wait_for(pool.close(), timeout=10)
        except TimeoutError:
            pool.terminate()


async def _maintain(service: Service) -> None:
    async with service.connection() as connection:
        await db.ensure_partitions(connection)
        await db.analyze(connection)


async def _every(seconds: float, work: Callable[[], Awaitable[object]], service: Service) -> None:
    """Do `work` again and again; trouble is told once and ends by itself."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except (errors.NearcodeError, asyncpg.PostgresError, OSError, TimeoutError) as error:
            if service.trouble is None:
                log.warning("background work failed", error=str(error))
            service.trouble = str(error)
        else:
            if service.trouble is not None:
                log.info("background work goes on")
            service.trouble = None


@asynccontextmanager
async def _beside(*loops: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
