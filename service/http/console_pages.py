"""What the consoles' pages have in common: who is signed in, the frame, forms, errors as pages."""

import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from service import errors
from service.accounts import Caller
from service.domain import Role
from service.http import sessions
from service.runtime import Service
from service.web import console, doors, render
from service.web.console import Here

_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'nonce-{0}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def here_of(request: Request) -> Here:
    """Whose console the address is in."""
    return "hq" if request.url.path.startswith("/hq") else "m"


def frame_of(
    request: Request, here: Here, service: Service | None = None, caller: Caller | None = None
) -> console.Frame:
    frame = console.Frame(
        lang=render.language(request.headers.get("accept-language")),
        nonce=secrets.token_urlsafe(12),
        here=here,
        now=datetime.now(UTC),
        timezone=UTC,
    )
    if service is None or caller is None:
        return frame
    chain = service.directory.chains[caller.chain_id]
    nav: dict[Role, tuple[Here, ...]] = {
        Role.HQ: ("hq", "m"),
        Role.READ: ("hq",),
        Role.MANAGER: ("m",),
    }
    return console.Frame(
        lang=frame.lang,
        nonce=frame.nonce,
        here=here,
        now=frame.now,
        timezone=ZoneInfo(chain.timezone),
        chain_name=chain.name,
        who=caller.name,
        nav=nav[caller.role],
        token=sessions.token(request, service),
    )


def door(request: Request, here: Here) -> Response:
    frame = frame_of(request, here)
    return html(doors.sign_in(frame), frame)


def _problem(request: Request, error: errors.NearcodeError) -> Response:
    frame = frame_of(request, here_of(request))
    if isinstance(error, errors.NotSignedIn):
        return html(doors.sign_in(frame, "needed"), frame, status=error.status)
    response = html(doors.problem(frame, error.status), frame, status=error.status)
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def html(text: str, frame: console.Frame, *, status: int = 200) -> HTMLResponse:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _POLICY.format(frame.nonce),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text, status, headers)


class PageRoute(APIRoute):
    """Errors leave as pages, not as `application/problem+json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await handle(request)
                sessions.keep(request, response)
                return response
            except errors.NearcodeError as error:
                return _problem(request, error)
            except HTTPException as error:  # a form that can't be read
                return _problem(request, errors.BadInput.of("form", str(error.detail)))
            except asyncpg.DataError as error:
                return _problem(request, errors.BadInput.of("form", str(error)))
            except asyncpg.DeadlockDetectedError:
                return _problem(request, errors.Unavailable("Two changes crossed each other"))

        return handler


def check_token(request: Request, service: Service, form: FormData) -> None:
    if not sessions.is_token(form.get("token"), request, service):
        raise errors.NotAllowed("The form does not carry this session's token")


def text_of(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
