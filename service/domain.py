"""The words of the product as types: the same in SQL, Python, JSON and on screen."""

import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from geo import datum as datums
from geo.point import Point


class Role(StrEnum):
    """What a key may do."""

    HQ = "hq"  # everything in its chain
    MANAGER = "manager"  # the codes of its own stores
    READ = "read"  # reads, changes nothing


class StoreStatus(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    DELETED = "deleted"  # gone from every list; kept for what happened there


class CodeStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # shown to nobody until it is resumed
    RETIRED = "retired"  # never shown again


class CountedBy(StrEnum):
    """Which evidence makes a member of a code's visitor."""

    PRESSED = "pressed"  # nothing tells of joins: a long press or more counts
    JOINED = "joined"  # reported or verified counts


class Evidence(StrEnum):
    """How we know of a join, weakest first."""

    PRESSED = "pressed"  # a long press on the code
    REPORTED = "reported"  # the visitor says so
    VERIFIED = "verified"  # WeCom says so

    def counts_for(self, counted_by: CountedBy) -> bool:
        return counted_by is CountedBy.PRESSED or self is not Evidence.PRESSED


class HoldState(StrEnum):
    HELD = "held"
    JOINED = "joined"
    RELEASED = "released"
    EXPIRED = "expired"


class Source(StrEnum):
    """Where a fix comes from."""

    GPS = "gps"  # the browser's or the phone's own position
    WECHAT = "wechat"  # WeChat's JS-SDK
    IP = "ip"
    CHOSEN = "chosen"  # the visitor picked a store


class IpPolicy(StrEnum):
    """What an entry makes of a position known by IP alone."""

    CHOOSE = "choose"  # ask, unless one store alone is possible
    NEAREST = "nearest"  # take the nearest store
    NEVER = "never"  # do not locate by IP


class Outcome(StrEnum):
    CODE = "code"
    CHOOSE = "choose"
    UNSERVED = "unserved"


class Reason(StrEnum):
    """Why a routing is what it is."""

    NEAREST = "nearest"
    IN_AREA = "in_area"  # inside the store's service area
    NEXT_CODE = "next_code"  # the nearest store's earlier code could not serve
    NEXT_STORE = "next_store"  # no code of the nearest store could serve
    CHOSEN = "chosen"  # the visitor picked this store
    RETURNING = "returning"  # the visitor was here before
    FALLBACK = "fallback"  # the entry's own code
    AMBIGUOUS_POSITION = "ambiguous_position"  # several stores may be the nearest
    IP_ONLY = "ip_only"  # an IP address alone does not choose
    POSITION_NEEDED = "position_needed"  # nothing is known of where the visitor is
    OUT_OF_RANGE = "out_of_range"  # no store within the radius
    ALL_FULL = "all_full"  # stores within the radius, none with a seat
    NO_STORE = "no_store"  # the entry has no store at all
    ADDRESS_LIMIT = "address_limit"  # too many seats are held from the visitor's address


class Skipped(StrEnum):
    """Why a store or code on the way was not shown."""

    FULL = "full"
    EXPIRED = "expired"
    PAUSED = "paused"
    CLOSED = "closed"
    REPORTED = "reported"  # this visitor, or several, say that it does not work
    NO_CODE = "no_code"


class Event(StrEnum):
    """What a visitor's page tells."""

    PRESSED = "pressed"
    JOINED = "joined"
    DENIED = "denied"
    FULL = "full"
    EXPIRED = "expired"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Counters:
    """A code's counters after a change; of two, the one with the higher revision is the later."""

    code_id: uuid.UUID
    members: int
    held: int
    revision: int


@dataclass(slots=True)
class Code:
    """A group code as a worker knows it. `members` and `held` are hints: PostgreSQL decides."""

    chain_id: uuid.UUID
    code_id: uuid.UUID
    store: str | None
    kind: str
    payload: str
    label: str | None
    capacity: int
    members: int
    held: int
    counted_by: CountedBy
    status: CodeStatus
    expires_at: datetime | None
    position: int
    revision: int
    # Paused because several visitors said that it does not work.
    flagged: bool = False

    @property
    def has_room(self) -> bool:
        return self.members + self.held < self.capacity

    def usable(self, now: datetime) -> bool:
        """Whether one who has a seat can still be shown it."""
        return self.status is CodeStatus.ACTIVE and (
            self.expires_at is None or self.expires_at > now
        )

    def skipped(self, now: datetime) -> Skipped | None:
        """Why it cannot take one more visitor, or None if it can."""
        if self.status is not CodeStatus.ACTIVE:
            return Skipped.REPORTED if self.flagged else Skipped.PAUSED
        if self.expires_at is not None and self.expires_at <= now:
            return Skipped.EXPIRED
        return None if self.has_room else Skipped.FULL


@dataclass(slots=True)
class Store:
    """A shop as a worker knows it: what routing and pages need; position in WGS-84 degrees,
    `service_area` as GeoJSON."""

    chain_id: uuid.UUID
    store: str
    name: str
    brand: str | None
    address: str | None
    province: str | None
    city: str | None
    district: str | None
    point: Point
    service_area: Mapping[str, object] | str | None
    status: StoreStatus
    # Those that are not retired, in the order in which they are filled.
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    placement: str
    name: str
    channel: str
    store: str | None
    printed: int | None
    cost: str | None
    variant: str | None


@dataclass(slots=True)
class Entry:
    """A unified code."""

    chain_id: uuid.UUID
    entry: str
    name: str
    radius_m: float | None
    brands: frozenset[str]
    ip_policy: IpPolicy
    fallback: tuple[uuid.UUID, ...]
    placements: dict[str, Placement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """What is known of where a visitor is, without the position itself; `accuracy_m` is a 95 %
    radius in metres."""

    source: Source
    accuracy_m: float
    province: str | None = None
    city: str | None = None
    district: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix(Located):
    """One position of a scan: WGS-84 degrees, and the datum that it came in."""

    point: Point
    datum: datums.Datum = datums.Datum.WGS84


@dataclass(frozen=True, slots=True)
class Hop:
    """A store or code on the way that was skipped, and why."""

    store: str | None
    code_id: uuid.UUID | None
    skipped: Skipped
    distance_m: float | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A store that can serve, and how far it is from the visitor (None: nobody knows)."""

    store: str
    distance_m: float | None


@dataclass(frozen=True, slots=True)
class Scan:
    """One opening of an entry."""

    chain_id: uuid.UUID
    scan_id: uuid.UUID
    entry: str
    placement: str | None
    visitor_id: uuid.UUID
    bot: str | None
    __pydantic_config__: ClassVar = {"ser_json_bytes": "hex", "val_json_bytes": "hex"}
    # Keyed hashes of where it came from: whose seats its holds are.
    address_hash: bytes | None = None
    subnet_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Routing:
    """A decision, as it is kept with the scan; `steps.show` makes the public form of it."""

    scan_id: uuid.UUID | None
    outcome: Outcome
    reason: Reason
    located: Located | None = None
    store: str | None = None
    distance_m: float | None = None
    code_id: uuid.UUID | None = None
    hold_id: uuid.UUID | None = None
    held_until: datetime | None = None
    hops: tuple[Hop, ...] = ()
    choices: tuple[Offer, ...] = ()


_DISTANCE_BANDS_M = (100, 300, 1000, 3000, 10000)


def distance_band(distance_m: float | None) -> str | None:
    """The LBS tag of a distance: `0-100`, `100-300`, ... `10000+`, in metres."""
    if distance_m is None:
        return None
    low = 0
    for high in _DISTANCE_BANDS_M:
        if distance_m < high:
            return f"{low}-{high}"
        low = high
    return f"{low}+"


_last_uuid7 = 0
# From the system's secure source, by the thousand: each call takes a microsecond.
_random = b""
_random_at = 0


def _random_62() -> int:
    global _random, _random_at
    if _random_at == len(_random):
        _random, _random_at = os.urandom(4096), 0
    _random_at += 8
    return int.from_bytes(_random[_random_at - 8 : _random_at]) >> 2


def _forget_random() -> None:
    global _random, _random_at
    _random, _random_at = b"", 0


if hasattr(os, "register_at_fork"):
    # Two processes must not go on from the same bytes.
    os.register_at_fork(after_in_child=_forget_random)


def uuid7(at: datetime | None = None) -> uuid.UUID:
    """A time-ordered UUID of now, or of `at`; those of one process rise strictly.

    RFC 9562, 5.7: 48 bits of Unix milliseconds, then 12 of a millisecond's fraction (6.2, method
    3), then 62 random bits.
    """
    global _last_uuid7
    ns = time.time_ns() if at is None else round(at.timestamp() * 1_000_000) * 1000
    ms, rest_ns = divmod(ns, 1_000_000)
    stamp = (ms & (1 << 48) - 1) << 12 | rest_ns * 4096 // 1_000_000
    if at is None:
        stamp = _last_uuid7 = max(stamp, _last_uuid7 + 1)
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64
    return uuid.UUID(int=value | 0b10 << 62 | _random_62())


# How far the clocks of two hosts may be apart.
_CLOCKS_APART_MS = 3_600_000


def uuid7_since(first: uuid.UUID) -> uuid.UUID:
    """No UUIDv7 that was made after this one is lower, whichever host made it: what partitions
    must be searched for what came after."""
    return uuid.UUID(int=max(0, (first.int >> 80) - _CLOCKS_APART_MS) << 80)


ENTRY_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
PLACEMENT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
