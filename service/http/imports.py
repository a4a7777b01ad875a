"""Many codes at once: a table, or a ZIP of pictures named by store."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import UploadFile

from service import bulk, errors, importing, imports, pictures, tabular
from service.accounts import Caller
from service.domain import Role
from service.http import answers, context
from service.http.answers import Cursor, Limit
from service.http.context import Editor, Json, Reader, ServiceDep
from service.runtime import Service

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["codes"],
    dependencies=[Depends(context.storable)],
)

# By hand, and not as a parameter: a file so large is taken in only once it is known who sends it.
_TAKES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@router.post("/codes/import", openapi_extra=_TAKES)
async def import_codes(
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: Editor,
    dry_run: bool = False,
    wait: bool = True,
) -> dict[str, Any]:
    """Codes from a CSV or XLSX, or a ZIP of pictures named by store (SH001.png, SH001-2.jpg).

    With `wait=false` the answer is 202 and an import to ask for: `GET /api/v1/imports/{import_id}`.
    """
    async with request.form(max_files=1, max_fields=10) as form:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise errors.BadInput.of("file", "a CSV, an XLSX or a ZIP is needed")
        if wait:
            return await imported(service, caller, upload.file, upload.filename, dry_run=dry_run)
        import_id = await begin(service, caller, upload.file, upload.filename, dry_run=dry_run)
    response.status_code = 202
    response.headers["Location"] = f"/api/v1/imports/{import_id}"
    async with service.connection() as connection:
        return import_json(await imports.get(connection, caller.chain_id, import_id))


async def begin(
    service: Service, caller: Caller, file: BinaryIO, name: str | None, *, dry_run: bool
) -> uuid.UUID:
    """Begin an import that nobody waits for; its id. Raises `errors.BadInput`, `errors.TooLarge`,
    and `errors.Unavailable` while several are under way."""
    kept = await asyncio.to_thread(_kept, file)
    try:
        work = await _work(service, caller, kept, name, dry_run)

        async def to_the_end(progress: bulk.Progress) -> None:
            with kept:
                await work(progress)

        return await service.imports.start(
            caller.chain_id,
            caller.actor.actor_id,
            name or "",
            to_the_end,
            dry_run=dry_run,
        )
    except BaseException:
        kept.close()
        raise


async def imported(
    service: Service, caller: Caller, file: BinaryIO, name: str | None, *, dry_run: bool
) -> dict[str, Any]:
    """What has become of the codes in the file, when all is done. Raises `errors.BadInput`,
    `errors.TooLarge`."""
    progress = bulk.Progress(dry_run=dry_run)
    work = await _work(service, caller, file, name, dry_run)
    await work(progress)
    return imports.report_of(progress)


@router.get("/imports")
async def list_imports(
    service: ServiceDep, caller: Reader, cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """Imports that were not waited for, newest first; a manager sees their own."""
    after = context.after_cursor(cursor)
    async with service.connection() as connection:
        rows = await imports.latest(
            connection,
            caller.chain_id,
            actor_id=caller.actor.actor_id if caller.role is Role.MANAGER else None,
            after=None if after is None else context.parse_uuid(after, "import"),
            most=limit + 1,
        )
    return answers.page("imports", rows, limit, "import_id", import_json)


@router.get("/imports/{import_id}")
async def get_import(import_id: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    """How far an import has come; once it is done, with what became of each file or row."""
    async with service.connection() as connection:
        row = await imports.get(
            connection, caller.chain_id, context.parse_uuid(import_id, "import")
        )
    if caller.role is Role.MANAGER and row["actor_id"] != caller.actor.actor_id:
        raise errors.NotFound("There is no such import")
    return import_json(row) | {"report": row["report"] or None}


def import_json(row: asyncpg.Record) -> dict[str, Any]:
    """`total` is null until it is known; `detail` says why an import has failed."""
    told = (
        "import_id", "file", "dry_run", "state", "detail", "total", "done", "created",
        "unchanged", "rejected", "started_at", "ended_at",
    )  # fmt: skip
    return {name: row[name] for name in told}


def _kept(upload: BinaryIO) -> BinaryIO:
    """A copy that outlives the request."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115 (closed by who works on it)
    upload.seek(0)
    shutil.copyfileobj(upload, kept)
    kept.seek(0)
    return kept


async def _work(
    service: Service, caller: Caller, file: BinaryIO, name: str | None, dry_run: bool
) -> Callable[[bulk.Progress], Awaitable[None]]:
    """What is to be done with the file. Raises `errors.BadInput`, `errors.TooLarge`."""
    await service.refresh()  # stores that another worker has made a moment ago
    doing = bulk.Bulk(service.connection, caller.chain_id, service.settings, caller.scope, dry_run)
    if not await asyncio.to_thread(pictures.is_archive, file):
        data = await asyncio.to_thread(_table, file, service)
        timezone = answers.timezone(service, caller)
        parsed = await asyncio.to_thread(_codes_in, data, name, timezone)

        async def from_table(progress: bulk.Progress) -> None:
            await doing.table(parsed, progress)
            await service.refresh()

        return from_table
    known = service.directory.chains[caller.chain_id].stores.keys()
    stores = {store for store in known if caller.sees_store(store)}
    files = await asyncio.to_thread(pictures.in_zip, file)

    async def from_pictures(progress: bulk.Progress) -> None:
        await doing.pictures(service.decoder, files, stores, progress, changed=service.refresh)

    return from_pictures


def _table(file: BinaryIO, service: Service) -> bytes:
    limit = int(service.settings.max_upload_mb * 1_000_000) or tabular.FILE_MAX_BYTES
    data = file.read(limit + 1)
    if len(data) > limit:
        raise errors.TooLarge(f"file: a table may have {limit / 1_000_000:g} MB at most")
    if not data:
        raise errors.BadInput.of("file", "the file is empty")
    return data


def _codes_in(
    data: bytes, name: str | None, timezone: ZoneInfo
) -> importing.Parsed[importing.CodeRow]:
    return importing.codes(answers.table(data, name), tz=timezone)
