"""Pictures of codes: group codes for visitors, entry codes to print."""

import asyncio
import hashlib
from typing import Annotated

from fastapi import APIRouter, File, Query, Request, Response, UploadFile

from service import errors, printing, qr
from service.domain import Code, Entry
from service.http import context
from service.http.context import Reader, ServiceDep
from service.runtime import Service

router = APIRouter(tags=["images"])

_MEDIA = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
_PHONE_PX = 720  # three pixels of a phone's screen for each of 240 CSS pixels


@router.get("/c/{code_id}.{form}")
async def group_code(
    code_id: str, form: str, request: Request, service: ServiceDep, v: str | None = None
) -> Response:
    """A group code, re-drawn from its payload. With `v` (see `image_url`) it never changes."""
    code = service.directory.codes.get(context.parse_uuid(code_id, "code"))
    if code is None or form not in ("png", "svg"):
        raise errors.NotFound("There is no such code")
    fresh = v == version_of(code)
    etag = f'"{version_of(code)}-{form}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "public, max-age=31536000, immutable" if fresh else "public, max-age=60",
    }
    if _known(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    draw = qr.svg if form == "svg" else _png
    picture = await asyncio.to_thread(draw, code.payload, error_correction=qr.ErrorCorrection.M)
    return Response(picture, headers=headers, media_type=_MEDIA[form])


def _known(if_none_match: str, etag: str) -> bool:
    """Whether the client has this version (RFC 9110, 13.1.2): proxies may call it weak."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in tags or "*" in tags


def _png(payload: str, *, error_correction: qr.ErrorCorrection) -> bytes:
    return qr.png(payload, size_px=_PHONE_PX, error_correction=error_correction)


def version_of(code: Code) -> str:
    """Changes with the payload: a renewed code is another picture."""
    return hashlib.sha256(code.payload.encode()).hexdigest()[:12]


def image_url(code: Code) -> str:
    return f"/c/{code.code_id}.png?v={version_of(code)}"


@router.get("/api/v1/entries/{entry}/qr.{form}")
async def entry_code(
    entry: str,
    form: str,
    service: ServiceDep,
    caller: Reader,
    placement: Annotated[str | None, Query(max_length=64)] = None,
    size: Annotated[int, Query(ge=100, le=4000, description="pixels of a PNG's side")] = 1200,
) -> Response:
    """The unified code to print."""
    found = await context.own_entry(service, caller, entry)
    return await _entry_code(service, found, form, placement, size, None)


@router.post("/api/v1/entries/{entry}/qr.{form}")
async def entry_code_with_logo(
    entry: str,
    form: str,
    service: ServiceDep,
    caller: Reader,
    logo: Annotated[UploadFile, File()],
    placement: Annotated[str | None, Query(max_length=64)] = None,
    size: Annotated[int, Query(ge=100, le=4000, description="pixels of a PNG's side")] = 1200,
) -> Response:
    """The same with a logo in its middle."""
    found = await context.own_entry(service, caller, entry)
    sent = await context.read_upload(logo, "logo", service.settings)
    try:
        picture = await service.decoder.logo(sent)
    except qr.QrError as error:
        raise errors.BadInput.of("logo", str(error), error.word) from error
    return await _entry_code(service, found, form, placement, size, picture)


async def _entry_code(
    service: Service, entry: Entry, form: str, placement: str | None, size: int, logo: bytes | None
) -> Response:
    if form not in _MEDIA:
        raise errors.NotFound("png, svg or pdf")
    if placement and placement not in entry.placements:
        raise errors.NotFound(f"There is no placement {placement}")
    url = printing.entry_url(service.settings.public_url, entry.entry, placement)
    try:
        picture = await asyncio.to_thread(
            printing.draw, url, form, size=size, logo=logo, name=entry.name
        )
    except qr.QrError as error:
        raise errors.BadInput.of("logo" if logo else "size", str(error)) from error
    name = "-".join(part for part in (entry.entry, placement) if part)
    return Response(
        picture,
        media_type=_MEDIA[form],
        headers={"Content-Disposition": f'inline; filename="{name}.{form}"'},
    )
