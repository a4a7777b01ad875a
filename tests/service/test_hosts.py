"""A database of several hosts: whichever of them is down, and however, the others are found."""

import asyncio
import contextlib
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service import hosts


@pytest.mark.parametrize(
    ("url", "single"),
    [
        ("postgresql://u:p@one/db?sslmode=require", ["postgresql://u:p@one/db?sslmode=require"]),
        (
            "postgresql://u:p%40@one,two:5433,[::1]:5434/db?target_session_attrs=read-write",
            [
                f"postgresql://u:p%40@{host}/db?target_session_attrs=read-write"
                for host in ("one", "two:5433", "[::1]:5434")
            ],
        ),
        (
            "postgresql://u@/db?host=/a b,/c&port=5432,5433",
            [
                "postgresql://u@/db?host=/a+b&port=5432",
                "postgresql://u@/db?host=/c&port=5433",
            ],
        ),
        (
            "postgresql://u@/db?host=one,two&port=5433&sslmode=disable",
            [
                f"postgresql://u@/db?host={host}&sslmode=disable&port=5433"
                for host in ("one", "two")
            ],
        ),
        (
            "postgresql://one,two/db?target_session_attrs=prefer-standby",
            ["postgresql://one,two/db?target_session_attrs=prefer-standby"],
        ),
    ],
)
def test_a_url_of_several_hosts_is_one_for_each(url: str, single: list[str]) -> None:
    def meant(url: str) -> tuple[object, ...]:
        parts = urllib.parse.urlsplit(url)
        query = urllib.parse.parse_qs(parts.query)
        return parts.scheme, parts.netloc, parts.path, query

    assert [meant(found) for found in hosts.each(url)] == [meant(url) for url in single]


@contextlib.asynccontextmanager
async def silent_host(folder: Path) -> AsyncIterator[str]:
    """Takes connections and says nothing, as a machine that hangs; its socket's folder."""

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await never.wait()
        writer.close()

    never = asyncio.Event()
    async with await asyncio.start_unix_server(hang, str(folder / ".s.PGSQL.5432")):
        yield str(folder)
        never.set()


def with_hosts(url: str, *before: str) -> str:
    """The database's URL, with others named before its own host."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    query["host"] = ",".join([*before, query["host"]])
    return parts._replace(query=urllib.parse.urlencode(query)).geturl()


async def test_a_host_that_hangs_keeps_nobody_from_the_next(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_EACH_WITHIN_S", 0.5)
    gone = tmp_path / "gone"
    async with silent_host(tmp_path) as silent:
        url = with_hosts(database_url, silent, str(gone))
        with pytest.raises(TimeoutError):
            await asyncpg.connect(url, timeout=2)
        known = hosts.Hosts(url)
        began = time.monotonic()
        async with asyncpg.create_pool(
            url, min_size=1, max_size=2, timeout=10, connect=known.connect
        ) as pool:
            assert await pool.fetchval("SELECT 1") == 1
            assert time.monotonic() - began < 2
        began = time.monotonic()
        connection = await known.connect(timeout=10)
        assert time.monotonic() - began < 0.4, "who answered last is asked first"
        await connection.close()


async def test_who_refuses_the_login_is_believed(database_url: str, tmp_path: Path) -> None:
    """No other host would say otherwise, and a mistake in the URL must not look like an outage."""
    wrong = with_hosts(database_url, str(tmp_path)).replace("/test_", "/no_such_test_")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await hosts.Hosts(wrong).connect(timeout=2)


async def test_when_no_host_answers_it_is_said(tmp_path: Path) -> None:
    url = f"postgresql://postgres@/db?host={tmp_path},{tmp_path}/gone&port=5432"
    with pytest.raises(OSError, match="No such file"):
        await hosts.Hosts(url).connect(timeout=2)
