"""locate: where is the visitor? By the phone, by IP, or by the store that they pick."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geo import datum as datums
from geo import distance, iplocate, places
from geo.point import Point
from service.domain import Fix, IpPolicy, Scan, Source, Store, uuid7

# Where a position is kept, it is kept to this many decimals of a degree: about 100 m.
COARSE_DECIMALS = 3

# The farthest that two points on earth can be apart: a larger radius says nothing more.
_FARTHEST_M = 20_003_931.0


def by_phone(
    given: Point, *, datum: datums.Datum, accuracy_m: float, source: Source = Source.GPS
) -> Fix:
    """A phone's own position, given in `datum`, turned to WGS-84."""
    point = datums.to_wgs84(given, datum)
    place = places.default().at(point)
    return Fix(
        point=point,
        accuracy_m=min(accuracy_m, _FARTHEST_M),
        source=source,
        datum=datum,
        province=place.province if place else None,
        city=(place.city or place.district) if place else None,
        district=place.district if place else None,
    )


def by_address(locator: iplocate.IpLocator, address: str | None, policy: IpPolicy) -> Fix | None:
    """What the visitor's IP address tells, or None if it tells nothing or may not be asked."""
    found = locator.locate(address) if address and policy is not IpPolicy.NEVER else None
    if found is None:
        return None
    return Fix(
        point=found.point,
        accuracy_m=found.radius_m,
        source=Source.IP,
        province=found.province,
        city=found.city,
    )


def by_choice(store: Store) -> Fix:
    """The visitor says which store: that is where they are taken to be."""
    return Fix(
        point=store.point,
        accuracy_m=0,
        source=Source.CHOSEN,
        province=store.province,
        city=store.city,
        district=store.district,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a visitor was last seen, as long as it is remembered: WGS-84 degrees, metres."""

    lon: float
    lat: float
    accuracy_m: float
    source: Source
    located_at: datetime


def row(scan: Scan, fix: Fix, at: datetime) -> dict[str, Any]:
    """The fix as it is kept with its scan: coarsened."""
    return {
        "chain_id": scan.chain_id,
        "fix_id": uuid7(at),
        "scan_id": scan.scan_id,
        "source": fix.source.value,
        "datum": fix.datum.value,
        "lon": round(fix.point.lon, COARSE_DECIMALS),
        "lat": round(fix.point.lat, COARSE_DECIMALS),
        "accuracy_m": fix.accuracy_m,
        "province": fix.province,
        "city": fix.city,
        "district": fix.district,
        "fixed_at": at,
    }


def stands(fix: Fix, now: datetime) -> Standing | None:
    """What is remembered of a fix while its visitor is served; nothing of a picked store."""
    if fix.source is Source.CHOSEN:
        return None
    return Standing(fix.point.lon, fix.point.lat, fix.accuracy_m, fix.source, now)


def standing(known: Standing | None) -> Fix | None:
    """Where the visitor was last seen, if that is still known."""
    if known is None:
        return None
    point = Point(known.lon, known.lat)
    place = None if known.source is Source.IP else places.default().at(point)
    return Fix(
        point=point,
        accuracy_m=known.accuracy_m,
        source=known.source,
        province=place.province if place else None,
        city=(place.city or place.district) if place else None,
        district=place.district if place else None,
    )


def metres_to(fix: Fix, store: Store) -> float:
    """Geodesic metres from a fix to a store, in whole millimetres."""
    return round(distance.geodesic_m(fix.point, store.point), 3)
