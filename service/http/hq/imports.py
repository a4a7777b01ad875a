"""Importing: a file is looked at first, and written only once somebody has seen what it would do.

Between the two the file stays in the page, packed into the form that confirms it: no worker keeps
anything, so any of them may answer.
"""

import base64
import binascii
import io
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Response, UploadFile

from service import errors
from service.http import context
from service.http import imports as imports_api
from service.http import orders as orders_api
from service.http import placements as placements_api
from service.http import stores as stores_api
from service.http.hq import jobs
from service.http.hq.changes import change_in_words
from service.http.hq.desk import Desk, DeskDep, HqRoute, values_of
from service.web import hq, hq_words, reason_words
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

KINDS = ("stores", "codes", "placements", "orders")
_DATUMS = ("", "gcj02", "wgs84", "bd09")
_SHOWN = 100  # of changes and of refusals
_FORM_BYTES = 200_000  # of a form, besides the file

_CHANGES = (
    Column(key="subject", sorts=False),
    Column(key="what", kind="state", sorts=False, label="col.status"),
    Column(key="changes", sorts=False),
)
_REJECTED = (
    Column(key="row", kind="number", sorts=False),
    Column(key="field", sorts=False),
    Column(key="detail", sorts=False),
)

Run = Callable[[Desk, UploadFile, Mapping[str, str], bool], Awaitable[dict[str, Any]]]


async def _stores(
    desk: Desk, file: UploadFile, values: Mapping[str, str], dry_run: bool
) -> dict[str, Any]:
    datum = values.get("datum") or None
    return await stores_api.import_stores(desk.service, desk.caller, file, datum, dry_run)


async def _codes(
    desk: Desk, file: UploadFile, values: Mapping[str, str], dry_run: bool
) -> dict[str, Any]:
    return await imports_api.imported(
        desk.service, desk.caller, file.file, file.filename, dry_run=dry_run
    )


async def _placements(
    desk: Desk, file: UploadFile, values: Mapping[str, str], dry_run: bool
) -> dict[str, Any]:
    entry = values.get("entry", "")
    if entry not in desk.chain.entries:
        raise errors.BadInput.of("entry", f"there is no entry {entry}")
    return await placements_api.import_placements(entry, desk.service, desk.caller, file, dry_run)


async def _orders(
    desk: Desk, file: UploadFile, values: Mapping[str, str], dry_run: bool
) -> dict[str, Any]:
    return await orders_api.import_orders(desk.service, desk.caller, file, dry_run)


_RUN: dict[str, Run] = {
    "stores": _stores,
    "codes": _codes,
    "placements": _placements,
    "orders": _orders,
}
_OPTIONS = ("datum", "entry")


@router.get("/hq/import")
async def choose(desk: DeskDep) -> Response:
    return _choose(desk, latest=(await jobs.latest(desk)).rows if desk.may_change else [])


def _choose(
    desk: Desk,
    kind: str = "",
    said: hq.Said | None = None,
    latest: Sequence[Mapping[str, Any]] = (),
) -> Response:
    if not desk.may_change:
        raise errors.NotAllowed("This needs an hq key")
    return desk.html(
        "import.html",
        "import",
        status=422 if said else 200,
        kinds=KINDS,
        kind=kind or desk.asked("kind"),
        said=_said(desk, said),
        datums=[(each, desk.say(f"datum.{each or 'said'}")) for each in _DATUMS],
        entries=sorted((e.entry, e.name) for e in desk.chain.entries.values()),
        latest=latest,
        most_mb=desk.service.settings.max_upload_mb,
    )


