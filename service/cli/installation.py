"""The installation that a command works on: its settings, and its database."""

import asyncio
import contextlib
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from service import audit, db, embedded, logs
from service.settings import Settings

T = TypeVar("T")


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the database: the setting's, or the embedded one, started if it is not running."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with embedded.start(settings.data_dir) as postgres:
        yield postgres.url


def settings() -> Settings:
    """The environment's; what is logged goes where they say."""
    found = Settings()
    logs.configure(found)
    return found


def run(
    settings: Settings, work: Callable[[db.Connection], Awaitable[T]], *, patient: bool = False
) -> T:
    """Run `work(connection)` on the database, whose schema must be current; `patient`: each query
    may take as long as it does."""

    async def connected(url: str) -> T:
        connection = await (db.connect(url, command_timeout_s=None) if patient else db.connect(url))
        try:
            await db.check_schema(connection)
            with audit.acting(audit.Actor(audit.ActorKind.CLI, _user())):
                return await work(connection)
        finally:
            await connection.close()

    with database(settings) as url:
        return asyncio.run(connected(url))


def _user() -> str:
    """Who sits at this machine, for the log of changes."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return f"user {os.getuid()}"
