"""News: what other workers change, heard within a second by LISTEN, and told by NOTIFY.

```
nearcode_catalog   a chain's id: its version has risen; told by the transaction that raised it
nearcode_room      [[code_id, members, held, revision], ...]: codes that have become full, or have
                   room again; told by the worker that saw it
```

Both are told on change only. A NOTIFY takes a lock of the whole server when its transaction
commits, so none is sent from a visitor's transaction: `room` notes what is to be told, and this
worker's own connection tells it, gathered.

News may be lost with a connection, or with the worker that was about to tell. Whoever connects
again reads what it missed; behind that, versions are polled, and now and then the seats of all
codes are read anew (runtime.py).
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import asyncpg
import structlog

from service import db, metrics
from service.directory import Directory
from service.domain import Counters
from service.hosts import Hosts

log = structlog.get_logger("nearcode.news")

_sql = db.load("news")

CATALOG = "nearcode_catalog"
ROOM = "nearcode_room"
APPLICATION = "nearcode news"  # what pg_stat_activity calls the connection

# Between two of the same kind; the first after a quiet time comes at once.
_REFRESH_EVERY_S = 0.1
_TELL_EVERY_S = 0.2
# A peer that is dead without having said so is noticed after both.
_BEAT_EVERY_S = 1.0
_ANSWER_WITHIN_S = 2.0

_CONNECT_WITHIN_S = 3
_QUERY_WITHIN_S = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0

_LOST = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.TargetServerAttributeNotMatched,
)

_MOST_BYTES = 7900  # PostgreSQL: a payload is shorter than 8000
_LEARNED_AT_ONCE = 10


class News:
    """One worker's ear and mouth, on a connection of its own. `run` it beside the rest."""

    def __init__(self, url: str, directory: Directory) -> None:
        self._hosts = Hosts(url)
        self._directory = directory
        self._process_id = 0  # of our connection's backend
        self._down_since: float | None = time.monotonic()
        self.answered_at = time.monotonic()  # when PostgreSQL last did
        self._catalog_changed = False
        self._untold: dict[uuid.UUID, Counters] = {}
        self._heard: dict[uuid.UUID, Counters] = {}
        self._something_to_do = asyncio.Event()
        self._something_heard = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether everything is heard: the connection stands, and what was missed is read."""
        return self._down_since is None

    @property
    def down_s(self) -> float:
        """Seconds for which nothing has been heard; 0 while `connected`."""
        return 0.0 if self._down_since is None else time.monotonic() - self._down_since

    def room(self, *told: Counters) -> None:
        """Tell the other workers of codes that have become full, or have room again.

        Returns at once. What cannot be told now is told when the database is back.
        """
        for counters in told:
            _keep_newest(self._untold, counters)
        self._something_to_do.set()

    async def run(self) -> None:
        """Listen and tell, until cancelled; a lost connection is made anew."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected())
            group.create_task(self._learn())

    # The connection

    async def _stay_connected(self) -> None:
        pause_s = _FIRST_PAUSE_S
        told_of_trouble = False
        while True:
            try:
                async with self._connection() as connection:
                    await self._catch_up(connection)
                    self._down_since = None
                    if told_of_trouble:
                        log.info("news are heard again")
                    pause_s, told_of_trouble = _FIRST_PAUSE_S, False
                    try:
                        await self._attend(connection)
                    except asyncio.CancelledError:
                        await self._tell_the_last(connection)
                        raise
            except Exception as error:
                if self._down_since is None:
                    self._down_since = time.monotonic()
                if not told_of_trouble:
                    # Anything but a lost connection is a mistake of ours, and is shown whole.
                    whole = not isinstance(error, _LOST)
                    log.warning("news are not heard", error=repr(error), exc_info=whole)
                    told_of_trouble = True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[db.Connection]:
        connection = await self._hosts.connect(
            timeout=_CONNECT_WITHIN_S,
            command_timeout=_QUERY_WITHIN_S,
            server_settings={"application_name": APPLICATION},
        )
        try:
            await db.prepare(connection)
            yield connection
        except BaseException:
            # Nobody may be there to say goodbye to.
            connection.terminate()
            raise

    async def _catch_up(self, connection: db.Connection) -> None:
        """Listen, and then read what was missed: in this order nothing comes in between."""
        self._process_id = connection.get_server_pid()
        connection.add_termination_listener(lambda _: self._something_to_do.set())
        await connection.add_listener(CATALOG, self._hear_catalog)
        await connection.add_listener(ROOM, self._hear_room)
        await self._directory.refresh(connection)
        await self._directory.recount(connection)
        self.answered_at = time.monotonic()

    async def _attend(self, connection: db.Connection) -> None:
        """Do what is due, until the connection is lost."""
        duties = (
            _Duty(_TELL_EVERY_S, lambda: bool(self._untold), self._tell),
            _Duty(_REFRESH_EVERY_S, lambda: self._catalog_changed, self._refresh),
            _Duty(_BEAT_EVERY_S, lambda: True, _beat, last_at=time.monotonic()),
        )
        while not connection.is_closed():
            # No turn of another task lies between this and the look at what there is to do.
            self._something_to_do.clear()
            wanted = [duty for duty in duties if duty.wanted()]
            duty = min(wanted, key=lambda duty: duty.due_at)
            wait_s = duty.due_at - time.monotonic()
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._something_to_do.wait(), wait_s)
                continue
            await duty.work(connection)
            duty.last_at = self.answered_at = time.monotonic()
        raise ConnectionResetError("the listener's connection was cut")

    # The catalog

    def _hear_catalog(self, _: object, process_id: int, channel: str, payload: str) -> None:
        metrics.CATALOG_HEARD.inc()
        self._catalog_changed = True
        self._something_to_do.set()

    async def _refresh(self, connection: db.Connection) -> None:
        self._catalog_changed = False  # a change that comes meanwhile is read by the next
        await self._directory.refresh(connection)

    # Room

    async def _tell(self, connection: db.Connection) -> None:
        told, self._untold = self._untold, {}
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await _sql.tell_room(connection, parts=_payloads(told.values()))
        except BaseException:
            self.room(*told.values())
            raise
        metrics.ROOM_TOLD.inc(len(told))

    async def _tell_the_last(self, connection: db.Connection) -> None:
        """A worker that ends takes no news with it, if it can be helped."""
        if self._untold:
            with contextlib.suppress(*_LOST):
                await self._tell(connection)

    def _hear_room(self, _: object, process_id: int, channel: str, payload: str) -> None:
        if process_id == self._process_id:
            return
        try:
            heard = _counters(payload)
        except (ValueError, TypeError) as error:
            log.warning("a notice that is not understood", channel=channel, error=str(error))
            return
        metrics.ROOM_HEARD.inc(len(heard))
        for counters in heard:
            _keep_newest(self._heard, counters)
        self._something_heard.set()

    async def _learn(self) -> None:
        """What was heard becomes known, some codes at a time: a store that turns dark, or serves
        again, takes some tenths of a millisecond."""
        while True:
            await self._something_heard.wait()
            for code_id in list(self._heard)[:_LEARNED_AT_ONCE]:
                told = self._heard.pop(code_id)
                self._directory.counted(told)
                self._correct(told)
            if not self._heard:
                self._something_heard.clear()
            await asyncio.sleep(0)

    def _correct(self, told: Counters) -> None:
        """Whoever tells what was true before something that we know would go on believing it: we
        saw no turn, because we had not heard of the first one."""
        known = self._directory.codes.get(told.code_id)
        if known is None or known.revision <= told.revision:
            return
        if known.has_room != (told.members + told.held < known.capacity):
            self.room(Counters(known.code_id, known.members, known.held, known.revision))


