"""What the full route's time is made of: each part alone, on the 25,000-store world."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from geo import distance, tree
from geo.point import Point
from service.domain import Outcome, Reason, Routing
from service.steps import route
from tests.benchmarks import measuring, nearest, peers, worlds
from tests.benchmarks.measuring import Job
from tests.benchmarks.options import Options

_VISITORS = 400
_ROUNDS = 60
_A_ROUND = 80


def run(options: Options) -> Iterator[str]:
    stores = options.stores(nearest.MIDDLE)
    visitors = worlds.visitors(stores, _VISITORS, np.random.default_rng(options.seed + 1))
    points = [Point(lon, lat) for lon, lat in visitors.tolist()]
    fixes = worlds.fixes(visitors)
    world = worlds.chain(stores, [True] * len(stores))
    serving = world.chain.serving
    bare = peers.SpaceRtree(stores, visitors)
    space = tree.Tree(distance.ecefs(stores[:, 0], stores[:, 1]))
    centres = [distance.ecef(point) for point in points]
    found = [serving.point(serving.nearest(point)[0].key) for point in points]
    some_store = next(iter(world.chain.stores.values()))
    code = world.chain.codes_of(some_store.store)[0]
    full = nearest.TOLD

    def asked(number: int) -> route.Route:
        return route.Route(world.directory, world.entry, nearest.RULES, worlds.NOW, fixes[number])

    calls: dict[str, Callable[[int], object]] = {
        nearest.BARE: bare.nearest_of,
        full: lambda number: asked(number).explain(),
        "- the tree's two nearest": lambda number: space.nearest(centres[number], 2),
        "- degrees to x, y, z": lambda number: distance.ecef(points[number]),
        "- one geodesic": lambda number: distance.geodesic_m(points[number], found[number]),
        "- two chords": lambda number: (
            math.dist(centres[number], centres[0]),
            math.dist(centres[number], centres[1]),
        ),
        "- the index's first store (the four above, and their order)": lambda number: next(
            serving.walk(points[number])
        ),
        "- who could serve is asked": lambda number: world.chain.can_serve(some_store, worlds.NOW),
        "- areas that hold the visitor": lambda number: world.chain.areas_at(points[number]),
        "- is there a doubt": lambda number: asked(number).doubt(),
        "- the routing written down": lambda number: Routing(
            None,
            Outcome.CODE,
            Reason.NEAREST,
            fixes[number],
            store=code.store,
            distance_m=1.0,
            code_id=code.code_id,
        ),
    }
    jobs = {name: Job(call, _A_ROUND, _VISITORS) for name, call in calls.items()}
    times = measuring.interleaved(jobs, options.scaled(_ROUNDS, least=3))
    yield f"{len(stores):,} {options.stores_are}, all open"
    yield measuring.table(
        ("part", "a query", "+-", "of the full route"),
        [
            (
                name,
                measuring.duration(each.median_s),
                f"{each.spread / 2:.0%}",
                f"{each.ratio_to(times[full]):.0%}",
            )
            for name, each in times.items()
        ],
    )
