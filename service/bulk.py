"""Many codes at once, from pictures named by store or from a table, and what became of each.

Pictures are read side by side and put up by the batch, each batch in a transaction of its own: an
import that is cut off has done some of it, and sent again does the rest.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from service import catalog, db, decoding, pictures, qr
from service.importing import CodeRow, Parsed, Rejected
from service.settings import Settings

_BATCH = 60


class Became(StrEnum):
    CREATED = "created"
    UNCHANGED = "unchanged"  # it is up at this store already
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one file or row; `field`, `detail` and `reason` say why it was rejected."""

    row: int
    became: Became
    store: str | None = None
    file: str | None = None
    field: str | None = None
    detail: str | None = None
    reason: str | None = None

    @property
    def why(self) -> str:
        """Why it was rejected, with the name of the file."""
        return f"{self.file}: {self.detail}" if self.file else self.detail or ""


@dataclass(slots=True)
class Progress:
    """How far an import has come; `total` is None until that is known."""

    dry_run: bool = False
    total: int | None = None
    lines: list[Line] = field(default_factory=list)
    # Of a dry run: the first of what it would do.
    changes: list[catalog.Change] = field(default_factory=list)
    told: Callable[[], object] = lambda: None

    def add(self, lines: Sequence[Line]) -> None:
        self.lines += lines
        self.told()

    def count(self, became: Became) -> int:
        return sum(line.became is became for line in self.lines)


@dataclass(frozen=True, slots=True)
class Bulk:
    """Where codes are put up, for whom, and how."""

    connect: db.Connect
    chain_id: uuid.UUID
    settings: Settings
    # The stores that the caller may know of; None: all.
    scope: Collection[str] | None = None
    dry_run: bool = False

    async def table(self, parsed: Parsed[CodeRow], progress: Progress) -> None:
        """Put up the codes of a table, in one transaction."""
        progress.total = len(parsed.rows) + len(parsed.rejected)
        await self._put_up(parsed.rows, parsed.rejected, progress, {})

    async def pictures(
        self,
        decoder: decoding.Decoder,
        files: Sequence[pictures.File],
        stores: Collection[str],
        progress: Progress,
        *,
        changed: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Put up the codes in the pictures; `row` is a file's place among them, from 1. `stores`
        are the numbers that exist; `changed` is called after each batch."""
        progress.total = len(files)
        # In a dry run what earlier batches would have put up.
        assumed: dict[str, str | None] = {}
        numbered = list(enumerate(files, start=1))
        for start in range(0, len(numbered), _BATCH):
            batch = numbered[start : start + _BATCH]
            found = await asyncio.gather(
                *(_read(decoder, number, file, stores) for number, file in batch)
            )
            rows = [one for one in found if isinstance(one, CodeRow)]
            rejected = [one for one in found if isinstance(one, Rejected)]
            created = await self._put_up(rows, rejected, progress, assumed)
            if self.dry_run:
                assumed |= {row.payload: row.store for row in rows if row.row in created}
            if changed is not None and rows and not self.dry_run:
                await changed()

    async def _put_up(
        self,
        rows: Sequence[CodeRow],
        rejected: Sequence[Rejected],
        progress: Progress,
        assumed: Mapping[str, str | None],
    ) -> set[int]:
        """The rows that became codes, or would."""
        async with self.connect() as connection:
            done = await catalog.import_codes(
                connection,
                self.chain_id,
                rows,
                datetime.now(UTC),
                self.settings,
                scope=self.scope,
                dry_run=self.dry_run,
                assumed=assumed,
            )
        of_row = {row.row: row for row in rows}
        lines = {
            one.row: Line(
                one.row,
                Became.REJECTED,
                of_row[one.row].store if one.row in of_row else None,
                one.file or (of_row[one.row].file if one.row in of_row else None),
                one.field,
                one.detail,
                one.reason,
            )
            for one in (*rejected, *done.rejected)
        }
        created = set(done.created_rows)
        for row in rows:
            became = Became.CREATED if row.row in created else Became.UNCHANGED
            lines.setdefault(row.row, Line(row.row, became, row.store, row.file))
        if self.dry_run:
            progress.changes += done.changes[: catalog.MOST_CHANGES - len(progress.changes)]
        progress.add([lines[number] for number in sorted(lines)])
        return created


async def _read(
    decoder: decoding.Decoder, number: int, file: pictures.File, stores: Collection[str]
) -> CodeRow | Rejected:
    try:
        store = pictures.store_of(file.name, stores)
        found = await decoder.read_one_of_many(file.load)
    except pictures.Refused as refusal:
        return Rejected(number, refusal.field, str(refusal), refusal.reason, file.name)
    except qr.QrError as refusal:
        return Rejected(number, "image", str(refusal), refusal.word, file.name)
    except OSError as error:
        return Rejected(number, "file", f"it can't be read: {error.strerror}", "damaged", file.name)
    return CodeRow(
        row=number,
        store=store,
        payload=found.payload,
        kind=found.kind,
        capacity=None,
        members=None,
        expires_at=None,
        label=None,
        status=None,
        picture=found.copy,
        file=file.name,
    )
