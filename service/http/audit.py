"""The log of changes, by JSON: who, what, before, after, when."""

from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Query

from service import audit, moments
from service.http import answers, context
from service.http.context import ChainReader, Json, ServiceDep

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["audit"],
    dependencies=[Depends(context.storable)],
)

_Filter = Annotated[str | None, Query(max_length=200)]


@router.get("/audit")
async def list_audit(
    service: ServiceDep,
    caller: ChainReader,
    who: _Filter = None,
    action: _Filter = None,
    subject: _Filter = None,
    since: str | None = None,
    until: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Every change in the chain, newest first.

    `who` is the id, the kind (person, manager, key, cli, visitors, system) or part of the name of
    whoever did it; `action` a whole action (`code.renew`) or its thing (`code`); `subject` the
    thing's number, name or id, or the store that it belongs to. A date alone as `until` means
    through the end of that day.
    """
    timezone = answers.timezone(service, caller)
    async with service.connection() as connection:
        rows = await audit.records(
            connection,
            caller.chain_id,
            who=who or None,
            action=action or None,
            subject=subject or None,
            since=moments.instant(since, "since", timezone),
            until=moments.instant(until, "until", timezone, end_of_day=True),
            before=context.after_cursor_uuid(cursor),
            most=limit + 1,
        )
    return answers.page("audit", rows, limit, "audit_id", audit_json)


def audit_json(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "audit_id": row["audit_id"],
        "at": row["at"],
        "who": {"kind": row["actor_kind"], "id": row["actor_id"], "name": row["actor_name"]},
        "action": row["action"],
        "subject": row["subject"],
        "store": row["store"],
        "before": row["before"],
        "after": row["after"],
    }