@router.post("/hq/import/{kind}")
async def preview(kind: str, desk: DeskDep) -> Response:
    """What the file would do; nothing is written."""
    if kind not in KINDS:
        raise errors.NotFound("There is no such import")
    async with desk.sent(files=1) as form:
        values, upload = values_of(form), form.get("file")
        if upload is None or isinstance(upload, str) or not upload.filename:
            missing = errors.BadInput.of("file", desk.say("import.empty"))
            return _choose(desk, kind, desk.said(missing, values))
        try:
            data = await context.read_upload(upload, "file", desk.service.settings)
        except (errors.BadInput, errors.TooLarge) as error:
            return _choose(desk, kind, _refusal(error))
        name = upload.filename[:200]
    try:
        found = await _RUN[kind](desk, _file(data, name), values, True)
    except (errors.BadInput, errors.Conflict) as error:
        return _choose(desk, kind, desk.said(error, values))
    packed = base64.b64encode(zlib.compress(data, 6)).decode()
    limit = desk.service.settings.max_upload_mb * 1_000_000
    fits = not limit or len(packed) + _FORM_BYTES < limit + 1_000_000
    created, updated = found["created"], found.get("updated", 0)
    return desk.html(
        "preview.html",
        "import",
        kind=kind,
        name=name,
        found=found,
        options={option: values[option] for option in _OPTIONS if values.get(option)},
        packed=packed if fits else "",
        writes=created + updated,
        changes=_changes(desk, found.get("changes", [])),
        rejected=_told(desk, "rejected", found["rejected"]),
        doubts=_told(desk, "doubts", found.get("warnings", [])),
    )


@router.post("/hq/import/{kind}/confirm")
async def confirm(kind: str, desk: DeskDep) -> Response:
    """Write what was looked at."""
    if kind not in KINDS:
        raise errors.NotFound("There is no such import")
    limit = int(desk.service.settings.max_upload_mb * 1_000_000) + 1_000_000
    async with desk.sent(most_bytes=limit) as form:
        values = values_of(form)
    try:
        data = _unpacked(values.pop("packed", ""), limit)
    except (binascii.Error, zlib.error, ValueError):
        stale = errors.BadInput.of("file", desk.say("import.stale"))
        return _choose(desk, kind, desk.said(stale, values))
    try:
        done = await _RUN[kind](desk, _file(data, values.get("name", "")), values, False)
    except (errors.BadInput, errors.Conflict) as error:
        return _choose(desk, kind, desk.said(error, values))
    return desk.html(
        "imported.html",
        "import",
        kind=kind,
        found=done,
        rejected=_told(desk, "rejected", done["rejected"]),
    )


def _unpacked(packed: str, limit: int) -> bytes:
    """Raises `ValueError` for what is none of ours, or would grow beyond an upload's limit."""
    zipped = base64.b64decode(packed, validate=True)
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(zipped, limit)
    if not data or not unpacking.eof:
        raise ValueError("not what was packed")
    return data


def _file(data: bytes, name: str) -> UploadFile:
    return UploadFile(io.BytesIO(data), filename=name)


def _refusal(error: errors.NearcodeError) -> hq.Said:
    return hq.Said(errors=[("file", error.detail)])


def _said(desk: Desk, said: hq.Said | None) -> hq.Said | None:
    """With its reasons in the page's language."""
    if said is None:
        return None
    told = [(field, reason_words.worded(desk.lang, detail)) for field, detail in said.errors]
    return hq.Said(errors=told, values=said.values)


def _changes(desk: Desk, changes: list[dict[str, Any]]) -> hq.Table:
    rows = [
        {
            "subject": change["subject"],
            "what": "new" if change["before"] is None else "changed",
            "changes": change_in_words(desk, change["before"] or {}, change["after"]),
        }
        for change in changes[:_SHOWN]
    ]
    return _table("changes", _CHANGES, rows, len(changes))


def _told(desk: Desk, name: str, rows: list[dict[str, Any]]) -> hq.Table:
    return _table(name, _REJECTED, [_worded(desk, row) for row in rows[:_SHOWN]], len(rows))


def _worded(desk: Desk, row: dict[str, Any]) -> dict[str, Any]:
    """With the field and the reason in the page's language; of a picture, after its name."""
    file = f"{row['file']}: " if row.get("file") else ""
    detail = reason_words.worded(desk.lang, row["detail"].removeprefix(file))
    field = f"field.{row['field']}"
    named = desk.say(field) if field in hq_words.KEYS else row["field"]
    return {**row, "field": named, "detail": file + detail}


def _table(name: str, columns: Any, rows: list[dict[str, Any]], total: int) -> hq.Table:
    return hq.Table(
        name=name, columns=columns, rows=rows, total=total, query=hq.Query("/hq/import", {})
    )