@dataclass(slots=True)
class _Duty:
    """Work on the connection: at most every so many seconds, and only when it is wanted."""

    every_s: float
    wanted: Callable[[], bool]
    work: Callable[[db.Connection], Awaitable[object]]
    last_at: float = 0.0

    @property
    def due_at(self) -> float:
        return self.last_at + self.every_s


async def _beat(connection: db.Connection) -> None:
    async with asyncio.timeout(_ANSWER_WITHIN_S):
        await _sql.alive(connection)


def _keep_newest(kept: dict[uuid.UUID, Counters], told: Counters) -> None:
    known = kept.get(told.code_id)
    if known is None or known.revision < told.revision:
        kept[told.code_id] = told


def _payloads(told: Iterable[Counters]) -> list[str]:
    """The counters as payloads that PostgreSQL takes: each a JSON list, in ASCII."""
    payloads: list[str] = []
    items: list[str] = []
    size = 1
    for counters in told:
        values = [str(counters.code_id), counters.members, counters.held, counters.revision]
        item = json.dumps(values, separators=(",", ":"))
        if size + len(item) + 1 > _MOST_BYTES:
            payloads.append(f"[{','.join(items)}]")
            items, size = [], 1
        items.append(item)
        size += len(item) + 1
    if items:
        payloads.append(f"[{','.join(items)}]")
    return payloads


def _counters(payload: str) -> list[Counters]:
    """Raises ValueError or TypeError for what `_payloads` has not made."""
    return [
        Counters(uuid.UUID(code_id), int(members), int(held), int(revision))
        for code_id, members, held, revision in json.loads(payload)
    ]
