"""Worlds to measure in: store positions and visitors, all seeded; and chains made of them.

The real-shaped world is the 7,209 real shop positions of the tests, and for larger ones stores
around those and around the seats of China's cities, as dense chains have them. Degrees are WGS-84,
rounded to six decimals as spreadsheets have them.
"""

import asyncio
import csv
import math
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from asyncpg.pgproto import pgproto
from numpy.typing import NDArray

from geo.point import Point
from service import directory
from service.directory import Chain, Directory
from service.domain import (
    CodeStatus,
    CountedBy,
    Entry,
    Fix,
    IpPolicy,
    Source,
    StoreStatus,
)

ROOT = Path(__file__).parents[2]
SHOPS = ROOT / "tests" / "geo" / "data" / "shop_positions.csv"
SEATS = ROOT / "geo" / "data" / "city_seats.csv"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

Degrees = NDArray[np.float64]
"""Shape (n, 2): lon, lat."""


def read(path: Path) -> Degrees:
    """The columns `lon` and `lat` of a CSV file, in WGS-84."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(float(row["lon"]), float(row["lat"])) for row in csv.DictReader(file)]
    return np.array(rows, np.float64)


def real_shaped(count: int, rng: np.random.Generator) -> Degrees:
    """`count` stores: real ones, a sample of them if fewer, with made-up neighbours if more."""
    shops = read(SHOPS)
    if count <= len(shops):
        return np.asarray(shops[rng.choice(len(shops), count, replace=False)])
    with SEATS.open(encoding="utf-8", newline="") as file:
        seats = [row for row in csv.DictReader(file) if row["level"] == "city"]
    cities = np.array([(float(seat["lon"]), float(seat["lat"])) for seat in seats])
    extra = count - len(shops)
    by_city = rng.random(extra) < 0.25  # towns where the real chain has nothing
    anchors = np.where(
        by_city[:, None],
        cities[rng.integers(len(cities), size=extra)],
        shops[rng.integers(len(shops), size=extra)],
    )
    spread_km = np.where(by_city, 8.0, rng.lognormal(0.5, 1.0, extra))
    return np.round(np.concatenate([shops, _beside(anchors, spread_km, rng)]), 6)


def visitors(stores: Degrees, count: int, rng: np.random.Generator) -> Degrees:
    """Most within some kilometres of a store, one in ten far from any."""
    anchors = stores[rng.integers(len(stores), size=count)]
    spread_km = np.where(rng.random(count) < 0.1, 60.0, rng.exponential(1.5, count))
    return _beside(anchors, spread_km, rng)


def _beside(places: Degrees, spread_km: Degrees, rng: np.random.Generator) -> Degrees:
    """Normally distributed around each place, on the globe: never off it."""
    degrees = rng.normal(size=places.shape) * (spread_km / 111.2)[:, None]
    lat = np.clip(places[:, 1] + degrees[:, 1], -90, 90)
    stretch = np.maximum(np.cos(np.radians(places[:, 1])), 0.01)
    lon = (places[:, 0] + degrees[:, 0] / stretch + 180) % 360 - 180
    return np.stack([lon, lat], 1)


# ---------------------------------------------------------------- random worlds


def _sphere(count: int, rng: np.random.Generator) -> Degrees:
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    return np.stack([rng.uniform(-180, 180, count), lat], 1)


def _clustered(count: int, rng: np.random.Generator) -> Degrees:
    centres = _sphere(max(1, min(30, count // 20)), rng)
    places = centres[rng.integers(len(centres), size=count)]
    return _beside(places, rng.exponential(5.0, count), rng)


def _tied(count: int, rng: np.random.Generator) -> Degrees:
    """A grid with several stores on each of its corners."""
    side = max(1, math.isqrt(count) // 2)
    corners = rng.integers(0, side + 1, (count, 2)) / 100
    return np.asarray(np.round(corners + np.array([121.0, 31.0]), 2))


def _polar(count: int, rng: np.random.Generator) -> Degrees:
    pole = np.where(rng.random(count) < 0.5, 90.0, -90.0)
    off = np.abs(rng.normal(0, 0.5, count)) * (rng.random(count) < 0.99)
    return np.stack([rng.uniform(-180, 180, count), pole - np.sign(pole) * off], 1)


def _dateline(count: int, rng: np.random.Generator) -> Degrees:
    places = _beside(np.tile([180.0, -17.0], (count, 1)), np.full(count, 20.0), rng)
    exactly = rng.random(count) < 0.05
    places[exactly, 0] = np.where(rng.random(exactly.sum()) < 0.5, 180.0, -180.0)
    return places


def _rows(count: int, rng: np.random.Generator) -> Degrees:
    """Two meridians with stores at the same latitudes: ties for everyone between them."""
    lon = np.where(rng.random(count) < 0.5, -0.01, 0.01)
    return np.stack([lon, rng.integers(-count, count + 1, count) / max(10.0, count / 8)], 1)


RANDOM: dict[str, Callable[[int, np.random.Generator], Degrees]] = {
    "all over the globe": _sphere,
    "clustered": _clustered,
    "tied": _tied,
    "polar": _polar,
    "across 180 degrees": _dateline,
    "in rows": _rows,
}


def any_visitors(
    make: Callable[[int, np.random.Generator], Degrees],
    stores: Degrees,
    count: int,
    rng: np.random.Generator,
) -> Degrees:
    """For a random world: where its stores could be, where one is, between two; and anywhere, which
    is rare in large worlds: from afar nearly every store of a region may be the nearest, and each
    is measured."""
    kind = rng.integers(3, size=count)[:, None]
    kind[rng.random(count) < min(0.25, 100 / len(stores))] = 3
    at = stores[rng.integers(len(stores), size=count)]
    other = make(count, rng)
    halfway = (at + other) / 2
    here = np.where(kind == 0, other, np.where(kind == 1, at, halfway))
    return np.where(kind == 3, _sphere(count, rng), here)


# ---------------------------------------------------------------- chains


@dataclass(frozen=True, slots=True)
class World:
    """A chain in a worker's memory, as it is after reading the database."""

    directory: Directory
    chain: Chain
    entry: Entry


