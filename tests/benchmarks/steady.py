"""Visitors who come at a steady pace, whatever becomes of those before them: an open loop.

`python -m tests.benchmarks.steady URL IDS BODIES PER_S START EVERY FIRST OUT` sends a position for
each scan of the file IDS that is this process's, every EVERYth from FIRST on: the scan of line n at
START + n / PER_S seconds of the system's monotonic clock. Writes a JSON list of seconds into OUT,
each from the moment when a request should have been sent to the end of its answer: what a late
server, or a late sender, makes visitors wait is in it.
"""

import asyncio
import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop

# Requests a second that one process sends without being late itself.
_MOST_PER_S = 1_500
_CONNECTIONS = 64
_STARTUP_S = 2.0


def run(base_url: str, ids: Path, bodies: Path, per_s: float) -> list[float]:
    """Send all of `ids`, from as many processes as it takes; seconds until each was answered."""
    count = -(-int(per_s) // _MOST_PER_S)
    start = time.monotonic() + _STARTUP_S
    outs = [ids.with_name(f"waits-{number}.json") for number in range(count)]
    senders = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.benchmarks.steady", base_url, str(ids), str(bodies)),
                *(str(per_s), str(start), str(count), str(number), str(out)),
            ]
        )
        for number, out in enumerate(outs)
    ]
    waits_s: list[float] = []
    for sender, out in zip(senders, outs, strict=True):
        if sender.wait():
            raise RuntimeError("A sender of requests failed: see above")
        waits_s += json.loads(out.read_text("ascii"))
    return waits_s


async def _send_all(base_url: str, requests: Sequence[tuple[float, bytes]]) -> list[float]:
    waits_s: list[float] = []
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    address = urllib.parse.urlsplit(base_url)
    async with asyncio.TaskGroup() as group:
        senders = [
            group.create_task(_sender(str(address.hostname), address.port or 80, due, waits_s))
            for _ in range(min(_CONNECTIONS, len(requests)))
        ]
        for at, request in requests:
            if (early_s := at - time.monotonic()) > 0:
                await asyncio.sleep(early_s)
            due.put_nowait((at, request))
        await due.join()
        for sender in senders:
            sender.cancel()
    return waits_s


async def _sender(
    host: str, port: int, due: asyncio.Queue[tuple[float, bytes]], waits_s: list[float]
) -> None:
    """One connection: takes what is due, sends it, and reads the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        while True:
            at, request = await due.get()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            waits_s.append(time.monotonic() - at)
            due.task_done()
    finally:
        writer.close()


def _requests(
    base_url: str, ids: Path, bodies: Path, per_s: float, start: float, every: int, first: int
) -> Iterator[tuple[float, bytes]]:
    host = urllib.parse.urlsplit(base_url).netloc
    positions = bodies.read_text("utf-8").splitlines()
    for number, scan_id in enumerate(ids.read_text("ascii").splitlines()):
        if number % every != first:
            continue
        body = positions[number % len(positions)]
        request = (
            f"POST /api/v1/scans/{scan_id}/position HTTP/1.1\r\nHost: {host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        yield start + number / per_s, request.encode()


def main() -> None:
    base_url, ids, bodies, per_s, start, every, first, out = sys.argv[1:]
    mine = (Path(ids), Path(bodies), float(per_s), float(start), int(every), int(first))
    waits_s = uvloop.run(_send_all(base_url, list(_requests(base_url, *mine))))
    Path(out).write_text(json.dumps(waits_s), "ascii")


if __name__ == "__main__":
    main()
