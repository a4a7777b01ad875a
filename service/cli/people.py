"""People who sign in."""

import contextlib
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape

from service import accounts, db, people, throttle
from service.cli import arguments, installation, terminal
from service.cli.terminal import err, out
from service.domain import (
    Role,
)
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="People who sign in.")


_MOST_PEOPLE = 100_000
PersonArgument = Annotated[str, typer.Argument(help="Their e-mail address, or their id.")]


@app.command("create")
def create_person(
    role: Annotated[Role, typer.Option(help="hq or read; managers are invited.")],
    name: Annotated[str, typer.Option()],
    email: Annotated[str, typer.Option(help="What they sign in with.")],
    chain: arguments.ChainOption = None,
) -> None:
    """Somebody at HQ. Hand them the link that is printed: they choose their password there."""
    settings = installation.settings()

    async def work(connection: db.Connection) -> people.Link:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await people.create(
            connection, chain_id, role, name=name, email=email, settings=settings
        )

    _tell_link(installation.run(settings, work), settings)


@app.command("list")
def list_people(chain: arguments.ChainOption = None) -> None:
    """Everybody who may sign in, managers too."""

    async def work(connection: db.Connection) -> list[Any]:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await people.people(connection, chain_id, most=_MOST_PEOPLE)

    table = terminal.table("person", "role", "name", "e-mail", "stores", "signed in on", "active")
    for row in installation.run(installation.settings(), work):
        table.add_row(
            str(row["person_id"]),
            row["role"],
            escape(row["name"]),
            escape(row["email"] or ""),
            escape(", ".join(row["stores"])),
            f"{row['sessions']} devices" if row["sessions"] != 1 else "1 device",
            "yes" if row["deactivated_at"] is None else "no",
        )
    terminal.show(table)


@app.command("reset")
def reset_password(person: PersonArgument, chain: arguments.ChainOption = None) -> None:
    """A link to choose another password, for who has forgotten theirs. An older one ends."""
    settings = installation.settings()

    async def work(connection: db.Connection) -> people.Link:
        chain_id = await accounts.chain_id_of(connection, chain)
        person_id = await _person(connection, chain_id, person)
        made = await people.password_link(connection, chain_id, person_id, settings)
        secret = await accounts.installation_secret(connection)
        await throttle.forget_account(connection, secret, made.person["email"])
        return made

    _tell_link(installation.run(settings, work), settings)


@app.command("deactivate")
def deactivate_person(person: PersonArgument, chain: arguments.ChainOption = None) -> None:
    """Sign somebody out everywhere, and for good."""
    _set_active(person, chain, False)
    out.print("They are signed out and cannot come back.")


@app.command("activate")
def activate_person(person: PersonArgument, chain: arguments.ChainOption = None) -> None:
    """Let somebody come back."""
    _set_active(person, chain, True)
    out.print("They may sign in again; a manager needs a new invitation.")


def _set_active(person: str, chain: str | None, active: bool) -> None:
    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        person_id = await _person(connection, chain_id, person)
        await people.change(connection, chain_id, person_id, {"active": active})

    installation.run(installation.settings(), work)


async def _person(connection: db.Connection, chain_id: UUID, named: str) -> UUID:
    """Raises `errors.NotFound`."""
    with contextlib.suppress(ValueError):
        return UUID(named)
    return await people.id_of(connection, chain_id, named)


def _tell_link(made: people.Link, settings: Settings) -> None:
    until = made.expires_at.astimezone()
    err.print(f"Works once, until {until:%Y-%m-%d %H:%M %Z}, for {escape(made.person['name'])}:")
    out.print(made.link(settings))
