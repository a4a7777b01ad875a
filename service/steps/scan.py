"""scan: one opening of an entry is recorded, with its placement, its visitor and its browser."""

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from service import browsers
from service.domain import Code, Entry, Event, Scan, uuid7


@dataclass(frozen=True, slots=True)
class Client:
    """Who opens an entry, as far as a request tells. `returns`: they came with a cookie of ours, so
    that they are likely to be known."""

    visitor_id: uuid.UUID
    via: str  # page | api
    user_agent: str = ""
    language: str | None = None
    address: str | None = None
    returns: bool = False


def hash_address(secret: bytes, address: str | None) -> bytes | None:
    """A keyed hash of an IP address: equal addresses are still equal, none can be read back."""
    if address is None:
        return None
    return hmac.digest(secret, address.encode(), hashlib.sha256)[:16]


def hash_subnet(secret: bytes, address: str | None) -> bytes | None:
    """The same of the network that an address is in: a /24, or of IPv6 a /56, which is what one
    household or shop is given."""
    if address is None:
        return None
    width = 56 if ":" in address else 24
    return hash_address(secret, str(ip_network(f"{address}/{width}", strict=False)))


@dataclass(frozen=True, slots=True)
class Opening:
    """A new scan, and what else is kept of it."""

    scan: Scan
    unknown_placement: str | None
    via: str
    browser: str | None
    language: str | None
    scanned_at: datetime

    def row(self) -> dict[str, Any]:
        scan = self.scan
        return {
            "chain_id": scan.chain_id,
            "scan_id": scan.scan_id,
            "entry": scan.entry,
            "placement": scan.placement,
            "unknown_placement": self.unknown_placement,
            "visitor_id": scan.visitor_id,
            "via": self.via,
            "bot": scan.bot,
            "browser": self.browser,
            "language": self.language,
            "address_hash": scan.address_hash,
            "subnet_hash": scan.subnet_hash,
            "scanned_at": self.scanned_at,
        }


def opened(
    entry: Entry,
    placement: str | None,
    client: Client,
    secret: bytes,
    at: datetime | None = None,
) -> Opening:
    """A new scan, of now or of `at`. A placement that the entry does not have counts as none, and
    is kept."""
    known = placement if placement in entry.placements else None
    scan = Scan(
        chain_id=entry.chain_id,
        scan_id=uuid7(at),
        entry=entry.entry,
        placement=known,
        visitor_id=client.visitor_id,
        # An app has its own client and is known by its own device ids: only pages meet crawlers.
        bot=browsers.bot_in(client.user_agent) if client.via == "page" else None,
        address_hash=hash_address(secret, client.address),
        subnet_hash=hash_subnet(secret, client.address),
    )
    return Opening(
        scan=scan,
        unknown_placement=placement[:64] if placement and known is None else None,
        via=client.via,
        browser=browsers.browser_in(client.user_agent),
        language=client.language,
        scanned_at=at or datetime.now(UTC),
    )


def complaint(scan: Scan, kind: Event, about: Code | None, at: datetime) -> dict[str, Any]:
    """The row of what a visitor says: `denied` of their position; full, expired, broken of a
    code."""
    return {
        "chain_id": scan.chain_id,
        "complaint_id": uuid7(at),
        "scan_id": scan.scan_id,
        "visitor_id": scan.visitor_id,
        "code_id": about.code_id if about else None,
        "store": about.store if about else None,
        "kind": kind.value,
        "said_at": at,
    }
