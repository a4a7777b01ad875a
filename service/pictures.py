"""Pictures of group codes in bulk: a folder or a ZIP, each file named by its store's number.

`SH001.png`, `SH001-2.jpg`: the number, and after a dash whatever tells several pictures of one
store apart. A file that can't be used keeps no other out.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from service import errors, qr, reading
from service.importing import CodeRow, Parsed, Rejected

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}
_MOST_FILES = 100_000

Pictures = Iterator[tuple[str, Callable[[], bytes]]]
"""File names, and how to read each."""


def is_archive(data: bytes) -> bool:
    """Whether this is a ZIP that is not a spreadsheet."""
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "[Content_Types].xml" not in archive.namelist()
    except zipfile.BadZipFile:
        return True


def in_zip(data: bytes) -> Pictures:
    """The pictures of a ZIP, by name. Raises `zipfile.BadZipFile`, `errors.BadInput`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not _hidden(PurePosixPath(member.filename))
        ]
        if len(members) > _MOST_FILES:
            raise errors.BadInput.of("file", f"at most {_MOST_FILES:,} files")
        for member in sorted(members, key=lambda m: m.filename):
            yield member.filename, _unzip(archive, member)


def _unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if member.flag_bits & 0x1:
            raise _Refused("file", "it is encrypted; send a ZIP without a password")
        try:
            # The header may lie about the size: never read more than a picture may have.
            with archive.open(member) as file:
                return file.read(reading.PICTURE_MAX_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
            raise _Refused("file", "it is damaged in the ZIP") from error

    return read


def in_folder(folder: Path) -> Pictures:
    """The pictures of a folder and the folders in it, by name."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _hidden(PurePosixPath(name)):
            yield name, path.read_bytes


def _hidden(path: PurePosixPath) -> bool:
    """What operating systems put in by themselves."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts) or path.name in {
        "Thumbs.db",
        "desktop.ini",
    }


def codes(
    pictures: Pictures,
    stores: Collection[str],
    *,
    done: Callable[[], object] = lambda: None,
) -> Parsed[CodeRow]:
    """The codes in the pictures. `row` is the file's place in the order of names, from 1; `detail`
    names the file. `stores` are the numbers that exist; `done` is called after each file."""
    rows: list[CodeRow] = []
    rejected: list[Rejected] = []
    seen: dict[str, str] = {}
    for number, (name, read) in enumerate(pictures, start=1):
        try:
            row = _code(number, name, read, stores)
            if row.payload in seen:
                raise _Refused("image", f"the same code is in {seen[row.payload]}")
            seen[row.payload] = name
            rows.append(row)
        except _Refused as error:
            rejected.append(Rejected(number, error.field, f"{name}: {error}"))
        done()
    return Parsed(tuple(rows), tuple(rejected))


class _Refused(Exception):
    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def _code(number: int, name: str, read: Callable[[], bytes], stores: Collection[str]) -> CodeRow:
    path = PurePosixPath(name)
    if path.suffix.lower() not in _SUFFIXES:
        raise _Refused("file", f"not a picture; send {', '.join(sorted(_SUFFIXES))}")
    store = store_named(path.stem, stores)
    if store is None:
        raise _Refused("store", f"there is no store {path.stem}")
    try:
        payload = qr.decode(read())
        kind = qr.classify(payload)
    except qr.QrError as error:
        raise _Refused("image", str(error)) from None
    return CodeRow(
        row=number,
        store=store,
        payload=payload,
        kind=kind,
        capacity=None,
        members=None,
        expires_at=None,
        label=None,
        status=None,
    )


def store_named(stem: str, stores: Collection[str]) -> str | None:
    """The store that a file's name means: the whole of it, or what stands before a last mark.

    `SH-001-2` is store `SH-001` if there is one; a store number may hold dashes itself.
    """
    candidate = stem.strip()
    while candidate:
        if candidate in stores:
            return candidate
        shorter = re.sub(r"(?:[-_ ][^-_ ]*|\s*\([^)]*\))$", "", candidate)
        if shorter == candidate:
            return None
        candidate = shorter
    return None
