"""What a process keeps of what it has read and counted for reports, up to so many bytes: what was
not used for the longest time goes first. Nothing of it is needed: all can be read again.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any


class Shelf:
    """`limit` in bytes; 0 keeps nothing. Threads may use it at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """None if it is not kept."""
        return self.all_of((key,))[0]

    def all_of(self, keys: Iterable[Hashable]) -> list[Any]:
        """The same of many at once."""
        found = []
        with self._lock:
            for key in keys:
                kept = self._kept.get(key)
                if kept is not None:
                    self._kept.move_to_end(key)
                found.append(kept and kept[0])
        return found

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep it; again, if it has grown or shrunk to `size` bytes."""
        with self._lock:
            self._drop(key)
            if size > self.limit:
                return
            self._kept[key] = value, size
            self.size += size
            while self.size > self.limit:
                self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self.size = 0

    def _drop(self, key: Hashable) -> None:
        if (found := self._kept.pop(key, None)) is not None:
            self.size -= found[1]


SHELF = Shelf(512_000_000)
"""This process's."""
