"""Webhooks: where the chain's systems want to hear of what, and what became of each message."""

from typing import Any

from fastapi import APIRouter, Response

from service import errors, lists
from service.http import webhooks as api
from service.http.hq.desk import Desk, DeskDep, HqRoute, checked, values_of
from service.outbox import Event
from service.web import hq
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

_HOOKS = (
    Column(key="url", link="page", note="description", label="field.url"),
    Column(key="events", kind="list", sorts=False, wide=True),
    Column(key="status", kind="state"),
    Column(key="pending", kind="number"),
    Column(key="failing_since", kind="moment", wide=True),
    Column(key="updated_at", kind="moment", wide=True),
)
_DELIVERIES = (
    Column(key="event", note="delivery_id", sorts=False),
    Column(key="delivery", kind="state", sorts=False, label="col.status"),
    Column(key="attempts", kind="number", sorts=False),
    Column(key="answer", sorts=False),
    Column(key="duration_ms", kind="number", sorts=False, wide=True),
    Column(key="attempted_at", kind="moment", sorts=False, wide=True),
    Column(key="next_attempt_at", kind="moment", sorts=False, wide=True),
)
_STATES = ("pending", "delivered", "dead")


def _own(desk: Desk) -> None:
    if not desk.may_change:
        raise errors.NotAllowed("This needs an hq key")


@router.get("/hq/webhooks")
@router.get("/hq/webhooks.{form}")
async def list_webhooks(desk: DeskDep, form: str = "") -> Response:
    return await _all(desk, form)


async def _all(desk: Desk, form: str = "", *, said: hq.Said | None = None) -> Response:
    _own(desk)
    found = (await api.list_webhooks(desk.service, desk.caller))["webhooks"]
    rows = [
        {
            **row,
            "status": _status(row),
            "page": hq.Query("/hq/webhook", {})(webhook=row["webhook_id"]),
        }
        for row in found
    ]
    table = desk.whole("webhooks", _HOOKS, rows, form, searched=("url", "description"))
    if form:
        return await desk.download(table, form)
    return desk.html(
        "webhooks.html",
        "webhooks",
        status=422 if said else 200,
        table=table,
        said=said,
        events=[event.value for event in Event],
    )


def _status(row: dict[str, Any]) -> str:
    if not row["enabled"]:
        return "closed_out"
    return "failing" if row["failing_since"] else "active"


@router.post("/hq/webhooks")
async def create(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
        events = [str(value) for value in form.getlist("events")]
    body = {
        "url": values.get("url", ""),
        "description": values.get("description", ""),
        "events": events,
    }
    try:
        made = await api.create_webhook(checked(api.WebhookBody, body), desk.service, desk.caller)
    except (errors.BadInput, errors.Conflict) as error:
        return await _all(desk, said=desk.said(error, values))
    return await _one(desk, str(made["webhook_id"]), secret=made["secret"])


@router.get("/hq/webhook")
async def webhook(desk: DeskDep) -> Response:
    return await _one(desk, desk.asked("webhook"))


async def _one(
    desk: Desk,
    webhook_id: str,
    *,
    said: hq.Said | None = None,
    secret: str = "",
    tried: dict[str, Any] | None = None,
) -> Response:
    """Raises `errors.NotFound`."""
    _own(desk)
    state = next((each for each in _STATES if each == desk.asked("state")), None)
    found = await api.get_webhook(webhook_id, desk.service, desk.caller)
    told = await api.list_deliveries(
        webhook_id,
        desk.service,
        desk.caller,
        state=state,  # type: ignore[arg-type]  # one of its literals
        cursor=desk.asked("cursor") or None,
        limit=desk.size,
    )
    rows = [_delivery(row) for row in told["deliveries"]]
    table = desk.table(
        "deliveries",
        _DELIVERIES,
        lists.Found(rows, len(rows)),
        lists.Ask(most=desk.size),
        keep={"webhook": webhook_id, "state": state or ""},
        path="/hq/webhook",
        searches=False,
    )
    return desk.html(
        "webhook.html",
        "webhooks",
        status=422 if said else 200,
        webhook={**found, "status": _status(found)},
        said=said,
        secret=secret,
        tried=None if tried is None else _delivery(tried),
        events=[event.value for event in Event],
        state=state or "",
        states=[(each, table.query(state=each, cursor="")) for each in ("", *_STATES)],
        later=table.query(cursor=told["next"]) if told["next"] else "",
        table=table,
    )


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    answer = " · ".join(str(part) for part in (row["status"], row["error"]) if part)
    return {**row, "delivery": row["state"], "answer": answer}


@router.post("/hq/webhook")
async def change(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
        events = [str(value) for value in form.getlist("events")]
    webhook_id = values.get("webhook", "")
    body = {
        "url": values.get("url", ""),
        "description": values.get("description", ""),
        "events": events,
        "enabled": values.get("enabled") == "yes",
    }
    try:
        await api.change_webhook(
            webhook_id, checked(api.WebhookChange, body), desk.service, desk.caller
        )
    except (errors.BadInput, errors.Conflict) as error:
        return await _one(desk, webhook_id, said=desk.said(error, values))
    return desk.done("/hq/webhook", "saved", webhook=webhook_id)


@router.post("/hq/webhook/{what}")
async def act(what: str, desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    webhook_id = values.get("webhook", "")
    match what:
        case "test":
            tried = await api.try_webhook(webhook_id, desk.service, desk.caller)
            return await _one(desk, webhook_id, tried=tried)
        case "secret":
            made = await api.rotate_secret(webhook_id, desk.service, desk.caller)
            return await _one(desk, webhook_id, secret=made["secret"])
        case "retry":
            delivery = values.get("delivery", "")
            await api.retry_delivery(webhook_id, delivery, desk.service, desk.caller)
            return desk.done("/hq/webhook", "sent_again", webhook=webhook_id)
        case "delete":
            await api.delete_webhook(webhook_id, desk.service, desk.caller)
            return desk.done("/hq/webhooks", "deleted_webhook")
    raise errors.NotFound("There is no such thing to do")
