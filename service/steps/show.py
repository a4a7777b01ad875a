"""show: a decision is kept with its scan, and becomes what a page or an app is told."""

import functools
import uuid
from datetime import UTC, datetime
from typing import Any

import asyncpg

from service.directory import Directory
from service.domain import (
    Hop,
    Located,
    Offer,
    Outcome,
    Reason,
    Routing,
    Scan,
    Skipped,
    Source,
    Store,
    uuid7,
)


def row(scan: Scan, routing: Routing, at: datetime) -> dict[str, Any]:
    """A decision as it is kept. The latest one of a scan is its current routing."""
    located = routing.located
    return {
        "chain_id": scan.chain_id,
        "routing_id": uuid7(at),
        "scan_id": scan.scan_id,
        "outcome": routing.outcome.value,
        "reason": routing.reason.value,
        "source": located.source.value if located else None,
        "accuracy_m": located.accuracy_m if located else None,
        "province": located.province if located else None,
        "city": located.city if located else None,
        "district": located.district if located else None,
        "store": routing.store,
        "distance_m": routing.distance_m,
        "code_id": routing.code_id,
        "hold_id": routing.hold_id,
        "held_until": routing.held_until,
        "hops": [_hop(hop) for hop in routing.hops],
        "choices": [[offer.store, offer.distance_m] for offer in routing.choices],
        "routed_at": at,
    }


def routing(row: asyncpg.Record) -> Routing:
    """A decision as it was kept. The position itself is not."""
    located = None
    if row["source"] is not None:
        located = Located(
            source=Source(row["source"]),
            accuracy_m=row["accuracy_m"],
            province=row["province"],
            city=row["city"],
            district=row["district"],
        )
    return Routing(
        scan_id=row["scan_id"],
        outcome=Outcome(row["outcome"]),
        reason=Reason(row["reason"]),
        located=located,
        store=row["store"],
        distance_m=row["distance_m"],
        code_id=row["code_id"],
        hold_id=row["hold_id"],
        held_until=row["held_until"],
        hops=tuple(
            Hop(
                hop["store"],
                uuid.UUID(hop["code_id"]) if hop["code_id"] else None,
                Skipped(hop["skipped"]),
                hop["distance_m"],
            )
            for hop in row["hops"]
        ),
        choices=tuple(Offer(store, metres) for store, metres in row["choices"]),
    )


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "store": hop.store,
        "code_id": str(hop.code_id) if hop.code_id else None,
        "skipped": hop.skipped.value,
        "distance_m": _metres(hop.distance_m),
    }


def public(directory: Directory, chain_id: uuid.UUID, routing: Routing) -> dict[str, Any]:
    """The Routing of the contract, as JSON values."""
    located = routing.located
    chain = directory.chains[chain_id]
    stores = chain.stores
    code = directory.codes.get(routing.code_id) if routing.code_id else None
    shown = stores.get(routing.store) if routing.store else None
    return {
        "scan_id": str(routing.scan_id) if routing.scan_id else None,
        "outcome": routing.outcome.value,
        "reason": routing.reason.value,
        "located": located
        and {
            "source": located.source.value,
            "accuracy_m": _metres(located.accuracy_m),
            "province": located.province,
            "city": located.city,
            "district": located.district,
        },
        "store": shown and store(shown, routing.distance_m),
        "code": code
        and {
            "code_id": str(code.code_id),
            "kind": code.kind,
            "image": f"/c/{code.code_id}.png",
            "held_until": _time(routing.held_until),
            "expires_at": _time(code.expires_at),
            # Once it is false, a position or store sent anew leads on.
            "serves": chain.still_serves(code, datetime.now(UTC)),
        },
        "hops": [_hop(hop) for hop in routing.hops],
        "choices": [
            store(stores[offer.store], offer.distance_m)
            for offer in routing.choices
            if offer.store in stores
        ],
    }


def store(shop: Store, distance_m: float | None) -> dict[str, Any]:
    """A store as a visitor sees it."""
    return {
        "store": shop.store,
        "name": shop.name,
        "address": shop.address,
        "city": shop.city,
        "lon": shop.point.lon,
        "lat": shop.point.lat,
        "distance_m": _metres(distance_m),
    }


def _metres(value: float | None) -> float | None:
    """Whole metres, and one decimal below ten: nobody can use more."""
    if value is None:
        return None
    return round(value, 1) if value < 10 else round(value)


@functools.lru_cache(1024)  # seats that were taken together are kept for the same time
def _time(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat(timespec="seconds") if value else None
