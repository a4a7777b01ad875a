"""The console's style and scripts, kept by browsers for as long as they like."""

import asyncio

from fastapi import APIRouter, Request, Response

from service import errors
from service.http.console_pages import PageRoute
from service.web import assets

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_FOREVER = "public, max-age=31536000, immutable"


@router.get("/hq/assets/{name}")
async def asset(name: str, request: Request) -> Response:
    found = await asyncio.to_thread(assets.find, name)
    if found is None:
        raise errors.NotFound("There is no such file")
    headers = {
        "Cache-Control": _FOREVER,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    encodings = request.headers.get("accept-encoding", "")
    if "gzip" in {part.split(";")[0].strip() for part in encodings.split(",")}:
        headers["Content-Encoding"] = "gzip"
        return Response(found.zipped, headers=headers, media_type=found.media)
    return Response(found.plain, headers=headers, media_type=found.media)
