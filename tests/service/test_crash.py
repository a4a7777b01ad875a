"""kill -9 of workers and of PostgreSQL, at random moments under load: what was answered stays."""

import os

import pytest

from tests.service import crashing

SEED = int(os.environ.get("NEARCODE_TEST_SEED", "1"))
# A long run: NEARCODE_TEST_CRASHES=200, or `python -m tests.benchmarks crashes`.
ROUNDS = int(os.environ.get("NEARCODE_TEST_CRASHES", "3"))


def test_after_every_crash_what_was_answered_is_there_once_and_nothing_is_oversold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = crashing.run(SEED, ROUNDS)
    with capsys.disabled():
        print(f"\n{report}")
    assert report.faults == {}
    assert sum(report.kills.values()) == ROUNDS
    assert min(report.answered[kind] for kind in ("scan", "position", "event")) > 0
