"""Errors as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

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
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if fields:
        body["errors"] = [{"field": e.field, "detail": e.detail} for e in fields]
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""
    app.add_exception_handler(errors.NearcodeError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


async def _known(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.NearcodeError)
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    fields = error.errors if isinstance(error, errors.BadInput) else ()
    return problem(error.status, error.title, error.detail, fields=fields, headers=headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = tuple(errors.FieldError(_where(e["loc"]), e["msg"]) for e in error.errors())
    detail = "; ".join(f"{e.field}: {e.detail}" for e in fields)
    return problem(422, errors.BadInput.title, detail, fields=fields)


def _where(location: tuple[str | int, ...]) -> str:
    """`("body", "lon")` is what the caller calls `lon`."""
    parts = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(parts) or "body"


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), headers=error.headers)


async def _unknown(_: Request, error: Exception) -> Response:
    # Logged with its trace by the server; what it says is not for strangers.
    return problem(500, errors.NearcodeError.title)
