"""Pictures of group codes in bulk: a folder or a ZIP, each file named by its store's number.

`SH001.png`, `SH001-2.jpg`: the number, and after a dash whatever tells several pictures of one
store apart. What is in a ZIP is a stranger's: how many files, how many bytes and how they are
packed is bounded before anything is unpacked.
"""

import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from service import errors, reading

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".heic", ".heif"}
FILES_MAX = 20_000
UNPACKED_MAX_BYTES = 4_000_000_000
"""Of all pictures of a ZIP together: 20,000 of 200 kB."""

_DIRECTORY_MAX_BYTES = FILES_MAX * 200  # of a ZIP: its files' names and sizes
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, RuntimeError, EOFError,
)  # fmt: skip
"""What zipfile raises where a ZIP is not what it says."""

_END = b"PK\x05\x06"
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Other ways take memory as the file says."""


class Refused(Exception):
    """A file that can't be used: it keeps no other out."""

    def __init__(self, field: str, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class File:
    """A picture that is not read yet; `load` may raise `Refused`, and belongs in a thread."""

    name: str
    load: Callable[[], bytes]


def is_archive(file: BinaryIO) -> bool:
    """Whether this is a ZIP that is not a spreadsheet. Raises `errors.BadInput` for one that
    holds too much."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start != b"PK\x03\x04":
        return False
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            return "[Content_Types].xml" not in archive.namelist()
    except _BROKEN:
        return True
    finally:
        file.seek(0)


def in_zip(file: BinaryIO) -> list[File]:
    """The pictures of a ZIP by name; `file` must stay open while they are loaded.

    Raises `errors.BadInput`.
    """
    _check_directory(file)
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise errors.BadInput.of("file", f"the ZIP can't be read: {error}") from error
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not _hidden(PurePosixPath(member.filename))
    ]
    if len(members) > FILES_MAX:
        raise _too_many()
    left = _Allowance(UNPACKED_MAX_BYTES)
    members.sort(key=lambda member: member.filename)
    return [File(member.filename, _unzip(archive, member, left)) for member in members]


def in_folder(folder: Path) -> list[File]:
    """The pictures of a folder and the folders in it, by name."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return [
        File(name, path.read_bytes)
        for name, path in sorted(paths.items())
        if path.is_file() and not _hidden(PurePosixPath(name))
    ]


def store_of(name: str, stores: Collection[str]) -> str:
    """The store that a picture's name means. Raises `Refused`."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in SUFFIXES:
        expected = ", ".join(sorted(SUFFIXES))
        raise Refused("file", f"not a picture; send {expected}", "not_a_picture")
    store = store_named(path.stem, stores)
    if store is None:
        raise Refused("store", f"there is no store {path.stem}", "no_store")
    return store


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


class _Allowance:
    """Bytes that may still be unpacked, by several threads."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        with self._lock:
            self._left -= count
            if self._left < 0:
                raise Refused(
                    "file", "the ZIP's pictures are too large together; send several", "too_large"
                )


def _unzip(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: _Allowance
) -> Callable[[], bytes]:
    def load() -> bytes:
        if member.flag_bits & 0x1:
            raise Refused("file", "it is encrypted; send a ZIP without a password", "encrypted")
        if member.compress_type not in _PACKED:
            raise Refused("file", "it is packed in an unusual way; pack it again", "damaged")
        # The header may lie about the size: never read more than a picture may have.
        try:
            with archive.open(member) as file:
                data = file.read(reading.PICTURE_MAX_BYTES + 1)
        except _BROKEN as error:
            raise Refused("file", "it is damaged in the ZIP", "damaged") from error
        left.take(len(data))
        return data

    return load


def _hidden(path: PurePosixPath) -> bool:
    """What operating systems put in by themselves."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts) or path.name in {
        "Thumbs.db",
        "desktop.ini",
    }


def _too_many() -> errors.BadInput:
    return errors.BadInput.of("file", f"at most {FILES_MAX:,} files; send several ZIPs")


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of files so long that reading it alone would fill the memory, by what the
    file's end says of it (APPNOTE.TXT 6.3.10, 4.3.14 to 4.3.16). Raises `errors.BadInput`."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 66_000))
    tail = file.read()
    file.seek(0)
    # As zipfile looks for it: at the very end, or before a comment.
    bare = tail[-22:-18] == _END and tail.endswith(b"\0\0")
    at = len(tail) - 22 if bare else tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        return  # a ZIP that is cut off: it is refused when it is opened
    sizes = [struct.unpack_from("<L", tail, at + 12)[0]]
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        # Of ZIP64, whose size goes before the other one.
        found = [match.start() for match in re.finditer(re.escape(b"PK\x06\x06"), tail[:at])]
        sizes = [struct.unpack_from("<Q", tail, wide + 40)[0] for wide in found]
    if max(sizes, default=0) > _DIRECTORY_MAX_BYTES:
        raise _too_many()
