"""Webhooks: which systems are told of what, and what became of that.

What sends them is imported by the commands that need it, so that the others start sooner.
"""

import contextlib
import functools
import sys
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import typer
from rich.markup import escape

from service import accounts, db, errors, webhooks
from service.cli import arguments, installation, terminal
from service.cli.terminal import err, out
from service.directory import Directory
from service.outbox import Event

app = typer.Typer(no_args_is_help=True, help="Webhooks: systems that are told of what happens.")

_MOST_DESCRIPTION = 200
_PAGE = 500

WebhookArgument = Annotated[
    UUID, typer.Argument(metavar="ID", help="`nearcode webhook list` tells it.")
]


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up; can be sent again


@app.command("list")
def list_webhooks(chain: arguments.ChainOption = None) -> None:
    """Every endpoint of a chain, without its secret."""

    async def work(connection: db.Connection) -> list[asyncpg.Record]:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await webhooks.of_chain(connection, chain_id)

    table = terminal.table("webhook", "URL", "events", "state", "pending", "description")
    for row in installation.run(installation.settings(), work):
        table.add_row(
            str(row["webhook_id"]),
            escape(row["url"]),
            ", ".join(row["events"]),
            _state_of(row),
            f"{row['pending']:,}",
            escape(row["description"]),
        )
    terminal.show(table)


def _state_of(row: asyncpg.Record) -> str:
    if not row["enabled"]:
        reason = row["disabled_reason"]
        return f"disabled: {reason}" if reason else "disabled"
    if row["failing_since"] is not None:
        return f"failing since {row['failing_since']:%Y-%m-%d %H:%M}"
    return "enabled"


@app.command("create")
def create_webhook(
    url: str,
    event: Annotated[list[Event], typer.Option(help="Again for more.")],
    description: str = "",
    enabled: Annotated[bool, typer.Option("--enabled/--disabled")] = True,
    chain: arguments.ChainOption = None,
) -> None:
    """Tell of these events at this URL. The secret is printed once and cannot be read again."""
    from service import webhook_sending

    _check_description(description)
    settings = installation.settings()

    async def work(connection: db.Connection) -> tuple[asyncpg.Record, str]:
        chain_id = await accounts.chain_id_of(connection, chain)
        checked = await webhook_sending.checked_url(url, settings.webhook_private_networks)
        return await webhooks.create(
            connection,
            chain_id,
            webhooks.Values(checked, tuple(event), description, enabled),
            await accounts.installation_secret(connection),
            most=settings.max_webhooks,
        )

    _tell_secret(*installation.run(settings, work))


@app.command("change")
def change_webhook(
    webhook_id: WebhookArgument,
    url: str | None = None,
    event: Annotated[
        list[Event] | None, typer.Option(help="These from now on; again for more.")
    ] = None,
    description: str | None = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled")] = None,
    chain: arguments.ChainOption = None,
) -> None:
    """Only what is said changes. --enabled lets one that was disabled start anew."""
    from service import webhook_sending

    _check_description(description or "")
    settings = installation.settings()
    said = {"url": url, "events": event or None, "description": description, "enabled": enabled}
    changed: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if not changed:
        raise errors.BadInput.of("webhook", "say what to change")

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        if url is not None:
            private = settings.webhook_private_networks
            changed["url"] = await webhook_sending.checked_url(url, private)
        await webhooks.change(connection, chain_id, webhook_id, **changed)

    installation.run(settings, work)
    out.print(f"Webhook {webhook_id} is changed.")


@app.command("delete")
def delete_webhook(webhook_id: WebhookArgument, chain: arguments.ChainOption = None) -> None:
    """An endpoint, and what was still to be told to it."""

    async def work(connection: db.Connection) -> None:
        chain_id = await accounts.chain_id_of(connection, chain)
        await webhooks.delete(connection, chain_id, webhook_id)

    installation.run(installation.settings(), work)
    out.print(f"Webhook {webhook_id} is deleted.")


