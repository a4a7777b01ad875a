"""Codes to print: one, all of an entry, or on a page for a shop."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from service import accounts, db, errors, posters, printing, printrun, qr
from service.cli import arguments, installation, terminal
from service.cli.terminal import out
from service.directory import Directory
from service.domain import (
    Entry,
)
from service.web.poster import Paper, Poster
from service.web.words import Lang


class PosterFormat(StrEnum):
    SVG = "svg"
    PNG = "png"
    PDF = "pdf"


def poster(
    entry: Annotated[
        str | None, typer.Argument(help="With --store, needed if several lead there.")
    ] = None,
    placement: str | None = None,
    every: Annotated[
        bool, typer.Option("--all", help="The codes of all placements, as one ZIP.")
    ] = False,
    channel: Annotated[str | None, typer.Option(help="With --all: of this channel alone.")] = None,
    store: Annotated[
        str | None, typer.Option(help="A shop's own poster, as PDF, with its placement.")
    ] = None,
    paper: Annotated[Paper, typer.Option(help="With --store.")] = Paper.A4,
    lang: Annotated[Lang, typer.Option(help="With --store: zh or en.")] = "zh",
    chain: arguments.ChainOption = None,
    form: Annotated[PosterFormat | None, typer.Option("--format")] = None,
    out_file: Annotated[Path | None, typer.Option("--out")] = None,
    logo: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
    size: Annotated[int, typer.Option(min=100, max=4000, help="Pixels of a PNG's side.")] = 1200,
) -> None:
    """The print-ready unified code; with --store, on a page for that shop."""
    if store is not None:
        if placement or logo or every or form not in (None, PosterFormat.PDF):
            raise errors.BadInput.of("--store", "makes a PDF with the shop's own placement")
        _shop_poster(store, entry, paper, lang, out_file, chain)
        return
    if entry is None:
        raise errors.BadInput.of("entry", "say which; `nearcode entry list` names them")
    if every and (placement or logo):
        raise errors.BadInput.of("--all", "goes neither with --placement nor with --logo")
    if channel is not None and not every:
        raise errors.BadInput.of("--channel", "goes with --all")
    settings = installation.settings()

    async def work(connection: db.Connection) -> Entry:
        known = Directory()
        await known.refresh(connection)
        found = known.entries.get(entry)
        if found is None:
            raise arguments.no_entry(entry)
        if placement and placement not in found.placements:
            raise errors.NotFound(f"The entry {entry} has no placement {placement}")
        return found

    found = installation.run(settings, work)
    if every:
        drawing = printrun.Drawing((form or PosterFormat.SVG).value, size)
        _print_all(
            printrun.pieces(found, settings.public_url, channel),
            drawing,
            out_file or Path(f"{entry}-codes.zip"),
        )
        return
    suffix = out_file.suffix.lstrip(".").lower() if out_file else ""
    if form is None:
        form = PosterFormat(suffix) if suffix in set(PosterFormat) else PosterFormat.SVG
    if out_file is None:
        stem = "-".join(part for part in (entry, placement) if part)
        out_file = Path(f"{stem}.{form}")
    url = printing.entry_url(settings.public_url, entry, placement)
    try:
        picture = printing.draw(
            url, form.value, size=size, logo=logo.read_bytes() if logo else None, name=found.name
        )
    except qr.QrError as error:
        raise errors.BadInput.of("logo" if logo else "size", str(error)) from error
    _write(out_file, picture)
    out.print(escape(f"{out_file}: {url}"))


def _print_all(pieces: Sequence[printrun.Piece], drawing: printrun.Drawing, out_file: Path) -> None:
    """A ZIP of all these; complete, or none at all."""
    if not pieces:
        raise errors.NotFound("There are no such placements")
    draft = out_file.with_name(f".{out_file.name}.part")
    try:
        with terminal.progress() as progress, draft.open("wb") as file:
            drawn = progress.add_task("Drawing", total=len(pieces))
            for part in printrun.written(pieces, drawing, lambda: progress.advance(drawn)):
                file.write(part)
        draft.replace(out_file)
    except qr.QrError as error:
        raise errors.BadInput.of("size", str(error)) from error
    except OSError as error:
        raise errors.SetupError(f"Cannot write {out_file}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    out.print(escape(f"{out_file}: {len(pieces)} codes"))


def _shop_poster(
    store: str,
    entry: str | None,
    paper: Paper,
    lang: Lang,
    out_file: Path | None,
    chain: str | None,
) -> None:
    settings = installation.settings()

    async def work(connection: db.Connection) -> Poster:
        known = Directory()
        await known.refresh(connection)
        if entry in known.entries and chain is None:
            chain_id = known.entries[entry].chain_id
        else:
            chain_id = await accounts.chain_id_of(connection, chain)
        return await posters.of_store(
            connection, known, chain_id, store, entry=entry, public_url=settings.public_url
        )

    wanted = installation.run(settings, work)
    out_file = out_file or Path(f"{wanted.placement}-{paper}.pdf")
    _write(out_file, posters.drawn(wanted, paper, lang))
    out.print(escape(f"{out_file}: {wanted.url}"))


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise errors.SetupError(f"Cannot write {file}: {error.strerror}") from error
