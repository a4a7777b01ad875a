"""A process that reads pictures and nothing else.

`decoding` starts it, as `python -m service.reader SOCKET MEMORY_MB CPU_S`. It answers one picture
after the other until the other end is closed, or nothing has come for a while. It holds no other
socket, no connection, no setting and no secret; it may write no file; memory and processor time are
bounded by the system.

Both ways a message is its length (4 bytes, big-endian), then: of a request, one byte that says what
to do, and the picture; of an answer, a line of JSON, and what is to be kept.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import time

from service import reading

READ, LOGO = b"r", b"l"
IDLE_S = 300
"""After so long without a picture it ends, and gives its memory back."""

_NICE = 10  # visitors go before pictures
_OPEN_FILES = 32
_MESSAGE_MAX_BYTES = reading.PICTURE_MAX_BYTES + 1_000


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    memory_mb, cpu_s = int(sys.argv[2]), int(sys.argv[3])
    _confine(memory_mb)
    connection.settimeout(IDLE_S)
    with contextlib.suppress(OSError):  # the other end is gone, or silent
        while (request := receive(connection)) is not None:
            _allow(cpu_s)
            send(connection, _answer(request))


def receive(connection: socket.socket, until: float | None = None) -> bytes | None:
    """The next message; None when the other end is closed. `until`, of the monotonic clock, it must
    be there. Raises `OSError`, of which `TimeoutError` is one, also for a message out of bounds."""
    head = _exactly(connection, 4, until)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > _MESSAGE_MAX_BYTES:
        raise OSError(f"a message of {length:,} bytes")
    return _exactly(connection, length, until)


def _exactly(connection: socket.socket, length: int, until: float | None) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        if until is not None:
            connection.settimeout(max(0.001, until - time.monotonic()))
        chunk = connection.recv(min(1 << 20, length - len(data)))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def send(connection: socket.socket, message: bytes) -> None:
    """Raises `OSError`."""
    connection.sendall(struct.pack(">I", len(message)) + message)


def _confine(memory_mb: int) -> None:
    """Limits that hold whatever a picture does to the libraries. Where a system has no such limit
    (macOS bounds no address space), the time limit and the bound on pixels remain."""
    os.nice(_NICE)
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    if memory_mb:
        bounds[resource.RLIMIT_AS] = memory_mb * 1_000_000
    for what, most in bounds.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))


def _allow(cpu_s: int) -> None:
    """So many seconds of the processor for the next picture; then the system ends the process."""
    if not cpu_s:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    so_far = int(used.ru_utime + used.ru_stime) + 1
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (so_far + cpu_s, hard))


def _answer(request: bytes) -> bytes:
    what, image = request[:1], request[1:]
    try:
        if what == LOGO:
            return _told({}, reading.logo_of(image))
        text, copy = reading.read(image)
        # Escaped, so that half a character in a payload is no trouble here.
        return _told({"text": text, "size": [copy.width, copy.height]}, copy.data)
    except reading.QrError as refusal:
        return _told({"word": refusal.word, "detail": str(refusal)})
    except MemoryError:
        detail = "the picture takes too much memory; send a smaller one"
        return _told({"word": reading.TooHard.usual_word, "detail": detail})


def _told(head: dict[str, object], kept: bytes = b"") -> bytes:
    return json.dumps(head).encode() + b"\n" + kept


if __name__ == "__main__":
    # Ctrl-C in a terminal is for the service, which then closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
