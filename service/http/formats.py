"""A report's rows as JSON, CSV or an Excel workbook; answers that have not changed are not sent
again."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
from fastapi import Query, Request, Response

from service import errors, sheets
from service.http import context
from service.http.context import Json

Limit = Annotated[int | None, Query(ge=1, le=10_000)]

# When it was asked is no part of what was found.
_PASSING = ("as_of", "since", "until")
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


async def answer(
    request: Request,
    content: Mapping[str, Any],
    names: Sequence[str],
    title: str,
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
) -> Response:
    """JSON; or, if the path ends in `.csv` or `.xlsx` or the Accept header says so, the content's
    rows (or `rows`) as a table of these columns. 304 if the caller has it already."""
    form = _form(request)
    tag = _tag(content, form)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
    if _known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    if form == "json":
        return Json(content, headers=headers)
    table = content["rows"] if rows is None else rows
    cells = [[row[name] for name in names] for row in table]
    headers["Content-Disposition"] = f'attachment; filename="{title}.{form}"'
    if form == "csv":
        data = await asyncio.to_thread(sheets.as_csv, names, cells)
        return Response(data, media_type="text/csv; charset=utf-8", headers=headers)
    data = await asyncio.to_thread(sheets.as_xlsx, title, names, cells)
    return Response(data, media_type=_XLSX, headers=headers)


def page(content: dict[str, Any], limit: int | None, cursor: str | None) -> dict[str, Any]:
    """The content with `limit` of its rows from behind the cursor, and `next`; without a limit all,
    as a spreadsheet wants them. Raises `errors.BadInput`."""
    start = 0
    if cursor is not None:
        try:
            start = int(context.after_cursor(cursor) or "")
        except ValueError as error:
            raise errors.BadInput.of("cursor", "this is not a cursor of ours") from error
        if start < 0:
            raise errors.BadInput.of("cursor", "this is not a cursor of ours")
    rows = content["rows"]
    end = len(rows) if limit is None else start + limit
    after = str(end) if end < len(rows) else None
    return {**content, "rows": rows[start:end], "next": context.cursor(after)}


def _form(request: Request) -> str:
    path, accept = request.url.path, request.headers.get("accept", "")
    if path.endswith(".xlsx") or _XLSX in accept:
        return "xlsx"
    return "csv" if path.endswith(".csv") or "text/csv" in accept else "json"


def _tag(content: Mapping[str, Any], form: str) -> str:
    """A weak tag: the same figures, whenever they were read."""
    lasting = {name: value for name, value in content.items() if name not in _PASSING}
    if isinstance(before := lasting.get("before"), dict):
        lasting["before"] = before.get("total")
    text = orjson.dumps([form, lasting], default=str, option=orjson.OPT_SORT_KEYS)
    return f'W/"{hashlib.sha256(text).hexdigest()[:32]}"'


def _known(if_none_match: str, tag: str) -> bool:
    asked = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in asked or tag.removeprefix("W/") in asked
