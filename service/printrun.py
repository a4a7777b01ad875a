"""Many codes to print, as one ZIP: a file for each placement, and a table of them.

The ZIP is written as it is read: however many codes there are, some dozens are in memory. Drawing
takes some milliseconds a code, so a service draws in a process of its own.
"""

import asyncio
import contextlib
import dataclasses
import io
import multiprocessing
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from service import printing
from service.domain import Entry
from service.steps import report

FORMATS = ("svg", "png", "pdf")
TABLE = "placements.csv"
_TABLE_COLUMNS = ("file", "placement", "name", "channel", "store", "printed", "variant", "url")

# What is drawn at once, and then written.
_DRAWN_AT_ONCE = 32
# One time for every file, so that the same codes make the same ZIP; the earliest that a ZIP knows.
_WRITTEN_AT = (1980, 1, 1, 0, 0, 0)
# No file can be called so on Windows, whatever its ending.
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One code to print."""

    placement: str
    name: str
    channel: str
    store: str | None
    printed: int | None
    variant: str | None
    url: str


def pieces(entry: Entry, public_url: str, channel: str | None = None) -> list[Piece]:
    """An entry's placements, or one channel's, by name."""
    return [
        Piece(
            placement=each.placement,
            name=each.name,
            channel=each.channel,
            store=each.store,
            printed=each.printed,
            variant=each.variant,
            url=printing.entry_url(public_url, entry.entry, each.placement),
        )
        for each in sorted(entry.placements.values(), key=lambda each: each.placement)
        if channel is None or each.channel == channel
    ]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How codes are drawn: `form` is one of FORMATS, `size` a PNG's side in pixels."""

    form: str
    size: int = 1200

    def draw(self, piece: Piece) -> bytes:
        """Raises `qr.QrError`."""
        caption = f"{piece.name}\n{piece.placement}"
        return printing.draw(piece.url, self.form, size=self.size, logo=None, name=caption)

    def check(self, pieces: Sequence[Piece]) -> None:
        """Raises `qr.QrError` if one of them cannot be drawn so: the one with the most in it
        tells."""
        self.draw(max(pieces, key=lambda piece: len(piece.url)))

    def draw_all(self, pieces: Sequence[Piece]) -> list[bytes]:
        return [self.draw(piece) for piece in pieces]


class _Names:
    """File names by placement, no two alike on file systems that know no capitals."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._given: set[str] = set()

    def of(self, placement: str) -> str:
        stem = placement.rstrip(".")
        if stem.casefold().partition(".")[0] in _RESERVED:
            stem = f"p-{stem}"
        name, number = stem, 1
        while name.casefold() in self._given:
            number += 1
            name = f"{stem}~{number}"  # no placement has a ~
        self._given.add(name.casefold())
        return f"{name}.{self._form}"


class Archive:
    """A ZIP that is handed on piece by piece: `add`, then `taken` for what is ready to be sent."""

    def __init__(self, form: str) -> None:
        self._out = _Outflow()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED)
        self._names = _Names(form)
        # What a PNG or PDF has is compressed already.
        self._how = zipfile.ZIP_DEFLATED if form == "svg" else zipfile.ZIP_STORED
        self._rows: list[dict[str, object]] = []

    def add(self, piece: Piece, drawn: bytes) -> None:
        name = self._names.of(piece.placement)
        self._write(name, drawn, self._how)
        self._rows.append({"file": name, **dataclasses.asdict(piece)})

    def close(self) -> None:
        table = report.as_csv(self._rows, _TABLE_COLUMNS)
        self._write(TABLE, table.encode(), zipfile.ZIP_DEFLATED)
        self._zip.close()

    def taken(self) -> bytes:
        """What is ready since the last time."""
        return self._out.taken()

    def _write(self, name: str, data: bytes, how: int) -> None:
        entry = zipfile.ZipInfo(name, _WRITTEN_AT)
        entry.compress_type = how
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, data)


class _Outflow(io.RawIOBase):
    """What is written waits here until it is taken; nobody can go back in it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole


def written(
    pieces: Iterable[Piece], drawing: Drawing, done: Callable[[], object] = lambda: None
) -> Iterator[bytes]:
    """The ZIP, part by part, drawn in this process. `done` is called after each code. Raises
    `qr.QrError`."""
    archive = Archive(drawing.form)
    for piece in pieces:
        archive.add(piece, drawing.draw(piece))
        done()
        yield archive.taken()
    archive.close()
    yield archive.taken()


async def streamed(pieces: Sequence[Piece], drawing: Drawing) -> AsyncIterator[bytes]:
    """The ZIP, part by part, drawn in a process of its own, so that the event loop goes on. Raises
    `qr.QrError`."""
    archive = Archive(drawing.form)
    loop = asyncio.get_running_loop()
    # Not forked: this process has threads.
    context = multiprocessing.get_context("spawn")
    painter = ProcessPoolExecutor(1, mp_context=context, initializer=_be_nice)
    try:
        for start in range(0, len(pieces), _DRAWN_AT_ONCE):
            batch = pieces[start : start + _DRAWN_AT_ONCE]
            drawn = await loop.run_in_executor(painter, drawing.draw_all, batch)
            for piece, picture in zip(batch, drawn, strict=True):
                archive.add(piece, picture)
            yield archive.taken()
        archive.close()
        yield archive.taken()
    finally:
        # Whoever asked may have gone: what is being drawn is finished for nobody.
        painter.shutdown(wait=False, cancel_futures=True)


def _be_nice() -> None:
    """Visitors come first."""
    with contextlib.suppress(OSError):
        os.nice(10)
