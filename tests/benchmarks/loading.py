"""Loading a million stores: how long, and how much memory each takes.

In a process of its own, so that what is measured is only what stays.
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from geo.index import StoreIndex
from geo.point import Point
from tests.benchmarks import measuring, worlds
from tests.benchmarks.options import Options

_STORES = 1_000_000


def run(options: Options) -> Iterator[str]:
    count = options.scaled(_STORES, least=10_000)
    rows = []
    for what, heading in (
        ("index", "the index alone"),
        ("worker", "index, stores and codes as a worker keeps them"),
    ):
        measured = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.loading", what, str(count)],
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        )
        figures = json.loads(measured.stdout)
        each = figures["bytes"] / count
        for figure, target, told in (
            (figures["seconds"], 60.0, f"{figures['seconds']:.1f} s"),
            (each, 1024.0, f"{each:,.0f} bytes a store"),
        ):
            to_reach = "under 60 s" if target == 60 else "at most 1,024 bytes"
            verdict = measuring.verdict(figure, at_most=target)
            rows.append((heading, to_reach, told, verdict))
    yield f"{count:,} stores; memory is what the process holds more than before"
    yield measuring.table(("loading", "to reach", "figure", ""), rows)


def main(what: str, count: int) -> None:
    stores = Options().stores(count)
    degrees = stores.tolist()
    gc.collect()
    before = measuring.memory_bytes()
    start = time.perf_counter()
    kept: object
    if what == "index":
        kept = StoreIndex(
            (worlds.number_of(number), Point(lon, lat)) for number, (lon, lat) in enumerate(degrees)
        )
    else:
        kept = worlds.chain(stores, [True] * count)
    taken_s = time.perf_counter() - start
    gc.collect()
    held = measuring.memory_bytes() - before
    del kept
    print(json.dumps({"seconds": taken_s, "bytes": held}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
