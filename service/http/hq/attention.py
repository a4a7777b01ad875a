"""What needs somebody's attention: every open warning, the gravest first."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from service import warnings
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.web import hq, warning_words
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

COLUMNS = (
    Column(key="severity", kind="state"),
    Column(key="name", link="url", note="note", label="col.store_name"),
    Column(key="store", filed=True),
    Column(key="city", filed=True),
    Column(key="sentence", sorts=False),
    Column(key="advice", sorts=False, wide=True),
    Column(key="raised_at", kind="moment", wide=True),
)
_MOST = 5000


@router.get("/hq/warnings")
@router.get("/hq/warnings.{form}")
async def page(desk: DeskDep, form: str = "") -> Response:
    kind = desk.asked("kind")
    async with desk.service.connection() as connection:
        rows = await warnings.open_for(connection, desk.caller.chain_id, None, most=_MOST)
    told_rows = [told(desk, row) for row in rows if kind in ("", row["kind"])]
    kinds = sorted({row["kind"] for row in rows})
    table = desk.whole(
        "warnings",
        COLUMNS,
        told_rows,
        form,
        searched=("name", "store", "city", "sentence"),
        keep={"kind": kind},
    )
    if form:
        return await desk.download(table, form)
    choices = [(each, warning_words.say(desk.lang, f"kind.{each}")) for each in kinds]
    return desk.html(
        "warnings.html",
        "warnings",
        table=table,
        choices=[("kind", desk.say("col.kind"), choices)],
    )


def told(desk: Desk, row: Mapping[str, Any]) -> dict[str, Any]:
    """A warning with its words, and where it is mended."""
    kind = warnings.Kind(row["kind"])
    url = ""
    if row["code_id"]:
        url = hq.Query("/hq/code", {})(code=row["code_id"])
    elif row["store"]:
        url = figures.store_url(row["store"])
    return {
        "kind": kind.value,
        "severity": kind.severity.value,
        "store": row["store"] or "",
        "name": row["store_name"] or row["label"] or "–",
        "city": row["city"] or "",
        "note": " · ".join(filter(None, (row["store"], row["city"]))),
        "url": url,
        "sentence": warning_words.sentence(desk.lang, row, desk.timezone),
        "advice": warning_words.advice(desk.lang, row),
        "raised_at": row["raised_at"],
    }
