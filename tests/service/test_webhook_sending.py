"""Where a webhook may go: to public addresses that were looked at, and to nothing else."""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from service import errors, webhook_sending
from service.webhook_sending import Sender
from tests import receiver
from tests.receiver import Answer, Receiver

HERE = (ip_network(receiver.PRIVATE),)
_PUBLIC = "93.184.215.14"


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiver.receiving() as made:
        yield made


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1",
        "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_an_address_of_our_own_network_is_not_public(address: str) -> None:
    assert not webhook_sending.is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", [_PUBLIC, "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert webhook_sending.is_public(ip_address(address))


class Names:
    """What names resolve to, one answer after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self._answers = list(answers)
        loop = asyncio.get_running_loop()
        original = loop.getaddrinfo

        async def getaddrinfo(host: Any, port: Any, **how: Any) -> Any:
            try:
                ip_address(host)
            except ValueError:
                answer = self._answers.pop(0)
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                    for address in answer
                ]
            return await original(host, port, **how)

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)

    @property
    def asked_for(self) -> int:
        return -len(self._answers)


async def post(sender: Sender, url: str) -> webhook_sending.Reply:
    try:
        return await sender.post(url, {"content-type": "application/json"}, b"{}")
    finally:
        await sender.aclose()


async def test_a_name_of_an_address_of_ours_is_refused(crm: Receiver) -> None:
    port = crm.url.rpartition(":")[2]
    for scheme in ("http", "https"):
        reply = await post(Sender((), 5), f"{scheme}://localhost:{port}/")
        assert reply.status is None
        assert "may not be reached from here" in (reply.error or "")
    assert crm.received == []


async def test_where_one_address_of_many_is_ours_the_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Names(monkeypatch, [_PUBLIC, "10.0.0.1"])
    reply = await post(Sender((), 5), "https://crm.example/")
    assert reply.error == "10.0.0.1 may not be reached from here"


async def test_what_a_name_says_a_moment_later_does_not_matter(
    crm: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the connection goes to the address that was looked at, so that a second
    answer is never asked for."""
    names = Names(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    port = crm.url.rpartition(":")[2]
    reply = await post(Sender(HERE, 5), f"http://crm.example:{port}/hook")
    assert reply.ok
    assert names.asked_for == -1
    (received,) = crm.received
    assert received.headers["host"] == f"crm.example:{port}"


async def test_http_goes_to_named_networks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, [_PUBLIC])
    reply = await post(Sender(HERE, 5), "http://crm.example/")
    assert reply.error == f"{_PUBLIC} may not be reached from here"


async def test_a_proxy_of_the_environment_is_not_asked(
    crm: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await post(Sender(HERE, 5), f"{crm.url}/hook")).ok


async def test_a_redirect_to_an_address_of_ours_is_not_followed(crm: Receiver) -> None:
    crm.answer = lambda received, number: Answer(302, {"Location": f"{crm.url}/private"})
    reply = await post(Sender(HERE, 5), f"{crm.url}/hook")
    assert reply.status == 302
    assert [each.path for each in crm.received] == ["/hook"]


async def test_an_answer_that_drips_ends_at_the_deadline(crm: Receiver) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reply = await post(Sender(HERE, 0.5), f"http://127.0.0.1:{port}/")
    assert (reply.status, reply.error) == (None, "no answer within 0.5 s")
    assert 450 <= reply.duration_ms < 5000


async def test_a_name_that_nobody_has_is_a_failure_and_no_refusal() -> None:
    reply = await post(Sender((), 5), "https://nobody.invalid/")
    assert reply.status is None
    assert reply.error
    assert "nobody.invalid" in reply.error
    await webhook_sending.refuse_private("https://nobody.invalid/", ())
    with pytest.raises(errors.BadInput):
        await webhook_sending.refuse_private("https://localhost/", ())


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("", 0), ("soon", 0), ("-5", 0), ("9" * 400, 999_999_999),
     ("Fri, 01 Jan 2021 00:00:00 GMT", 0)],
)  # fmt: skip
async def test_what_retry_after_says_is_read(crm: Receiver, said: str, seconds: float) -> None:
    crm.answer = lambda received, number: Answer(503, {"Retry-After": said})
    reply = await post(Sender(HERE, 5), f"{crm.url}/hook")
    assert (reply.status, reply.retry_after_s) == (503, seconds)


async def test_an_ipv6_address_is_named_as_http_has_it() -> None:
    asked: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(take, "::1", 0)
    except OSError:
        pytest.skip("there is no IPv6 here")
    async with server:
        port = server.sockets[0].getsockname()[1]
        reply = await post(Sender((ip_network("::1/128"),), 5), f"http://[::1]:{port}/hook")
    assert reply.status == 204
    assert f"host: [::1]:{port}\r\n".encode() in asked[0].lower()
    assert asked[0].lower().count(b"host:") == 1
