"""Tallies: what was counted of a period for one report, brought up to date for the next one.

A chunk of scans that has changed has another revision (service/chunks.py). What the old one had is
taken off the sums, and what the new one has is added. Distinct visitors are kept as the set of the
pairs of a group and a visitor: it takes in new pairs, and where one has gone, all is counted anew.
What is young changes with every visitor, and is counted on top each time.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from service import columns
from service.chunks import Chunk
from service.columns import Columns, Groups, Ints, Mask, Period, Sums
from service.shelf import SHELF

# Scans: fewer are counted as fast as they are looked up.
FROM = 50_000
# After that, hardly a scan changes its store or its visitor.
SETTLED_AFTER = timedelta(hours=2)
# Scans that are counted at once, and pairs that are kept apart from the many.
_AT_ONCE = 500_000
_APART = 100_000

Coded = Callable[[Columns], tuple[Columns, Groups]]
"""Of some of a period's scans, those that a report is about, and their groups."""
Depends = tuple[tuple[Any, ...], ...]
"""What `Coded` looks things up in: lists that grow at the end, unless what is there changes."""
Keys = tuple[str | None, ...]


def count(
    key: Hashable, period: Period, coded: Coded, depends: Depends, now: datetime, *, visitors: bool
) -> tuple[Keys, dict[str, Ints]]:
    """The groups' keys, and by group the counts as `columns.count` has them, `visitors` only if
    they are wanted. `key` says what `coded` does, and of what period."""
    if len(period) < FROM:
        scans, groups = coded(period.columns())
        if visitors:
            return groups.keys, columns.count(scans, groups)
        return groups.keys, columns.sums(scans, groups).counts()
    place = "tally", key, visitors
    tally: Tally = SHELF.get(place) or Tally(visitors)
    with tally.lock:
        found = tally.count(period, coded, depends, now)
        SHELF.put(place, tally, tally.size)
    return found


class Tally:
    """The counts of settled chunks. `lock` is for whoever uses it."""

    def __init__(self, visitors: bool) -> None:
        self.lock = threading.Lock()
        self._visitors = visitors
        self._begin(())

    def _begin(self, depends: Depends) -> None:
        self._depends = depends
        self._keys: dict[str | None, int] = {}
        self._revisions: set[Hashable] = set()
        self._sums = Sums.none(0)
        self._pairs = self._apart = np.empty(0, np.int64)

    @property
    def size(self) -> int:
        """Bytes, those of Python's own objects as a guess."""
        arrays = (*self._sums.scans.values(), self._sums.orders, self._pairs, self._apart)
        return 1000 + 200 * len(self._revisions) + sum(array.nbytes for array in arrays)

    def count(
        self, period: Period, coded: Coded, depends: Depends, now: datetime
    ) -> tuple[Keys, dict[str, Ints]]:
        settled = [chunk for chunk in period.chunks if chunk.last_at < now - SETTLED_AFTER]
        young = [chunk for chunk in period.chunks if chunk.last_at >= now - SETTLED_AFTER]

        def of(chunks: Sequence[Chunk]) -> tuple[Columns, Groups]:
            return self._own(*coded(period.columns(chunks)))

        grown = len(depends) == len(self._depends) and all(
            new[: len(old)] == old for new, old in zip(depends, self._depends, strict=True)
        )
        if not (grown and self._follow(period, settled, of)):
            self._begin(depends)
            self._add(settled, of)
        self._depends = depends
        scans, groups = of(young)
        size = len(self._keys)
        counts = self._sums.plus(columns.sums(scans, groups), 1).counts()
        if self._visitors:
            distinct = np.zeros(size, np.int64)
            for part in (self._pairs, self._apart, self._unknown(columns.pairs(scans, groups))):
                distinct += columns.visitors(part, size)
            counts["visitors"] = distinct
        return tuple(self._keys), counts

    def _own(self, scans: Columns, groups: Groups) -> tuple[Columns, Groups]:
        """The same groups by their places here."""
        places = [self._keys.setdefault(key, len(self._keys)) for key in groups.keys]
        codes = np.array(places, np.int32)[groups.codes] if len(scans) else groups.codes
        return scans, Groups(tuple(self._keys), codes)

    def _follow(
        self,
        period: Period,
        settled: Sequence[Chunk],
        of: Callable[[Sequence[Chunk]], tuple[Columns, Groups]],
    ) -> bool:
        """Take off what has gone and add what is new; whether that could be done."""
        there = {chunk.revision for chunk in settled}
        gone = [SHELF.get(revision) for revision in self._revisions - there]
        new = [chunk for chunk in settled if chunk.revision not in self._revisions]
        if not all(chunk is not None and period.covers(chunk) for chunk in gone):
            return False
        if sum(chunk.scans for chunk in gone) * 2 > len(period):
            return False
        if gone:
            before = of(gone)
            if self._visitors:
                known = columns.pairs(*of(new))
                if not _in(columns.pairs(*before), known).all():
                    return False
            self._sums = self._sums.plus(columns.sums(*before), -1)
            self._revisions -= {chunk.revision for chunk in gone}
        self._add(new, of)
        return True

    def _add(
        self,
        chunks: Sequence[Chunk],
        of: Callable[[Sequence[Chunk]], tuple[Columns, Groups]],
    ) -> None:
        found = [self._apart]
        for some in _portions(chunks):
            scans, groups = of(some)
            self._sums = self._sums.plus(columns.sums(scans, groups), 1)
            if self._visitors:
                found.append(self._unknown(columns.pairs(scans, groups)))
        self._revisions |= {chunk.revision for chunk in chunks}
        self._apart = _united(found)
        if len(self._apart) > _APART:
            self._pairs = _united([self._pairs, self._apart])
            self._apart = self._apart[:0]

    def _unknown(self, pairs: Ints) -> Ints:
        return pairs[~(_in(pairs, self._pairs) | _in(pairs, self._apart))]


def _portions(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    some: list[Chunk] = []
    scans = 0
    for chunk in chunks:
        some.append(chunk)
        scans += chunk.scans
        if scans >= _AT_ONCE:
            yield some
            some, scans = [], 0
    if some:
        yield some


def _in(pairs: Ints, known: Ints) -> Mask:
    """Which of the pairs are among those that are known; both rise."""
    if not len(known):
        return np.zeros(len(pairs), np.bool_)
    places = np.searchsorted(known, pairs)
    places[places == len(known)] = 0
    found: Mask = known[places] == pairs
    return found


def _united(parts: Sequence[Ints]) -> Ints:
    """All of them, each once, rising; each part rises."""
    found: Ints = np.concatenate(parts)
    if sum(len(part) > 0 for part in parts) > 1:
        found.sort(kind="stable")  # merges what rises already
        found = found[columns.firsts(found)]
    return found
