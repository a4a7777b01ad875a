"""How long the console's pages take, of the scans that `reports` has made.

Every page of HQ's and of the manager's, the first time and again while visitors go on, by default
and of the longest period that it offers; and the files that it offers, as rows without a verdict.
"""

import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from service import app
from service.settings import Settings
from tests.benchmarks import measuring
from tests.http import may

WITHIN_S = 0.2
_ROUNDS = 5
_LONGEST = "365d"
# Pages with figures of a period; more than one line of a page where it shows different ones.
_OF_A_PERIOD = (
    "/hq", "/hq/map", "/hq/map?show=load", "/hq/map?show=unserved", "/hq/breakdown",
    "/hq/breakdown?by=store", "/hq/breakdown?by=day", "/hq/breakdown?by=hour",
    "/hq/breakdown?by=placement", "/hq/boards", "/hq/boards?of=managers", "/hq/results",
    "/hq/compare", "/hq/revenue", "/hq/revenue?by=cohort_day", "/hq/orders", "/hq/store?store=S0",
    "/hq?city=城市0", "/hq/breakdown?by=store&channel=poster",
)  # fmt: skip
_OTHERS = (
    "/hq/warnings", "/hq/stores", "/hq/codes", "/hq/code?code={code}", "/hq/entries",
    "/hq/entry?entry=bench", "/hq/placements", "/hq/placement?entry=bench&placement=p1",
    "/hq/import", "/hq/people", "/hq/person?person={person}", "/hq/invitations", "/hq/sessions",
    "/hq/keys", "/hq/webhooks", "/hq/webhook?webhook={webhook}", "/hq/audit", "/m", "/m?store=S0",
    "/m/add?store=S0", "/m/codes/{code}", "/m/codes/{code}/retire", "/m/test?store=S0",
    "/m/poster?store=S0", "/hq/chain",
)  # fmt: skip
_FILES = (
    "/hq/breakdown.csv?by=store", "/hq/breakdown.xlsx?by=store", "/hq/boards.csv",
    "/hq/boards.xlsx", "/hq/boards.csv?of=managers", "/hq/results.csv", "/hq/results.xlsx",
    "/hq/map.csv", "/hq/map.xlsx", "/hq/map.csv?show=unserved", "/hq/revenue.csv",
    "/hq/revenue.xlsx", "/hq/orders.csv", "/hq/orders.xlsx",
    "/api/v1/reports/funnel.csv?by=store", "/api/v1/reports/trend.csv",
    "/api/v1/reports/stores.xlsx", "/api/v1/reports/unserved.csv",
)  # fmt: skip
_OTHER_FILES = (
    "/hq/warnings.csv", "/hq/stores.csv", "/hq/stores.xlsx", "/hq/codes.csv", "/hq/codes.xlsx",
    "/hq/entries.csv", "/hq/placements.csv", "/hq/placements.xlsx", "/hq/people.csv",
    "/hq/invitations.csv", "/hq/sessions.csv", "/hq/keys.csv", "/hq/webhooks.csv", "/hq/audit.csv",
    "/m/poster.pdf?store=S0",
)  # fmt: skip
# Neither pages nor of a size that grows: files of the program, pages for who is not signed in, what
# leads elsewhere, and imports, of which there are none here.
_NEITHER = {
    "/hq/assets/{name}", "/hq/{rest:path}", "/m/{rest:path}", "/hq/password",
    "/hq/password/{token}", "/m/join/{token}", "/m/join/{token}/qr.{form}", "/hq/sign-in",
    "/m/sign-in", "/m/preview", "/hq/import-large/{import_id}",
    "/hq/import-large/{import_id}.{form}", "/m/codes", "/m/codes/{code_id}/{form}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Console:
    """Somebody of HQ's, signed in. `ids`: of a code, a person and a webhook of theirs; `happens`
    lets a visitor come and a member leave; `cpu_s` is the processor time of server and database."""

    client: httpx.Client
    cpu_s: Callable[[], float]
    ids: Mapping[str, object]
    happens: Callable[[], Awaitable[None]]

    def sign_in(self, key: str) -> None:
        self.client.post("/hq/sign-in", data={"key": key}).raise_for_status()

    async def pages(self) -> str:
        periods = ("", _LONGEST)
        pages = [*(_with(path, period) for path in _OF_A_PERIOD for period in periods), *_OTHERS]
        files = [*(_with(path, period) for path in _FILES for period in periods), *_OTHER_FILES]
        rows = [await self._row(path, verdict=True) for path in pages]
        rows += [await self._row(path, verdict=False) for path in files]
        headings = ("GET", "first", "again", "processor", f"at most {WITHIN_S:g} s", "kB")
        return measuring.table(headings, rows)

    async def _row(self, path: str, *, verdict: bool) -> tuple[str, ...]:
        """The first time, and the median of others, before each of which something has happened."""
        times, size, used_s = [], 0, 0.0
        for turn in range(1 + _ROUNDS):
            await self.happens()
            start, before_s = time.perf_counter(), self.cpu_s()
            answer = self.client.get(path.format_map(self.ids))
            times.append(time.perf_counter() - start)
            used_s += self.cpu_s() - before_s if turn else 0
            if answer.status_code != 200:
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
            size = len(answer.content)
        again_s = statistics.median(times[1:])
        return (
            path,
            measuring.duration(times[0]),
            measuring.duration(again_s),
            measuring.duration(used_s / _ROUNDS),
            measuring.verdict(again_s, at_most=WITHIN_S) if verdict else "",
            f"{size / 1000:,.0f}",
        )


def _with(path: str, period: str) -> str:
    if not period:
        return path
    said = f"period={period}"
    if path.startswith("/api"):
        said = f"since={datetime.now(UTC) - timedelta(days=365):%Y-%m-%d}"
    return path + ("&" if "?" in path else "?") + said


def unlisted() -> list[str]:
    """Pages that are not measured."""
    asked = {path.partition("?")[0] for path in (*_OF_A_PERIOD, *_OTHERS, *_FILES, *_OTHER_FILES)}
    return sorted(path for path in _paths() if path not in _NEITHER and not _is_in(path, asked))


def _paths() -> Iterator[str]:
    for (method, path), _ in may.routes(app.create_app(Settings(), "")):
        if method == "GET" and re.match(r"/(hq|m)(/|$)", path):
            yield path


def _is_in(path: str, asked: set[str]) -> bool:
    pattern = re.compile(re.sub(r"\\\{[^}]*\\\}", r"[^/]+", re.escape(path)))
    return any(pattern.fullmatch(each) for each in asked)
