"""scan: one opening of an entry is recorded, with its placement, its visitor and its browser."""

import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from service import db
from service.domain import Entry, Event, Scan, uuid7

_sql = db.load("scan")

# Programs that open pages by themselves. Words of people's browsers are not in it: "baidu" is in
# baiduboxapp, "UC" in UCBrowser, "bot" in CUBOT phones.
_BOTS = re.compile(
    r"(?P<bot>[a-z-]*(?<!cu)bot(?![a-z])|[a-z]*spider|[a-z-]*crawl(?:er)?|slurp|facebookexternalhit"
    r"|whatsapp/|headlesschrome|phantomjs|lighthouse|pingdom|uptime|curl/|wget/|python-requests"
    r"|python-urllib|aiohttp|go-http-client|okhttp|java/|libwww|scrapy|httpclient|preview)",
    re.IGNORECASE,
)
_BROWSERS = (
    ("wecom", "wxwork"),
    ("wechat", "MicroMessenger"),
    ("alipay", "AlipayClient"),
    ("dingtalk", "DingTalk"),
    ("baidu", "baiduboxapp"),
    ("uc", "UCBrowser"),
    ("quark", "Quark"),
    ("qq", "QQ/"),
    ("chrome", "Chrome/"),
    ("safari", "Safari/"),
    ("firefox", "Firefox/"),
)


@dataclass(frozen=True, slots=True)
class Client:
    """Who opens an entry, as far as a request tells."""

    visitor_id: uuid.UUID
    via: str  # page | api
    user_agent: str = ""
    language: str | None = None
    address: str | None = None


def bot_in(user_agent: str) -> str | None:
    """The name that gives a program away, or None for a person's browser."""
    found = _BOTS.search(user_agent)
    return found["bot"].lower() if found else None


def browser_in(user_agent: str) -> str | None:
    """The browser's family: what HQ compares, not a version."""
    return next((name for name, mark in _BROWSERS if mark in user_agent), None)


def hash_address(secret: bytes, address: str | None) -> bytes | None:
    """A keyed hash of an IP address: equal addresses are still equal, none can be read back."""
    if address is None:
        return None
    return hmac.digest(secret, address.encode(), hashlib.sha256)[:16]


async def record(
    connection: db.Connection, entry: Entry, placement: str | None, client: Client, secret: bytes
) -> Scan:
    """Write the scan. A placement that the entry does not have counts as none, and is kept."""
    known = placement if placement in entry.placements else None
    scan = Scan(
        chain_id=entry.chain_id,
        scan_id=uuid7(),
        entry=entry.entry,
        placement=known,
        visitor_id=client.visitor_id,
        # An app has its own client and is known by its own device ids: only pages meet crawlers.
        bot=bot_in(client.user_agent) if client.via == "page" else None,
    )
    await _sql.insert_scan(
        connection,
        chain_id=scan.chain_id,
        scan_id=scan.scan_id,
        entry=scan.entry,
        placement=known,
        unknown_placement=placement[:64] if placement and known is None else None,
        visitor_id=scan.visitor_id,
        scanned_at=datetime.now(UTC),
        via=client.via,
        bot=scan.bot,
        browser=browser_in(client.user_agent),
        language=client.language,
        address_hash=hash_address(secret, client.address),
    )
    return scan


async def find(connection: db.Connection, scan_id: uuid.UUID) -> Scan | None:
    row = await _sql.get_scan(connection, scan_id=scan_id)
    return None if row is None else Scan(**row)


async def complain(
    connection: db.Connection,
    scan: Scan,
    kind: Event,
    *,
    code_id: uuid.UUID | None = None,
    store: str | None = None,
) -> None:
    """Keep what the visitor says: `denied` of their position; full, expired, broken of a code."""
    await _sql.insert_complaint(
        connection,
        chain_id=scan.chain_id,
        complaint_id=uuid7(),
        scan_id=scan.scan_id,
        visitor_id=scan.visitor_id,
        code_id=code_id,
        store=store,
        kind=kind.value,
        said_at=datetime.now(UTC),
    )


async def complained_of(connection: db.Connection, scan: Scan) -> frozenset[uuid.UUID]:
    """The codes that this visitor has called full, expired or broken within a day."""
    rows = await db.rows(
        _sql.complained_of(connection, chain_id=scan.chain_id, visitor_id=scan.visitor_id)
    )
    return frozenset(row["code_id"] for row in rows)
