"""Which period and which part of the chain a page is about: the same few words in every query
string, so that a link keeps them.

`period` is one of `PERIODS`, or `since` and `until` are days of the chain's time zone, both
included. What a query string can't mean counts as not said.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from service.steps.report import Which

PERIODS = {"today": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365}
"""Days up to and including today."""

_DEFAULT = "30d"
_LONGEST_DAYS = 3660
PARTS = ("entry", "city", "channel", "store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """`since` and `until`: days, both included. `period`: which of `PERIODS`, or '' for dates that
    were typed."""

    since: date
    until: date
    period: str
    timezone: tzinfo
    entry: str = ""
    city: str = ""
    channel: str = ""
    store: str = ""

    @property
    def days(self) -> int:
        return (self.until - self.since).days + 1

    @property
    def begins(self) -> datetime:
        """The first instant."""
        return _midnight(self.since, self.timezone)

    @property
    def ends(self) -> datetime:
        """The first instant that is past it."""
        return _midnight(self.until + timedelta(days=1), self.timezone)

    @property
    def before(self) -> tuple[datetime, datetime]:
        """As many days, just before."""
        return _midnight(self.since - timedelta(days=self.days), self.timezone), self.begins

    @property
    def parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) or None for name in PARTS}

    @property
    def which(self) -> Which:
        """The same for a report."""
        return Which(since=self.begins, until=self.ends, **self.parts)

    @property
    def narrowed(self) -> bool:
        return any(self.parts.values())

    @property
    def api(self) -> dict[str, str]:
        """The query of the same report by HTTP."""
        said = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        return {**said, **{name: value for name, value in self.parts.items() if value}}

    @property
    def query(self) -> dict[str, str]:
        """What a link must carry to mean the same."""
        if not self.period:
            said = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        else:
            said = {} if self.period == _DEFAULT else {"period": self.period}
        return {**said, **{name: value for name, value in self.parts.items() if value}}


def read(query: Mapping[str, Any], now: datetime, timezone: tzinfo) -> Filters:
    today = now.astimezone(timezone).date()
    parts = {name: str(query.get(name, "")).strip()[:100] for name in PARTS}
    parts = {name: "" if "\x00" in text else text for name, text in parts.items()}
    since, until = _day(query.get("since")), _day(query.get("until"))
    if since or until:
        until = until or max(today, since or today)
        since = since or until - timedelta(days=PERIODS[_DEFAULT] - 1)
        since, until = min(since, until), max(since, until)
        since = max(since, until - timedelta(days=_LONGEST_DAYS))
        return Filters(since=since, until=until, period="", timezone=timezone, **parts)
    period = str(query.get("period", ""))
    if period not in PERIODS:
        period = _DEFAULT
    since = today - timedelta(days=PERIODS[period] - 1)
    return Filters(since=since, until=today, period=period, timezone=timezone, **parts)


def _day(text: Any) -> date | None:
    with contextlib.suppress(ValueError, TypeError):
        found = date.fromisoformat(text)
        if 2000 <= found.year < 2200:
            return found
    return None


def _midnight(day: date, timezone: tzinfo) -> datetime:
    """The day's first instant, in UTC: two of one zone are apart by the clock on the wall, which
    is not the time between them where the clock is put forward."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone).astimezone(UTC)
