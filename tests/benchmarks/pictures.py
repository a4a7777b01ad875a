"""What is read of pictures: of a folder of photographs (`--pictures FOLDER`), else of our own.

A folder may have an index, `*index*.csv`, with the columns `file` and `decoded_text` (several texts
with " || " between them, none where there is no code); what other decoders made of the same
pictures stands in columns of theirs, as Y, and is told beside ours. Without an index nobody knows
what is right, and what was read is told alone.
"""

import csv
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service import reading
from tests import photographing
from tests.benchmarks import measuring
from tests.benchmarks.options import Options

_EACH = 10
_KNOWN = {"file", "decoded_text"}


@dataclass(frozen=True, slots=True)
class _Picture:
    """`texts` is None if nobody knows what is in it."""

    group: str
    name: str
    data: bytes
    texts: tuple[str, ...] | None
    read_by: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Tally:
    pictures: int = 0
    codes: int = 0
    read: int = 0
    wrong: int = 0
    refused_rightly: int = 0
    others: dict[str, int] = field(default_factory=dict)
    times_s: list[float] = field(default_factory=list)


def run(options: Options) -> Iterator[str]:
    folder = options.pictures
    found = _of_folder(folder) if folder else _made(options.scaled(_EACH, least=2), options.seed)
    tallies: dict[str, _Tally] = {}
    missed, others = [], []
    for picture in found:
        tally = tallies.setdefault(picture.group, _Tally())
        started = time.process_time()
        text, word = _read(picture.data)
        tally.times_s.append(time.process_time() - started)
        tally.pictures += 1
        _count(tally, picture, text, word)
        right = [_plain(one) for one in picture.texts or ()]
        if len(right) == 1 and text != right[0]:
            by = ", ".join(sorted(picture.read_by)) or "nobody"
            missed.append((f"{picture.group}/{picture.name}", text or word or "", by))
        for decoder in picture.read_by:
            tally.others[decoder] = tally.others.get(decoder, 0) + 1
            others.append(decoder)
    names = sorted(set(others))
    yield measuring.table(
        ("pictures", "all", "with one code", "read", "wrongly read", "rightly refused",
         "median", "slowest", *(f"{name} read" for name in names)),
        [
            (
                group,
                str(tally.pictures),
                str(tally.codes),
                str(tally.read),
                str(tally.wrong),
                f"{tally.refused_rightly} of {tally.pictures - tally.codes}",
                measuring.duration(statistics.median(tally.times_s)),
                measuring.duration(max(tally.times_s)),
                *(str(tally.others.get(name, 0)) for name in names),
            )
            for group, tally in tallies.items()
        ],
    )  # fmt: skip
    if missed:
        yield measuring.table(("not read", "what was told", "read by"), missed)
    yield "Times are of the processor, opening, reading and the small copy together."


def _count(tally: _Tally, picture: _Picture, text: str | None, word: str | None) -> None:
    if picture.texts is None:
        tally.codes += text is not None
        tally.read += text is not None
        tally.refused_rightly += text is None
        return
    texts = {_plain(one) for one in picture.texts}
    if len(texts) == 1:
        tally.codes += 1
        tally.read += text in texts
        tally.wrong += text is not None and text not in texts
        return
    # No code, or several: nobody said which.
    tally.refused_rightly += word == ("several_codes" if texts else "no_code")
    tally.wrong += text is not None


def _read(data: bytes) -> tuple[str | None, str | None]:
    try:
        return _plain(reading.read(data)[0]), None
    except reading.QrError as refusal:
        return None, refusal.word


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _made(each: int, seed: int) -> Iterator[_Picture]:
    for number, made in enumerate(photographing.photographs(each, seed)):
        texts = (made.payload,) if made.payload else ()
        yield _Picture(made.spoiled, str(number), made.data, texts)


def _of_folder(folder: Path) -> Iterator[_Picture]:
    indices = sorted(folder.glob("*index*.csv"))
    if not indices:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            group = path.parent.relative_to(folder).as_posix()
            yield _Picture(group, path.name, path.read_bytes(), None)
        return
    with indices[0].open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            group, _, name = row["file"].rpartition("/")
            texts = tuple(text for text in row["decoded_text"].split(" || ") if text)
            read_by = frozenset(
                column for column, value in row.items() if column not in _KNOWN and value == "Y"
            )
            yield _Picture(group, name, (folder / row["file"]).read_bytes(), texts, read_by)
