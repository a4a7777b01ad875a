"""A real HTTP server that webhooks are sent to, and that answers as it is told."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import standardwebhooks

PRIVATE = "127.0.0.0/8"


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def signatures(self) -> list[str]:
        return self.headers["webhook-signature"].split(" ")

    def verified(self, secret: str) -> dict[str, Any]:
        """The message; raises `standardwebhooks.WebhookVerificationError` if it is not signed with
        this secret."""
        found: dict[str, Any] = standardwebhooks.Webhook(secret).verify(self.body, self.headers)
        return found


@dataclass(slots=True)
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after_s: float = 0
    # Written again and again, until nobody reads any more.
    endless: bytes = b""
    # Closes the connection instead of answering.
    hangs_up: bool = False


def json_of(**values: Any) -> Answer:
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(values).encode())


class Receiver:
    """What came, in order; `answer` says what is answered to the nth request of a path."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.received: list[Received] = []
        self.answer: Callable[[Received, int], Answer] = lambda received, number: Answer()
        self.written = 0  # bytes of endless answers
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, received: Received) -> Answer:
        with self._changed:
            self.received.append(received)
            self._counts[received.path] += 1
            number = self._counts[received.path]
            self._changed.notify_all()
        return self.answer(received, number)

    def at(self, path: str) -> list[Received]:
        return [each for each in self.received if each.path == path]

    def wait_for(self, count: int, path: str | None = None, within_s: float = 30) -> list[Received]:
        """Until so many have come; those."""

        def found() -> list[Received]:
            return self.received if path is None else self.at(path)

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, within_s), (
                f"{len(found())} of {count} came"
            )
            return list(found())


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = receiver.take(Received(self.path, headers, body))
            if answer.after_s:
                time.sleep(answer.after_s)
            with contextlib.suppress(OSError):
                self._answer(answer)

        def do_GET(self) -> None:
            self.do_POST()

        def _answer(self, answer: Answer) -> None:
            if answer.hangs_up:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if not answer.endless:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.endless:
                self.close_connection = True
                while True:
                    self.wfile.write(answer.endless)
                    receiver.written += len(answer.endless)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who hangs up is no trouble of ours

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
