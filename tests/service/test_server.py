"""The server's process: several workers, and what they say."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from service import accounts, catalog, db
from service.settings import Settings
from tests.running import run


@contextlib.contextmanager
def serving(database_url: str, log: Path, *arguments: str) -> Iterator[str]:
    """`nearcode serve` as a process of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--port", str(port), *arguments],
            env={**os.environ, "NEARCODE_DATABASE_URL": database_url},
            stderr=file,
        )
    try:
        base_url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{base_url}/readyz", trust_env=False).is_success:
                    break
            time.sleep(0.1)
        yield base_url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


async def _entry(database_url: str) -> None:
    connection = await db.connect(database_url)
    try:
        chain_id = await accounts.create_chain(connection, "tea", "茶")
        now = await connection.fetchval("SELECT now()")
        await catalog.create_entry(
            connection, chain_id, "tea", catalog.EntryValues("茶"), now, Settings()
        )
    finally:
        await connection.close()


def test_the_log_of_several_workers_has_no_position_and_no_address(
    database_url: str, tmp_path: Path
) -> None:
    run(_entry(database_url))
    log = tmp_path / "log"
    with serving(database_url, log, "--workers", "2") as base_url:
        for _ in range(8):
            path = "/api/v1/entries/tea/stores?lon=121.4956&lat=31.2409"
            assert httpx.get(base_url + path, trust_env=False).is_success
    lines = [line for line in log.read_text().splitlines() if "/api/v1/entries/tea" in line]
    assert len(lines) == 8, "one line a request"
    assert not [line for line in lines if re.search(r"121\.4956|127\.0\.0\.1", line)]
