"""Pictures read outside of the service: by processes with limits, which may die of them.

A picture is whatever a stranger sends, and the libraries that decode it are written in C. So each
is read by a process that holds nothing (`reader.py`), one at a time, within bounds of memory and
time; one that dies or takes too long is replaced. See docs/decisions/0012-decoding.md.
"""

import asyncio
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from service import errors, qr, reader, reading
from service.settings import Settings

log = structlog.get_logger("nearcode")

_START_WITHIN_S = 30
_FOR_EVER_S = 86_400
_RENEW_AFTER = 500
"""Pictures after which a process is replaced: what libraries leak goes with it."""

_REFUSALS: dict[str, type[reading.QrError]] = {
    "too_large": reading.PictureTooLarge,
    "too_many_pixels": reading.PictureTooLarge,
    "too_hard": reading.TooHard,
    "no_code": reading.NoCode,
    "several_codes": reading.SeveralCodes,
}
"""By their words; every other is that of a file that is no picture."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What was read from a picture, and the small copy of it to keep."""

    payload: str
    kind: qr.CodeKind
    copy: reading.Copy


class Decoder:
    """Reads pictures in processes of its own, at most `settings.decoders` at once.

    Where nobody else has pictures to be read, as on the command line, `alone`, who has many may use
    them all.
    """

    def __init__(self, settings: Settings, *, alone: bool = False) -> None:
        self._count = settings.decoders
        self._queue = settings.decode_queue
        self._timeout_s = settings.decode_timeout_s or _FOR_EVER_S
        self._cpu_s = math.ceil(settings.decode_timeout_s)
        self._memory_mb = settings.decode_memory_mb
        self._turns = asyncio.Semaphore(self._count)
        # What has many pictures leaves a process to who stands in a shop with one.
        self._bulk = asyncio.Semaphore(self._count if alone else max(1, self._count - 1))
        self._asked = 0
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._processes: set[_Process] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="decoding")

    async def read(self, image: bytes) -> Picture:
        """The one code in the picture, which leads to a group or a contact.

        Raises `qr.QrError`, and `errors.Unavailable` while too many wait.
        """
        return self._picture(*await self._ask(reader.READ, image))

    async def read_one_of_many(self, load: Callable[[], bytes]) -> Picture:
        """The same for somebody who has many: waits for as long as it takes, leaves a process to
        the others, and loads the picture, in a thread, when its turn has come. Raises `qr.QrError`,
        and what `load` raises."""
        async with self._bulk:
            image = await asyncio.to_thread(load)
            return self._picture(*await self._ask(reader.READ, image, patient=True))

    def _picture(self, head: dict[str, Any], copy: bytes) -> Picture:
        payload = head["text"]
        return Picture(payload, qr.classify(payload), reading.Copy(copy, *head["size"]))

    async def logo(self, image: bytes) -> bytes:
        """Any picture as a PNG that is safe to work with. Raises as `read`."""
        return (await self._ask(reader.LOGO, image))[1]

    async def _ask(
        self, what: bytes, image: bytes, *, patient: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        if not patient and self._queue and self._asked >= self._count + self._queue:
            raise errors.Unavailable(
                "Too many pictures are being read just now: try again", retry_after_s=2
            )
        self._asked += 1
        try:
            async with self._turns:
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(self._threads, self._work, what, image)
        finally:
            self._asked -= 1
        head, _, kept = answer.partition(b"\n")
        found = json.loads(head)
        if "word" in found:
            kind = _REFUSALS.get(found["word"], reading.NotAPicture)
            raise kind(found["detail"], found["word"])
        return found, kept

    def _work(self, what: bytes, image: bytes) -> bytes:
        """In a thread: has a process read the picture. Raises `qr.QrError`."""
        process = self._take()
        try:
            answer = process.ask(what + image, self._timeout_s)
        except _Died as death:
            self._drop(process)
            log.warning("a picture could not be read", why=str(death), bytes=len(image))
            raise reading.TooHard(
                "the picture could not be read: it is damaged, or too much for us; "
                "send a screenshot, or a smaller photograph"
            ) from None
        except BaseException:
            self._drop(process)
            raise
        self._give_back(process)
        return answer

    def _take(self) -> "_Process":
        with self._lock:
            if self._closed:
                raise errors.Unavailable("The service is stopping")
            while self._idle:
                process = self._idle.pop()
                if process.fresh():
                    return process
                self._processes.discard(process)
                process.end()
        started = _Process(self._memory_mb, self._cpu_s)
        with self._lock:
            if self._closed:
                started.end()
                raise errors.Unavailable("The service is stopping")
            self._processes.add(started)
        return started

    def _give_back(self, process: "_Process") -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(process)

    def _drop(self, process: "_Process") -> None:
        with self._lock:
            self._processes.discard(process)
        process.end()

    def close(self) -> None:
        """End all processes, those at work included. Quick: they hold nothing."""
        with self._lock:
            self._closed = True
            processes, self._processes, self._idle = self._processes, set(), []
        for process in processes:
            process.end()
        self._threads.shutdown(wait=True)


@asynccontextmanager
async def running(settings: Settings, *, alone: bool = False) -> AsyncIterator[Decoder]:
    decoder = Decoder(settings, alone=alone)
    try:
        yield decoder
    finally:
        decoder.close()


class _Died(Exception):
    """The process ended, or took too long."""


class _Process:
    """One reading process, used by one thread at a time."""

    def __init__(self, memory_mb: int, cpu_s: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-m", "service.reader", str(theirs.fileno()),
                 str(memory_mb), str(cpu_s)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # No secret of the environment, and no threads that take address space.
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
                     "OPENBLAS_NUM_THREADS": "1"},
                cwd="/",
                start_new_session=True,
            )  # fmt: skip
        self._socket = ours
        self._answered = 0
        self._used_at = time.monotonic()

    def ask(self, request: bytes, timeout_s: float) -> bytes:
        """Raises `_Died`."""
        if not self._answered:
            timeout_s += _START_WITHIN_S  # it has to load its libraries first
        try:
            self._socket.settimeout(timeout_s)
            reader.send(self._socket, request)
            answer = reader.receive(self._socket, time.monotonic() + timeout_s)
        except TimeoutError:
            raise _Died(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise _Died(str(error)) from None
        if answer is None:
            raise _Died(f"it ended with {self._process.wait()}")
        self._answered += 1
        self._used_at = time.monotonic()
        return answer

    def fresh(self) -> bool:
        idle_s = time.monotonic() - self._used_at
        return (
            self._answered < _RENEW_AFTER
            and idle_s < reader.IDLE_S / 2
            and self._process.poll() is None
        )

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
