"""Servers to measure, each a process of its own, and the processor time that they use."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

_READY_WITHIN_S = 60
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    process_id: int
    base_url: str

    def cpu_s(self) -> float:
        return cpu_s(self.process_id)


@contextlib.contextmanager
def serving(
    command: Sequence[str], port: int, environment: Mapping[str, str], log: Path
) -> Iterator[Server]:
    """The server that the command starts on that port; what it says goes into the file `log`."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        base_url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, base_url, log)
        yield Server(process.pid, base_url)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def cpu_s(process_id: int) -> float:
    """Processor time of a process, its living children, and those that have ended (Linux; elsewhere
    0)."""
    try:
        text = Path(f"/proc/{process_id}/stat").read_text("ascii")
        children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text("ascii")
    except OSError:
        return 0.0
    # After the name: utime, stime, and the same of children that have ended; proc(5).
    ticks = sum(map(int, text.rpartition(")")[2].split()[11:15]))
    return ticks * _TICK_S + sum(cpu_s(int(child)) for child in children.split())


def _wait_until_ready(process: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    until = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{base_url}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise RuntimeError(f"A server did not start:\n{log.read_text(errors='replace')[-2000:]}")
