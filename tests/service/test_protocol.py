"""Answers leave in as few pieces as they can, whole, and none waits for what is not there yet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service import protocol, server

LONG = b"x" * 3_000_000


class Wire(asyncio.Transport):
    """Notes what is sent, a piece each."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True


async def test_a_head_and_its_body_are_sent_in_one_piece() -> None:
    wire = Wire()
    paired = protocol.Paired(wire, asyncio.get_running_loop())
    for _ in range(2):
        paired.write(b"head")
        paired.write(b"body")
    assert wire.sent == [b"headbody", b"headbody"]


async def test_what_nothing_follows_is_sent_before_the_next_turn() -> None:
    wire = Wire()
    paired = protocol.Paired(wire, asyncio.get_running_loop())
    paired.write(b"head")
    await asyncio.sleep(0)
    assert wire.sent == [b"head"]
    await asyncio.sleep(0)
    assert wire.sent == [b"head"], "once"


async def test_what_is_held_back_is_sent_before_the_end() -> None:
    wire = Wire()
    paired = protocol.Paired(wire, asyncio.get_running_loop())
    paired.write(b"head")
    paired.close()
    await asyncio.sleep(0)
    assert wire.sent == [b"head"]
    assert wire.closed


async def test_what_is_long_is_not_held_back() -> None:
    wire = Wire()
    paired = protocol.Paired(wire, asyncio.get_running_loop())
    paired.write(LONG)
    assert wire.sent == [LONG]


# ---------------------------------------------------------------- by uvicorn

Answer = Callable[[Send], Awaitable[None]]


@asynccontextmanager
async def asked(answer: Answer, request: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """What a server says that answers this request so, and whatever comes next alike."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)

    config = server.configured(_untyped(app))
    config.lifespan = "off"
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    serving = await loop.create_server(lambda: protocol.Protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*serving.sockets[0].getsockname())
    try:
        writer.write(request)
        async with asyncio.timeout(30):
            yield reader
    finally:
        writer.close()
        serving.close()


def _untyped(app: ASGIApp) -> Any:
    return app


def _start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


async def test_a_stream_s_head_does_not_wait_for_its_body() -> None:
    seen = asyncio.Event()

    async def answer(send: Send) -> None:
        await send(_start())
        await seen.wait()
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d;" % number, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with asked(answer, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as reader:
        assert b"chunked" in await reader.readuntil(b"\r\n\r\n")
        seen.set()
        assert (
            await reader.readuntil(b"0\r\n\r\n")
            == b"".join(b"2\r\n%d;\r\n" % number for number in range(3)) + b"0\r\n\r\n"
        )


async def test_a_long_answer_comes_whole_and_then_the_end() -> None:
    async def answer(send: Send) -> None:
        await send(_start((b"content-length", b"%d" % len(LONG))))
        await send({"type": "http.response.body", "body": LONG})

    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with asked(answer, request) as reader:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read(-1) == LONG


async def test_requests_that_are_sent_at_once_are_answered_in_order() -> None:
    count = 0

    async def answer(send: Send) -> None:
        nonlocal count
        count += 1
        await send(_start((b"content-length", b"1")))
        await send({"type": "http.response.body", "body": b"%d" % count})

    async with asked(answer, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3) as reader:
        for number in (b"1", b"2", b"3"):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(1) == number
