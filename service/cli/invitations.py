"""Invitations of managers."""

import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import asyncpg
import typer
from rich.markup import escape

from service import accounts, db, errors, importing, invitations, printing
from service.cli import arguments, installation, terminal
from service.cli.terminal import err, out
from service.settings import Settings
from service.steps import report

app = typer.Typer(no_args_is_help=True, help="Invitations: links that managers come in by.")

_MOST = 100_000


def invite(
    store: Annotated[list[str] | None, typer.Option(help="Again for more.")] = None,
    name: Annotated[str, typer.Option(help="Of the manager; else that of the stores.")] = "",
    person: Annotated[
        UUID | None, typer.Option(help="A manager who is there, on another phone.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", exists=True, dir_okay=False, help="Many: CSV or XLSX, store, name."),
    ] = None,
    chain: arguments.ChainOption = None,
) -> None:
    """Invite a manager to stores: a link and its QR code, that sign in one phone, once.

    With --file one for each row; what is printed then is a CSV with the links.
    """
    settings = installation.settings()
    if file is not None:
        if store or name or person:
            raise errors.BadInput.of("--file", "the stores and names are in the file")
        _invite_many(file, chain, settings)
        return

    async def work(connection: db.Connection) -> invitations.Made:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await invitations.create(
            connection, chain_id, settings, stores=store or (), name=name, person_id=person
        )

    made = installation.run(settings, work)
    link = made.link(settings)
    until = made.expires_at.astimezone()
    err.print(printing.terminal_code(link), soft_wrap=False, no_wrap=True)
    err.print(f"Works once, until {until:%Y-%m-%d %H:%M %Z}, for {escape(made.name)}:")
    out.print(link)


def _invite_many(file: Path, chain: str | None, settings: Settings) -> None:
    parsed = importing.managers(arguments.read_table(file))

    async def work(connection: db.Connection) -> invitations.ManyMade:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await invitations.create_many(
            connection, chain_id, parsed.rows, settings, rejected=parsed.rejected
        )

    done = installation.run(settings, work)
    rows = [
        {
            "row": row,
            "name": made.name,
            "store": ",".join(made.stores),
            "link": made.link(settings),
            "expires_at": made.expires_at.isoformat(),
        }
        for row, made in done.created
    ]
    sys.stdout.write(report.as_csv(rows, ("row", "name", "store", "link", "expires_at")))
    err.print(f"invited {len(rows)}, rejected {len(done.rejected)}")
    terminal.tell_rows("reason", done.rejected, err)


@app.command("list")
def list_invitations(
    state: Annotated[
        invitations.State | None, typer.Option(help="open: it can still be used.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="For this one, among others.")] = None,
    chain: arguments.ChainOption = None,
) -> None:
    """Newest first, without their links, which nobody can read again."""

    async def work(connection: db.Connection) -> list[asyncpg.Record]:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await invitations.invitations(
            connection, chain_id, state=state, store=store, most=_MOST
        )

    table = terminal.table("invitation", "name", "stores", "state", "created", "expires")
    for row in installation.run(installation.settings(), work):
        table.add_row(
            str(row["invitation_id"]),
            escape(row["name"]),
            escape(", ".join(row["stores"])),
            row["state"],
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            f"{row['expires_at']:%Y-%m-%d %H:%M}",
        )
    terminal.show(table)


@app.command("revoke")
def revoke_invitation(
    invitation_id: Annotated[
        UUID, typer.Argument(metavar="ID", help="`nearcode invitation list` tells it.")
    ],
    chain: arguments.ChainOption = None,
) -> None:
    """Let its link work no more; one that was used stays used."""

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        await invitations.revoke(connection, chain_id, invitation_id)

    installation.run(installation.settings(), work)
    out.print(f"Invitation {invitation_id} is revoked.")
