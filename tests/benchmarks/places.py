"""Position to province, city and district, against a plain shapely tree over the same polygons."""

import time
from collections.abc import Iterator

import numpy as np
import shapely

from geo import places
from geo.point import Point
from tests.benchmarks import measuring, worlds
from tests.benchmarks.measuring import Job
from tests.benchmarks.options import Options

_POSITIONS = 1_000
_ROUNDS = 9


def run(options: Options) -> Iterator[str]:
    before = measuring.memory_bytes()
    start = time.perf_counter()
    loaded = places.load()
    loaded_s = time.perf_counter() - start
    rng = np.random.default_rng(options.seed)
    shops = worlds.read(worlds.SHOPS)
    near_shops = worlds.visitors(shops, _POSITIONS, rng)
    anywhere = rng.uniform((73, 18), (135, 54), (_POSITIONS, 2))
    points = [[Point(*each) for each in part.tolist()] for part in (near_shops, anywhere)]
    tree = shapely.STRtree(loaded._shapes)  # the very polygons that ours asks
    for part in points:
        for point in part:
            loaded.at(point)
    held_mb = (measuring.memory_bytes() - before) / 1e6

    def plain(number: int) -> object:
        lon, lat = near_shops[number]
        return tree.query(shapely.Point(lon, lat), predicate="intersects")

    jobs = {
        "near shops": Job(lambda number: loaded.at(points[0][number]), _POSITIONS),
        "anywhere in China, its neighbours and seas": Job(
            lambda number: loaded.at(points[1][number]), _POSITIONS
        ),
        "near shops, shapely STRtree": Job(plain, _POSITIONS),
    }
    times = measuring.interleaved(jobs, options.scaled(_ROUNDS, least=3))
    peer = times["near shops, shapely STRtree"]
    yield measuring.table(
        ("positions", "a look-up", "+-", "x STRtree"),
        [
            (
                name,
                measuring.duration(each.median_s),
                f"{each.spread / 2:.0%}",
                f"{each.ratio_to(peer):.2f}",
            )
            for name, each in times.items()
        ],
    )
    look_up_s = times["near shops"].median_s
    rows = [
        ("a look-up", "under 20 us", measuring.duration(look_up_s), look_up_s, 20e-6),
        ("loading", "under 2 s", f"{loaded_s:.2f} s", loaded_s, 2.0),
        ("memory, all polygons asked", "under 150 MB", f"{held_mb:.0f} MB", held_mb, 150.0),
    ]
    yield measuring.table(
        ("target", "to reach", "figure", ""),
        [
            (name, to_reach, told, measuring.verdict(figure, at_most=target))
            for name, to_reach, told, figure, target in rows
        ],
    )
