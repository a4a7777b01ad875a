"""The doctor: what stands in the way of serving, and what to do about it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from geo import iplocate, places
from geo.point import Point
from service import accounts, db, errors
from service.settings import Settings

_OLDEST_POSTGRES = 150000
_MOST_CLOCK_SKEW_S = 2


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it serves, but not as well as it could
    FAILED = "failed"  # it does not serve


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    verdict: Verdict
    detail: str


async def examine(settings: Settings, database_url: str) -> AsyncIterator[Finding]:
    """Look at settings, database, clock, IP database, places and proxies, in that order."""
    for finding in _public_url(settings):
        yield finding
    async for finding in _database(database_url):
        yield finding
    yield _ip_database(settings)
    yield _places()
    yield _proxies(settings)


def _public_url(settings: Settings) -> list[Finding]:
    url = urlsplit(settings.public_url)
    host = url.hostname or ""
    local = host == "localhost" or host.endswith(".local") or _is_private(host)
    if local:
        detail = f"{settings.public_url} is reached from this machine or network only: set "
        return [
            Finding(
                "public URL",
                Verdict.WARNING,
                detail + "NEARCODE_PUBLIC_URL before anything is printed",
            )
        ]
    if url.scheme != "https":
        return [
            Finding(
                "public URL",
                Verdict.WARNING,
                f"{settings.public_url}: browsers tell no position to a page without HTTPS",
            )
        ]
    return [Finding("public URL", Verdict.OK, settings.public_url)]


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False


async def _database(url: str) -> AsyncIterator[Finding]:
    try:
        connection = await db.connect(url)
    except errors.Unavailable as error:
        yield Finding("database", Verdict.FAILED, error.detail)
        return
    try:
        version = connection.get_server_version()
        number = int(await connection.fetchval("SHOW server_version_num"))
        name = f"PostgreSQL {version.major}.{version.minor}"
        if number < _OLDEST_POSTGRES:
            yield Finding("database", Verdict.FAILED, f"{name}: 15 or newer is needed")
        else:
            yield Finding("database", Verdict.OK, name)
        encoding = await connection.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            yield Finding("encoding", Verdict.FAILED, f"{encoding}: UTF8 is needed")
        if await connection.fetchval("SHOW fsync") != "on":
            yield Finding("fsync", Verdict.WARNING, "off: a crash may lose acknowledged scans")
        try:
            await db.check_schema(connection)
        except errors.SchemaOutdated as error:
            yield Finding("schema", Verdict.FAILED, error.detail)
        else:
            yield Finding("schema", Verdict.OK, "current")
            yield await _chains(connection)
        there: datetime = await connection.fetchval("SELECT clock_timestamp()")
        skew_s = abs((datetime.now(UTC) - there).total_seconds())
        if skew_s > _MOST_CLOCK_SKEW_S:
            yield Finding(
                "clock",
                Verdict.FAILED,
                f"{skew_s:.0f} s apart from the database's: run NTP on both machines",
            )
        else:
            yield Finding("clock", Verdict.OK, f"within {_MOST_CLOCK_SKEW_S} s of the database's")
    finally:
        await connection.close()


async def _chains(connection: db.Connection) -> Finding:
    chains = [row["chain"] for row in await accounts.chains(connection)]
    if not chains:
        return Finding("chains", Verdict.WARNING, "none yet: nearcode chain create NAME")
    return Finding("chains", Verdict.OK, ", ".join(chains))


def _ip_database(settings: Settings) -> Finding:
    files = [*settings.xdb_files, *settings.mmdb_files]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        return Finding("IP database", Verdict.FAILED, f"no such file: {', '.join(missing)}")
    try:
        # A resolver in Shanghai that every Chinese database knows.
        found = iplocate.IpLocator(settings.xdb_files, settings.mmdb_files).locate("202.96.209.5")
    except (OSError, ValueError) as error:
        return Finding("IP database", Verdict.FAILED, str(error))
    if found is None or found.province != "上海市":
        return Finding("IP database", Verdict.WARNING, "does not know a well-known address")
    return Finding(
        "IP database", Verdict.OK, f"{len(files)} files of your own" if files else "default"
    )


def _places() -> Finding:
    try:
        place = places.default().at(Point(116.3976, 39.9055))
    except (OSError, ValueError) as error:
        return Finding("places", Verdict.FAILED, str(error))
    if place is None or place.province != "北京市":
        return Finding("places", Verdict.FAILED, "the polygons are damaged: install again")
    return Finding("places", Verdict.OK, "province, city and district")


def _proxies(settings: Settings) -> Finding:
    if not settings.trusted_proxies:
        return Finding(
            "proxies",
            Verdict.OK,
            "none trusted: behind a proxy set NEARCODE_TRUSTED_PROXIES, or all visitors look alike",
        )
    wide = [str(network) for network in settings.trusted_proxies if network.prefixlen == 0]
    if wide:
        return Finding("proxies", Verdict.FAILED, f"{wide[0]} trusts everybody's word")
    return Finding("proxies", Verdict.OK, ", ".join(map(str, settings.trusted_proxies)))
