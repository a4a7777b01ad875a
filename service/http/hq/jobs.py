"""Large imports of codes: they go on after the page is answered, which shows how far they have
come, and in the end what became of each file.
"""

from typing import Any

import asyncpg
from fastapi import APIRouter, Response

from service import errors, imports, lists
from service.bulk import Became
from service.http import context
from service.http import imports as api
from service.http.hq.desk import Desk, DeskDep, HqRoute, values_of
from service.web import hq, reason_words
from service.web.hq import Column

# A ZIP may be as large as the API takes it: the app knows these by their own limit.
large = APIRouter(include_in_schema=False, route_class=HqRoute)
router = APIRouter(include_in_schema=False, route_class=HqRoute)

_AGAIN_S = 2
_LINES = (
    Column(key="file", note="store"),
    Column(key="store", filed=True),
    Column(key="became", kind="state"),
    Column(key="detail"),
)


@large.post("/hq/import-large")
async def begin(desk: DeskDep) -> Response:
    """A ZIP or a table of codes; `dry_run` puts nothing up."""
    async with desk.sent(files=1) as form:
        values, upload = values_of(form), form.get("file")
        if upload is None or isinstance(upload, str) or not upload.filename:
            return _refused(desk, desk.say("import.empty"))
        try:
            import_id = await api.begin(
                desk.service,
                desk.caller,
                upload.file,
                upload.filename,
                dry_run=values.get("dry_run") == "yes",
            )
        except (errors.BadInput, errors.TooLarge, errors.Unavailable) as error:
            told = error.errors[0].detail if isinstance(error, errors.BadInput) else error.detail
            return _refused(desk, reason_words.worded(desk.lang, told))
    return desk.on(f"/hq/import-large/{import_id}")


def _refused(desk: Desk, detail: str) -> Response:
    said = hq.Said(errors=[("file", detail)])
    return desk.html("import-job.html", "import", status=422, said=said, job=None, again_s=0)


@router.get("/hq/import-large/{import_id}")
@router.get("/hq/import-large/{import_id}.{form}")
async def show(import_id: str, desk: DeskDep, form: str = "") -> Response:
    """How far it has come; the page asks again by itself until it has ended. As a file: what became
    of each."""
    if not desk.may_change:
        raise errors.NotAllowed("This needs an hq key")
    async with desk.service.connection() as connection:
        row = await imports.get(
            connection, desk.caller.chain_id, context.parse_uuid(import_id, "import")
        )
    refused = desk.asked("became") == Became.REJECTED.value
    table = desk.whole(
        "lines",
        _LINES,
        [line for line in _lines(desk, row) if not refused or line["became"] == Became.REJECTED],
        form,
        searched=("file", "store", "detail"),
        keep={"became": Became.REJECTED.value if refused else ""},
    )
    if form:
        return await desk.download(table, form)
    return desk.html(
        "import-job.html",
        "import",
        said=None,
        job=dict(row),
        detail=reason_words.worded(desk.lang, row["detail"] or ""),
        again_s=_AGAIN_S if row["state"] == "running" else 0,
        table=table,
        choices=[
            (
                "became",
                desk.say("import.all_lines"),
                [(Became.REJECTED.value, desk.say("became.rejected"))],
            )
        ],
    )


def _lines(desk: Desk, row: asyncpg.Record) -> list[dict[str, Any]]:
    """By file; of a table only what was refused has a line, by its row."""
    report = row["report"] or {}
    lines = report.get("files") or [
        {
            "file": desk.say("import.row", row=line["row"]),
            "store": None,
            "became": Became.REJECTED.value,
            "detail": line["detail"],
        }
        for line in report.get("rejected", [])
    ]
    return [
        {**line, "detail": reason_words.worded(desk.lang, line.get("detail", ""))} for line in lines
    ]


async def latest(desk: Desk) -> lists.Found:
    """The last large imports of the chain."""
    async with desk.service.connection() as connection:
        rows = await imports.latest(connection, desk.caller.chain_id, most=5)
    return lists.Found([dict(row) for row in rows], len(rows))
