"""A manager's one code: its own page, and the forms on it."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service import catalog, complaints, directory, errors, moments
from service.domain import CodeStatus
from service.http import images, manager_pages
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.http.manager_pages import Refusal, Sent, Visit
from service.web import manager, manager_words

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MOST_LABEL = 60


@router.get("/m/codes")
async def no_code() -> Response:
    """Where a form was sent, typed or reloaded as an address."""
    return RedirectResponse("/m", 303)


@router.get("/m/codes/{code_id}")
async def code(
    code_id: str, request: Request, service: ServiceDep, done: str | None = None
) -> Response:
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    said = visit.say(f"done.{done}") if f"done.{done}" in manager_words.KEYS else None
    page = await page_of(visit, code_id, said)
    return manager_pages.html(manager.code(visit.frame, page), visit.frame)


@router.get("/m/codes/{code_id}/retire")
async def ask_to_retire(code_id: str, request: Request, service: ServiceDep) -> Response:
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    page = await page_of(visit, code_id)
    return manager_pages.html(manager.retire(visit.frame, page), visit.frame)


@router.get("/m/codes/{code_id}/{form}")
async def code_again(code_id: uuid.UUID, form: str) -> Response:
    return RedirectResponse(f"/m/codes/{code_id}", 303)


async def page_of(
    visit: Visit, code_id: str, said: str | None = None, refused: manager.Notice | None = None
) -> manager.CodePage:
    """Raises `errors.NotFound` outside the caller's stores."""
    async with visit.service.connection() as connection:
        row = await manager_pages.own_code(connection, visit.caller, code_id)
        shop = await catalog.get_store(connection, visit.caller.chain_id, row["store"])
        rows = await catalog.codes_of_store(connection, visit.caller.chain_id, row["store"])
        order = [each["code_id"] for each in rows]
        heard = await complaints.of_codes(connection, visit.caller.chain_id, [row["code_id"]])
    found = directory.code_of(row)
    notice = refused
    if said is not None:
        notice = manager.Notice(text=said, store=row["store"], code_id=code_id)
    return manager.CodePage(
        store=row["store"],
        store_name=shop["name"],
        code=found,
        nth=order.index(found.code_id) + 1,
        count=len(order),
        image=images.image_url(found),
        said=heard.get(found.code_id),
        expires=clock(found.expires_at, visit),
        notice=notice,
        max_upload_mb=visit.service.settings.max_upload_mb,
    )


def clock(at: datetime | None, visit: Visit) -> str:
    """A time as the field of a form has it: to the minute, in the chain's time zone."""
    return "" if at is None else at.astimezone(visit.frame.timezone).strftime("%Y-%m-%dT%H:%M")


def expiry(sent: Sent, before: datetime | None = None) -> datetime | None:
    """When a form says that a code expires. What it was `before` may stay, however long ago.

    Raises `errors.BadInput`.
    """
    text = sent.text("expires_at")
    if before is not None and text == clock(before, sent.visit):
        return before
    found = moments.instant(text, "expires_at", sent.visit.frame.timezone)
    if found is not None and found <= sent.visit.frame.now + timedelta(minutes=1):
        raise errors.BadInput.of("expires_at", "must be a time to come")
    return found


def label(sent: Sent) -> str | None:
    """Raises `errors.BadInput`."""
    text = " ".join(sent.text("label").split())
    if len(text) > _MOST_LABEL or not text.isprintable():
        raise errors.BadInput.of("label", f"at most {_MOST_LABEL} characters")
    return text or None


# ---------------------------------------------------------------- forms


@router.post("/m/codes/{code_id}/count")
async def count(code_id: str, request: Request, service: ServiceDep) -> Response:
    """How many are in the group now."""

    async def work(sent: Sent) -> str:
        async with service.connection() as connection:
            row = await manager_pages.own_code(connection, sent.caller, code_id)
            await _change(connection, sent, row, {"members": sent.number("members")})
        return f"/m/codes/{row['code_id']}?done=counted"

    return await manager_pages.answer(request, service, work, _refused(code_id, "count"))


@router.post("/m/codes/{code_id}/status")
async def status(code_id: str, request: Request, service: ServiceDep) -> Response:
    """Pause or resume."""

    async def work(sent: Sent) -> str:
        wanted = sent.text("status")
        if wanted not in (CodeStatus.ACTIVE.value, CodeStatus.PAUSED.value):
            raise errors.BadInput.of("status", "must be active or paused")
        async with service.connection() as connection:
            row = await manager_pages.own_code(connection, sent.caller, code_id)
            await _change(connection, sent, row, {"status": wanted})
        return f"/m/codes/{row['code_id']}?done={wanted}"

    return await manager_pages.answer(request, service, work)


@router.post("/m/codes/{code_id}/move")
async def move(code_id: str, request: Request, service: ServiceDep) -> Response:
    """Up or down in the store's order."""

    async def work(sent: Sent) -> str:
        places = {"up": -1, "down": 1}.get(sent.text("move"))
        if places is None:
            raise errors.BadInput.of("move", "must be up or down")
        async with service.connection() as connection:
            row = await manager_pages.own_code(connection, sent.caller, code_id)
            await catalog.move_code(
                connection, sent.caller.chain_id, row["code_id"], places, service.settings
            )
        return f"/m/codes/{row['code_id']}?done=moved"

    return await manager_pages.answer(request, service, work)


@router.post("/m/codes/{code_id}/edit")
async def edit(code_id: str, request: Request, service: ServiceDep) -> Response:
    """Name, capacity and expiry."""

    async def work(sent: Sent) -> str:
        async with service.connection() as connection:
            row = await manager_pages.own_code(connection, sent.caller, code_id)
            change: dict[str, Any] = {
                "label": label(sent),
                "capacity": sent.number("capacity"),
                "expires_at": expiry(sent, row["expires_at"]),
            }
            await _change(connection, sent, row, change)
        return f"/m/codes/{row['code_id']}?done=edited"

    return await manager_pages.answer(request, service, work, _refused(code_id, "edit"))


@router.post("/m/codes/{code_id}/retire")
async def retire(code_id: str, request: Request, service: ServiceDep) -> Response:
    """Out of use, for good."""

    async def work(sent: Sent) -> str:
        async with service.connection() as connection:
            row = await manager_pages.own_code(connection, sent.caller, code_id)
            await _change(connection, sent, row, {"status": CodeStatus.RETIRED.value})
        return manager_pages.store_url(sent.caller, row["store"], "retired")

    return await manager_pages.answer(request, service, work)


async def _change(connection: Any, sent: Sent, row: Any, change: dict[str, Any]) -> None:
    # What it is, it may stay, even if newer rules allow less.
    change = {name: value for name, value in change.items() if name == "members"
              or value != row[name]}  # fmt: skip
    if change:
        await catalog.change_code(
            connection,
            sent.caller.chain_id,
            row["code_id"],
            change,
            sent.service.settings,
            scope=sent.caller.scope,
        )


def _refused(code_id: str, form: str) -> Refusal:
    async def page(sent: Sent, text: str, error: errors.NearcodeError) -> Response:
        said = manager.Notice(
            text=text, store="", code_id=code_id, refused=True, form=form, values=sent.values
        )
        shown = await page_of(sent.visit, code_id, refused=said)
        frame = sent.visit.frame
        return manager_pages.html(manager.code(frame, shown), frame, status=error.status)

    return page
