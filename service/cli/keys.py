"""Chains, and the keys of programs."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape

from service import accounts, chains, db
from service.cli import arguments, installation, terminal
from service.cli.terminal import err, out
from service.domain import (
    Role,
)

chain_app = typer.Typer(no_args_is_help=True, help="Chains: the tenants of this installation.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")


@chain_app.command("create")
def create_chain(chain: str, name: str | None = None, timezone: str = "Asia/Shanghai") -> None:
    """A new chain: lower-case letters, digits and dashes."""

    async def work(connection: db.Connection) -> None:
        await accounts.create_chain(connection, chain, name or chain, timezone)

    installation.run(installation.settings(), work)
    out.print(f"There is a chain {chain}.")


@chain_app.command("set")
def set_chain(
    name: str | None = None,
    timezone: Annotated[str | None, typer.Option(help="Asia/Shanghai, say.")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217: CNY, HKD.")] = None,
    chain: arguments.ChainOption = None,
) -> None:
    """Another name, time zone or currency. In another time zone sums by day are summed anew;
    orders keep the currency that they came with."""
    named = {"name": name, "timezone": timezone, "currency": currency}
    changes = {field: value for field, value in named.items() if value is not None}

    async def work(connection: db.Connection) -> dict[str, Any]:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await chains.change(connection, chain_id, changes)

    done = installation.run(installation.settings(), work)
    told = ", ".join(f"{done[field]}" for field in chains.FIELDS)
    out.print(escape(f"{done['chain']}: {told}"))


@chain_app.command("list")
def list_chains() -> None:
    """Every chain."""
    table = terminal.table("chain", "name", "time zone", "currency")
    for row in installation.run(installation.settings(), accounts.chains):
        table.add_row(row["chain"], row["name"], row["timezone"], row["currency"])
    terminal.show(table)


@key_app.command("create")
def create_key(
    role: Annotated[Role, typer.Option()],
    store: Annotated[list[str] | None, typer.Option(help="Of a manager; again for more.")] = None,
    name: str | None = None,
    chain: arguments.ChainOption = None,
) -> None:
    """A new key. It is printed once and cannot be read again."""

    async def work(connection: db.Connection) -> tuple[UUID, str]:
        return await accounts.create_key(
            connection,
            await accounts.chain_id_of(connection, chain),
            role,
            name=name or role.value,
            stores=frozenset(store or ()),
        )

    key_id, key = installation.run(installation.settings(), work)
    err.print(f"Key {key_id} ({role}), shown this once:")
    out.print(key)


@key_app.command("list")
def list_keys(chain: arguments.ChainOption = None) -> None:
    """Every key of a chain, without the key itself."""

    async def work(connection: db.Connection) -> list[Any]:
        return await accounts.keys(connection, await accounts.chain_id_of(connection, chain))

    table = terminal.table("key", "role", "name", "stores", "created", "revoked")
    for row in installation.run(installation.settings(), work):
        table.add_row(
            str(row["key_id"]),
            row["role"],
            escape(row["name"]),
            escape(", ".join(row["stores"])),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            f"{row['revoked_at']:%Y-%m-%d %H:%M}" if row["revoked_at"] else "",
        )
    terminal.show(table)


@key_app.command("revoke")
def revoke_key(key_id: UUID, chain: arguments.ChainOption = None) -> None:
    """End a key at once."""

    async def work(connection: db.Connection) -> None:
        await accounts.revoke_key(connection, await accounts.chain_id_of(connection, chain), key_id)

    installation.run(installation.settings(), work)
    out.print(f"Key {key_id} is revoked.")
