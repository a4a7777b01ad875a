"""Timing on a busy machine: everything that is compared is called in turns, round by round.

A figure is the median over the rounds, its spread the distance between the quartiles. Ratios are
taken round by round, so that a machine that is slow for a while is slow for both.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """A round is `times` calls; each is given the next of the numbers below `among`, over and over,
    which is `times` if it is not said."""

    call: Callable[[int], object]
    times: int
    among: int | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds per call, one for each round."""

    per_call_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.per_call_s)

    @property
    def spread(self) -> float:
        """Between the quartiles, as a share of the median."""
        return _quartiles(self.per_call_s) / self.median_s

    def ratio_to(self, other: "Times") -> float:
        """How many times as long as `other`: the median of the rounds' ratios."""
        pairs = zip(self.per_call_s, other.per_call_s, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def interleaved(jobs: Mapping[str, Job], rounds: int) -> dict[str, Times]:
    """Every job once a round; the first round warms up and is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            among = job.among or job.times
            numbers = [(turn * job.times + each) % among for each in range(job.times)]
            call = job.call
            start = time.perf_counter()
            for number in numbers:
                call(number)
            per_call_s = (time.perf_counter() - start) / job.times
            if turn:
                taken[name].append(per_call_s)
    return {name: Times(tuple(each)) for name, each in taken.items()}


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that can be read as it is: the first column to the left, the others to the right."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    rule = "|" + "|".join(
        "-" * (width + 2) if place == 0 else "-" * (width + 1) + ":"
        for place, width in enumerate(widths)
    )
    lines = [_line(headings, widths), rule + "|", *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def verdict(figure: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    passed = (at_most is None or figure <= at_most) and (at_least is None or figure >= at_least)
    return "pass" if passed else "FAIL"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds / 1e-9:.3g} ns"


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("rtree", "shapely", "pyproj", "numpy")
    )
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{cores} cores, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}; load {load}"
    )


def memory_bytes() -> int:
    """What this process holds in real memory now (Linux; elsewhere 0)."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _quartiles(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return high - low


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell + " " * (width - _width(cell)) if place == 0 else " " * (width - _width(cell)) + cell
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _width(text: str) -> int:
    return len(text)
