"""A short way to the handlers that are called by the thousand.

FastAPI spends more on a request (matching, middleware, parameters, models of the answer) than
nearcode does on finding the store and keeping it. Handlers that take their path's parameters and
the request, and answer with a response, can be called without. They are FastAPI's routes all the
same, written, described and listed as such.
"""

import re
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.http import problems

log = structlog.get_logger("nearcode.http")

Handler = Callable[..., Awaitable[Response]]

# A visitor's body is some hundred bytes.
_MOST_BYTES = 65_536


class Lane:
    """In front of the app: answers for the named handlers of these routers, and leaves all else to
    the app. `answered` is told the status and the seconds of each that it answers itself."""

    def __init__(
        self,
        app: ASGIApp,
        routers: Collection[APIRouter],
        handlers: Collection[Handler],
        answered: Callable[[Scope, int, float], None],
    ) -> None:
        self._app = app
        self._answered = answered
        self._routes: dict[str, list[tuple[re.Pattern[str], APIRoute]]] = {}
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute) and route.endpoint in handlers:
                    pattern, _, _ = compile_path(route.path)
                    for method in route.methods or ():
                        self._routes.setdefault(method, []).append((pattern, route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for pattern, route in self._routes.get(scope["method"], ()):
                if found := pattern.match(scope["path"]):
                    scope["route"] = route
                    started, status = time.perf_counter(), 500
                    request = Request(scope, _bounded(receive))
                    try:
                        response = await _response(route.endpoint, found.groupdict(), request)
                        if response is not None:
                            status = response.status_code
                            await response(scope, receive, send)
                    finally:
                        self._answered(scope, status, time.perf_counter() - started)
                    return
        await self._app(scope, receive, send)


async def _response(
    handler: Handler, parameters: dict[str, Any], request: Request
) -> Response | None:
    """None: nobody waits for it any more."""
    try:
        return await handler(**parameters, request=request)
    except ClientDisconnect:
        return None
    except Exception as error:
        response = await problems.answer(request, error)
        if response.status_code == 500:
            log.exception("a request failed")
        return response


def _bounded(receive: Receive) -> Receive:
    """Raises `errors.TooLarge` where a body goes on and on."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _MOST_BYTES:
            raise errors.TooLarge(f"The body has more than {_MOST_BYTES} bytes")
        return message

    return bounded
