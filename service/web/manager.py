"""The manager's pages as HTML: their stores, the codes in them, and how both stand.

Takes plain values and gives text. Every page is whole in itself: style and script are inlined with
the page's nonce. Without JavaScript all works; with it a chosen picture goes off at once.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

import jinja2

from service.complaints import Said
from service.domain import Code, Entry
from service.web import console, manager_words, templating, warning_words
from service.web.code_states import seats_left, state_of
from service.web.console import Frame
from service.web.words import Lang


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a form has brought about, said where it was sent from.

    `store` is where; `code_id` narrows it to a code; `values` are what was typed into a form that
    was refused, `form` is which of a page's forms that was.
    """

    text: str
    store: str
    code_id: str | None = None
    refused: bool = False
    form: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A store's scans and joins of today and of this week, which began on Monday."""

    scans_today: int = 0
    joined_today: int = 0
    scans_week: int = 0
    joined_week: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCard:
    """A store and its codes in the order in which they are filled; `said` by code id; `warnings`
    as `warnings.open_for` gives them."""

    store: str
    name: str
    where: str
    closed: bool
    codes: Sequence[Code]
    said: Mapping[str, Said]
    figures: Figures
    warnings: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresPage:
    """`q` is None where there is nothing to search; `single`: one store, out of many; `attention`:
    the stores that have warnings, by number and name; `folded`: stores are shown in brief;
    `next_url` leads on, `later` says that this is not the first page."""

    stores: Sequence[StoreCard]
    attention: Sequence[tuple[str, str]]
    mine: bool
    q: str | None
    single: bool
    folded: bool
    next_url: str | None
    later: bool
    notice: Notice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePage:
    """A code on its own: the `nth` of `count` of its store; `name` as people call it."""

    store: str
    store_name: str
    code: Code
    nth: int
    count: int
    image: str
    said: Said | None
    expires: str
    notice: Notice | None
    max_upload_mb: float

    def name(self, lang: Lang) -> str:
        return self.code.label or manager_words.say(lang, "m.nth_code", n=self.nth)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPage:
    """Where a picture is taken or chosen; `code_id` and `name` of the code that it renews."""

    store: str
    store_name: str
    code_id: str | None
    name: str
    notice: Notice | None
    max_upload_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPage:
    """What a picture would be as a code. `doubts` are sentences; `found_url` leads to the code that
    it is already, `refused` says that it cannot be put up. `values` fill the form: `label`,
    `members`, `capacity`, `expires`."""

    store: str
    store_name: str
    pending: str
    code_id: str | None
    name: str
    kind: str
    image: str
    expires_by_itself: bool
    same: bool
    doubts: Sequence[str]
    refused: bool
    found_url: str | None
    values: Mapping[str, str]
    notice: Notice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PosterPage:
    store: str
    store_name: str
    entries: Sequence[Entry]


def stores(frame: Frame, page: StoresPage) -> str:
    return _render("stores.html", frame, page=page)


def code(frame: Frame, page: CodePage) -> str:
    return _render("code.html", frame, page=page, called=page.name(frame.lang))


def retire(frame: Frame, page: CodePage) -> str:
    return _render("retire.html", frame, page=page, called=page.name(frame.lang))


def add(frame: Frame, page: AddPage) -> str:
    return _render("add.html", frame, page=page)


def preview(frame: Frame, page: PreviewPage) -> str:
    return _render("preview.html", frame, page=page)


def poster(frame: Frame, page: PosterPage) -> str:
    return _render("poster.html", frame, page=page)


def anchor(store: str) -> str:
    """The id of a store's part of the page: store numbers may hold anything."""
    return f"s-{store.encode().hex()}"


# How things are said


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


def heard(lang: Lang, said: Said, timezone: tzinfo) -> str:
    """What visitors said of a code, in one line."""
    say = functools.partial(manager_words.say, lang)
    parts = [say(f"said.{kind}", n=visitors) for kind, visitors in said.visitors.items()]
    at = said.last_at.astimezone(timezone)
    day = f"{at.month}月{at.day}日" if lang == "zh" else f"{at.day} {at:%b}"
    return say("said", what=say("said.and").join(parts), at=f"{day} {at:%H:%M}")


_ZONES: dict[str, tuple[str, str]] = {
    "Asia/Shanghai": ("北京", "Beijing"),
    "Asia/Hong_Kong": ("香港", "Hong Kong"),
    "Asia/Macau": ("澳门", "Macau"),
    "Asia/Taipei": ("台北", "Taipei"),
}


def zone(lang: Lang, timezone: tzinfo) -> str:
    """Whose time it is, as people say it."""
    name = str(timezone)
    return _ZONES.get(name, (f" {name} ", name))[0 if lang == "zh" else 1]


def _render(name: str, frame: Frame, **values: Any) -> str:
    return (
        _templates()
        .get_template(name)
        .render(
            frame=frame,
            t=functools.partial(manager_words.say, frame.lang),
            left=functools.partial(left, frame.lang),
            heard=functools.partial(heard, frame.lang, timezone=frame.timezone),
            moment=functools.partial(console.moment, frame.lang, timezone=frame.timezone),
            warned=functools.partial(warning_words.sentence, frame.lang, timezone=frame.timezone),
            advice=functools.partial(warning_words.advice, frame.lang),
            zone=zone(frame.lang, frame.timezone),
            **values,
        )
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = templating.environment("manager")
    environment.globals.update(
        style=templating.static("manager.css"),
        script=templating.static("manager.js"),
        anchor=anchor,
        state_of=state_of,
        seats_left=seats_left,
    )
    environment.filters.update(number=console.number)
    return environment
