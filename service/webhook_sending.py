"""Sending one webhook: to an address that was looked at, within bounds.

An endpoint's URL is HQ's to choose, and the request comes from inside our network. So the name is
resolved here, every address that it has must be a public one, and the connection is made to the
very address that was looked at: a name that says something else a moment later gets nowhere.
Redirects are not followed, proxies of the environment are not asked, an answer is read up to a
bound, and all of it has one deadline.

`NEARCODE_WEBHOOK_PRIVATE_NETWORKS` names networks that may be reached all the same, by http as
well: for closed networks.
"""

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpcore
import httpx

from service import errors
from service.settings import Network

_MOST_BYTES = 65_536  # of an answer
_LONGEST_URL = 2000
_KEPT_OPEN = 20
_KEEP_ALIVE_S = 15
_RESOLVE_WITHIN_S = 5
_NAT64 = ip_network("64:ff9b::/96")
_Address = IPv4Address | IPv6Address


class Refused(Exception):
    """The address is none that we may go to."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status and the beginning of a body, or why there is none."""

    status: int | None
    error: str | None = None
    body: bytes = b""
    retry_after_s: float = 0.0
    duration_ms: int = 0

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def is_public(address: _Address) -> bool:
    """Whether an address is anybody's to reach; also behind what carries IPv4 in IPv6."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _within(address: _Address, networks: Iterable[Network]) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in network for network in networks)


def check_url(url: str, private: Sequence[Network]) -> str:
    """The URL as it is kept. Raises `errors.BadInput` for one that nothing will be sent to."""
    try:
        parsed = httpx.URL(url.strip())
        port = parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise errors.BadInput.of("url", "is not a URL") from error
    wrong = None
    if len(str(parsed)) > _LONGEST_URL:
        wrong = f"has more than {_LONGEST_URL} characters"
    elif parsed.scheme != "https" and not (parsed.scheme == "http" and private):
        wrong = "must begin with https://"
    elif not parsed.host:
        wrong = "names no host"
    elif parsed.userinfo:
        wrong = "must carry no user name or password"
    elif parsed.fragment:
        wrong = "must have no part after #"
    elif port == 0:
        wrong = "has no port 0"
    else:
        try:
            address = ip_address(parsed.host)
        except ValueError:
            pass
        else:
            plain = parsed.scheme == "http"
            if not (_within(address, private) or (is_public(address) and not plain)):
                wrong = "is an address that may not be reached from here"
    if wrong:
        raise errors.BadInput.of("url", wrong)
    return str(parsed)


async def checked_url(url: str, private: Sequence[Network]) -> str:
    """The URL as it is kept, of a host that may be reached. Raises `errors.BadInput`."""
    kept = check_url(url, private)
    await refuse_private(kept, private)
    return kept


async def refuse_private(url: str, private: Sequence[Network]) -> None:
    """Look whether the URL's host is one that may be reached. Raises `errors.BadInput`; says
    nothing of a name that is not known now."""
    parsed = httpx.URL(url)
    guarded = _Guarded(private, public=parsed.scheme == "https")
    try:
        async with asyncio.timeout(_RESOLVE_WITHIN_S):
            await guarded.looked_at(parsed.raw_host.decode("ascii"), parsed.port or 443)
    except Refused as error:
        raise errors.BadInput.of("url", str(error)) from error
    except (TimeoutError, httpcore.ConnectError):
        pass


def next_url(text: object, private: Sequence[Network]) -> str | None:
    """A page that an endpoint names for a visitor, if it may be shown to them."""
    if not isinstance(text, str) or len(text) > _LONGEST_URL:
        return None
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text):
        return None
    try:
        parsed = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return None
    secure = parsed.scheme == "https" or (parsed.scheme == "http" and bool(private))
    if not secure or not parsed.host or parsed.userinfo:
        return None
    found = str(parsed)
    return found if len(found) <= _LONGEST_URL else None


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that have been looked at, and to nothing else."""

    def __init__(self, private: Sequence[Network], *, public: bool) -> None:
        self._private, self._public = private, public
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (it is httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self.looked_at(host, port)
        failed: Exception | None = None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address")

    async def looked_at(self, host: str, port: int) -> list[str]:
        """Every address of that name. Raises `Refused` if one of them is none to go to."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} is not known") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        for text in addresses:
            address = ip_address(text.partition("%")[0])
            if not (_within(address, self._private) or (self._public and is_public(address))):
                raise Refused(f"{address} may not be reached from here")
        return addresses

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 (it is httpcore's)
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise Refused("a webhook goes to a host")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Sender:
    """Sends to endpoints; `aclose` it at the end."""

    def __init__(self, private: Sequence[Network], timeout_s: float) -> None:
        self._timeout_s = timeout_s

        def pool(*, public: bool) -> httpcore.AsyncConnectionPool:
            return httpcore.AsyncConnectionPool(
                # Which authorities are trusted: SSL_CERT_FILE's, else certifi's.
                ssl_context=httpx.create_ssl_context(),
                # As many as deliveries are taken: one endpoint does not wait for another's.
                max_connections=None,
                max_keepalive_connections=_KEPT_OPEN,
                keepalive_expiry=_KEEP_ALIVE_S,
                network_backend=_Guarded(private, public=public),
            )

        # What goes unencrypted stays in networks that the operator has named.
        self._pools = {b"https": pool(public=True), b"http": pool(public=False)}

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Reply:
        """One attempt, of whose failure the reply tells; raises nothing of the network's."""
        started = time.monotonic()
        status, error, read, patience_s = None, None, b"", 0.0
        try:
            async with asyncio.timeout(self._timeout_s):
                status, read, patience_s = await self._exchange(url, headers, body)
        except TimeoutError:
            error = f"no answer within {self._timeout_s:g} s"
        except Refused as refused:
            error = str(refused)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as failed:
            error = f"{type(failed).__name__}: {failed}"[:300]
        except (httpx.InvalidURL, OSError, ValueError) as failed:
            error = f"{type(failed).__name__}: {failed}"[:300]
        duration_ms = round((time.monotonic() - started) * 1000)
        return Reply(status, error, read, patience_s, duration_ms)

    async def _exchange(
        self, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, float]:
        parsed = httpx.URL(url)
        target = httpcore.URL(
            scheme=parsed.raw_scheme,
            host=parsed.raw_host,
            port=parsed.port,
            target=parsed.raw_path,
        )
        pool = self._pools[parsed.raw_scheme]
        sent = list({"host": parsed.netloc.decode("ascii"), **headers}.items())
        async with pool.stream("POST", target, headers=sent, content=body) as response:
            read = bytearray()
            async for chunk in response.aiter_stream():
                read += chunk
                if len(read) > _MOST_BYTES:
                    # The rest is let be, and the connection with it.
                    break
            told = {name.lower(): value for name, value in response.headers}
            patience_s = _patience_s(told.get(b"retry-after", b"").decode("latin-1"))
            return response.status, bytes(read[:_MOST_BYTES]), patience_s


def _patience_s(retry_after: str) -> float:
    """Seconds that `Retry-After` asks for (RFC 9110, 10.2.3); 0 for what is none."""
    if retry_after.strip().isdecimal():
        return float(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
