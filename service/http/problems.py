"""Errors as `application/problem+json` (RFC 9457)."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import asyncpg
import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service import errors

log = structlog.get_logger("nearcode.http")


def problem(
    status: int,
    title: str,
    detail: str | None = None,
    *,
    fields: tuple[errors.FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": _sendable(detail or title),
    }
    if fields:
        body["errors"] = [
            {"field": _sendable(e.field), "detail": _sendable(e.detail)}
            | ({"reason": e.reason} if e.reason else {})
            for e in fields
        ]
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


def _sendable(text: str) -> str:
    """Half of a character, which JSON's escapes let in, as a question mark: no UTF-8 has it."""
    return text.encode("utf-8", "replace").decode()


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def answer(request: Request, error: Exception) -> Response:
    """The problem that an error is."""
    handler = next(handler for kind, handler in _HANDLERS.items() if isinstance(error, kind))
    return await handler(request, error)


async def _known(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.NearcodeError)
    headers = {}
    if isinstance(error, errors.Unavailable | errors.TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    fields = error.errors if isinstance(error, errors.BadInput) else ()
    return problem(error.status, error.title, error.detail, fields=fields, headers=headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = tuple(
        errors.FieldError("body" if e["type"] == "json_invalid" else _where(e["loc"]), e["msg"])
        for e in error.errors()
    )
    detail = "; ".join(f"{e.field}: {e.detail}" for e in fields)
    return problem(422, errors.BadInput.title, detail, fields=fields)


def _where(location: tuple[str | int, ...]) -> str:
    """`("body", "lon")` is what the caller calls `lon`."""
    parts = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(parts) or "body"


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = str(error.detail)
    if detail == title and error.status_code in (404, 405):
        detail = f"There is no {request.method} {request.url.path}"
    return problem(error.status_code, title, detail, headers=error.headers)


async def _unstorable(_: Request, error: Exception) -> Response:
    """A value that slipped past the checks, and that PostgreSQL refused: nothing was changed."""
    log.warning("a value could not be kept", error=str(error))
    field = errors.FieldError("body", "holds a value that cannot be kept")
    return problem(422, errors.BadInput.title, f"{field.field}: {field.detail}", fields=(field,))


async def _crossed(request: Request, _: Exception) -> Response:
    """PostgreSQL has undone this of two changes that each waited for the other."""
    again = errors.Unavailable("Somebody else changed the same just now: try again")
    return await _known(request, again)


async def _unknown(_: Request, error: Exception) -> Response:
    # Logged with its trace by the server; what it says is not for strangers.
    return problem(500, errors.NearcodeError.title)


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    errors.NearcodeError: _known,
    RequestValidationError: _invalid,
    HTTPException: _http,
    asyncpg.DataError: _unstorable,
    asyncpg.DeadlockDetectedError: _crossed,
    Exception: _unknown,
}
