"""The HTTP service: `create_app(settings)`."""

import re
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, metrics, runtime
from service.http import (
    audit,
    chains,
    codes,
    console,
    entries,
    health,
    images,
    imports,
    invitations,
    keys,
    manager,
    orders,
    pages,
    people,
    placements,
    posters,
    problems,
    reports,
    signed_in,
    stores,
    visitor,
)
from service.http import metrics as http_metrics
from service.http import warnings as http_warnings
from service.http import webhooks as http_webhooks
from service.http.hq import jobs
from service.http.lane import Handler, Lane
from service.settings import Settings

# Asked every few seconds, by machines.
_QUIET = ("/healthz", "/readyz", "/metrics")
# What follows is a secret, as long as the link works.
_WITH_SECRETS = ("/m/join/", "/hq/password/")
_SECRET = re.compile(f"({'|'.join(_WITH_SECRETS)}).+")


def create_app(settings: Settings, database_url: str) -> FastAPI:
    """The service on a database that has been migrated. Starting it raises what
    `runtime.running` raises."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with runtime.running(settings, database_url) as service:
            app.state.service = service
            yield

    app = _App(
        title="nearcode",
        summary="One QR code on every poster; every visitor gets the nearest store's group.",
        version="0.1.0",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        # Its pages load scripts from elsewhere; /openapi.json is all that programs need.
        docs_url=None,
        max_body_size=_bytes(settings.max_upload_mb),
        redoc_url=None,
    )
    problems.install(app)
    # Routes are tried in this order: first what thousands ask for.
    for module in (
        visitor,
        pages,
        placements,  # its qr.zip before qr.{form}
        images,
        health,
        http_metrics,
        stores,
        codes,
        entries,
        posters,
        keys,
        chains,
        people,
        invitations,
        signed_in,
        orders,
        audit,
        reports,
        http_warnings,
        http_webhooks,
        console,
    ):
        app.include_router(module.router)
    # A photograph that is too large is told so on the page, unless it is far too large.
    app.include_router(manager.router, max_body_size=_bytes(4 * settings.max_upload_mb))
    for large in (imports.router, jobs.large):
        app.include_router(large, max_body_size=_bytes(settings.max_import_mb))
    app.lead((visitor.router, pages.router), visitor.BUSY + pages.BUSY)
    return app


class _App(FastAPI):
    """FastAPI with a short way to the busiest handlers in front of it, and a log of both."""

    _first: ASGIApp

    def lead(self, routers: Collection[APIRouter], busy: Collection[Handler]) -> None:
        log = AccessLog(self.answer)
        self._first = Lane(log, routers, busy, log.answered)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        await self._first(scope, receive, send)


def _bytes(upload_mb: float) -> int | None:
    """Bytes of a request: an upload and what multipart puts around it."""
    return int(upload_mb * 1_000_000) + 1_000_000 if upload_mb else None


class AccessLog:
    """One line a request: method, path, status, milliseconds. No query: it may hold a position.
    The same in the metrics, by the route's template."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lines = logs.AccessLines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            try:
                await self._app(scope, receive, send)
            finally:
                self._lines.flush()  # the service has ended
            return
        started, status = time.perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self.answered(scope, status, time.perf_counter() - started)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Note a request that was answered, here or on the short way."""
        route = getattr(scope.get("route"), "path", None)
        metrics.requested(route, scope["method"], status, seconds)
        path = scope["path"]
        if path not in _QUIET:
            if path.startswith(_WITH_SECRETS):
                path = _SECRET.sub(r"\1...", path)
            self._lines.add(scope["method"], path, status, round(seconds * 1000, 1))
