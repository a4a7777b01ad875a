"""One worker's parts, from start to stop: pool, directory, journal, and what runs beside them."""

import asyncio
import contextlib
import functools
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog

from geo import iplocate, places
from service import (
    accounts,
    audit,
    copies,
    db,
    decoding,
    errors,
    imports,
    invitations,
    journal,
    metrics,
    orders,
    people,
    retention,
    rollups,
    signed_in,
    throttle,
    warnings,
    webhooks,
)
from service.directory import Directory
from service.news import News
from service.settings import Settings
from service.shelf import SHELF
from service.spool import Spool
from service.webhook_delivery import Deliveries

log = structlog.get_logger("nearcode")

# A request leaves some hundred objects and hardly a cycle. Python's own thresholds look for cycles
# after every few requests, which takes a tenth of a worker's time.
_COLLECT = (100_000, 20, 50)
_MAINTAIN_EVERY_S = 6 * 3600
_RECOUNT_EVERY_S = 300
_FORGET_EVERY_S = 300
_MEASURE_EVERY_S = 1
_WARN_EVERY_S = 0.5  # whether there is anything to look at, which is asked in memory
_MATCH_EVERY_S = 10
# A listener that is cut for longer than this is trouble; until then it is a database's restart.
_DOWN_LONG_S = 10
_DRAIN_WITHIN_S = 10


@dataclass(slots=True)
class Service:
    """What handlers work with."""

    settings: Settings
    pool: asyncpg.Pool
    directory: Directory
    news: News
    journal: journal.Journal
    locator: iplocate.IpLocator
    decoder: decoding.Decoder
    imports: imports.Imports
    secret: bytes
    deliveries: Deliveries
    # The work beside the requests that fails.
    _failing: set[str] = field(default_factory=set)
    _refreshed_at: float = field(default_factory=time.monotonic)

    @property
    def matching(self) -> orders.Matching:
        """How orders are matched to joins."""
        return orders.Matching(self.secret, timedelta(days=self.settings.order_window_days))

    async def refresh(self) -> None:
        """See now what was changed in the catalog, by this process or another."""
        async with self.connection() as connection:
            await self.directory.refresh(connection)
        self._refreshed_at = time.monotonic()

    async def recount(self) -> None:
        """See what seats there are now: a worker may have died before it told of a change."""
        async with self.connection() as connection:
            await self.directory.recount(connection)

    def trouble(self) -> list[str]:
        """What is wrong though requests are served; nothing if all is well."""
        found = [f"{work} fails: see the log" for work in sorted(self._failing)]
        if self.news.down_s > _DOWN_LONG_S:
            seconds = f"{self.news.down_s:.0f}"
            found.append(f"for {seconds} s other workers' changes have been polled, not heard")
        return found

    def note(self, work: str, error: Exception | None) -> None:
        """Work beside the requests has failed, or (None) has been done."""
        if error is None:
            if work in self._failing:
                log.info("background work goes on", work=work)
            self._failing.discard(work)
            return
        if work not in self._failing:
            log.warning("background work failed", work=work, error=str(error))
        self._failing.add(work)

    def measure(self) -> None:
        """Set the gauges that nobody sets when something happens, and hand over the counts."""
        metrics.settle()
        now = time.monotonic()
        chains = self.directory.chains.values()
        serving = sum(len(chain.serving) for chain in chains)
        metrics.STORES.set(serving + sum(len(chain.dark) for chain in chains))
        metrics.STORES_SERVING.set(serving)
        metrics.QUEUE_REQUESTS.set(len(self.journal))
        metrics.CODES.set(len(self.directory.codes))
        metrics.DIRECTORY_AGE_SECONDS.set(now - self.directory.looked_at)
        self.journal.measure()
        metrics.LISTENER_CONNECTED.set(self.news.connected)
        answered_at = max(self.news.answered_at, self._refreshed_at)
        metrics.DATABASE_SILENCE_SECONDS.set(now - answered_at)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[db.Connection]:
        """A pooled connection. Raises `errors.Unavailable` if the database does not answer."""
        async with db.acquire(self.pool) as connection:
            yield connection


