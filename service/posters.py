"""A shop's own poster, from the catalog to the page: which entry, which placement, what it says."""

import threading
import uuid
from collections.abc import Iterable
from urllib.parse import quote

from service import catalog, db, errors, printing
from service.directory import Directory
from service.domain import Entry
from service.web import poster
from service.web.words import Lang

# The fonts' tables are filled as they are used; and two pages at once are no faster than one.
_ONE_AT_A_TIME = threading.Lock()


def entries_of(directory: Directory, chain_id: uuid.UUID, brand: str | None) -> list[Entry]:
    """The entries that lead to stores of this brand, by name."""
    mine = (entry for entry in directory.entries.values() if entry.chain_id == chain_id)
    found = [entry for entry in mine if not entry.brands or brand in entry.brands]
    return sorted(found, key=lambda entry: entry.entry)


def entry_of(entries: Iterable[Entry], wanted: str | None) -> Entry:
    """The entry that is asked for, or the only one that there is.

    Raises `errors.NotFound`; `errors.BadInput` if nobody said which of several.
    """
    by_name = {entry.entry: entry for entry in entries}
    if wanted:
        if wanted not in by_name:
            raise errors.NotFound(f"There is no entry {wanted} that leads to this store")
        return by_name[wanted]
    if not by_name:
        raise errors.NotFound("There is no entry that leads to this store")
    if len(by_name) > 1:
        raise errors.BadInput.of("entry", f"say which: {', '.join(by_name)}")
    return next(iter(by_name.values()))


async def of_store(
    connection: db.Connection,
    directory: Directory,
    chain_id: uuid.UUID,
    store: str,
    *,
    entry: str | None,
    public_url: str,
) -> poster.Poster:
    """What stands on the store's poster; its placement is made if there is none.

    Raises `errors.NotFound`, `errors.BadInput`.
    """
    row = await catalog.get_store(connection, chain_id, store)
    found = entry_of(entries_of(directory, chain_id, row["brand"]), entry)
    placement = await catalog.store_placement(connection, chain_id, found.entry, store)
    return poster.Poster(
        url=printing.entry_url(public_url, found.entry, placement["placement"]),
        chain=row["brand"] or directory.chains[chain_id].name,
        store=row["name"],
        address=row["address"] or "",
        placement=placement["placement"],
        placement_name=placement["name"],
    )


def drawn(wanted: poster.Poster, paper: poster.Paper, lang: Lang) -> bytes:
    """The PDF. Slow at first: not for the event loop."""
    with _ONE_AT_A_TIME:
        return poster.pdf(wanted, paper, lang)


def disposition(store: str, paper: poster.Paper, lang: Lang, *, attachment: bool = False) -> str:
    """The header's value that names the file, as RFC 8187 writes what a store number may hold."""
    name = quote(f"{store}-{paper}-{lang}.pdf", safe="")
    return f"{'attachment' if attachment else 'inline'}; filename*=UTF-8''{name}"
