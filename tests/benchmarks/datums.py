"""From one datum to another; the floor is one PROJ geodesic, which the route needs as well."""

from collections.abc import Callable, Iterator

import numpy as np

from geo import datum, distance
from geo.datum import Datum
from geo.point import Point
from tests.benchmarks import measuring, worlds
from tests.benchmarks.measuring import Job
from tests.benchmarks.options import Options

_POSITIONS = 1_000
_ROUNDS = 9
_FLOOR = "floor: one geodesic"


def run(options: Options) -> Iterator[str]:
    rng = np.random.default_rng(options.seed)
    shops = worlds.visitors(worlds.read(worlds.SHOPS), _POSITIONS, rng)
    points = [Point(lon, lat) for lon, lat in shops.tolist()]
    abroad = [Point(lon, lat) for lon, lat in rng.uniform((-120, -50), (60, 60), shops.shape)]

    def to(kind: Datum, places: list[Point]) -> Callable[[int], object]:
        return lambda number: datum.from_wgs84(places[number], kind)

    def back(kind: Datum) -> Callable[[int], object]:
        shifted = [datum.from_wgs84(point, kind) for point in points]
        return lambda number: datum.to_wgs84(shifted[number], kind)

    calls: dict[str, Callable[[int], object]] = {
        _FLOOR: lambda number: distance.geodesic_m(points[number], points[0]),
        "WGS-84 to GCJ-02": to(Datum.GCJ02, points),
        "WGS-84 to BD-09": to(Datum.BD09, points),
        "GCJ-02 to WGS-84": back(Datum.GCJ02),
        "BD-09 to WGS-84": back(Datum.BD09),
        "abroad: passed unchanged": to(Datum.GCJ02, abroad),
    }
    jobs = {name: Job(call, _POSITIONS) for name, call in calls.items()}
    times = measuring.interleaved(jobs, options.scaled(_ROUNDS, least=3))
    yield measuring.table(
        ("conversion", "a point", "+-", "x floor"),
        [
            (
                name,
                measuring.duration(each.median_s),
                f"{each.spread / 2:.0%}",
                f"{each.ratio_to(times[_FLOOR]):.2f}",
            )
            for name, each in times.items()
        ],
    )
