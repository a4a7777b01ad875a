"""Webhooks, by JSON: HQ says where its systems want to hear of what, and sees what became of it."""

from typing import Annotated, Any, Literal

import asyncpg
import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service import errors, webhook_sending, webhooks
from service.http import answers, context
from service.http.context import Hq, Json, ServiceDep, Text
from service.outbox import Event

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["webhooks"],
    dependencies=[Depends(context.storable)],
)

_Url = Annotated[Text, Field(min_length=1, max_length=2000)]
_Events = Annotated[list[Event], Field(min_length=1, max_length=20)]
_Description = Annotated[Text, Field(max_length=200)]


class WebhookBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: _Url
    events: _Events
    description: _Description = ""
    enabled: bool = True


class WebhookChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = None
    enabled: bool | None = None


class SecretBody(BaseModel):
    """`keep_hours`: for how long the old secret signs as well; 0 where it has become known."""

    model_config = ConfigDict(extra="forbid")

    keep_hours: float = Field(24, ge=0, le=webhooks.MOST_KEPT_HOURS, allow_inf_nan=False)


@router.get("/webhooks")
async def list_webhooks(service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """Every endpoint of the chain, without its secret, which nobody can read again."""
    async with service.connection() as connection:
        rows = await webhooks.of_chain(connection, caller.chain_id)
    return {"webhooks": [webhook_json(row) for row in rows], "next": None}


@router.post("/webhooks", status_code=201)
async def create_webhook(body: WebhookBody, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """Be told of these events at this URL. `secret` is told this once."""
    private = service.settings.webhook_private_networks
    url = await webhook_sending.checked_url(body.url, private)
    values = webhooks.Values(url, tuple(body.events), body.description, body.enabled)
    async with service.connection() as connection:
        row, secret = await webhooks.create(
            connection,
            caller.chain_id,
            values,
            service.secret,
            most=service.settings.max_webhooks,
        )
    await service.refresh()
    return {**webhook_json(row), "secret": secret}


@router.get("/webhooks/{webhook_id}")
async def get_webhook(webhook_id: str, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    found = context.parse_uuid(webhook_id, "webhook")
    async with service.connection() as connection:
        return webhook_json(await webhooks.get(connection, caller.chain_id, found))


@router.patch("/webhooks/{webhook_id}")
async def change_webhook(
    webhook_id: str, body: WebhookChange, service: ServiceDep, caller: Hq
) -> dict[str, Any]:
    """Only what is sent changes. To enable one that was disabled lets it start anew."""
    found = context.parse_uuid(webhook_id, "webhook")
    change = body.model_dump(exclude_unset=True)
    for name, value in change.items():
        if value is None:
            raise errors.BadInput.of(name, "may not be null")
    async with service.connection() as connection:
        await webhooks.get(connection, caller.chain_id, found)
    if "url" in change:
        private = service.settings.webhook_private_networks
        change["url"] = await webhook_sending.checked_url(change["url"], private)
    async with service.connection() as connection:
        row = await webhooks.change(connection, caller.chain_id, found, **change)
    await service.refresh()
    return webhook_json(row)


@router.delete("/webhooks/{webhook_id}", status_code=204)
async def delete_webhook(webhook_id: str, service: ServiceDep, caller: Hq) -> Response:
    """The endpoint, and what was still to be told to it."""
    found = context.parse_uuid(webhook_id, "webhook")
    async with service.connection() as connection:
        await webhooks.delete(connection, caller.chain_id, found)
    await service.refresh()
    return Response(status_code=204)


@router.post("/webhooks/{webhook_id}/secret")
async def rotate_secret(
    webhook_id: str, service: ServiceDep, caller: Hq, body: SecretBody | None = None
) -> dict[str, Any]:
    """A new secret, told this once. Until `old_secret_until` each message is signed with both."""
    found = context.parse_uuid(webhook_id, "webhook")
    async with service.connection() as connection:
        row, secret = await webhooks.rotate(
            connection,
            caller.chain_id,
            found,
            service.secret,
            keep_hours=(body or SecretBody(keep_hours=24)).keep_hours,
        )
    return {**webhook_json(row), "secret": secret}


@router.post("/webhooks/{webhook_id}/test")
async def try_webhook(webhook_id: str, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """Send a message of the type `webhook.test`, once and now; what came of it. An endpoint that is
    disabled can be tried, too."""
    found = context.parse_uuid(webhook_id, "webhook")
    chain = service.directory.chains[caller.chain_id]
    row = await service.deliveries.try_out(caller.chain_id, found, {"chain": chain.chain})
    return delivery_json(row)


@router.get("/webhooks/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: str,
    service: ServiceDep,
    caller: Hq,
    state: Annotated[Literal["pending", "delivered", "dead"] | None, Query()] = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """What was and is to be told to this endpoint, newest first. `dead`: given up; can be sent
    again."""
    found = context.parse_uuid(webhook_id, "webhook")
    before = context.after_cursor_uuid(cursor)
    async with service.connection() as connection:
        rows = await webhooks.deliveries(
            connection, caller.chain_id, found, state=state, before=before, most=limit + 1
        )
    return answers.page("deliveries", rows, limit, "event_id", delivery_json)


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/retry")
async def retry_delivery(
    webhook_id: str, delivery_id: str, service: ServiceDep, caller: Hq
) -> dict[str, Any]:
    """Send it again, with the same id and the same body."""
    found = context.parse_uuid(webhook_id, "webhook")
    event_id = context.parse_uuid(delivery_id, "delivery")
    async with service.connection() as connection:
        return delivery_json(await webhooks.retry(connection, caller.chain_id, found, event_id))


def webhook_json(row: asyncpg.Record) -> dict[str, Any]:
    names = (
        "webhook_id", "url", "description", "events", "enabled", "disabled_reason", "disabled_at",
        "failing_since", "pending", "created_at", "updated_at",
    )  # fmt: skip
    return {name: row[name] for name in names} | {"old_secret_until": row["old_until"]}


def delivery_json(row: asyncpg.Record) -> dict[str, Any]:
    """`delivery_id` is the message's `webhook-id`; `message` what is sent, null once it is
    forgotten."""
    return {
        "delivery_id": row["event_id"],
        "event": row["event"],
        "state": row["state"],
        "attempts": row["attempts"],
        "status": row["status"],
        "error": row["error"],
        "duration_ms": row["duration_ms"],
        "attempted_at": row["attempted_at"],
        "next_attempt_at": row["due_at"],
        "settled_at": row["settled_at"],
        "message": orjson.loads(row["body"]) if row["body"] else None,
    }
