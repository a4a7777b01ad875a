"""A shop's own poster to print, for its manager and for HQ."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from service import posters
from service.http import answers, context
from service.http.context import Editor, ServiceDep
from service.web import render
from service.web.poster import Paper

router = APIRouter(prefix="/api/v1", tags=["posters"], dependencies=[Depends(context.storable)])


@router.get("/stores/{store}/poster.pdf", response_class=Response)
async def poster(
    store: str,
    request: Request,
    service: ServiceDep,
    caller: Editor,
    entry: Annotated[str | None, Query(max_length=64)] = None,
    paper: Paper = Paper.A4,
    lang: Literal["zh", "en"] | None = None,
) -> Response:
    """The chain's unified code on a page for this shop, with a placement of its own, which is made
    when it is first asked for. `entry` may be left out where one alone leads to the store; `lang`
    is what `Accept-Language` prefers."""
    answers.within(caller, store)
    await service.refresh()  # an entry or a name that was changed a moment ago, elsewhere
    async with service.connection() as connection:
        wanted = await posters.of_store(
            connection,
            service.directory,
            caller.chain_id,
            store,
            entry=entry,
            public_url=service.settings.public_url,
        )
    await service.refresh()
    said = lang or render.language(request.headers.get("accept-language"))
    page = await asyncio.to_thread(posters.drawn, wanted, paper, said)
    headers = {"Content-Disposition": posters.disposition(store, paper, said)}
    return Response(page, media_type="application/pdf", headers=headers)
