"""A manager's stores and their codes (`/m`); HQ's as well, to search and to edit.

A form is answered by the page that it came from: with a redirect once it is done, else at once
with what is wrong.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import asyncpg
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from service import catalog, directory, errors, qr
from service.accounts import Caller
from service.domain import CodeStatus, Role, StoreStatus
from service.http import console_pages, context, images, sessions
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.runtime import Service
from service.web import console, manager, manager_words

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_STORES = 20  # on one page


# ---------------------------------------------------------------- the page


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a form belongs: a store, or one of its codes."""

    store: str
    code: asyncpg.Record | None = None

    @property
    def code_id(self) -> uuid.UUID | None:
        return None if self.code is None else self.code["code_id"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a form: a key of the words, and the code that it was about."""

    place: _Place
    done: str | None = None
    code_id: uuid.UUID | None = None
    refused: errors.NearcodeError | None = None
    values: Mapping[str, str] | None = None


@router.get("/m")
async def stores(
    request: Request,
    service: ServiceDep,
    q: Annotated[str, Query()] = "",
    cursor: str | None = None,
    store: str | None = None,
    at: str | None = None,
    code: str | None = None,
    done: str | None = None,
) -> Response:
    """The stores with their codes. `store` shows that one alone; `at`, `code` and `done` say what
    a form has just brought about, and where."""
    caller = await sessions.caller(request, service)
    if caller is None:
        return console_pages.door(request, "m")
    if caller.role is Role.READ:
        return RedirectResponse("/hq", 303)
    frame = console_pages.frame_of(request, "m", service, caller)
    where = store or at
    notice = None
    if where and done and f"done.{done}" in manager_words.KEYS:
        text = manager_words.say(frame.lang, f"done.{done}")
        notice = manager.Notice(text=text, store=where, code_id=code)
    page = await _stores_page(service, caller, q=q, cursor=cursor, store=store, notice=notice)
    return console_pages.html(manager.stores(frame, page), frame)


@router.get("/m/{rest:path}")
async def stores_again(rest: str) -> Response:
    """Where a form was sent, typed or reloaded as an address."""
    return RedirectResponse("/m", 303)


async def _stores_page(
    service: Service,
    caller: Caller,
    *,
    q: str = "",
    cursor: str | None = None,
    store: str | None = None,
    notice: manager.Notice | None = None,
) -> manager.StoresPage:
    """Raises `errors.NotFound` for a store that the caller may not see."""
    q = q.strip()[:100]
    async with service.connection() as connection:
        if store is not None:
            rows = [await _own_store(connection, caller, store)]
        else:
            rows = await catalog.find_stores(
                connection,
                caller.chain_id,
                scope=caller.scope,
                q=q or None,
                after=context.after_cursor(cursor or None),
                most=_STORES + 1,
            )
        shown = rows[:_STORES]
        cards = [await _store_card(connection, caller, row) for row in shown]
    next_url = None
    if len(rows) > _STORES:
        after = context.cursor(shown[-1]["store"])
        next_url = f"/m?{urlencode({'q': q, 'cursor': after})}"
    return manager.StoresPage(
        stores=cards,
        mine=caller.role is Role.MANAGER,
        may_change=caller.role is not Role.READ,
        q=q if _many(caller) else None,
        single=store is not None and _many(caller),
        next_url=next_url,
        later=bool(cursor),
        notice=notice,
        max_upload_mb=service.settings.max_upload_mb,
        default_capacity=service.settings.default_capacity,
    )


async def _store_card(connection: Any, caller: Caller, row: asyncpg.Record) -> manager.StoreCard:
    codes = [
        directory.code_of(code)
        for code in await catalog.codes_of_store(connection, caller.chain_id, row["store"])
    ]
    return manager.StoreCard(
        store=row["store"],
        name=row["name"],
        where=" · ".join(filter(None, (row["store"], row["city"], row["address"]))),
        closed=row["status"] != StoreStatus.OPEN.value,
        codes=codes,
        images={str(code.code_id): images.image_url(code) for code in codes},
    )


def _many(caller: Caller) -> bool:
    """Whether the caller's stores may not all stand on one page."""
    return caller.role is not Role.MANAGER or len(caller.stores) > _STORES


async def _own_store(connection: Any, caller: Caller, store: str) -> asyncpg.Record:
    if not caller.sees_store(store):
        raise errors.NotFound(f"There is no store {store}")
    return await catalog.get_store(connection, caller.chain_id, store)


# ---------------------------------------------------------------- what is changed


@router.post("/m/codes")
async def add_code(request: Request, service: ServiceDep) -> Response:
    """A new code, behind the store's others."""

    async def place(connection: Any, caller: Caller, form: FormData) -> _Place:
        row = await _own_store(connection, caller, console_pages.text_of(form, "store"))
        return _Place(row["store"])

    async def work(caller: Caller, at: _Place, form: FormData) -> _Outcome:
        capacity = _number(form, "capacity")
        payload = await _payload(form, service)
        new = catalog.NewCode(at.store, payload, catalog.kind_of(payload), capacity)
        async with service.connection() as connection:
            row = await catalog.create_code(
                connection,
                caller.chain_id,
                new,
                datetime.now(UTC),
                service.settings,
                scope=caller.scope,
            )
        return _Outcome(at, "added", row["code_id"])

    return await _change(request, service, place, work)


@router.post("/m/codes/{code_id}/count")
async def count(code_id: str, request: Request, service: ServiceDep) -> Response:
    """The head count, and how many there may be."""

    async def work(caller: Caller, at: _Place, form: FormData) -> _Outcome:
        members = _number(form, "members", needed=True)
        capacity = _number(form, "capacity", needed=True)
        change = {"members": members, "capacity": capacity}
        if at.code is not None and capacity == at.code["capacity"]:
            # What it is, it may stay, even if newer rules allow less.
            del change["capacity"]
        await _change_code(service, caller, at, change)
        return _Outcome(at, "counted", at.code_id)

    return await _change(request, service, _place_of(code_id), work)


@router.post("/m/codes/{code_id}/status")
async def status(code_id: str, request: Request, service: ServiceDep) -> Response:
    """Pause or resume."""

    async def work(caller: Caller, at: _Place, form: FormData) -> _Outcome:
        wanted = console_pages.text_of(form, "status")
        if wanted not in (CodeStatus.ACTIVE.value, CodeStatus.PAUSED.value):
            raise errors.BadInput.of("status", "must be active or paused")
        if at.code is None or at.code["status"] == CodeStatus.RETIRED.value:
            raise errors.NotFound("There is no such code")
        await _change_code(service, caller, at, {"status": wanted})
        return _Outcome(at, wanted, at.code_id)

    return await _change(request, service, _place_of(code_id), work)


@router.post("/m/codes/{code_id}/image")
async def renew(code_id: str, request: Request, service: ServiceDep) -> Response:
    """A new picture in the code's place."""

    async def work(caller: Caller, at: _Place, form: FormData) -> _Outcome:
        payload = await _payload(form, service)
        if at.code_id is None:
            raise errors.NotFound("There is no such code")
        async with service.connection() as connection:
            await catalog.renew_code(
                connection,
                caller.chain_id,
                at.code_id,
                payload,
                datetime.now(UTC),
                service.settings,
            )
        return _Outcome(at, "renewed", at.code_id)

    return await _change(request, service, _place_of(code_id), work)


async def _change_code(
    service: Service, caller: Caller, at: _Place, change: dict[str, Any]
) -> None:
    if at.code_id is None:
        raise errors.NotFound("There is no such code")
    async with service.connection() as connection:
        await catalog.change_code(
            connection,
            caller.chain_id,
            at.code_id,
            change,
            service.settings,
            scope=caller.scope,
        )


def _place_of(code_id: str) -> Callable[[Any, Caller, FormData], Awaitable[_Place]]:
    """The code's place. Raises `errors.NotFound` outside the caller's stores."""

    async def place(connection: Any, caller: Caller, form: FormData) -> _Place:
        row = await catalog.get_code(
            connection, caller.chain_id, context.parse_uuid(code_id, "code")
        )
        if row["store"] is None or row["status"] == CodeStatus.RETIRED.value:
            raise errors.NotFound("There is no such code")
        await _own_store(connection, caller, row["store"])
        return _Place(row["store"], row)

    return place


async def _change(
    request: Request,
    service: Service,
    find: Callable[[Any, Caller, FormData], Awaitable[_Place]],
    work: Callable[[Caller, _Place, FormData], Awaitable[_Outcome]],
) -> Response:
    """Check the session and the form's token, do the work, and answer with the page."""
    caller = await sessions.caller(request, service)
    if caller is None:
        raise errors.NotSignedIn("There is no session")
    async with request.form(max_files=1, max_fields=10) as form:
        console_pages.check_token(request, service, form)
        if caller.role is Role.READ:
            raise errors.NotAllowed("A read key changes nothing")
        async with service.connection() as connection:
            at = await find(connection, caller, form)
        try:
            outcome = await work(caller, at, form)
        except (errors.BadInput, errors.Conflict, errors.TooLarge) as error:
            values = {name: value for name, value in form.items() if isinstance(value, str)}
            return await _refused(request, service, caller, at, error, values)
    await service.refresh()
    told = {
        "store" if _many(caller) else "at": at.store,
        "code": str(outcome.code_id),
        "done": outcome.done,
    }
    return RedirectResponse(f"/m?{urlencode(told)}#{manager.anchor(at.store)}", 303)


async def _refused(
    request: Request,
    service: Service,
    caller: Caller,
    at: _Place,
    error: errors.NearcodeError,
    values: Mapping[str, str],
) -> Response:
    frame = console_pages.frame_of(request, "m", service, caller)
    notice = manager.Notice(
        text=_why(error, frame, service),
        store=at.store,
        code_id=None if at.code_id is None else str(at.code_id),
        refused=True,
        values=values,
    )
    store = at.store if _many(caller) else None
    page = await _stores_page(service, caller, store=store, notice=notice)
    return console_pages.html(manager.stores(frame, page), frame, status=error.status)


_QR_WORDS: dict[type[BaseException | None], str] = {
    qr.NotAPicture: "error.not_a_picture",
    qr.PictureTooLarge: "error.too_large",
    qr.NoCode: "error.no_code",
    qr.SeveralCodes: "error.several_codes",
    qr.UnknownPayload: "error.unknown_payload",
}


def _why(error: errors.NearcodeError, frame: console.Frame, service: Service) -> str:
    """What is wrong, in words for whoever stands in the shop."""
    key = _QR_WORDS.get(type(error.__cause__), "error.other")
    if isinstance(error, errors.TooLarge):
        key = "error.too_large"
    elif isinstance(error, errors.Conflict):
        key = "error.in_use"
    elif isinstance(error, errors.BadInput) and error.__cause__ is None:
        fields = {e.field for e in error.errors}
        wrong = next((f for f in ("image", "members", "capacity") if f in fields), None)
        key = {"image": "error.no_image", None: key}.get(wrong, f"error.{wrong}")
    return manager_words.say(
        frame.lang,
        key,
        mb=f"{service.settings.max_upload_mb:g}",
        count=service.settings.max_capacity,
        detail=error.detail,
    )


def _number(form: FormData, name: str, *, needed: bool = False) -> int | None:
    """Raises `errors.BadInput`."""
    text = console_pages.text_of(form, name).strip()
    if not text and not needed:
        return None
    # More digits than any count has; the database takes no larger numbers.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise errors.BadInput.of(name, "must be a whole number")
    return int(text)


async def _payload(form: FormData, service: Service) -> str:
    """The payload in the picture that was sent. Raises `errors.BadInput`, `errors.TooLarge`."""
    image = form.get("image")
    if image is None or isinstance(image, str):
        raise errors.BadInput.of("image", "a picture of the code is needed")
    picture = await context.read_upload(image, "image", service.settings)
    return (await catalog.read_picture(service.decoder, picture)).payload