@asynccontextmanager
async def running(settings: Settings, database_url: str) -> AsyncIterator[Service]:
    """A worker's parts, running. Raises `errors.Unavailable`, `errors.SchemaOutdated`."""
    places.default()  # loaded before the first visitor comes, not by them
    gc.set_threshold(*_COLLECT)
    SHELF.limit = int(settings.report_memory_mb * 1_000_000)
    async with (
        _pool(database_url, settings.database_pool) as pool,
        _pool(database_url, journal.connections(settings), db.BY_KEY) as by_key,
        decoding.running(settings) as decoder,
    ):
        directory = Directory()
        async with db.acquire(pool) as connection:
            await db.check_schema(connection)
            secret = await accounts.installation_secret(connection)
            await directory.refresh(connection)
        news = News(database_url, directory)
        connect = functools.partial(db.acquire, pool)
        service = Service(
            settings=settings,
            pool=pool,
            directory=directory,
            news=news,
            journal=journal.Journal(
                by_key,
                directory,
                settings,
                secret,
                on_room=news.room,
                spool=_spool(settings),
                answers=functools.partial(db.answers, database_url),
            ),
            locator=iplocate.IpLocator(settings.xdb_files, settings.mmdb_files),
            decoder=decoder,
            imports=imports.Imports(connect),
            secret=secret,
            deliveries=Deliveries(connect, directory, settings, secret),
        )
        metrics.begin()
        service.measure()
        async with _beside(
            service.news.run(),
            service.journal.watch(),
            service.deliveries.run(),
            _every("the poll", settings.poll_s, service.refresh, service),
            _every("the sweep", settings.sweep_s, service.journal.sweep, service),
            *_warning(service),
            _every("the recount", _RECOUNT_EVERY_S, service.recount, service),
            _every("the roll-ups", settings.rollup_s, lambda: _roll_up(service), service),
            _every("maintenance", _MAINTAIN_EVERY_S, lambda: _maintain(service), service),
            _every("matching", _MATCH_EVERY_S, lambda: _match(service), service),
            _every("forgetting", _FORGET_EVERY_S, lambda: _forget(service), service),
            _measuring(service),
        ):
            try:
                yield service
            finally:
                await service.imports.close()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(service.journal.drained(), _DRAIN_WITHIN_S)


@asynccontextmanager
async def _pool(
    url: str, size: int, session: Mapping[str, str] | None = None
) -> AsyncIterator[asyncpg.Pool]:
    pool = await db.connect_pool(url, size, session)
    try:
        yield pool
    finally:
        # Connections that are still at work get a moment to finish.
        try:
            await asyncio.wait_for(pool.close(), timeout=10)
        except TimeoutError:
            pool.terminate()


def _spool(settings: Settings) -> Spool | None:
    if not settings.spool_mb:
        return None
    return Spool(settings.data_dir / "spool", int(settings.spool_mb * 1_000_000))


def _warning(service: Service) -> list[Coroutine[Any, Any, None]]:
    if not service.settings.warnings_s:
        return []
    watch = warnings.Watch(service.pool, service.directory, service.settings)
    often_s = min(_WARN_EVERY_S, service.settings.warnings_s)
    return [_every("the warnings", often_s, watch.look, service)]


async def _roll_up(service: Service) -> None:
    async with service.connection() as connection:
        await rollups.keep_up(connection)


async def _retain(connection: db.Connection, settings: Settings) -> None:
    """Drop the months that are too old."""
    if not settings.retention_months:
        return
    before = retention.first_kept(datetime.now(UTC), settings.retention_months)
    for month in await retention.due(connection, before):
        try:
            dropped = await retention.drop(connection, month)
        except errors.Conflict as error:
            log.warning("a month is not dropped yet", reason=error.detail)
            continue
        log.info(
            "a month's raw rows are dropped",
            month=f"{month:%Y-%m}",
            tables=dropped.tables,
            size_bytes=dropped.size_bytes,
        )


async def _maintain(service: Service) -> None:
    async with service.connection() as connection:
        await db.ensure_partitions(connection)
        await db.analyze(connection)
        await _retain(connection, service.settings)
        await warnings.forget(connection, service.settings)
        await throttle.tidy(connection, service.settings)
        for kept in (signed_in, people, invitations):
            await kept.tidy(connection)
        await webhooks.forget(connection, service.settings.webhook_days)
        await audit.forget(connection, service.settings.audit_days)


async def _forget(service: Service) -> None:
    """Pictures that were put aside and that nobody came back for; imports that nobody works on."""
    async with service.connection() as connection:
        await copies.sweep(connection)
        await imports.sweep(connection)


async def _match(service: Service) -> None:
    async with service.connection() as connection:
        await orders.catch_up(connection, service.matching)


async def _every(
    name: str, seconds: float, work: Callable[[], Awaitable[object]], service: Service
) -> None:
    """Do `work` again and again; trouble is told once and ends by itself."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except (errors.NearcodeError, asyncpg.PostgresError, OSError, TimeoutError) as error:
            service.note(name, error)
        else:
            service.note(name, None)


async def _measuring(service: Service) -> None:
    try:
        while True:
            await asyncio.sleep(_MEASURE_EVERY_S)
            service.measure()
    finally:
        service.measure()


@asynccontextmanager
async def _beside(*loops: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(_tell_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _tell_end(task: asyncio.Future[None]) -> None:
    """Work that should go on for ever has ended by a mistake of ours: not without a word."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background work ended", exc_info=error)
