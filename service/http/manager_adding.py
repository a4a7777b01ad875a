"""A new code, or a new picture for one: taken, shown, confirmed.

The picture is sent once. What was read from it waits (`copies`) until what it would be has been
looked at and confirmed.
"""

import base64
import uuid
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import asyncpg
from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile

from service import catalog, copies, errors, qr
from service.catalog import Doubt, Preview
from service.domain import Role
from service.http import context, manager_codes, manager_pages
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.http.manager_pages import Sent, Visit
from service.web import console, manager

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/m/add")
async def add(
    request: Request, service: ServiceDep, store: str = "", code: str | None = None
) -> Response:
    """Where a picture is taken or chosen; `code` is the one to be renewed."""
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    return await _add_page(visit, store, code)


async def _add_page(
    visit: Visit, store: str, code: str | None, why: str | None = None, status: int = 200
) -> Response:
    async with visit.service.connection() as connection:
        shop, renewed = await _place(connection, visit, store, code)
    notice = None if why is None else manager.Notice(text=why, store=store, refused=True)
    page = manager.AddPage(
        store=shop["store"],
        store_name=shop["name"],
        code_id=code if renewed else None,
        name=await _name(visit, renewed),
        notice=notice,
        max_upload_mb=visit.service.settings.max_upload_mb,
    )
    return manager_pages.html(manager.add(visit.frame, page), visit.frame, status=status)


async def _place(
    connection: Any, visit: Visit, store: str, code: str | None
) -> tuple[asyncpg.Record, asyncpg.Record | None]:
    """The store, and the code that is renewed if one is. Raises `errors.NotFound`."""
    renewed = None
    if code:
        renewed = await manager_pages.own_code(connection, visit.caller, code)
        store = renewed["store"]
    return await manager_pages.own_store(connection, visit.caller, store), renewed


async def _name(visit: Visit, code: asyncpg.Record | None) -> str:
    if code is None:
        return ""
    page = await manager_codes.page_of(visit, str(code["code_id"]))
    return page.name(visit.frame.lang)


# ---------------------------------------------------------------- what it would be


@router.post("/m/preview")
async def read(request: Request, service: ServiceDep) -> Response:
    """Read the picture, and let it wait for a yes."""

    async def work(sent: Sent) -> str:
        async with service.connection() as connection:
            shop, renewed = await _place(
                connection, sent.visit, sent.text("store"), sent.text("code")
            )
        sent_picture = _sent_picture(sent.form)
        data = await context.read_upload(sent_picture, "image", service.settings)
        picture = await catalog.read_picture(service.decoder, data)
        async with service.connection() as connection:
            pending = await copies.put_aside(
                connection, sent.caller.chain_id, shop["store"], picture.payload, picture.copy
            )
        told = {"store": shop["store"], "pending": str(pending)}
        if renewed is not None:
            told["code"] = str(renewed["code_id"])
        return f"/m/preview?{urlencode(told)}"

    async def refused(sent: Sent, why: str, error: errors.NearcodeError) -> Response:
        store, code = sent.text("store"), sent.text("code") or None
        return await _add_page(sent.visit, store, code, why, error.status)

    return await manager_pages.answer(request, service, work, refused)


def _sent_picture(form: FormData) -> UploadFile:
    """The picture, by camera or from the album. Raises `errors.BadInput`."""
    for name in ("camera", "album", "image"):
        found = form.get(name)
        if found is not None and not isinstance(found, str) and found.filename:
            return found
    raise errors.BadInput.of("image", "a picture of the code is needed")


@router.get("/m/preview")
async def preview(
    request: Request,
    service: ServiceDep,
    store: str = "",
    pending: str = "",
    code: str | None = None,
) -> Response:
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    try:
        return await _preview_page(visit, store, pending, code)
    except _Waited:
        return await _add_page(visit, store, code, visit.say("error.waited"), 404)


class _Waited(errors.Conflict):
    """The picture has waited for too long."""


async def _pending(connection: Any, visit: Visit, store: str, pending: str) -> copies.Pending:
    """Raises `_Waited`."""
    try:
        pending_id = context.parse_uuid(pending, "picture")
        return await copies.pending(connection, visit.caller.chain_id, store, pending_id)
    except errors.NotFound as error:
        raise _Waited(error.detail) from error


async def _preview_page(
    visit: Visit,
    store: str,
    pending: str,
    code: str | None,
    refused: manager.Notice | None = None,
    status: int = 200,
) -> Response:
    """Raises `errors.NotFound`, `_Waited`."""
    service, caller = visit.service, visit.caller
    async with service.connection() as connection:
        shop, renewed = await _place(connection, visit, store, code)
        kept = await _pending(connection, visit, shop["store"], pending)
        found = await catalog.preview_code(
            connection,
            caller.chain_id,
            shop["store"],
            kept.payload,
            visit.frame.now,
            service.settings,
            renewing=None if renewed is None else renewed["code_id"],
            scope=caller.scope,
        )
        doubts = [await _doubt(connection, visit, found, doubt) for doubt in found.doubts]
    same = renewed is not None and renewed["payload"] == found.payload
    page = manager.PreviewPage(
        store=shop["store"],
        store_name=shop["name"],
        pending=pending,
        code_id=code if renewed else None,
        name=await _name(visit, renewed),
        kind=found.kind.value,
        image=_drawn(found.payload),
        expires_by_itself=found.expires_at is not None,
        same=same,
        doubts=doubts,
        refused=Doubt.IN_USE in found.doubts,
        found_url=f"/m/codes/{found.up_code_id}" if found.up_store and found.up_code_id else None,
        values=refused.values if refused else _values(visit, found, renewed, same=same),
        notice=refused,
    )
    return manager_pages.html(manager.preview(visit.frame, page), visit.frame, status=status)


