"""What the consoles' pages have in common: a frame, and how numbers and times are said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from service.web.words import Lang

Here = Literal["hq", "m"]
"""Whose console: that of HQ or that of managers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a page. `who` is the key's name, empty for nobody; `nav` are the consoles
    that this key may see; `token` goes into every form."""

    lang: Lang
    nonce: str
    here: Here
    now: datetime
    timezone: tzinfo
    chain_name: str = ""
    who: str = ""
    nav: Sequence[Here] = ()
    token: str = ""


# How things are said


def number(value: int) -> str:
    return f"{value:,}"


def share(value: float | None) -> str:
    """`0.4763` as `47.6%`; a dash where there is nothing to divide by."""
    return "–" if value is None else f"{value * 100:.1f}%"


def moment(lang: Lang, at: datetime, timezone: tzinfo) -> str:
    """A day and a time, in the chain's time zone."""
    local = at.astimezone(timezone)
    if lang == "zh":
        return f"{local.year}年{local.month}月{local.day}日 {local:%H:%M}"
    return f"{local.day} {local:%b %Y, %H:%M}"


def day(lang: Lang, iso: str) -> str:
    """`2026-07-30` with its weekday."""
    at = datetime.fromisoformat(iso)
    if lang == "zh":
        return f"{at.month}月{at.day}日 周{'一二三四五六日'[at.weekday()]}"
    return f"{at:%a} {at.day} {at:%b}"
