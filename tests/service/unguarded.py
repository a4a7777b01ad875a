"""`nearcode` with the guard of the seats switched off: for the negative control of a race only.

The conditions by which PostgreSQL grants no more seats than there are are taken out of the queries.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import aiosql

from service import cli, db, firsts, seating

_GUARDS = (
    (seating, "journal", "least(asked, room - least(late, room))", "asked"),
    (firsts, "firsts", "least(wanted.seats, greatest(c.capacity - c.members - c.held, 0))",
     "wanted.seats"),
)  # fmt: skip


def queries() -> Iterator[tuple[ModuleType, Any]]:
    """The modules that grant seats, each with its queries without their guard."""
    for module, name, guard, instead in _GUARDS:
        guarded = (db.SQL / f"{name}.sql").read_text(encoding="utf-8")
        unguarded = guarded.replace(guard, instead)
        assert unguarded != guarded, "there is no such guard any more: mend this"
        yield module, aiosql.from_str(unguarded, "asyncpg")


def main() -> None:
    for module, unguarded in queries():
        module._sql = unguarded  # type: ignore[attr-defined]
    cli.main()


if __name__ == "__main__":
    main()
