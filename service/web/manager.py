"""The manager's page as HTML: their stores, the codes in them, and how both stand.

Takes plain values and gives text, as `console` does, whose frame it shares.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from service.domain import Code
from service.web import console, manager_words
from service.web.code_states import seats_left, state_of
from service.web.console import Frame
from service.web.words import Lang

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a form has brought about, said where it was sent from.

    `store` is where; `code_id` narrows it to a code; `values` are what was typed into a form that
    was refused.
    """

    text: str
    store: str
    code_id: str | None = None
    refused: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCard:
    """A store and its codes in the order in which they are filled; `images` by code id."""

    store: str
    name: str
    where: str
    closed: bool
    codes: Sequence[Code]
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresPage:
    """`q` is None where there is nothing to search; `single`: one store, out of many;
    `next_url` leads on, `later` says that this is not the first page."""

    stores: Sequence[StoreCard]
    mine: bool
    may_change: bool
    q: str | None
    single: bool
    next_url: str | None
    later: bool
    notice: Notice | None
    max_upload_mb: float
    default_capacity: int


def stores(frame: Frame, page: StoresPage) -> str:
    return _render("stores.html", frame, page=page)


def anchor(store: str) -> str:
    """The id of a store's part of the page: store numbers may hold anything."""
    return f"s-{store.encode().hex()}"


def left(lang: Lang, expires_at: datetime | None, now: datetime) -> str:
    """How long a code still works: in days, to the nearest, or whole hours when fewer than 48."""
    say = functools.partial(manager_words.say, lang)
    if expires_at is None:
        return say("left.none")
    if expires_at <= now:
        return say("left.over")
    hours = math.floor((expires_at - now) / timedelta(hours=1))
    if hours < 1:
        return say("left.soon")
    if hours < 48:
        text = say("left.hours", n=hours)
        return text.removesuffix("s") if hours == 1 else text
    return say("left.days", n=round((expires_at - now) / timedelta(days=1)))


def _render(name: str, frame: Frame, **values: Any) -> str:
    return (
        _templates()
        .get_template(name)
        .render(
            frame=frame,
            t=functools.partial(manager_words.say, frame.lang),
            left=functools.partial(left, frame.lang),
            moment=functools.partial(console.moment, frame.lang, timezone=frame.timezone),
            **values,
        )
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates" / "manager"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_HERE / "static" / "manager.css").read_text(encoding="utf-8")
    environment.globals.update(
        style=markupsafe.Markup(style),  # noqa: S704 (our own file)
        anchor=anchor,
        state_of=state_of,
        seats_left=seats_left,
    )
    environment.filters.update(number=console.number)
    return environment
