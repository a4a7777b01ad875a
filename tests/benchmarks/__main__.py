"""Prints the benchmark tables: `python -m tests.benchmarks [name ...]`, all of them by default."""

import argparse
import importlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import measuring
from tests.benchmarks.options import Options

NAMES = {
    "nearest": "the nearest store, against other ways to find it",
    "limit": "what the full route's time is made of",
    "areas": "the full route with service areas",
    "change": "how long visitors wait while the index changes",
    "loading": "a million stores: time and memory",
    "exactness": "how often the answer is not the nearest store",
    "places": "position to province, city, district",
    "datums": "WGS-84, GCJ-02, BD-09",
    "addresses": "IP address to position",
    "codes": "QR codes read and drawn; of photographs, which are read (--pictures FOLDER)",
    "importing": "30,000 stores from a CSV file into PostgreSQL",
    "orders": "a million orders taken and matched, and what HQ asks of them",
    "scans": "visitors' requests through HTTP, each durable before it is answered",
    "warnings": "a look for what to warn of, of 30,000 stores",
    "history": "months of past days, by the code that serves today",
    "reports": "reports from roll-ups against raw rows, and what roll-ups cost: ten million scans",
    "crashes": "workers and PostgreSQL killed under load, and what was answered counted",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:10}  {what}" for name, what in NAMES.items()),
    )
    parser.add_argument("names", nargs="*", metavar="name", help="which; all by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of the repeats")
    parser.add_argument(
        "--stores", type=Path, metavar="FILE", help="measure these: a CSV file with lon, lat"
    )
    folder = os.environ.get("NEARCODE_BENCH_PICTURES")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        default=Path(folder) if folder else None,
        help="read these photographs, and not some that are made up",
    )
    parser.add_argument(
        "--kept",
        type=Path,
        metavar="FOLDER",
        help="reports: make the scans in this folder, or use those that it made there before",
    )
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    options = Options(
        seed=asked.seed,
        scale=asked.scale,
        stores_file=asked.stores,
        pictures=asked.pictures,
        kept=asked.kept,
    )
    print(f"{measuring.machine()}\nseed {options.seed}, scale {options.scale:g}\n", flush=True)
    for name in asked.names or NAMES:
        start = time.perf_counter()
        print(f"## {name}: {NAMES[name]}\n", flush=True)
        for paragraph in _run(name, options):
            print(f"{paragraph}\n", flush=True)
        print(f"({name} took {time.perf_counter() - start:.0f} s)\n", flush=True)


def _run(name: str, options: Options) -> Iterator[str]:
    run = importlib.import_module(f"tests.benchmarks.{name}").run
    yield from run(options)


if __name__ == "__main__":
    main()
