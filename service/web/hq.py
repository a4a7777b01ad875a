"""HQ's console as HTML: its frame, tables, forms and charts, and how numbers and times are said.

Takes plain values and gives text. Style and scripts are files of ours (`web.assets`); a page asks
nothing of anybody else. Every page works without JavaScript: what a chart draws also stands in a
table under it.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import jinja2
import markupsafe
import orjson

from service.web import assets, console, hq_words, manager, templating
from service.web.words import Lang

Kind = Literal[
    "text", "number", "decimal", "share", "change", "points", "money", "moment", "day", "words",
    "state", "flag", "list", "interval", "input_moment",
]  # fmt: skip
"""How a column's values are shown. `words`: the words for the value, under the column's key;
`interval`: a share, with `<key>_low` and `<key>_high` of the row beside it; `input_moment`: as a
form's field wants it."""

_NUMERIC = frozenset(
    {"number", "decimal", "share", "change", "points", "money", "interval"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One page in the navigation."""

    key: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a page. `here` is the page's key in the navigation, `notice` the words'
    key of what a form has just brought about."""

    lang: Lang
    nonce: str
    here: str
    now: datetime
    timezone: tzinfo
    chain_name: str
    who: str
    has_password: bool  # a person, not a key
    token: str
    may_change: bool
    groups: Sequence[tuple[str, Sequence[Place]]]
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """An address with its query: `query(sort="name")` is the same with that changed; empty values
    and those that are the default are left out."""

    path: str
    values: Mapping[str, str]

    def __call__(self, **changes: object) -> str:
        merged = {**self.values, **{name: str(value) for name, value in changes.items()}}
        query = urlencode([(name, value) for name, value in merged.items() if value])
        return f"{self.path}?{query}" if query else self.path

    def form(self, ending: str) -> str:
        """The same table as a file."""
        return Query(f"{self.path}.{ending}", self.values)(page="")

    def hidden(self, *without: str) -> list[tuple[str, str]]:
        """What a form must carry on, besides its own fields."""
        return [(name, value) for name, value in self.values.items() if name not in without]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: `key` in the row and, as `col.<key>` or `label`, in the words. `link` and `note`
    name what else of the row stands in the cell: an address, and a small second line; `why` why
    there is only a dash. `wide`: not on a phone; `filed`: in files alone, since the page has it
    elsewhere."""

    key: str
    kind: Kind = "text"
    sorts: bool = True
    wide: bool = False
    filed: bool = False
    label: str = ""
    link: str = ""
    note: str = ""
    why: str = ""

    @property
    def words(self) -> str:
        return self.label or f"col.{self.key}"

    @property
    def numeric(self) -> bool:
        return self.kind in _NUMERIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One page of a list. `query` leads to the others; `total` counts the rows of all pages."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    total: int
    query: Query
    q: str = ""
    sort: str = ""
    down: bool = False
    page: int = 1
    size: int = 50
    searches: bool = True

    @property
    def shown(self) -> list[Column]:
        return [column for column in self.columns if not column.filed]

    @property
    def pages(self) -> int:
        return max(1, math.ceil(self.total / self.size))

    @property
    def first(self) -> int:
        return (self.page - 1) * self.size + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    def sort_url(self, column: Column) -> str:
        """Sorted by this column; figures begin with the largest, a second click turns it over."""
        down = not self.down if self.sort == column.key else column.numeric
        return self.query(sort=f"-{column.key}" if down else column.key, page="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure for plotly, and the same in words. `figure` has `data` and `layout`; colours in it
    are names such as `@c1`, which the page's script replaces by the theme's. `table` says the
    numbers; `csv` is where they are to be had."""

    id: str
    title: str
    summary: str
    figure: Mapping[str, Any]
    height: int = 300
    table: Table | None = None
    csv: str = ""
    map: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is wrong with a form that was sent: the fields, and what each is told."""

    errors: Sequence[tuple[str, str]] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        return " ".join(detail for known, detail in self.errors if known == name)


def page(template: str, frame: Frame, /, **values: Any) -> str:
    """The page of that template."""
    say = functools.partial(hq_words.say, frame.lang)
    return (
        _templates()
        .get_template(template)
        .render(
            frame=frame,
            t=say,
            known=lambda key: key in hq_words.KEYS,
            word=functools.partial(word, frame.lang),
            show=functools.partial(show, frame.lang, timezone=frame.timezone),
            left=functools.partial(manager.left, frame.lang),
            moment=functools.partial(console.moment, frame.lang, timezone=frame.timezone),
            **values,
        )
    )


def header(lang: Lang, table: Table) -> list[str]:
    return [hq_words.say(lang, column.words) for column in table.columns]


def cells(lang: Lang, table: Table, timezone: tzinfo) -> list[list[object]]:
    """The table as a file has it: figures as figures, words in the page's language."""
    return [[_cell(lang, column, row, timezone) for column in table.columns] for row in table.rows]


def _cell(lang: Lang, column: Column, row: Mapping[str, Any], timezone: tzinfo) -> object:
    value = row.get(column.key)
    match column.kind:
        case "words" | "state":
            return word(lang, column.key, value)
        case "moment" if isinstance(value, datetime):
            return value.astimezone(timezone)
        case "list" if value is not None:
            return ", ".join(str(item) for item in value)
        case "flag":
            return hq_words.say(lang, "yes" if value else "no")
    return value


# ---------------------------------------------------------------- how things are said


def word(lang: Lang, kind: str, value: object) -> str:
    """The words for one of a list of values, such as a state; the value itself if there are none,
    as for a channel that a chain has named."""
    if value is None or value == "":
        return "–"
    key = f"{kind}.{value}"
    return hq_words.say(lang, key) if key in hq_words.KEYS else str(value)


def show(lang: Lang, kind: Kind, key: str, value: Any, timezone: tzinfo) -> str:
    """A cell's value as text; a dash for what is not known."""
    if value is None or value == "":
        return "–"
    match kind:
        case "number":
            return number(value)
        case "decimal":
            return f"{value:,.2f}"
        case "money":
            return money(value)
        case "share" | "interval":
            return console.share(value)
        case "change":
            return change(value)
        case "points":
            return f"{100 * value:+.1f}".replace("-", "−")
        case "moment":
            return console.moment(lang, value, timezone)
        case "input_moment":
            return f"{value.astimezone(timezone):%Y-%m-%dT%H:%M}"
        case "day":
            return console.day(lang, value.isoformat() if isinstance(value, date) else value)
        case "words" | "state":
            return word(lang, key, value)
        case "flag":
            return hq_words.say(lang, "yes" if value else "no")
        case "list":
            return "、".join(map(str, value)) if lang == "zh" else ", ".join(map(str, value))
    return str(value)


def number(value: int | float | None) -> str:
    return "–" if value is None else f"{round(value):,}"


def money(value: float | Decimal | None) -> str:
    """An amount: whole from a thousand on, else with its hundredths."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(float(value)) >= 1000 else f"{value:,.2f}"


def change(value: float | None) -> str:
    """`0.123` as `+12.3%`; the sign is always there, since it is the news."""
    return "–" if value is None else f"{100 * value:+.1f}%".replace("-", "−")


# ---------------------------------------------------------------- lists that are at hand whole


def arranged(
    rows: Iterable[Mapping[str, Any]],
    *,
    q: str = "",
    searched: Sequence[str] = (),
    sort: str = "",
    down: bool = False,
) -> list[Mapping[str, Any]]:
    """Rows that hold `q`, sorted by a column, with what is not known last either way."""
    wanted = q.casefold()
    found = [
        row
        for row in rows
        if not wanted or any(wanted in str(row.get(key) or "").casefold() for key in searched)
    ]
    if sort:
        there = [row for row in found if row.get(sort) is not None]
        there.sort(key=lambda row: _sortable(row[sort]), reverse=down)
        found = there + [row for row in found if row.get(sort) is None]
    return found


def _sortable(value: Any) -> Any:
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, list | tuple | set | frozenset):
        return len(value)
    return value


# ---------------------------------------------------------------- the templates


def _path(url: str) -> str:
    """An address of ours without its origin: the page may be looked at by another name."""
    return urlsplit(url).path


def _island(value: object) -> markupsafe.Markup:
    """JSON to stand in a `<script type="application/json">`, which nothing in it can end."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return markupsafe.Markup(text.replace("<", "\\u003c"))  # noqa: S704 (no tag can begin in it)


@functools.cache
def _templates() -> jinja2.Environment:
    environment = templating.environment("hq")
    filters: dict[str, Callable[..., object]] = {
        "number": number,
        "share": console.share,
        "money": money,
        "change": change,
        "island": _island,
        "path": _path,
    }
    environment.filters.update(filters)
    environment.globals.update(asset=assets.url)
    return environment
