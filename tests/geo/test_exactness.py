"""The whole route against brute force on the geodesic; `make bench` asks much more."""

import functools

import numpy as np
import pytest

from tests.benchmarks import exactness, oracle, worlds


def test_the_code_shown_is_always_that_of_the_nearest_store_that_can_serve() -> None:
    stores = worlds.real_shaped(3_000, np.random.default_rng(51))
    asked = list(exactness.real_shaped(stores, 1_000, seed=52))
    assert sum(len(part.visitors) for part in asked) == 1_000
    assert [wrong for part in asked for wrong in part.wrong] == []


@pytest.mark.parametrize("kind", worlds.RANDOM)
def test_the_nearest_store_is_found_in_every_kind_of_world(kind: str) -> None:
    rng = np.random.default_rng(53)
    for size in (1, 40, 1_500):
        stores = worlds.RANDOM[kind](size, rng)
        visitors = functools.partial(worlds.any_visitors, worlds.RANDOM[kind], stores, rng=rng)
        for part in exactness.asked(stores, visitors, 100, rng):
            assert part.wrong == []


def test_the_brute_force_leaves_no_store_out_that_could_be_nearest() -> None:
    """Against every geodesic measured, without its own choice of candidates."""
    rng = np.random.default_rng(54)
    for make in worlds.RANDOM.values():
        stores = make(300, rng)
        visitors = worlds.any_visitors(make, stores, 40, rng)
        found = oracle.nearest(stores, visitors)
        for number, visitor in enumerate(visitors):
            every = oracle.distances_mm(np.tile(visitor, (len(stores), 1)), stores)
            assert found.stores[number] == every.argmin()
            assert found.distances_mm[number] == every.min()
