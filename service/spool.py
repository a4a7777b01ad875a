"""The spool: what visitors do while the database is away, kept on this machine until it is back.

One file a worker, one record a line, each with its checksum: a line that was torn by a crash was
never answered for. What `keep` has returned from is on the disk. A file belongs to whoever holds
its lock; those of workers that are gone are taken over by the next that looks.
"""

import asyncio
import fcntl
import os
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from service import errors, metrics
from service.gathering import Gathering

log = structlog.get_logger("nearcode.spool")

_SUFFIX = ".spool"


@dataclass(slots=True)
class Spooled:
    """A file to be written into the database; this process holds its lock."""

    spool_id: uuid.UUID
    path: Path
    lock: int

    def records(self) -> list[bytes]:
        """What was kept, in order."""
        return list(_records(self.path))

    def reject(self, record: bytes) -> None:
        """Put aside what the database will not take, for somebody to look at."""
        with self.path.with_suffix(".rejected").open("ab") as file:
            file.write(record + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def done(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.lock)


class Spool:
    """Records in `folder`, up to `most_bytes` by this worker. One worker's event loop uses it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._current: Spooled | None = None
        self._entries = self._bytes = 0
        self._oldest_at: float | None = None
        self._failed: set[asyncio.Future[None]] = set()
        self._writing: Gathering[tuple[bytes, asyncio.Future[None]]] = Gathering(
            self._write, most=1000, lanes=1
        )

    async def keep(self, record: bytes) -> None:
        """Until the record, which holds no line break, is on the disk. Raises
        `errors.Unavailable` if there is no room, or the disk fails."""
        if self._bytes + len(record) > self._most_bytes:
            raise errors.Unavailable("The database does not answer, and the spool is full")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bytes += len(record) + 10
        self._writing.put((record, done))
        await done

    def find(self, text: bytes) -> Iterator[bytes]:
        """The records of all workers on this machine that hold `text`, in no order."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            yield from (record for record in _records(path) if text in record)

    async def take(self) -> list[Spooled]:
        """What waits to be written into the database, oldest first: this worker's own file, which
        is closed, and those that nobody holds. They are the caller's until they are `done`."""
        await self._writing.drained()
        return await asyncio.to_thread(self._take)

    def measure(self) -> None:
        age_s = time.time() - self._oldest_at if self._oldest_at else 0.0
        metrics.SPOOL_ENTRIES.set(self._entries)
        metrics.SPOOL_BYTES.set(self._bytes)
        metrics.SPOOL_AGE_SECONDS.set(age_s)

    def emptied(self) -> None:
        """All that was taken is in the database."""
        if self._current is None:
            self._entries = self._bytes = 0
            self._oldest_at = None

    async def _write(self, kept: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        try:
            await asyncio.to_thread(self._append, [record for record, _ in kept])
        except OSError as error:
            log.exception("the spool cannot be written")
            failed = errors.Unavailable(f"The spool cannot be written: {error.strerror}")
            for _, done in kept:
                if not done.done():
                    done.set_exception(failed)
            return
        self._entries += len(kept)
        self._oldest_at = self._oldest_at or time.time()
        for _, done in kept:
            if not done.done():
                done.set_result(None)

    def _append(self, records: list[bytes]) -> None:
        if self._current is None:
            self._current = self._open_new()
        lines = b"".join(b"%08x %s\n" % (zlib.crc32(record), record) for record in records)
        with self._current.path.open("ab") as file:
            start = file.tell()
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # Nobody is answered for these: they must not be found whole later.
                file.truncate(start)
                raise

    def _open_new(self) -> Spooled:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        spool_id = uuid.uuid4()
        path = self._folder / f"{spool_id}{_SUFFIX}"
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        directory = os.open(self._folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        return Spooled(spool_id, path, handle)

    def _take(self) -> list[Spooled]:
        taken = [self._current] if self._current else []
        self._current = None
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if any(path == mine.path for mine in taken):
                continue
            try:
                handle = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue  # another worker was faster
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                gone = not path.exists()
            except OSError:
                gone = True
            if gone:
                os.close(handle)
            else:
                taken.append(Spooled(uuid.UUID(path.stem), path, handle))
        return sorted(taken, key=lambda spooled: spooled.path.stat().st_mtime)


def _records(path: Path) -> Iterator[bytes]:
    """The whole lines of a file; at the first that is torn or spoilt it ends."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    for line in text.split(b"\n")[:-1]:
        checksum, _, record = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(record):
            log.error("a record of the spool is spoilt", file=path.name)
            return
        yield record
