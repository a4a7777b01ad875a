"""Orders, who joins became, and what came of both: HQ's systems send them, HQ reads them."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile

from service import errors, moments, order_rows, orders, revenue
from service.accounts import Caller
from service.http import answers, context, formats
from service.http.context import Hq, Json, Reader, ServiceDep
from service.http.reports import Asked
from service.runtime import Service

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["orders"],
    dependencies=[Depends(context.storable)],
)


# ---------------------------------------------------------------- bodies


def _takes(noun: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """What `/openapi.json` says of a body that is read here: row by row, so that a bad one keeps no
    other out."""
    item = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {noun: {"type": "array", "items": item}},
        "required": [noun],
    }
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


_TEXT = {"type": "string"}
_KEYS = dict.fromkeys(order_rows.MEMBER_FIELDS, _TEXT)
_ORDER = {
    **dict.fromkeys(order_rows.ORDER_FIELDS, _TEXT),
    "amount": {"type": ["string", "number"]},
    "kind": {"enum": [kind.value for kind in order_rows.OrderKind]},
}
_ONE_MEMBER = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "properties": _KEYS}}},
    }
}


async def _json(request: Request) -> dict[str, Any]:
    """The body as an object, its numbers as decimals. Raises `errors.BadInput`."""
    try:
        # In a thread: a long list takes longer than visitors should wait.
        found = await asyncio.to_thread(
            json.loads, await request.body(), parse_float=Decimal, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise errors.BadInput.of("body", "is not JSON") from error
    if not isinstance(found, dict):
        raise errors.BadInput.of("body", "must be an object")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def _list(request: Request, noun: str, most: int) -> list[object]:
    """The body's list. Raises `errors.BadInput`."""
    body = await _json(request)
    unknown = [errors.FieldError(context.printable(name), "is no field here")
               for name in body if name != noun]  # fmt: skip
    if unknown:
        raise errors.BadInput(*unknown)
    found = body.get(noun)
    if not isinstance(found, list):
        raise errors.BadInput.of(noun, "a list is needed")
    if most and len(found) > most:
        raise errors.BadInput.of(noun, f"{len(found):,} of them; at most {most:,} at once")
    return found


# ---------------------------------------------------------------- orders


