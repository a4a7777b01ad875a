"""How often is the answer not the nearest store? Ours must be 0; and what others get wrong.

A third of the stores is closed or full, and some open and close while the index is in use. The
answer is that of the whole route (index, filter, distance, order), asked as a visitor's scan asks
it; the truth is brute force over the stores that can serve. Right is the truth's store and distance
in whole millimetres. Another's answer counts as wrong only if it is farther away in whole
millimetres.
"""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.domain import Outcome
from service.steps import route
from tests.benchmarks import measuring, oracle, worlds
from tests.benchmarks.options import Options
from tests.benchmarks.worlds import Degrees

CLOSED_SHARE = 0.33
EPOCHS = 4
SIZES = (1, 10, 100, 1_000, 10_000, 100_000)

# Anywhere on earth is in reach.
RULES = route.Rules(radius_m=3e7, trusted_accuracy_m=150.0, max_choices=5, max_hops=20)


def run(options: Options) -> Iterator[str]:
    # Here, so that the tests, which use the rest, need none of the others installed.
    from tests.benchmarks import peers_wrong

    queries = options.scaled(100_000, least=1_000)
    stores = options.stores(25_000)
    worlds_asked: dict[str, Iterator[Asked]] = {
        f"{len(stores):,} {options.stores_are}": real_shaped(stores, queries, options.seed),
        f"random worlds of 1 to {SIZES[-1]:,}": random(queries, options.seed),
    }
    for name, parts in worlds_asked.items():
        start = time.perf_counter()
        tally = peers_wrong.Tally()
        asked_count, wrong = 0, []
        for part in parts:
            asked_count += len(part.visitors)
            wrong += part.wrong
            tally.add(part)
        taken_s = time.perf_counter() - start
        yield (
            f"### {name}: {len(wrong)} wrong in {asked_count:,} "
            f"({'pass' if not wrong else 'FAIL'}; target 0; {taken_s:.0f} s)"
        )
        yield from wrong[:5]
        rows = [("nearcode route", asked_count, len(wrong), 0.0, 0.0), *tally.rows()]
        yield measuring.table(
            ("on the same questions", "wrong", "share", "median detour", "largest"),
            [
                (
                    finder,
                    f"{count:,}",
                    f"{count / total:.3%}",
                    f"{median_m:,.3f} m",
                    f"{most_m:,.1f} m",
                )
                for finder, total, count, median_m, most_m in rows
            ],
        )


@dataclass(slots=True)
class Asked:
    """Visitors, the stores that could serve them, and what the truth and our route say."""

    stores: Degrees
    visitors: Degrees
    truth: oracle.Nearest
    wrong: list[str] = field(default_factory=list)


def real_shaped(stores: Degrees, queries: int, seed: int) -> Iterator[Asked]:
    rng = np.random.default_rng(seed)
    yield from asked(stores, lambda n: worlds.visitors(stores, n, rng), queries, rng)


def random(queries: int, seed: int) -> Iterator[Asked]:
    """Each kind of world in each size, the queries shared out evenly."""
    rng = np.random.default_rng(seed)
    each = -(-queries // (len(worlds.RANDOM) * len(SIZES)))
    for make in worlds.RANDOM.values():
        for size in SIZES:
            stores = make(size, rng)

            visitors = functools.partial(worlds.any_visitors, make, stores, rng=rng)
            yield from asked(stores, visitors, each, rng)


def asked(
    stores: Degrees,
    visitors: Callable[[int], Degrees],
    queries: int,
    rng: np.random.Generator,
) -> Iterator[Asked]:
    """The queries in as many parts as there are epochs; between them stores open and close."""
    serving = rng.random(len(stores)) >= CLOSED_SHARE
    serving[rng.integers(len(stores))] = True
    world = worlds.chain(stores, serving.tolist())
    for epoch in range(EPOCHS):
        if epoch:
            _edit(world, serving, rng)
        count = queries * (epoch + 1) // EPOCHS - queries * epoch // EPOCHS
        if count:
            yield _ask(world, stores, serving, visitors(count))


def _edit(world: worlds.World, serving: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """One in ten stores changes, a hundred at most; at least one stays open."""
    for number in rng.integers(len(serving), size=min(100, 1 + len(serving) // 10)).tolist():
        serving[number] = not serving[number]
        if not serving.any():
            serving[number] = True
        worlds.switch(world, number, serving=bool(serving[number]))


def _ask(
    world: worlds.World, stores: Degrees, serving: NDArray[np.bool_], visitors: Degrees
) -> Asked:
    numbers = np.flatnonzero(serving)
    open_stores = stores[numbers]
    truth = oracle.nearest(open_stores, visitors)
    result = Asked(open_stores, visitors, truth)
    answers = zip(
        worlds.fixes(visitors),
        numbers[truth.stores].tolist(),
        truth.distances_mm.tolist(),
        strict=True,
    )
    for fix, nearest, nearest_mm in answers:
        routing = route.Route(world.directory, world.entry, RULES, worlds.NOW, fix).explain()
        right = (
            routing.outcome is Outcome.CODE
            and routing.store == worlds.number_of(nearest)
            and routing.distance_m is not None
            and round(routing.distance_m * 1000) == nearest_mm
        )
        if not right:
            result.wrong.append(
                f"{fix.point}: {routing.store} at {routing.distance_m} m, "
                f"but {worlds.number_of(nearest)} is at {nearest_mm / 1000} m"
            )
    return result
