"""The doors as HTML: where people sign in, take up an invitation, and choose a password.

Takes plain values and gives text. Each page is whole in itself, as the consoles' are, and works
without JavaScript.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import jinja2

from service.web import console, doors_words, templating
from service.web.console import Frame

Trouble = Literal["wrong", "wrong_password", "too_many", "needed"]
Over = Literal["used", "revoked", "expired", "unknown", "password"]
PasswordTrouble = Literal["differ", "weak", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Who is invited to which stores (number and name); `more` are not listed; `as_other`: who is
    signed in on this phone now, if somebody else is."""

    name: str
    chain_name: str
    stores: Sequence[tuple[str, str]]
    more: int
    until: datetime
    as_other: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """Whose password is chosen; `changing`: who is signed in changes theirs."""

    name: str
    email: str
    changing: bool
    least: int
    most: int
    trouble: PasswordTrouble | None = None


def sign_in(
    frame: Frame, trouble: Trouble | None = None, *, email: str = "", minutes: int = 0
) -> str:
    """`email` as it was typed; `minutes` until it may be tried again."""
    return _render("sign_in.html", frame, trouble=trouble, email=email, minutes=minutes)


def invitation(frame: Frame, page: Invitation) -> str:
    return _render("invitation.html", frame, page=page)


def over(frame: Frame, why: Over) -> str:
    """A link that leads nowhere any more."""
    return _render("over.html", frame, why=why)


def problem(frame: Frame, status: int) -> str:
    """What does not go."""
    known = status if f"problem.{status}" in doors_words.KEYS else 422
    return _render("problem.html", frame, status=known)


def password(frame: Frame, page: Password) -> str:
    return _render("password.html", frame, page=page)


def _render(name: str, frame: Frame, **values: Any) -> str:
    return (
        _templates()
        .get_template(name)
        .render(
            frame=frame,
            t=functools.partial(doors_words.say, frame.lang),
            moment=functools.partial(console.moment, frame.lang, timezone=frame.timezone),
            **values,
        )
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = templating.environment("doors")
    environment.globals.update(style=templating.static("doors.css"))
    return environment