@router.post("/orders", openapi_extra=_takes("orders", _ORDER, ["order", "at", "amount"]))
async def receive(request: Request, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """Orders and refunds under the chain's own numbers. Sending a number again corrects it; a
    rejected row keeps no other out."""
    sent = await _list(request, "orders", service.settings.max_orders)
    async with service.connection() as connection:
        tz, currency = await orders.terms(connection, caller.chain_id)
        parsed = await asyncio.to_thread(order_rows.orders, sent, tz=tz, currency=currency)
        done = await orders.put(connection, caller.chain_id, parsed.rows, service.matching)
    return _told(done, parsed.rejected)


@router.post("/orders/import")
async def import_orders(
    service: ServiceDep,
    caller: Hq,
    file: Annotated[UploadFile, File()],
    dry_run: bool = False,
) -> dict[str, Any]:
    """Orders from CSV or XLSX. A rejected row keeps no other out; the same file again changes
    nothing."""
    data = await context.read_upload(file, "file", service.settings)
    async with service.connection() as connection:
        tz, currency = await orders.terms(connection, caller.chain_id)
    parsed = await asyncio.to_thread(
        lambda: order_rows.order_table(answers.table(data, file.filename), tz=tz, currency=currency)
    )
    async with service.connection() as connection:
        done = await orders.put_all(
            connection, caller.chain_id, parsed.rows, service.matching, dry_run=dry_run
        )
    return _told(done, parsed.rejected) | {
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
    }


def _told(done: orders.Put, rejected: tuple[Any, ...]) -> dict[str, Any]:
    rows = sorted((*rejected, *done.rejected), key=lambda rejection: rejection.row)
    return {
        "accepted": done.accepted,
        "matched": done.matched,
        "unmatched": done.unmatched,
        "rejected": [answers.told(rejection) for rejection in rows],
    }


@router.get("/orders")
async def list_orders(
    service: ServiceDep,
    caller: Reader,
    matched: bool | None = None,
    store: str | None = None,
    since: str | None = None,
    until: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Orders and refunds with what they are matched to, oldest first. `store` is where it was
    bought or, if that is not known, where the member joined; a manager sees their own."""
    timezone = answers.timezone(service, caller)
    after_at, after = after_order(cursor)
    async with service.connection() as connection:
        rows = await orders.listed(
            connection,
            caller.chain_id,
            scope=caller.scope,
            matched=matched,
            store=store or None,
            since=moments.instant(since, "since", timezone),
            until=moments.instant(until, "until", timezone, end_of_day=True),
            after_at=after_at,
            after=after,
            most=limit + 1,
        )
    shown = rows[:limit]
    more = len(rows) > limit
    last = f"{shown[-1]['at'].isoformat()} {shown[-1]['order_no']}" if more else None
    return {"orders": [orders.public(row) for row in shown], "next": context.cursor(last)}


def after_order(cursor: str | None) -> tuple[datetime | None, str | None]:
    """The time and number behind a cursor. Raises `errors.BadInput`."""
    after = context.after_cursor(cursor)
    if after is None:
        return None, None
    at, _, order = after.partition(" ")
    try:
        found = moments.in_range(datetime.fromisoformat(at))
    except ValueError as error:
        raise errors.BadInput.of("cursor", "this is not a cursor of ours") from error
    if found.tzinfo is None:
        raise errors.BadInput.of("cursor", "this is not a cursor of ours")
    return found, order


@router.get("/orders/{order}")
async def get_order(order: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    async with service.connection() as connection:
        row = await orders.find(connection, caller.chain_id, order)
    if row is None or not _sees(caller, row):
        raise errors.NotFound(f"There is no order {order}")
    return orders.public(row)


def _sees(caller: Caller, row: asyncpg.Record) -> bool:
    return caller.sees_store(row["store"] or row["join_store"])


# ---------------------------------------------------------------- members


@router.post("/joins/{join_id}/member", openapi_extra=_ONE_MEMBER)
async def tell_member(
    join_id: str, request: Request, service: ServiceDep, caller: Hq
) -> dict[str, Any]:
    """Who a join became, as a CRM knows: `unionid`, `external_userid`, `phone` or `phone_hash`, or
    the chain's own `member` number. Orders that name one of them are matched to the join. What is
    not named stays; null forgets."""
    found = context.parse_uuid(join_id, "join")
    parsed = order_rows.member(await _json(request), found)
    if parsed.rejected:
        raise errors.BadInput(*(errors.FieldError(r.field, r.detail) for r in parsed.rejected))
    told = await _tell(service, caller.chain_id, parsed.rows)
    if told.rejected:
        raise errors.NotFound("There is no such join")
    return {"join_id": found, "orders": told.orders}


_MEMBER = {"join_id": _TEXT, "scan_id": _TEXT, **_KEYS}


@router.post("/members", openapi_extra=_takes("members", _MEMBER, []))
async def tell_members(request: Request, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """The same of many joins, each named by `join_id` or `scan_id`. `orders` is how many orders
    were matched by it, or matched otherwise than before."""
    sent = await _list(request, "members", service.settings.max_orders)
    parsed = await asyncio.to_thread(order_rows.joined, sent)
    told = await _tell(service, caller.chain_id, parsed.rows)
    rows = sorted((*parsed.rejected, *told.rejected), key=lambda rejection: rejection.row)
    return {
        "accepted": told.accepted,
        "orders": told.orders,
        "rejected": [answers.told(rejection) for rejection in rows],
    }


async def _tell(
    service: Service, chain_id: uuid.UUID, rows: tuple[order_rows.MemberRow, ...]
) -> orders.Told:
    async with service.connection() as connection:
        return await orders.tell_members(connection, chain_id, rows, service.matching)


# ---------------------------------------------------------------- reports

Currency = Annotated[str | None, Query(pattern="^[A-Z]{3}$")]
By = Literal[
    "none", "store", "brand", "city", "entry", "placement", "channel", "variant", "cohort_day",
    "cohort_week", "cohort_month",
]  # fmt: skip


@router.get("/reports/revenue.xlsx")
@router.get("/reports/revenue.csv")
@router.get("/reports/revenue")
async def revenue_tree(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    by: By = "none",
    currency: Currency = None,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """Revenue = visitors x visitor_conversion x frequency x basket, of the scans of a period and of
    all that was ever bought by those who joined there; first orders and repeat. In one currency, by
    default the chain's; `others` says what there is in others, `unmatched` what belongs to no join,
    both by the orders' own days."""
    async with service.connection() as connection:
        found = await revenue.revenue_by(
            connection, caller.chain_id, by=by, which=which, currency=currency
        )
    content = formats.page(revenue.told(found), limit, cursor)
    return await formats.answer(request, content, revenue.COLUMNS, f"revenue-by-{by}")


@router.get("/reports/members.xlsx")
@router.get("/reports/members.csv")
@router.get("/reports/members")
async def member_groups(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    currency: Currency = None,
    above: Annotated[Decimal | None, Query(ge=0, max_digits=16, decimal_places=4)] = None,
) -> Response:
    """Members as four groups: new (their scan is of the period, by default the last 30 days) and
    old, of high spend (above the median of those who have bought, or `above`) and low."""
    async with service.connection() as connection:
        found = await revenue.groups(
            connection,
            caller.chain_id,
            which=which,
            currency=currency,
            above=above,
            now=datetime.now(UTC),
        )
    return await formats.answer(request, found, revenue.GROUP_COLUMNS, "members")
