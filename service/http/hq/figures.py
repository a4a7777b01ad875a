"""What the pages with figures share: the filters' choices, columns, and the names of keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from service.http.hq.desk import Desk
from service.http.hq.filters import PERIODS
from service.steps import report
from service.web import hq
from service.web.hq import Column

COUNTS = (
    Column(key="scans", kind="number"),
    Column(key="visitors", kind="number", wide=True),
    Column(key="located", kind="number", wide=True),
    Column(key="shown", kind="number", wide=True),
    Column(key="pressed", kind="number", wide=True),
    Column(key="verified", kind="number", wide=True),
    Column(key="joined", kind="number"),
    Column(key="left", kind="number", wide=True),
    Column(key="conversion", kind="interval"),
)
NOTHING: dict[str, Any] = {
    **dict.fromkeys(report.COUNTS, 0),
    "conversion": None,
    "conversion_low": None,
    "conversion_high": None,
}


@dataclass(frozen=True, slots=True)
class Lists:
    """What the filters offer, and where their links lead."""

    entries: Sequence[tuple[str, str]]
    cities: Sequence[str]
    channels: Sequence[str]
    path: str
    query: dict[str, str]

    @classmethod
    def of(cls, desk: Desk, cities: Sequence[str], **kept: str) -> "Lists":
        """`kept`: what else the page's links carry on."""
        entries = desk.chain.entries.values()
        channels = {
            placement.channel for entry in entries for placement in entry.placements.values()
        }
        query = {**desk.filters.query, **{name: value for name, value in kept.items() if value}}
        return cls(
            sorted((entry.entry, entry.name) for entry in entries),
            cities,
            sorted(channels),
            desk.request.url.path,
            query,
        )

    def period_url(self, period: str) -> str:
        assert period in PERIODS
        rest = {k: v for k, v in self.query.items() if k not in ("since", "until", "period")}
        return hq.Query(self.path, rest)(period=period)

    @property
    def reset_url(self) -> str:
        parts = ("entry", "city", "channel", "store")
        return hq.Query(self.path, {k: v for k, v in self.query.items() if k not in parts})()


def store_url(store: str) -> str:
    return f"/hq/store?{urlencode({'store': store})}"


def placement_url(entry: str, placement: str) -> str:
    return f"/hq/placement?{urlencode({'entry': entry, 'placement': placement})}"


def picture_of(entry: str, placement: str | None = None, form: str = "svg") -> str:
    """Where the code to print is."""
    query = f"?{urlencode({'placement': placement})}" if placement else ""
    return f"/api/v1/entries/{quote(entry, safe='')}/qr.{form}{query}"


def named(desk: Desk, by: str, row: dict[str, Any]) -> dict[str, Any]:
    """A report's row with `name`, `note` and `url` of what its key stands for."""
    key: str | None = row["key"]
    name, note, url = key or "", "", ""
    if key is None:
        name = desk.say(f"none.{by}")
    elif by == "store" and (store := desk.chain.stores.get(key)):
        name, note = store.name, " · ".join(filter(None, (key, store.city)))
        url = store_url(key)
    elif by == "entry" and (entry := desk.chain.entries.get(key)):
        name, note, url = entry.name, key, f"/hq/entry?{urlencode({'entry': key})}"
    elif by == "placement":
        for entry in desk.chain.entries.values():
            if placement := entry.placements.get(key):
                name, note, url = placement.name, key, placement_url(entry.entry, key)
                break
    elif by in ("channel", "source"):
        name = hq.word(desk.lang, by, key)
    elif by in ("city",):
        url = hq.Query("/hq/breakdown", desk.filters.query)(by="store", city=key)
    return {**row, "name": name, "note": note, "url": url}
