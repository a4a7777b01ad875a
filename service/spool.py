"""The spool: what visitors do while the database is away, kept on this machine until it is back.

One file a worker, one record a line, each with its checksum: a line that was torn by a crash was
never answered for. What `keep` has returned from is on the disk. A file belongs to whoever holds
its lock; those of workers that are gone are taken over by the next that looks.
"""

import asyncio
import contextlib
import fcntl
import os
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service import errors, metrics
from service.domain import uuid7
from service.gathering import Gathering

log = structlog.get_logger("nearcode.spool")

_SUFFIX = ".spool"


@dataclass(slots=True)
class Spooled:
    """A file of which this process holds the lock; its name is time-ordered."""

    spool_id: uuid.UUID
    path: Path
    handle: int
    entries: int = 0
    size: int = 0
    is_done: bool = False
    _spoilt: list[bytes] = field(default_factory=list)

    @property
    def began_at(self) -> float:
        return (self.spool_id.int >> 80) / 1000

    def records(self) -> list[bytes]:
        """What was kept, in order; always the same. A line that is spoilt harms no other."""
        records: list[bytes] = []
        self._spoilt.clear()
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            whole = _whole(line)
            if whole is None:
                self._spoilt.append(line)
            else:
                records.append(whole[1])
        self.entries = len(records)
        return records

    def reject(self, record: bytes) -> None:
        """Put aside what cannot be written, for somebody to look at."""
        with self.path.with_suffix(".rejected").open("ab") as file:
            file.write(record + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def done(self) -> None:
        """All of it is in the database: the file ends, and with it this object."""
        for line in self._spoilt:
            log.error("a line of the spool is spoilt, and put aside", file=self.path.name)
            self.reject(line)
        self.path.unlink(missing_ok=True)
        os.close(self.handle)
        self.is_done = True


@dataclass(slots=True)
class _Followed:
    """A file, whosoever's, as far as it has been read: where the records of each key stand."""

    handle: int
    read: int = 0
    places: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)

    def read_on(self) -> None:
        size = os.fstat(self.handle).st_size
        if size <= self.read:
            return
        new = os.pread(self.handle, size - self.read, self.read)
        # A last line without its end is still being written.
        for line in new.split(b"\n")[:-1]:
            if (whole := _whole(line)) is not None:
                self.places.setdefault(whole[0], []).append((self.read, len(line)))
            self.read += len(line) + 1

    def find(self, key: bytes) -> Iterator[bytes]:
        for start, length in self.places.get(key, ()):
            # It may have been taken back since: see `Spool._append`.
            if (whole := _whole(os.pread(self.handle, length, start))) is not None:
                yield whole[1]


