"""The nearest store: our full route against what else could be asked, in three sizes of world.

Each method is given longitude and latitude and names a store; the full route also filters, measures
by the geodesic, orders, and says why. The bare 3-D rtree call is the floor: coordinates ready, one
store's number back. The stores that were passed by on the way are named, as the service does by
default: with 95 % that cannot serve, that is most of the work.
"""

import contextlib
import gc
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geo.point import Point
from service import embedded, visits
from service.domain import Fix
from service.settings import Settings
from service.steps import route
from tests.benchmarks import measuring, peers, worlds
from tests.benchmarks.measuring import Job, Times
from tests.benchmarks.options import Options
from tests.benchmarks.worlds import Degrees

SIZES = (1_000, 25_000, 1_000_000)
MIDDLE = SIZES[1]
_VISITORS = 400
# Many short rounds: what is compared then meets the same neighbours on the machine.
_ROUNDS, _A_ROUND = 60, 80
_SCANS, _SCAN_ROUNDS = 4, 5

FULL = "nearcode: full route"
TOLD = "nearcode: full route, and the routing written down"
INDEX = "nearcode: index alone"
BARE = "rtree 3-D, bare call"
MOSTLY_DARK = "nearcode: full route, 95 % closed or full"
DARK_TOLD = "nearcode: 95 % closed or full, the hops named and written down"
THIRD_DARK = "nearcode: full route, 30 % closed or full"

# As the service has them by default.
RULES = visits.rules(Settings())


def run(options: Options) -> Iterator[str]:
    sizes = (0,) if options.stores_file else SIZES
    with _postgres() as url, contextlib.ExitStack() as stack:
        jobs: dict[str, Job] = {}
        held: list[object] = []
        for size in sizes:
            stores = options.stores(size)
            setting = _Setting(stores, _visitors(stores, options), url, stack)
            held.append(setting)
            for name, job in setting.jobs(dark=size in (0, MIDDLE)).items():
                jobs[_named(name, size)] = job
        # What was built stays; without this each collection would look at millions of objects.
        gc.collect()
        gc.freeze()
        scans = {name: job for name, job in jobs.items() if name.startswith("PostgreSQL")}
        trees = {name: job for name, job in jobs.items() if name not in scans}
        rounds = options.scaled(_ROUNDS, least=5)
        times = measuring.interleaved(trees, rounds)
        scanned = measuring.interleaved(scans, options.scaled(_SCAN_ROUNDS, least=3))
        gc.unfreeze()
        yield (
            f"{_VISITORS} visitors, most within some km of a store; {rounds} rounds of {_A_ROUND} "
            f"calls in turns ({_SCANS} for each full scan, by themselves); medians of the rounds, "
            "+- half the distance between the quartiles; `x floor` is the time as a multiple of "
            "the bare 3-D rtree call's, round by round"
        )
        for size in sizes:
            yield f"### {size or len(options.stores(0)):,} {options.stores_are}"
            here = {n: t for n, t in {**times, **scanned}.items() if n.endswith(_tail(size))}
            yield _compared(here)
        yield from _targets(times, sizes)


