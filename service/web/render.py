"""The visitor's page as HTML: which words, which view, what is shown of a routing.

Takes plain values and gives text, so that it can be looked at without a server. Every page is
whole in itself: style and script are inlined with the page's nonce, and nothing is fetched from
elsewhere.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal
from urllib.parse import quote

import jinja2
import markupsafe

from service.web import templating, words
from service.web.words import Lang

View = Literal["locate", "code", "choose", "unserved", "stores", "missing", "unavailable"]

MOST_STORES = 30
"""Stores in one list: more would be too much to look through."""

# What stores and cities may take of a page, so that it stays under 30 KB in all.
_LIST_BYTES = 12_500
_ROW_BYTES = 110  # of a store's row, besides its texts
_OPTION_BYTES = 9  # of a city's, likewise

# Mainland China, Hong Kong, Macau and Taiwan keep this time all year; the script on the page
# turns times into the phone's own.
_CHINA = timezone(timedelta(hours=8))

# An accuracy radius up to which a distance is said without "about".
_EXACT_M = 150

# Codes that add a person rather than lead into a group; see `service.qr.CodeKind`.
_CONTACT_KINDS = frozenset({"wecom_contact", "wecom_acquisition", "wechat_personal"})

_CHINESE = frozenset({"zh", "cmn", "yue", "wuu", "nan", "hak", "gan", "hsn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Says on a page that it is only a test, and whose; `entries` to test instead: name, address,
    whether it is this one."""

    text: str
    verdict: str
    back_url: str
    back: str
    entries: Sequence[tuple[str, str, bool]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that one page shows.

    `routing` is the contract's Routing; `passed` is the nearer store that was skipped: its name
    and why (`Skipped`). `nearby` are stores to pick from, in the order to show them, each with
    `store, name, address, city, distance_m`; `cities` are names with numbers of stores; `more`
    says that `nearby` was cut. `gone`: the code that was shown serves no more. `next_url` is where
    a system of the chain sends who has joined; `awaits_next`: there may be one, once they have.
    With `trial` it is only looked at.
    """

    lang: Lang
    nonce: str
    chain_name: str
    entry: str
    view: View
    entry_name: str = ""
    scan_id: str | None = None
    routing: Mapping[str, Any] | None = None
    passed: tuple[str, str] | None = None
    nearby: Sequence[Mapping[str, Any]] = ()
    cities: Sequence[tuple[str, int]] = ()
    q: str = ""
    city: str = ""
    more: bool = False
    gone: bool = False
    joined: bool = False
    awaits_next: bool = False
    next_url: str | None = None
    locate_timeout_s: float = 8.0
    attributions: Sequence[tuple[str, str]] = ()
    trial: Trial | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def visitor(page: Page) -> str:
    """The whole page."""
    return _render("page.html", page)


def fragment(page: Page) -> str:
    """Only its `<main>`, for the script on the page to swap in."""
    return _render("main.html", page)


def language(accept_language: str | None) -> Lang:
    """Chinese or English, after RFC 9110, 12.5.4.

    Chinese where it is preferred to English, or where nothing is said; English otherwise.
    """
    best: dict[str, float] = {}
    for item in (accept_language or "").split(","):
        tag, _, parameters = item.strip().partition(";")
        quality = _quality(parameters)
        name = re.split("[-_]", tag.strip().lower(), maxsplit=1)[0]
        if quality is not None and re.fullmatch(r"[a-z]{1,8}|\*", name):
            name = "zh" if name in _CHINESE else name
            best[name] = max(best.get(name, 0), quality)
    wanted = {name: quality for name, quality in best.items() if quality > 0}
    chinese, english = wanted.get("zh", 0), wanted.get("en", 0)
    if chinese or english:
        # Of two that are wanted alike, the one named first.
        first: Lang = (
            "zh" if next(name for name in wanted if name in ("zh", "en")) == "zh" else "en"
        )
        if chinese == english:
            return first
        return "zh" if chinese > english else "en"
    nothing_said = not set(wanted) - {"*"}
    return "zh" if nothing_said and best.get("zh") != 0 else "en"


def _quality(parameters: str) -> float | None:
    """The `q` of one language, from 0 to 1; None if it is not well formed."""
    parameters = parameters.strip().lower()
    if not parameters:
        return 1.0
    found = re.fullmatch(r"q\s*=\s*([01](?:\.\d*)?)", parameters)
    return min(float(found[1]), 1.0) if found else None


# What the templates are given


def _render(name: str, page: Page) -> str:
    say = functools.partial(words.say, page.lang)
    home = "#" if page.trial else f"/q/{quote(page.entry, safe='')}"
    routing = page.routing or {}
    code = routing.get("code") or {}
    located = routing.get("located") or {}
    nearby = _fitting(page)
    template = _templates().get_template(name)
    return template.render(
        page=page,
        routing=routing,
        code=code,
        source=located.get("source"),
        place=located.get("city") or located.get("province"),
        store=routing.get("store") or {},
        choices=routing.get("choices") or [],
        nearby=nearby,
        more=page.more or len(nearby) < len(page.nearby),
        home=f"{home}/s/{page.scan_id}" if page.scan_id else home,
        kind="contact" if code.get("kind") in _CONTACT_KINDS else "group",
        valid=_valid(page, code),
        t=say,
        distance=functools.partial(_distance, page.lang, located),
        passed_why=say(f"passed.{page.passed[1]}", name=page.passed[0]) if page.passed else "",
    )


def _fitting(page: Page) -> Sequence[Mapping[str, Any]]:
    """The stores that fit on the page with its cities; the first few do in any case."""
    left = _LIST_BYTES - sum(_bytes(city) + _OPTION_BYTES for city, _ in page.cities)
    for count, store in enumerate(page.nearby[:MOST_STORES]):
        left -= _ROW_BYTES + sum(
            _bytes(store.get(field) or "") for field in ("store", "name", "address")
        )
        if left < 0 and count >= 5:
            return page.nearby[:count]
    return page.nearby[:MOST_STORES]


def _bytes(text: str) -> int:
    return len(markupsafe.escape(text).encode())


def _distance(
    lang: Lang, located: Mapping[str, Any], metres: float | None, form: str = "away"
) -> str:
    """A distance in words, or nothing where it is unknown or would mislead.

    `form`: `away` for the bare length, `far` for one said of the visitor. What is known by a
    vague fix is said with "about"; by IP, only if it is longer than the fix is vague.
    """
    if metres is None:
        return ""
    accuracy_m = located.get("accuracy_m") or 0
    vague = accuracy_m > _EXACT_M
    if located.get("source") == "ip" and metres <= accuracy_m:
        return ""
    if vague and metres >= 100:
        metres = float(f"{metres:.2g}")
    about = "about_" if vague else ""
    if round(metres) < 1000:
        return words.say(lang, f"{form}.{about}m", n=max(round(metres), 1))
    km = metres / 1000
    return words.say(lang, f"{form}.{about}km", n=f"{km:.1f}" if km < 9.95 else f"{km:.0f}")


@dataclass(frozen=True, slots=True)
class _Valid:
    """Until when the code on the page is good, and how to say it."""

    key: str
    iso: str
    clock: str


def _valid(page: Page, code: Mapping[str, Any]) -> _Valid | None:
    """The sooner of the seat's and the code's end, if it is within a day; a past one is no news."""
    ends = [
        (datetime.fromisoformat(code[name]), key)
        for name, key in (("held_until", "code.held"), ("expires_at", "code.expires"))
        if code.get(name) and not (page.joined and name == "held_until")
    ]
    soon = [end for end in ends if page.now < end[0] < page.now + timedelta(days=1)]
    if not soon:
        return None
    at, key = min(soon)
    return _Valid(key, at.isoformat(), at.astimezone(_CHINA).strftime("%H:%M"))


# The templates


@functools.cache
def _templates() -> jinja2.Environment:
    environment = templating.environment()
    environment.globals["style"] = _inline("page.css")
    environment.globals["script"] = _inline("page.js")
    return environment


def _inline(name: str) -> markupsafe.Markup:
    """A static file of ours to stand within the page, without indentation and whole-line
    comments: what a phone loads need not explain itself."""
    text = re.sub(r"^\s*(?://.*|/\*.*?\*/)$", "", templating.static(name), flags=re.MULTILINE)
    lines = (line.strip() for line in text.splitlines())
    return markupsafe.Markup("\n".join(line for line in lines if line))  # noqa: S704 (our own file)
