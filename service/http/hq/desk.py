"""What HQ's pages share: who is signed in, the frame, lists, forms, files.

A page takes a `Desk` by `DeskDep`. Without a session it is answered by the sign-in page, a manager
is led to `/m`, and what a form may not do is answered as a page.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from service import errors, lists, moments, sheets
from service.accounts import Caller
from service.directory import Chain
from service.domain import Role
from service.http import console_pages, sessions
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.http.hq import filters
from service.http.hq.filters import Filters
from service.runtime import Service
from service.web import hq, hq_words, render
from service.web.hq import Column, Query, Table
from service.web.words import Lang

Model = TypeVar("Model", bound=BaseModel)

SIZE = 50
SIZES = (50, 100, 200)
_MOST_IN_A_FILE = 100_000
_FORMS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{0}'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

# Where each page stands in the navigation; those that show figures carry the filters along.
_FIGURES = ("overview", "map", "breakdown", "boards", "results", "compare", "revenue")
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("figures", _FIGURES),
    ("manage", ("warnings", "stores", "codes", "entries", "placements", "orders", "import")),
    ("settings", ("chain", "people", "invitations", "sessions", "keys", "webhooks", "audit")),
)
_HQ_ALONE = frozenset({"chain", "people", "invitations", "sessions", "keys", "webhooks", "import"})
_PATHS = {"overview": "/hq"}


class _Elsewhere(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class HqRoute(PageRoute):
    """A page of the console: who may not see it is answered before it is made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except _Elsewhere as elsewhere:
                return elsewhere.response

        return handler


