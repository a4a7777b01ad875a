"""What several commands take: a chain, a datum, a table, one entry among several."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from geo import datum as datums
from service import errors, tabular

ChainOption = Annotated[str | None, typer.Option("--chain", help="Needed if there are several.")]
DatumOption = Annotated[
    str | None, typer.Option(help="wgs84, gcj02 (Amap, Tencent) or bd09 (Baidu).")
]

_MAKE_ENTRY = "Make one: `nearcode entry create ENTRY --name NAME`"


def entry_among(entries: Collection[str], named: str | None) -> str:
    """The one that is named, or else the only one. Raises `errors.BadInput`."""
    if named is not None and named in entries:
        return named
    if named is None and len(entries) == 1:
        return next(iter(entries))
    if not entries:
        raise errors.BadInput.of("entry", f"there is none yet. {_MAKE_ENTRY}")
    raise errors.BadInput.of("entry", f"name one of: {', '.join(sorted(entries))}")


def read_table(file: Path) -> tabular.Table:
    try:
        return tabular.read(file.read_bytes(), file.name)
    except tabular.UnreadableTable as error:
        raise errors.BadInput.of(str(file), str(error)) from error


def datum(text: str | None) -> datums.Datum | None:
    try:
        return datums.parse(text) if text else None
    except datums.UnknownDatum as error:
        raise errors.BadInput.of("datum", str(error)) from error


def no_entry(entry: str) -> errors.NotFound:
    return errors.NotFound(f"There is no entry {entry}. {_MAKE_ENTRY}")


def check_text(field: str, text: str, most: int) -> None:
    if not 0 < len(text) <= most:
        raise errors.BadInput.of(field, f"1 to {most} characters")
