"""The HTTP server's process: a port, one or more workers, an end without losses."""

import contextlib
import errno
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from types import FrameType

import uvicorn
import uvicorn.supervisors
from fastapi import FastAPI

from service import app, errors, logs, metrics, protocol
from service.settings import Settings

_DRAIN_S = 10


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `errors.PortInUse`, `errors.SetupError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Bound, two may still share the port until one listens.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise errors.PortInUse(
                f"Port {port} is in use by another program: choose another port"
            ) from error
        raise errors.SetupError(f"Cannot listen on {host}:{port}: {error.strerror}") from error
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the block alike, cleanly: by an exception that cleans up on its
    way out and goes no farther than here."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(settings: Settings, database_url: str, listener: socket.socket, workers: int = 1) -> None:
    """Serve until SIGINT or SIGTERM; then requests under way are finished.

    Raises KeyboardInterrupt when it was asked to stop, `errors.NearcodeError` if it cannot start.
    """
    if workers == 1:
        _Server(configured(app.create_app(settings, database_url))).run(sockets=[listener])
        return
    # Workers are processes of their own: they read their settings from the environment.
    os.environ["NEARCODE_DATABASE_URL"] = database_url
    config = configured("service.server:from_environment", workers=workers)
    # New, because what is in it is taken for what these workers have counted.
    with tempfile.TemporaryDirectory(prefix="nearcode-metrics-") as folder:
        os.environ[metrics.FOLDER] = folder
        _Workers(config, [listener]).run()


def from_environment() -> FastAPI:
    """A worker's app."""
    settings = Settings()
    logs.configure(settings)
    url = settings.database_url
    if url is None:
        raise errors.SetupError("NEARCODE_DATABASE_URL is not set")
    return app.create_app(settings, url.get_secret_value())


def configured(target: FastAPI | str, workers: int = 1) -> uvicorn.Config:
    """How uvicorn serves this."""
    return uvicorn.Config(
        target,
        factory=isinstance(target, str),
        workers=workers,
        loop="uvloop",
        http=protocol.Protocol,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        # Who may say where a request comes from is our own setting.
        proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_keep_alive=65,
    )


class _Server(uvicorn.Server):
    """A server whose failed start is an error and not an exit."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets=sockets)
        if not self.started:
            raise errors.SetupError("The service could not start: see the log above")


class _Workers(uvicorn.supervisors.Multiprocess):
    """Worker processes, each replaced when it dies; what a dead one measured is forgotten."""

    def keep_subprocess_alive(self) -> None:
        with self._forgetting():
            super().keep_subprocess_alive()

    def restart_all(self) -> None:
        with self._forgetting():
            super().restart_all()

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        before = {process.pid for process in self.processes}
        try:
            yield
        finally:
            for process_id in before - {process.pid for process in self.processes}:
                if process_id is not None:
                    metrics.forget(process_id)
