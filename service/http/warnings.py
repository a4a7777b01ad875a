"""Warnings, by JSON: HQ's and readers' all, a manager's those of their own stores."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from service import warnings
from service.http import answers, context
from service.http.context import Json, Reader, ServiceDep

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["warnings"],
    dependencies=[Depends(context.storable)],
)


@router.get("/warnings")
async def list_warnings(
    service: ServiceDep,
    caller: Reader,
    store: Annotated[str | None, Query(max_length=64)] = None,
    include_closed: Annotated[bool, Query(alias="all")] = False,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """What is wrong now, newest first; with `all` also what was, and when it was mended."""
    before = context.after_cursor_uuid(cursor)
    async with service.connection() as connection:
        rows = await warnings.listed(
            connection,
            caller.chain_id,
            caller.scope,
            store=store,
            past=include_closed,
            before=before,
            most=limit + 1,
        )
    return answers.page("warnings", rows, limit, "warning_id", warnings.public)
