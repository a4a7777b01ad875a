"""Chunks: what the roll-ups hold of all scans of a minute, an hour or a day (service/rollups.py).

A chunk that changes is another one, under another revision. So what was read of it once is kept
(service/shelf.py), and never stale: a report lists the chunks that there are, and reads those alone
that it has not.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

from service import db
from service.shelf import SHELF

_sql = db.load("columns")

Array = npt.NDArray[Any]

# The columns of each part that is read by itself, with the numbers that the database has them as.
_PARTS: dict[str, dict[str, str]] = {
    "scans": {"stages": ">i2", "visitors": ">i4", "paid_rows": ">i4", "paid_orders": ">i4",
              "paid_cents": ">i8"},
    "placements": {"placements": ">i4"},
    "stores": {"stores": ">i4"},
    "places": {"places": ">i4"},
    "ats": {"ats": ">i8"},
    "losts": {"losts": ">i2", "lost_places": ">i4", "lost_lons": ">i4", "lost_lats": ">i4"},
    "lost_ats": {"lost_ats": ">i8"},
}  # fmt: skip
# Numbers of what a chain has, from 0: mostly small ones.
_SMALL = frozenset({"placements", "stores", "places"})


@dataclasses.dataclass(slots=True, eq=False)
class Chunk:
    """`scans` of which `lost` went without a code, from `first_at` to `last_at`; `columns`, as far
    as the `parts` that they are in have been read. Nothing of it changes but that more is read."""

    first_id: uuid.UUID
    revision: uuid.UUID
    scans: int
    lost: int
    first_at: datetime
    last_at: datetime
    columns: dict[str, Array] = dataclasses.field(default_factory=dict)
    parts: set[str] = dataclasses.field(default_factory=set)

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    @property
    def size(self) -> int:
        """Bytes, those of Python's own objects as a guess."""
        return 500 + sum(column.nbytes + 120 for column in self.columns.values())


async def listed(
    connection: db.Connection, chain_id: uuid.UUID, since: datetime | None, until: datetime | None
) -> list[Chunk]:
    """The chunks that hold scans of a period, in the order of the scans."""
    rows = await db.fetch(
        _sql, "list_chunks", connection, chain_id=chain_id, since=since, until=until
    )
    kept = SHELF.all_of(row["revision"] for row in rows)
    return [chunk or Chunk(*row) for chunk, row in zip(kept, rows, strict=True)]


async def load(
    connection: db.Connection,
    chain_id: uuid.UUID,
    chunks: Iterable[Chunk],
    parts: Callable[[Chunk], frozenset[str]],
) -> None:
    """Read what is wanted of each and has not been read; in the transaction that listed them."""
    lacking: dict[frozenset[str], list[Chunk]] = {}
    for chunk in chunks:
        if missing := parts(chunk) - chunk.parts:
            lacking.setdefault(missing, []).append(chunk)
    for missing, those in lacking.items():
        await _read(connection, chain_id, missing, those)


async def _read(
    connection: db.Connection, chain_id: uuid.UUID, parts: frozenset[str], chunks: Sequence[Chunk]
) -> None:
    rows = await db.fetch(
        _sql,
        "read_chunks",
        connection,
        chain_id=chain_id,
        first_ids=[chunk.first_id for chunk in chunks],
        **{part: part in parts for part in _PARTS},
    )
    of = {chunk.revision: chunk for chunk in chunks}
    for row in rows:
        chunk = of[row["revision"]]
        for part in parts:
            chunk.columns |= _decoded(row, part)
            chunk.parts.add(part)
        SHELF.put(chunk.revision, chunk, chunk.size)


def _decoded(row: asyncpg.Record, part: str) -> dict[str, Array]:
    found = {}
    for name, kind in _PARTS[part].items():
        column = np.frombuffer(row[name], kind)
        narrow = np.min_scalar_type(column.max(initial=0)) if name in _SMALL else kind[1:]
        found[name] = column.astype(narrow)
    return found
