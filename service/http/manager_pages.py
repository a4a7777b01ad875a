"""What the manager's pages have in common: who may be here, forms and what comes of them, words for
what is refused."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import asyncpg
from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData

from service import catalog, errors
from service.accounts import Caller
from service.domain import CodeStatus, Role
from service.http import console_pages, context, sessions
from service.runtime import Service
from service.web import manager, manager_words
from service.web.console import Frame

_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'nonce-{0}'; script-src 'nonce-{0}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def html(text: str, frame: Frame, *, status: int = 200) -> HTMLResponse:
    response = console_pages.html(text, frame, status=status)
    response.headers["Content-Security-Policy"] = _POLICY.format(frame.nonce)
    return response


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who may be here, looking at a page."""

    request: Request
    service: Service
    caller: Caller
    frame: Frame

    def say(self, key: str, **values: object) -> str:
        return manager_words.say(self.frame.lang, key, **values)


async def visit(request: Request, service: Service) -> Visit | Response:
    """The visit, or where to go instead: to sign in, or, for readers, to HQ's page."""
    caller = await sessions.caller(request, service)
    if caller is None:
        return console_pages.door(request, "m")
    if caller.role is Role.READ:
        return RedirectResponse("/hq", 303)
    frame = console_pages.frame_of(request, "m", service, caller)
    return Visit(request, service, caller, frame)


async def own_store(connection: Any, caller: Caller, store: str) -> asyncpg.Record:
    """Raises `errors.NotFound` outside the caller's stores."""
    if not caller.sees_store(store):
        raise errors.NotFound(f"There is no store {store}")
    return await catalog.get_store(connection, caller.chain_id, store)


async def own_code(connection: Any, caller: Caller, code_id: str) -> asyncpg.Record:
    """A code that stands in one of the caller's stores. Raises `errors.NotFound`."""
    row = await catalog.get_code(connection, caller.chain_id, context.parse_uuid(code_id, "code"))
    if row["store"] is None or row["status"] == CodeStatus.RETIRED.value:
        raise errors.NotFound("There is no such code")
    await own_store(connection, caller, row["store"])
    return row


# ---------------------------------------------------------------- forms


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that somebody who may has sent."""

    visit: Visit
    form: FormData

    @property
    def caller(self) -> Caller:
        return self.visit.caller

    @property
    def service(self) -> Service:
        return self.visit.service

    def text(self, name: str) -> str:
        return console_pages.text_of(self.form, name).strip()

    def number(self, name: str) -> int:
        """Raises `errors.BadInput`."""
        text = self.text(name)
        # More digits than any count has; the database takes no larger numbers.
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise errors.BadInput.of(name, "must be a whole number")
        return int(text)

    @property
    def values(self) -> Mapping[str, str]:
        return {name: value for name, value in self.form.items() if isinstance(value, str)}


Work = Callable[[Sent], Awaitable[str]]
Refusal = Callable[[Sent, str, errors.NearcodeError], Awaitable[Response]]


async def answer(
    request: Request, service: Service, work: Work, refused: Refusal | None = None
) -> Response:
    """Check the session and the form's token, do the work, and lead on to the address that it
    gives. `refused` makes the page that says why what was typed cannot be used."""
    caller = await sessions.caller(request, service)
    if caller is None:
        raise errors.NotSignedIn("There is no session")
    async with request.form(max_files=3, max_fields=12) as form:
        console_pages.check_token(request, service, form)
        if caller.role is Role.READ:
            raise errors.NotAllowed("A reader changes nothing")
        frame = console_pages.frame_of(request, "m", service, caller)
        sent = Sent(Visit(request, service, caller, frame), form)
        try:
            url = await work(sent)
        except (errors.BadInput, errors.Conflict, errors.TooLarge) as error:
            if refused is None:
                raise
            return await refused(sent, why(error, frame, service), error)
    await service.refresh()
    return RedirectResponse(url, 303)


def store_url(caller: Caller, store: str, done: str, code_id: uuid.UUID | None = None) -> str:
    """A store on its page, with what was done there."""
    told = {"store" if many(caller) else "at": store, "done": done}
    if code_id is not None:
        told["code"] = str(code_id)
    return f"/m?{urlencode(told)}#{manager.anchor(store)}"


MOST_STORES = 20
"""On one page."""


def many(caller: Caller) -> bool:
    """Whether the caller's stores may not all stand on one page."""
    return caller.role is not Role.MANAGER or len(caller.stores) > MOST_STORES


# ---------------------------------------------------------------- words

_FIELDS = {"image": "no_image", "members": "members", "capacity": "capacity", "label": "label",
           "expires_at": "expires_at"}  # fmt: skip


def why(error: errors.NearcodeError, frame: Frame, service: Service) -> str:
    """What is wrong, in words for whoever stands in the shop."""
    key = "other"
    if isinstance(error, errors.TooLarge):
        key = "too_large"
    elif isinstance(error, errors.Conflict):
        key = "in_use"
    elif isinstance(error, errors.BadInput):
        first = error.errors[0]
        known = f"error.{first.reason}" in manager_words.KEYS
        key = (first.reason or "other") if known else _FIELDS.get(first.field, "other")
        if first.reason and not known:
            key = "unknown_payload"
    return manager_words.say(
        frame.lang,
        f"error.{key}",
        mb=f"{service.settings.max_upload_mb:g}",
        count=service.settings.max_capacity,
        detail=error.detail,
    )