@dataclass(slots=True)
class _Setting:
    stores: Degrees
    visitors: Degrees
    url: str
    stack: contextlib.ExitStack

    def jobs(self, *, dark: bool) -> dict[str, Job]:
        """`dark`: also with many stores that cannot serve."""
        degrees = self.visitors.tolist()
        points = [Point(lon, lat) for lon, lat in degrees]
        fixes = worlds.fixes(self.visitors)
        world = worlds.chain(self.stores, [True] * len(self.stores))
        bare = peers.SpaceRtree(self.stores, self.visitors)
        sql = peers.SqlScan(self.url, self.stores)
        self.stack.callback(sql.close)

        def fast(call: Callable[[int], object]) -> Job:
            return Job(call, _A_ROUND, len(degrees))

        def scan(call: Callable[[int], object]) -> Job:
            return Job(call, _SCANS, len(degrees))

        def found(peer: peers.Peer) -> Callable[[int], object]:
            return lambda number: peer.nearest(*degrees[number])

        jobs = {
            FULL: fast(_routed(world, fixes)),
            BARE: fast(bare.nearest_of),
            TOLD: fast(lambda number: _asked(world, fixes[number]).explain()),
            INDEX: fast(lambda number: world.chain.serving.nearest(points[number])),
            "rtree in degrees": fast(found(peers.DegreesRtree(self.stores))),
            "shapely STRtree in degrees": fast(found(peers.ShapelyTree(self.stores))),
            "scikit-learn BallTree, haversine": fast(found(peers.HaversineBallTree(self.stores))),
            "SciPy cKDTree, 3-D": fast(found(peers.SpaceKdTree(self.stores))),
            "PostgreSQL, full scan, planar": scan(found(sql)),
            "PostgreSQL, full scan, haversine": scan(
                lambda number: sql.nearest_by_haversine(*degrees[number])
            ),
        }
        if dark:
            for name, share in ((THIRD_DARK, 0.30), (MOSTLY_DARK, 0.95)):
                rng = np.random.default_rng(2)
                serves = rng.random(len(self.stores)) >= share
                partly = worlds.chain(self.stores, serves.tolist())
                jobs[name] = fast(_routed(partly, fixes))
            jobs[DARK_TOLD] = fast(lambda number: _asked(partly, fixes[number]).explain())
        return jobs


def _routed(world: worlds.World, fixes: list[Fix]) -> Callable[[int], object]:
    """The first code on the walk: index, filter, distance, order, and its reason."""

    def routed(number: int) -> object:
        return next(iter(_asked(world, fixes[number]).walk()), None)

    return routed


def _asked(world: worlds.World, fix: Fix) -> route.Route:
    return route.Route(world.directory, world.entry, RULES, worlds.NOW, fix)


def _visitors(stores: Degrees, options: Options) -> Degrees:
    return worlds.visitors(stores, _VISITORS, np.random.default_rng(options.seed + 1))


def _compared(times: dict[str, Times]) -> str:
    floor = next(each for name, each in times.items() if name.startswith(BARE))
    return measuring.table(
        ("method", "a query", "+-", "queries/s", "x floor"),
        [
            (
                name.rpartition(" @")[0],
                measuring.duration(each.median_s),
                f"{each.spread / 2:.0%}",
                f"{1 / each.median_s:,.0f}",
                f"{_times_floor(each, floor):,.2f}",
            )
            for name, each in times.items()
        ],
    )


def _times_floor(times: Times, floor: Times) -> float:
    if len(times.per_call_s) == len(floor.per_call_s):
        return times.ratio_to(floor)
    return times.median_s / floor.median_s  # the scans are not in turns with it


def _targets(times: dict[str, Times], sizes: tuple[int, ...]) -> Iterator[str]:
    middle = MIDDLE if MIDDLE in sizes else sizes[0]
    full, bare = times[_named(FULL, middle)], times[_named(BARE, middle)]
    rate = bare.ratio_to(full)
    dark = times[_named(MOSTLY_DARK, middle)].ratio_to(full)
    rows = [
        (
            "full route's rate, of the bare 3-D rtree call's",
            "at least 0.6",
            f"{rate:.2f}",
            measuring.verdict(rate, at_least=0.6),
        ),
        (
            "time with 95 % closed or full, of all open's",
            "at most 2",
            f"{dark:.2f}",
            measuring.verdict(dark, at_most=2),
        ),
    ]
    if len(sizes) > 1:
        growth = times[_named(FULL, sizes[-1])].ratio_to(times[_named(FULL, sizes[0])])
        rows.append(
            (
                f"time with {sizes[-1]:,} stores, of {sizes[0]:,}'s",
                "at most 3",
                f"{growth:.2f}",
                measuring.verdict(growth, at_most=3),
            )
        )
    yield measuring.table(("target", "to reach", "figure", ""), rows)


def _named(name: str, size: int) -> str:
    return name + _tail(size)


def _tail(size: int) -> str:
    return f" @{size}"


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="nearcode-bench-") as folder,
        embedded.EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        yield server.url
