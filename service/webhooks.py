"""Webhooks: the endpoints of a chain that are told of what happens, and their secrets.

Messages are signed as Standard Webhooks has it (https://www.standardwebhooks.com). A secret is not
kept: it is made anew, whenever it is needed, of the installation's secret and the endpoint's salt
(docs/decisions/0014), and told to nobody after the endpoint was made or its secret changed.
"""

import base64
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import standardwebhooks

from service import audit, db, errors
from service.domain import uuid7
from service.outbox import Event

_sql = db.load("webhooks")
_versions = db.load("directory")

_SALT_BYTES = 16
MOST_KEPT_HOURS = 168


@dataclass(frozen=True, slots=True)
class Values:
    """What HQ says of an endpoint. The URL has been checked (`webhook_sending.checked_url`)."""

    url: str
    events: tuple[Event, ...]
    description: str = ""
    enabled: bool = True


def secret_of(installation: bytes, webhook_id: uuid.UUID, salt: bytes) -> str:
    """`whsec_` and the base64 of 32 bytes. `installation`: the secret of this installation."""
    message = b"nearcode webhook " + webhook_id.bytes + salt
    key = hmac.digest(installation, message, hashlib.sha256)
    return "whsec_" + base64.b64encode(key).decode()


def signed_headers(
    installation: bytes, row: Mapping[str, Any], message_id: str, body: str, now: datetime
) -> dict[str, str]:
    """The three headers of Standard Webhooks. `row`: of the endpoint. While its old secret is good
    as well, there are two signatures."""
    salts = [row["salt"]]
    if row["old_salt"] is not None and row["old_until"] > now:
        salts.append(row["old_salt"])
    signatures = []
    for salt in salts:
        secret = secret_of(installation, row["webhook_id"], bytes(salt))
        signatures.append(standardwebhooks.Webhook(secret).sign(message_id, now, body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def create(
    connection: db.Connection,
    chain_id: uuid.UUID,
    values: Values,
    installation: bytes,
    *,
    most: int,
) -> tuple[asyncpg.Record, str]:
    """A new endpoint, and its secret, which nobody can read again. `most`: so many a chain may
    have; 0: any number. Raises `errors.Conflict`."""
    webhook_id, salt = uuid7(), secrets.token_bytes(_SALT_BYTES)
    async with connection.transaction():
        # The chain's row is locked from here on: whoever counts has counted all.
        await _versions.bump(connection, chain_id=chain_id)
        if most and await _sql.count_webhooks(connection, chain_id=chain_id) >= most:
            raise errors.Conflict(f"There are {most} webhooks already: no more are allowed")
        await _sql.insert_webhook(
            connection,
            chain_id=chain_id,
            webhook_id=webhook_id,
            salt=salt,
            **_columns(values),
        )
        await _sql.know_events(connection, chain_id=chain_id)
        await audit.record(
            connection, chain_id, "webhook.create", str(webhook_id), after=_columns(values)
        )
        row = await get(connection, chain_id, webhook_id)
    return row, secret_of(installation, webhook_id, salt)


def _columns(values: Values) -> dict[str, Any]:
    return {
        "url": values.url,
        "description": values.description,
        "events": sorted({event.value for event in values.events}),
        "enabled": values.enabled,
    }


async def change(
    connection: db.Connection,
    chain_id: uuid.UUID,
    webhook_id: uuid.UUID,
    **changed: Any,
) -> asyncpg.Record:
    """Change some of `Values`. Another URL, and enabling it, let it start anew. Raises
    `errors.NotFound`."""
    async with connection.transaction():
        await _versions.bump(connection, chain_id=chain_id)
        before = await _locked(connection, chain_id, webhook_id)
        was = {name: before[name] for name in ("url", "description", "events", "enabled")}
        now = {
            **was,
            **{
                name: sorted({event.value for event in value}) if name == "events" else value
                for name, value in changed.items()
            },
        }
        fresh = now["url"] != was["url"] or changed.get("enabled", False)
        await _sql.update_webhook(
            connection, chain_id=chain_id, webhook_id=webhook_id, fresh=fresh, **now
        )
        await _sql.know_events(connection, chain_id=chain_id)
        await audit.record(
            connection, chain_id, "webhook.change", str(webhook_id), before=was, after=now
        )
        return await get(connection, chain_id, webhook_id)


async def delete(connection: db.Connection, chain_id: uuid.UUID, webhook_id: uuid.UUID) -> None:
    """With all that was to be told to it. Raises `errors.NotFound`."""
    async with connection.transaction():
        await _versions.bump(connection, chain_id=chain_id)
        before = await _locked(connection, chain_id, webhook_id)
        await _sql.delete_webhook(connection, chain_id=chain_id, webhook_id=webhook_id)
        await _sql.know_events(connection, chain_id=chain_id)
        was = {name: before[name] for name in ("url", "description", "events", "enabled")}
        await audit.record(connection, chain_id, "webhook.delete", str(webhook_id), before=was)


async def rotate(
    connection: db.Connection,
    chain_id: uuid.UUID,
    webhook_id: uuid.UUID,
    installation: bytes,
    *,
    keep_hours: float,
) -> tuple[asyncpg.Record, str]:
    """A new secret; the old one signs as well for so many hours. Raises `errors.NotFound`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    old_until = datetime.now(UTC) + timedelta(hours=keep_hours)
    async with connection.transaction():
        await _locked(connection, chain_id, webhook_id)
        await _sql.rotate(
            connection, chain_id=chain_id, webhook_id=webhook_id, salt=salt, old_until=old_until
        )
        after = {"old_until": old_until}
        await audit.record(connection, chain_id, "webhook.rotate", str(webhook_id), after=after)
        row = await get(connection, chain_id, webhook_id)
    return row, secret_of(installation, webhook_id, salt)


async def disable(
    connection: db.Connection, chain_id: uuid.UUID, webhook_id: uuid.UUID, reason: str
) -> bool:
    """By nearcode itself: it is `gone`, or `failing` for days; whether it was enabled."""
    async with connection.transaction():
        await _versions.bump(connection, chain_id=chain_id)
        key = {"chain_id": chain_id, "webhook_id": webhook_id}
        if await _sql.disable(connection, **key, reason=reason) is None:
            return False
        await _sql.know_events(connection, chain_id=chain_id)
        await audit.record(
            connection, chain_id, "webhook.disable", str(webhook_id), after={"reason": reason}
        )
    return True


async def get(
    connection: db.Connection, chain_id: uuid.UUID, webhook_id: uuid.UUID
) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    row = await _sql.get_webhook(connection, chain_id=chain_id, webhook_id=webhook_id)
    if row is None:
        raise errors.NotFound("There is no such webhook")
    return row


async def of_chain(connection: db.Connection, chain_id: uuid.UUID) -> list[asyncpg.Record]:
    """Every endpoint, oldest first, each with how many deliveries to it are `pending`."""
    return await db.rows(_sql.list_webhooks(connection, chain_id=chain_id))


async def _locked(
    connection: db.Connection, chain_id: uuid.UUID, webhook_id: uuid.UUID
) -> asyncpg.Record:
    row = await _sql.lock_webhook(connection, chain_id=chain_id, webhook_id=webhook_id)
    if row is None:
        raise errors.NotFound("There is no such webhook")
    return row


# ---------------------------------------------------------------- deliveries


async def deliveries(
    connection: db.Connection,
    chain_id: uuid.UUID,
    webhook_id: uuid.UUID,
    *,
    state: str | None = None,
    before: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Newest first, with what is sent (`body`). Raises `errors.NotFound`."""
    await get(connection, chain_id, webhook_id)
    return await db.rows(
        _sql.list_deliveries(
            connection,
            chain_id=chain_id,
            webhook_id=webhook_id,
            state=state,
            before=before,
            most=most,
        )
    )


async def delivery(
    connection: db.Connection, chain_id: uuid.UUID, webhook_id: uuid.UUID, event_id: uuid.UUID
) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    key = {"chain_id": chain_id, "webhook_id": webhook_id, "event_id": event_id}
    row = await _sql.get_delivery(connection, **key)
    if row is None:
        raise errors.NotFound("There is no such delivery")
    return row


async def retry(
    connection: db.Connection, chain_id: uuid.UUID, webhook_id: uuid.UUID, event_id: uuid.UUID
) -> asyncpg.Record:
    """Deliver it again, as if it were new, though it is dead or was delivered. Raises
    `errors.NotFound`."""
    key = {"chain_id": chain_id, "webhook_id": webhook_id, "event_id": event_id}
    async with connection.transaction():
        before = await delivery(connection, **key)
        if await _sql.retry(connection, **key) is not None:
            subject = str(webhook_id)
            after = {"delivery_id": event_id, "was": before["state"]}
            await audit.record(connection, chain_id, "webhook.retry", subject, after=after)
        return await delivery(connection, **key)


async def forget(connection: db.Connection, days: float) -> None:
    """What happened long ago, and what came of it; 0: nothing."""
    if days:
        await _sql.forget_deliveries(connection, days=days)
        await _sql.forget_events(connection, days=days)
