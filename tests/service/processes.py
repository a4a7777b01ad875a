"""`nearcode serve` in processes of their own, to be raced and killed."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import httpx

_START_WITHIN_S = 60
_STOP_WITHIN_S = 30
NEARCODE = ("-c", "from service.cli import main; main()")


class Server:
    """One `nearcode serve` on a port of its own, which it keeps when it is started again.

    `program`: what Python is told to run instead. What it logs goes into `folder`, and so does what
    it keeps itself.
    """

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        program: tuple[str, ...] = NEARCODE,
        settings: Mapping[str, str] = {},
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{self.port}.log"
        self._program = program
        self._environment = {
            **os.environ,
            "NEARCODE_DATABASE_URL": database_url,
            "NEARCODE_DATA_DIR": str(folder),
            **{f"NEARCODE_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        # One for all looks: to make one takes as long as many looks.
        self._client = httpx.Client(base_url=self.base_url, trust_env=False, verify=False)

    def start(self) -> None:
        """Returns at once."""
        with self.log.open("ab") as file:
            self._process = self._popen(file)

    def _popen(self, file: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, *self._program, "serve", "--port", str(self.port)],
            env=self._environment,
            stdout=file,
            stderr=file,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_WITHIN_S
        while not self.is_ready():
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            return self._client.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """As `kill -9` does it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """As an operator does it; the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(_STOP_WITHIN_S)
        finally:
            self._process.kill()
            self._client.close()
