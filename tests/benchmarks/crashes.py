"""Workers and PostgreSQL killed under load: what was answered and is gone, twice, or oversold."""

from collections.abc import Iterator

from tests.benchmarks.options import Options
from tests.service import crashing

_ROUNDS = 60


def run(options: Options) -> Iterator[str]:
    report = crashing.run(options.seed, options.scaled(_ROUNDS, least=len(crashing.TARGETS)))
    yield str(report)
    if report.faults:
        raise SystemExit("Something that was answered is not there as it was answered.")