@dataclass(frozen=True, slots=True)
class Desk:
    """One request of somebody who may see HQ's pages."""

    request: Request
    service: Service
    caller: Caller
    now: datetime
    timezone: ZoneInfo

    @property
    def lang(self) -> Lang:
        return render.language(self.request.headers.get("accept-language"))

    @property
    def chain(self) -> Chain:
        return self.service.directory.chains[self.caller.chain_id]

    @property
    def may_change(self) -> bool:
        return self.caller.role is Role.HQ

    @property
    def filters(self) -> Filters:
        return filters.read(self.request.query_params, self.now, self.timezone)

    def asked(self, name: str) -> str:
        """One text of the query string, or ''."""
        text = self.request.query_params.get(name, "").strip()[:200]
        return "" if "\x00" in text else text

    def say(self, key: str, **values: object) -> str:
        return hq_words.say(self.lang, key, **values)

    # ------------------------------------------------------------ pages

    def html(self, template: str, here: str, *, status: int = 200, **values: Any) -> Response:
        frame = self._frame(here)
        text = hq.page(template, frame, **values)
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY.format(frame.nonce),
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(text, status, headers)

    def _frame(self, here: str) -> hq.Frame:
        kept = f"?{urlencode(self.filters.query)}" if self.filters.query else ""
        carries = here in _FIGURES
        groups = [
            (
                group,
                [
                    hq.Place(
                        key=key,
                        url=_PATHS.get(key, f"/hq/{key}")
                        + (kept if carries and key in _FIGURES else ""),
                    )
                    for key in keys
                    if self.may_change or key not in _HQ_ALONE
                ],
            )
            for group, keys in _GROUPS
        ]
        notice = f"done.{self.asked('done')}"
        return hq.Frame(
            lang=self.lang,
            nonce=secrets.token_urlsafe(12),
            here=here,
            now=self.now,
            timezone=self.timezone,
            chain_name=self.chain.name,
            who=self.caller.name,
            has_password=self.caller.person_id is not None,
            token=sessions.token(self.request, self.service),
            may_change=self.may_change,
            groups=[(group, places) for group, places in groups if places],
            notice=notice if notice in hq_words.KEYS else "",
        )

    # ------------------------------------------------------------ lists

    def sorting(self, columns: Sequence[Column], default: str = "") -> tuple[str, bool]:
        """The column to sort by, and whether from the largest down."""
        text = self.asked("sort") or default
        name = text.removeprefix("-")
        if not any(column.key == name and column.sorts for column in columns):
            text, name = default, default.removeprefix("-")
        return name, text.startswith("-")

    @property
    def page_number(self) -> int:
        text = self.asked("page")
        return min(max(int(text), 1), 100_000) if text.isascii() and text.isdecimal() else 1

    @property
    def size(self) -> int:
        text = self.asked("size")
        return int(text) if text in map(str, SIZES) else SIZE

    def ask(self, columns: Sequence[Column], form: str, default: str = "") -> lists.Ask:
        """What of a list is wanted: a page, or as a file all of it."""
        sort, down = self.sorting(columns, default)
        if form:
            return lists.Ask(q=self.asked("q"), sort=sort, down=down, most=_MOST_IN_A_FILE)
        skip = (self.page_number - 1) * self.size
        return lists.Ask(q=self.asked("q"), sort=sort, down=down, most=self.size, skip=skip)

    def table(
        self,
        name: str,
        columns: Sequence[Column],
        found: lists.Found,
        ask: lists.Ask,
        *,
        keep: Mapping[str, str] | None = None,
        path: str = "",
        searches: bool = True,
    ) -> Table:
        """A list that PostgreSQL has arranged. `keep`: what else its links carry on."""
        path = path or self.request.url.path.removesuffix(".csv").removesuffix(".xlsx")
        sort = f"-{ask.sort}" if ask.down else ask.sort
        values = {**(keep or {}), "q": ask.q, "sort": sort}
        if self.size != SIZE:
            values["size"] = str(self.size)
        return Table(
            name=name,
            columns=columns,
            rows=found.rows,
            total=found.total,
            query=Query(path, values),
            q=ask.q,
            sort=ask.sort,
            down=ask.down,
            page=self.page_number,
            size=self.size,
            searches=searches,
        )

    def whole(
        self,
        name: str,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        form: str,
        *,
        searched: Sequence[str] = (),
        default: str = "",
        keep: Mapping[str, str] | None = None,
    ) -> Table:
        """A list of which all rows are at hand."""
        ask = self.ask(columns, form, default)
        found = hq.arranged(rows, q=ask.q, searched=searched, sort=ask.sort, down=ask.down)
        shown = [dict(row) for row in found[ask.skip : ask.skip + ask.most]]
        return self.table(
            name,
            columns,
            lists.Found(shown, len(found)),
            ask,
            keep=keep,
            searches=bool(searched),
        )

    async def download(self, table: Table, form: str) -> Response:
        """The table as a file. Raises `errors.NotFound` for a form that there is not."""
        if form not in _FORMS:
            raise errors.NotFound("csv or xlsx")
        head = hq.header(self.lang, table)
        cells = hq.cells(self.lang, table, self.timezone)
        title = self.say(f"page.{table.name}")
        if form == "csv":
            data = await asyncio.to_thread(sheets.as_csv, head, cells)
        else:
            data = await asyncio.to_thread(sheets.as_xlsx, title, head, cells)
        day = self.now.astimezone(self.timezone).date().isoformat()
        named = f"{self.chain.chain}-{table.name}-{day}.{form}"
        pretty = quote(f"{title}-{day}.{form}")
        return Response(
            data,
            media_type=_FORMS[form],
            headers={
                "Content-Disposition": f'attachment; filename="{named}"; '
                f"filename*=UTF-8''{pretty}",
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )

    # ------------------------------------------------------------ forms

    @asynccontextmanager
    async def sent(self, *, files: int = 0, most_bytes: int = 1_000_000) -> AsyncIterator[FormData]:
        """The form that was sent, if its sender may change anything.

        Raises `errors.NotAllowed`.
        """
        if not self.may_change:
            raise errors.NotAllowed("This needs an hq key")
        async with self.request.form(
            max_files=files, max_fields=200, max_part_size=most_bytes
        ) as form:
            console_pages.check_token(self.request, self.service, form)
            yield form

    def moment(self, text: str) -> str | None:
        """What a form's date and time means, which is in the chain's time zone; None for none.

        Raises `errors.BadInput`.
        """
        found = moments.instant(text, "expires_at", self.timezone)
        return None if found is None else found.isoformat()

    def on(self, url: str) -> Response:
        """On to another page."""
        return RedirectResponse(url, 303)

    def done(self, path: str, notice: str, **query: str) -> Response:
        """On to a page that says so."""
        return RedirectResponse(f"{path}?{urlencode({**query, 'done': notice})}", 303)

    def said(self, error: errors.BadInput | errors.Conflict, values: Mapping[str, str]) -> hq.Said:
        """What the form is told that could not be kept."""
        if isinstance(error, errors.BadInput):
            return hq.Said(errors=[(e.field, e.detail) for e in error.errors], values=values)
        return hq.Said(errors=[("", error.detail)], values=values)


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The values as the JSON would be. Raises `errors.BadInput`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise errors.BadInput(
            *(
                errors.FieldError(".".join(map(str, each["loc"])), each["msg"])
                for each in error.errors()
            )
        ) from error


def values_of(form: FormData) -> dict[str, str]:
    """The texts of a form, trimmed; files and the token left out."""
    return {
        name: value.strip()
        for name, value in form.items()
        if isinstance(value, str) and name != "token"
    }


async def _desk(request: Request, service: ServiceDep) -> Desk:
    caller = await sessions.caller(request, service)
    if caller is None:
        if request.method == "GET":
            raise _Elsewhere(console_pages.door(request, "hq"))
        raise errors.NotSignedIn("Sign in first")
    if caller.role is Role.MANAGER:
        raise _Elsewhere(RedirectResponse("/m", 303))
    if caller.chain_id not in service.directory.chains:
        await service.refresh()  # a chain that was made a moment ago
    chain = service.directory.chains[caller.chain_id]
    return Desk(request, service, caller, datetime.now(UTC), ZoneInfo(chain.timezone))


DeskDep = Annotated[Desk, Depends(_desk)]
