"""Placements in bulk: a table in, a ZIP of codes to print out. One by one: entries.py."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Query, UploadFile
from fastapi.responses import StreamingResponse

from service import catalog, errors, importing, printrun, qr
from service.http import answers, context
from service.http.context import Hq, Json, Reader, ServiceDep

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["entries"],
    dependencies=[Depends(context.storable)],
)

# ZIPs that one worker makes at once: each has a process that draws.
_AT_ONCE = 2
_making = 0


@router.post("/entries/{entry}/placements/import")
async def import_placements(
    entry: str,
    service: ServiceDep,
    caller: Hq,
    file: Annotated[UploadFile, File()],
    dry_run: bool = False,
) -> dict[str, Any]:
    """Placements from CSV or XLSX. A rejected row keeps no other out; what a row leaves out stays
    as it is."""
    data = await context.read_upload(file, "file", service.settings)
    parsed = await asyncio.to_thread(
        lambda: importing.placements(answers.table(data, file.filename))
    )
    async with service.connection() as connection:
        done = await catalog.import_placements(
            connection,
            caller.chain_id,
            entry,
            parsed.rows,
            rejected=parsed.rejected,
            dry_run=dry_run,
        )
    await service.refresh()
    return {
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "rejected": [answers.told(rejection) for rejection in done.rejected],
        **({"changes": answers.changes(done)} if dry_run else {}),
    }


@router.get("/entries/{entry}/qr.zip", response_class=StreamingResponse)
async def placement_codes(
    entry: str,
    service: ServiceDep,
    caller: Reader,
    form: Annotated[Literal["svg", "png", "pdf"], Query(alias="format")] = "svg",
    channel: Annotated[str | None, Query(max_length=64)] = None,
    size: Annotated[int, Query(ge=100, le=4000, description="pixels of a PNG's side")] = 1200,
) -> StreamingResponse:
    """The codes of all placements, or of one channel's, to print: a ZIP of files named by
    placement, and a table of them."""
    found = await context.own_entry(service, caller, entry)
    pieces = printrun.pieces(found, service.settings.public_url, channel)
    if not pieces:
        of_channel = f" of the channel {channel}" if channel else ""
        raise errors.NotFound(f"The entry {entry} has no placements{of_channel}")
    drawing = printrun.Drawing(form, size)
    try:
        await asyncio.to_thread(drawing.check, pieces)
    except qr.QrError as error:
        raise errors.BadInput.of("size", str(error)) from error
    if _making >= _AT_ONCE:
        raise errors.Unavailable("Other ZIPs are being made: try again", retry_after_s=30)
    return StreamingResponse(
        _counted(printrun.streamed(pieces, drawing)),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{entry}-codes.zip"'},
    )


async def _counted(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    global _making
    _making += 1
    try:
        async for part in parts:
            yield part
    finally:
        _making -= 1