@app.command("secret")
def rotate_secret(
    webhook_id: WebhookArgument,
    keep_hours: Annotated[
        float,
        typer.Option(
            min=0,
            max=webhooks.MOST_KEPT_HOURS,
            help="The old secret signs as well for so long; 0 where it has become known.",
        ),
    ] = 24,
    chain: arguments.ChainOption = None,
) -> None:
    """A new secret. It is printed once and cannot be read again."""

    async def work(connection: db.Connection) -> tuple[asyncpg.Record, str]:
        return await webhooks.rotate(
            connection,
            await accounts.chain_id_of(connection, chain),
            webhook_id,
            await accounts.installation_secret(connection),
            keep_hours=keep_hours,
        )

    _tell_secret(*installation.run(installation.settings(), work))


@app.command("test")
def try_webhook(webhook_id: WebhookArgument, chain: arguments.ChainOption = None) -> None:
    """Send a message of the type webhook.test, once and now; exit code 1 if it is not taken."""
    from service import webhook_delivery

    settings = installation.settings()

    async def work(connection: db.Connection) -> asyncpg.Record:
        chain_id = await accounts.chain_id_of(connection, chain)
        directory = Directory()
        await directory.refresh(connection)
        deliveries = webhook_delivery.Deliveries(
            functools.partial(contextlib.nullcontext, connection),
            directory,
            settings,
            await accounts.installation_secret(connection),
        )
        async with contextlib.aclosing(deliveries):
            told = {"chain": directory.chains[chain_id].chain}
            return await deliveries.try_out(chain_id, webhook_id, told)

    done = installation.run(settings, work)
    out.print(escape(f"{done['state']}: {_answer_of(done)}, after {done['duration_ms']:,} ms"))
    if done["state"] != State.DELIVERED:
        sys.exit(1)


@app.command("deliveries")
def list_deliveries(
    webhook_id: WebhookArgument,
    state: Annotated[State | None, typer.Option(help="dead: given up.")] = None,
    most: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    chain: arguments.ChainOption = None,
) -> None:
    """What was and is to be told to an endpoint, newest first."""

    async def work(connection: db.Connection) -> list[asyncpg.Record]:
        chain_id = await accounts.chain_id_of(connection, chain)
        return await webhooks.deliveries(connection, chain_id, webhook_id, state=state, most=most)

    table = terminal.table("delivery", "event", "state", "attempts", "last answer", "tried")
    for row in installation.run(installation.settings(), work):
        tried = row["attempted_at"]
        table.add_row(
            str(row["event_id"]),
            row["event"] or "",
            row["state"],
            str(row["attempts"]),
            escape(_answer_of(row)) if tried else "",
            f"{tried:%Y-%m-%d %H:%M:%S}" if tried else "",
        )
    terminal.show(table)


def _answer_of(row: asyncpg.Record) -> str:
    """What came of the last attempt."""
    return row["error"] or f"answered {row['status']}"


@app.command("retry")
def retry_deliveries(
    webhook_id: WebhookArgument,
    delivery_ids: Annotated[
        list[UUID] | None,
        typer.Argument(metavar="[DELIVERY]...", help="`nearcode webhook deliveries` tells them."),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,
    chain: arguments.ChainOption = None,
) -> None:
    """Send deliveries again, with the same id and the same body. The service does it."""
    if bool(delivery_ids) is dead:
        raise errors.BadInput.of("delivery", "name some, or say --dead")

    async def work(connection: db.Connection) -> int:
        chain_id = await accounts.chain_id_of(connection, chain)
        chosen = delivery_ids or await _dead(connection, chain_id, webhook_id)
        async with connection.transaction():
            for event_id in chosen:
                await webhooks.retry(connection, chain_id, webhook_id, event_id)
        return len(chosen)

    count = installation.run(installation.settings(), work)
    out.print(f"{count:,} to be sent again.")


async def _dead(connection: db.Connection, chain_id: UUID, webhook_id: UUID) -> list[UUID]:
    found: list[UUID] = []
    while True:
        rows = await webhooks.deliveries(
            connection,
            chain_id,
            webhook_id,
            state=State.DEAD,
            before=found[-1] if found else None,
            most=_PAGE,
        )
        found += [row["event_id"] for row in rows]
        if len(rows) < _PAGE:
            return found


def _check_description(text: str) -> None:
    if len(text) > _MOST_DESCRIPTION:
        raise errors.BadInput.of("--description", f"{_MOST_DESCRIPTION} characters at most")


def _tell_secret(row: asyncpg.Record, secret: str) -> None:
    err.print(f"Webhook {row['webhook_id']}; its secret, shown this once:")
    out.print(secret)