class Spool:
    """Records in `folder`, up to `most_bytes` by this worker. One worker's event loop uses it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._current: Spooled | None = None
        # Ours that are not written to any more, and whatever was taken.
        self._closed: list[Spooled] = []
        self._taken: list[Spooled] = []
        self._refused: set[Path] = set()
        self._followed: dict[str, _Followed] = {}
        self._waiting_bytes = 0
        # A file is not taken while it is written to.
        self._turn = asyncio.Lock()
        self._writing: Gathering[tuple[bytes, asyncio.Future[None]]] = Gathering(
            self._write, most=1000, lanes=1
        )

    async def keep(self, key: bytes, record: bytes) -> None:
        """Until the record is on the disk. The key, by which it is found, holds no space, and
        neither of them a line break.

        Raises `errors.Unavailable` if there is no room, or the disk fails.
        """
        kept = b"%s %s" % (key, record)
        line = b"%08x %s\n" % (zlib.crc32(kept), kept)
        if self._bytes() + len(line) > self._most_bytes:
            raise errors.Unavailable("The database does not answer, and the spool is full")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_bytes += len(line)
        self._writing.put((line, done))
        await done

    def find(self, key: bytes) -> list[bytes]:
        """The records of this key by all workers of this machine; those of each in order.

        What was read before is not read again: a spool may be large, and this is asked for often.
        """
        self._follow()
        return [record for file in self._followed.values() for record in file.find(key)]

    async def take(self) -> list[Spooled]:
        """What waits to be written into the database, oldest first: this worker's own files, which
        are closed, and those that nobody holds. They are the caller's until they are `done`."""
        async with self._turn:
            return await asyncio.to_thread(self._take)

    def emptied(self) -> None:
        """All that was taken is in the database."""
        self._taken = [spooled for spooled in self._taken if not spooled.is_done]

    def measure(self) -> None:
        held = self._held()
        oldest_at = min((spooled.began_at for spooled in held), default=None)
        metrics.SPOOL_ENTRIES.set(sum(spooled.entries for spooled in held))
        metrics.SPOOL_BYTES.set(self._bytes())
        metrics.SPOOL_AGE_SECONDS.set(0.0 if oldest_at is None else time.time() - oldest_at)

    def _held(self) -> list[Spooled]:
        held = [*self._taken, *self._closed, *([self._current] if self._current else [])]
        return [spooled for spooled in held if not spooled.is_done]

    def _bytes(self) -> int:
        return self._waiting_bytes + sum(spooled.size for spooled in self._held())

    # Writing

    async def _write(self, kept: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        failed: errors.Unavailable | None = None
        lines = b"".join(line for line, _ in kept)
        async with self._turn:
            try:
                await asyncio.to_thread(self._append, lines, len(kept))
            except OSError as error:
                failed = errors.Unavailable(f"The spool cannot be written: {error.strerror}")
        self._waiting_bytes -= len(lines)
        for _, done in kept:
            if done.done():
                continue
            if failed is None:
                done.set_result(None)
            else:
                done.set_exception(failed)
        if failed is not None:
            log.error("the spool cannot be written", error=failed.detail)

    def _append(self, lines: bytes, entries: int) -> None:
        if self._current is None:
            self._current = self._open_new()
        current = self._current
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(current.handle, left) :]
            os.fsync(current.handle)
        except OSError:
            # Nobody is answered for these, so they must not be found whole later. And nothing is
            # written behind what may be torn: it would be torn with it.
            self._current = None
            with contextlib.suppress(OSError):
                os.ftruncate(current.handle, current.size)
                os.fsync(current.handle)
            if current.size:
                self._closed.append(current)
            else:
                with contextlib.suppress(OSError):
                    current.done()
            raise
        current.size += len(lines)
        current.entries += entries

    def _open_new(self) -> Spooled:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync(self._folder.parent)
        while True:
            spool_id = uuid7()
            path = self._folder / f"{spool_id}{_SUFFIX}"
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
            if _lock(handle):
                break
            os.close(handle)  # another worker has taken it for a dead one's
        _sync(self._folder)
        return Spooled(spool_id, path, handle)

    # Taking

    def _take(self) -> list[Spooled]:
        known = {spooled.path for spooled in self._held()}
        orphans = [self._adopt(path) for path in self._paths() if path not in known]
        taken = [*self._closed, *(orphan for orphan in orphans if orphan)]
        self._closed = []
        if self._current is not None:
            taken.append(self._current)
            self._current = None
        self._taken += taken
        return sorted(taken, key=lambda spooled: spooled.spool_id)

    def _adopt(self, path: Path) -> Spooled | None:
        """A file that nobody holds, which is ours then."""
        try:
            spool_id = uuid.UUID(path.stem)
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None  # another worker was faster
        except (ValueError, OSError) as error:
            if path not in self._refused:
                self._refused.add(path)
                log.error("a file in the spool cannot be taken", path=str(path), error=str(error))
            return None
        if not _lock(handle):
            os.close(handle)
            return None
        return Spooled(spool_id, path, handle, size=os.fstat(handle).st_size)

    # Finding

    def _follow(self) -> None:
        paths = self._paths()
        names = {path.name for path in paths}
        for name in self._followed.keys() - names:
            os.close(self._followed.pop(name).handle)
        for path in paths:
            if path.name not in self._followed:
                try:
                    self._followed[path.name] = _Followed(os.open(path, os.O_RDONLY))
                except OSError:
                    continue  # it has just been written
            self._followed[path.name].read_on()

    def _paths(self) -> list[Path]:
        """All files in the spool, oldest first."""
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        except FileNotFoundError:
            return []


def _lock(handle: int) -> bool:
    """Whether the file is this process's alone now, and still there."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Whoever had it may have written it into the database meanwhile, and removed it.
    return os.fstat(handle).st_nlink > 0


def _whole(line: bytes) -> tuple[bytes, bytes] | None:
    """A line's key and record; None if it is torn or spoilt."""
    checksum, _, kept = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(kept):
        return None
    key, _, record = kept.partition(b" ")
    return key, record


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
