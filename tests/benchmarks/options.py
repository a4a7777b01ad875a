"""What the command line may ask for; the same for every benchmark."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks import worlds
from tests.benchmarks.worlds import Degrees


@dataclass(frozen=True, slots=True)
class Options:
    """`scale` makes everything that is repeated fewer or more; `stores_file` is a CSV file with
    columns `lon` and `lat` to measure instead of the world made up around real shops; `pictures` is
    a folder of photographs to read instead of some that are made up; `kept` is a folder in which a
    set of data that takes long to make stays, and is used again."""

    seed: int = 1
    scale: float = 1.0
    stores_file: Path | None = None
    pictures: Path | None = None
    kept: Path | None = None

    @property
    def stores_are(self) -> str:
        if self.stores_file is not None:
            return f"stores of {self.stores_file.name}"
        return "stores (real shops and neighbours made up around them)"

    def scaled(self, count: int, *, least: int = 1) -> int:
        return max(least, round(count * self.scale))

    def stores(self, count: int) -> Degrees:
        if self.stores_file is not None:
            return worlds.read(self.stores_file)
        return worlds.real_shaped(count, np.random.default_rng(self.seed))
