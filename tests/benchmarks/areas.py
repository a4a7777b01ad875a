"""Service areas: the full route with and without them."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from service.steps import route
from tests.benchmarks import measuring, nearest, worlds
from tests.benchmarks.measuring import Job
from tests.benchmarks.options import Options

_STORES = 30_000
_VISITORS = 2000
_AT_MOST = 2.0


def run(options: Options) -> Iterator[str]:
    stores = options.stores(_STORES)
    rng = np.random.default_rng(options.seed)
    plain = worlds.chain(stores, [True] * len(stores))
    with_areas = worlds.chain(stores, [True] * len(stores))
    for number, (lon, lat) in enumerate(stores.tolist()):
        store = with_areas.chain.stores[worlds.number_of(number)]
        corners = int(rng.integers(50, 501))
        area = _round(lon, lat, rng.uniform(300, 3000), corners)
        with_areas.chain.replace_store(dataclasses.replace(store, service_area=area))
    places = worlds.visitors(stores, _VISITORS, np.random.default_rng(options.seed + 1))
    fixes = worlds.fixes(places)

    def routed(world: worlds.World, number: int) -> object:
        asked = route.Route(world.directory, world.entry, nearest.RULES, worlds.NOW, fixes[number])
        return next(iter(asked.walk()), None)

    inside = sum(bool(with_areas.chain.areas_at(fix.point)) for fix in fixes) / len(fixes)
    times = measuring.interleaved(
        {
            "no areas": Job(lambda number: routed(plain, number), len(fixes)),
            "an area for each": Job(lambda number: routed(with_areas, number), len(fixes)),
        },
        options.scaled(7, least=3),
    )
    ratio = times["an area for each"].ratio_to(times["no areas"])
    rows = [
        [name, measuring.duration(each.median_s), f"{each.ratio_to(times['no areas']):.2f}"]
        for name, each in times.items()
    ]
    yield (
        f"{len(stores):,} {options.stores_are}; areas of 50 to 500 corners; "
        f"{inside:.0%} of the visitors are inside of one or more."
    )
    yield measuring.table(["full route", "median", "ratio"], rows)
    yield f"At most {_AT_MOST:g} times the plain walk: {ratio:.2f}, " + measuring.verdict(
        ratio, at_most=_AT_MOST
    )


def _round(lon: float, lat: float, radius_m: float, corners: int) -> dict[str, object]:
    """A wavy ring around a place, as a hand draws it."""
    ring = []
    for corner in range(corners):
        turn = 2 * math.pi * corner / corners
        away = radius_m * (1 + 0.2 * math.sin(7 * turn)) / 111_320
        east = away * math.sin(turn) / math.cos(math.radians(lat))
        ring.append([lon + east, lat + away * math.cos(turn)])
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