def chain(stores: Degrees, serves: Iterable[bool], *, radius_m: float | None = None) -> World:
    """One store with one code for each position, numbered in order. Of those that do not serve
    half are closed and half are full."""
    chain_id = uuid.UUID(int=1)
    known = Directory()
    made = Chain(chain_id, "bench", "bench", "Asia/Shanghai")
    known.chains[chain_id] = made
    lons, lats = stores[:, 0].tolist(), stores[:, 1].tolist()
    for number, (lon, lat, serving) in enumerate(zip(lons, lats, serves, strict=True)):
        closed = not serving and number % 2 == 0
        made.replace_store(directory.store_of(_store_row(number, lon, lat, closed=closed), made))
        full = not serving and not closed
        known.replace_code(made, directory.code_of(_code_row(number, full=full), made))
    asyncio.run(made.settle_all(list(made.stores)))
    entry = Entry(chain_id, "bench", "bench", radius_m, frozenset(), IpPolicy.CHOOSE, ())
    made.entries[entry.entry] = known.entries[entry.entry] = entry
    return World(known, made, entry)


def switch(world: World, number: int, *, serving: bool) -> None:
    """Open or close a store of a world under the running index, as an edit does."""
    name = number_of(number)
    world.chain.stores[name].status = StoreStatus.OPEN if serving else StoreStatus.CLOSED
    if serving:
        for code in world.chain.codes_of(name):
            code.members = 0
    world.chain.settle(name, NOW)


def number_of(number: int) -> str:
    return f"S{number:07d}"


def fixes(places: Degrees) -> list[Fix]:
    """Each with an accuracy that is trusted: the nearest store is the answer, not a choice."""
    return [
        Fix(source=Source.GPS, accuracy_m=20.0, point=Point(lon, lat))
        for lon, lat in places.tolist()
    ]


# As asyncpg gives them: every value of every row is an object of its own.


def _store_row(number: int, lon: float, lat: float, *, closed: bool) -> dict[str, object]:
    return {
        "store": number_of(number),
        "name": number_of(number),
        "brand": None,
        "address": None,
        "province": None,
        "city": None,
        "district": None,
        "lon": lon,
        "lat": lat,
        "service_area": None,
        "status": StoreStatus.CLOSED.value if closed else StoreStatus.OPEN.value,
    }


def _code_row(number: int, *, full: bool) -> dict[str, object]:
    return {
        "code_id": pgproto.UUID(number.to_bytes(16, "big")),
        "store": number_of(number),
        "kind": "wecom_group",
        "payload": f"https://work.weixin.qq.com/gm/{number_of(number)}",
        "label": None,
        "capacity": 200,
        "members": 200 if full else 0,
        "held": 0,
        "counted_by": CountedBy.PRESSED.value,
        "status": CodeStatus.ACTIVE.value,
        "expires_at": None,
        "position": 0,
        "revision": 0,
        "flagged_at": None,
    }