def _values(
    visit: Visit, found: Preview, renewed: asyncpg.Record | None, *, same: bool
) -> dict[str, str]:
    """What the form offers: what stays of the code that is renewed, or the usual."""
    members, capacity = 0, found.capacity
    if renewed is not None:
        members = renewed["members"] if same else 0
        most = visit.service.settings.max_capacity
        if found.kind not in qr.GROUPS or renewed["capacity"] <= most:
            capacity = renewed["capacity"]
    return {
        "members": str(members),
        "capacity": str(capacity),
        "expires_at": manager_codes.clock(found.expires_at, visit),
        "label": "",
    }


def _drawn(payload: str) -> str:
    drawn = qr.svg(payload, error_correction=qr.ErrorCorrection.M)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"


async def _doubt(connection: Any, visit: Visit, found: Preview, doubt: Doubt) -> str:
    """A sentence for whoever confirms it. Places that they may not know of are not named."""
    if doubt is Doubt.PERSONAL:
        return visit.say("doubt.personal")
    if doubt is Doubt.IN_USE:
        if found.up_store is None and visit.caller.role is Role.MANAGER:
            return visit.say("doubt.in_use_elsewhere")
        name = await _store_name(connection, visit, found.up_store)
        return visit.say("doubt.in_use_here", store=name or found.up_at)
    at = _day(visit, found.used_until)
    if found.used_store is None:
        return visit.say("doubt.used_before", at=at)
    name = await _store_name(connection, visit, found.used_store)
    return visit.say("doubt.used_before_at", at=at, store=name)


async def _store_name(connection: Any, visit: Visit, store: str | None) -> str:
    if store is None:
        return ""
    try:
        shop = await catalog.get_store(connection, visit.caller.chain_id, store)
    except errors.NotFound:  # deleted since
        return store
    return str(shop["name"])


def _day(visit: Visit, at: datetime | None) -> str:
    frame = visit.frame
    return "" if at is None else console.moment(frame.lang, at, frame.timezone)


# ---------------------------------------------------------------- yes


@router.post("/m/codes")
async def create(request: Request, service: ServiceDep) -> Response:
    """Put up what was looked at, behind the store's other codes."""

    async def work(sent: Sent) -> str:
        async with service.connection() as connection, connection.transaction():
            shop, _ = await _place(connection, sent.visit, sent.text("store"), None)
            kept = await _settle(connection, sent, shop["store"])
            new = catalog.NewCode(
                shop["store"],
                kept.payload,
                catalog.kind_of(kept.payload),
                capacity=_capacity(sent),
                members=_members(sent),
                expires_at=manager_codes.expiry(sent),
                label=manager_codes.label(sent),
                picture=kept.copy,
            )
            row = await catalog.create_code(
                connection,
                sent.caller.chain_id,
                new,
                sent.visit.frame.now,
                service.settings,
                scope=sent.caller.scope,
            )
        return manager_pages.store_url(sent.caller, shop["store"], "added", row["code_id"])

    return await manager_pages.answer(request, service, work, _refused(None))


@router.post("/m/codes/{code_id}/renew")
async def renew(code_id: str, request: Request, service: ServiceDep) -> Response:
    """Put what was looked at in the code's place; who holds the old one is settled with."""

    async def work(sent: Sent) -> str:
        async with service.connection() as connection, connection.transaction():
            shop, renewed = await _place(connection, sent.visit, "", code_id)
            if renewed is None:
                raise errors.NotFound("There is no such code")
            found: uuid.UUID = renewed["code_id"]
            kept = await _settle(connection, sent, shop["store"])
            row = await catalog.renew_code(
                connection,
                sent.caller.chain_id,
                found,
                kept.payload,
                sent.visit.frame.now,
                service.settings,
                picture=kept.copy,
                scope=sent.caller.scope,
            )
            # Left empty, each is what a code of its kind usually has.
            wanted = {
                "capacity": _capacity(sent),
                "members": _members(sent),
                "expires_at": manager_codes.expiry(sent),
            }
            change = {
                name: value
                for name, value in wanted.items()
                if value is not None and value != row[name]
            }
            if change:
                await catalog.change_code(
                    connection,
                    sent.caller.chain_id,
                    found,
                    change,
                    service.settings,
                    scope=sent.caller.scope,
                )
        return f"/m/codes/{found}?done=renewed"

    return await manager_pages.answer(request, service, work, _refused(code_id))


async def _settle(connection: Any, sent: Sent, store: str) -> copies.Pending:
    """What was looked at; it waits no more. Raises `_Waited`."""
    kept = await _pending(connection, sent.visit, store, sent.text("pending"))
    await copies.settle(connection, sent.caller.chain_id, kept.pending_id)
    return kept


def _capacity(sent: Sent) -> int | None:
    return sent.number("capacity") if sent.text("capacity") else None


def _members(sent: Sent) -> int | None:
    return sent.number("members") if sent.text("members") else None


def _refused(code_id: str | None) -> manager_pages.Refusal:
    async def page(sent: Sent, why: str, error: errors.NearcodeError) -> Response:
        store = sent.text("store")
        if not isinstance(error, _Waited):
            empty = {"members": "", "capacity": "", "expires_at": "", "label": ""}
            notice = manager.Notice(
                text=why, store=store, refused=True, values=empty | dict(sent.values)
            )
            try:
                return await _preview_page(
                    sent.visit, store, sent.text("pending"), code_id, notice, error.status
                )
            except _Waited:
                pass
        return await _add_page(sent.visit, store, code_id, sent.visit.say("error.waited"), 409)

    return page
