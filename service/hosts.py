"""A database's hosts: a URL may name several, of which one can be written to.

```
postgresql://user:password@one,two:5433/nearcode?target_session_attrs=read-write
```

asyncpg tries them in order, within one time for all of them: a host that has lost its power, and so
does not even refuse, uses it up, and the next is never asked. Here each host has its own time, and
who answered last is asked first. What a host may be used for is left to asyncpg.
"""

import urllib.parse
from typing import Any

import asyncpg

# A host that answers at all does so within this, be it to say that it is starting.
_EACH_WITHIN_S = 2.0

_NEXT_PLEASE = (
    OSError,  # TimeoutError is one
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
)


class Hosts:
    """The hosts of one URL. `connect` is also what a pool can connect by."""

    def __init__(self, url: str) -> None:
        self._urls = each(url)

    async def connect(
        self,
        _url: str | None = None,
        *,
        timeout: float,  # noqa: ASYNC109 (as asyncpg has it: it is what a pool gives)
        **options: Any,
    ) -> asyncpg.Connection:
        """As `asyncpg.connect`; `timeout`, in seconds, is what a single host has. The URL that a
        pool gives is the one that is known. Raises what the last host's attempt raised."""
        if len(self._urls) > 1:
            timeout = min(timeout, _EACH_WITHIN_S)
        failed: BaseException | None = None
        for url in list(self._urls):
            try:
                connection = await asyncpg.connect(url, timeout=timeout, **options)
            except _NEXT_PLEASE as error:
                failed = error
            else:
                self._urls.remove(url)
                self._urls.insert(0, url)
                return connection
        assert failed is not None
        raise failed


def each(url: str) -> list[str]:
    """One URL for each host that this one names, in its order."""
    parts = urllib.parse.urlsplit(url)
    login, at, named = parts.netloc.rpartition("@")
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    if query.get("target_session_attrs") == "prefer-standby":
        return [url]  # who knows one host cannot prefer another
    if named:
        return [parts._replace(netloc=f"{login}{at}{host}").geturl() for host in named.split(",")]
    hosts = query.get("host", "").split(",")
    if len(hosts) == 1:
        return [url]
    ports = query.pop("port", "5432").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return [
        parts._replace(
            query=urllib.parse.urlencode(query | {"host": host, "port": port}, safe="/")
        ).geturl()
        for host, port in zip(hosts, ports, strict=True)
    ]
