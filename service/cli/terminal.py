"""What commands print: results on stdout, the rest on stderr."""

import sys
from collections.abc import Sequence

import rich.box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from service import importing

# A file or a pipe has no width: lines are then as long as they need to be.
_WIDTH = None if sys.stdout.isatty() else 250
out = Console(highlight=False, soft_wrap=True, width=_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def table(*headings: str) -> Table:
    return Table(*headings, box=rich.box.SIMPLE)


def show(shown: Table, console: Console = out) -> None:
    console.print(shown, soft_wrap=False)


def progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
    )


def tell_rows(
    heading: str,
    rows: Sequence[importing.Rejected] | Sequence[importing.Warned],
    console: Console = out,
) -> None:
    if not rows:
        return
    told = table("row", "field", heading)
    for row in rows:
        told.add_row(str(row.row), row.field, escape(row.detail))
    show(told, console)
