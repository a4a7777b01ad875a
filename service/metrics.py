"""Metrics: what Prometheus is told of this installation, and how each is counted.

Every metric stands here, with its name, its labels and its help; README's table says the same.
Labels have few values that are known beforehand: no entry, no store, no visitor is one.

With several workers each writes what it counts into files of its own, in the folder that
`PROMETHEUS_MULTIPROC_DIR` names before this module is imported (service/server.py), and whichever
worker is asked reads them all. A gauge's mode says how the workers' values are made one;
a dead worker's gauges are left out, what it counted is not.
"""

import bisect
import importlib.metadata
import os
import platform
from dataclasses import dataclass, field

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

from service.domain import Outcome, Reason

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

# When a series began is of no use here, and would be a third of all lines.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_registry = CollectorRegistry()

# What has been counted since `settle`. Adding to a number takes a tenth of the time of a counter
# that locks and writes a file, and these are counted for every request.
_unsettled: dict[Counter, int] = {}


def _count(into: Counter, amount: int = 1) -> None:
    _unsettled[into] = _unsettled.get(into, 0) + amount


# ---------------------------------------------------------------- HTTP


class _TalliedHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: list[int], total: float) -> None:
        """So many observations in each bucket, and their sum."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


_requests = Counter(
    "nearcode_requests",
    "HTTP requests, by the route's template, method and class of status",
    ("route", "method", "status"),
    registry=_registry,
)
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_request_seconds = _TalliedHistogram(
    "nearcode_request_seconds",
    "seconds from a request's head to the end of its answer, by the route's template",
    ("route",),
    buckets=_SECONDS,
    registry=_registry,
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@dataclass(slots=True)
class _Answered:
    """The requests of one kind since `settle`."""

    count: Counter
    seconds: _TalliedHistogram
    total_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))

    def settle(self) -> None:
        answered = sum(self.buckets)
        if answered:
            self.count.inc(answered)
            self.seconds.add(self.buckets, self.total_s)
            self.total_s, self.buckets = 0.0, [0] * len(self.buckets)


_answered: dict[tuple[str | None, str, int], _Answered] = {}


def requested(route: str | None, method: str, status: int, seconds: float) -> None:
    """A request was answered. `route` is its template, None if no route is like it."""
    if method not in _METHODS:
        method = "other"
    kind = (route, method, status // 100)
    answered = _answered.get(kind)
    if answered is None:
        named = route or "none"
        counter = _requests.labels(named, method, f"{status // 100}xx")
        answered = _answered[kind] = _Answered(counter, _request_seconds.labels(named))
    answered.total_s += seconds
    answered.buckets[bisect.bisect_left(_SECONDS, seconds)] += 1


# ---------------------------------------------------------------- what visitors do

_scans = Counter("nearcode_scans", "scans, by person or bot", ("by",), registry=_registry)
_person, _bot = _scans.labels("person"), _scans.labels("bot")

_routings = Counter(
    "nearcode_routings",
    "decisions where a visitor is sent, by outcome and reason",
    ("outcome", "reason"),
    registry=_registry,
)
_routed: dict[tuple[Outcome, Reason], Counter] = {}

_seats = Counter(
    "nearcode_seats",
    "seats granted, rejected (the code was full after all), joined, released and expired",
    ("what",),
    registry=_registry,
)
_granted, _rejected = _seats.labels("granted"), _seats.labels("rejected")
_joined, _released = _seats.labels("joined"), _seats.labels("released")
_expired = _seats.labels("expired")


def scanned(*, bot: bool) -> None:
    """A scan was written."""
    _count(_bot if bot else _person)


def routed(outcome: Outcome, reason: Reason) -> None:
    """It was decided where a visitor is sent."""
    counter = _routed.get((outcome, reason))
    if counter is None:
        counter = _routed[outcome, reason] = _routings.labels(outcome.value, reason.value)
    _count(counter)


def seats(
    *, granted: int = 0, rejected: int = 0, joined: int = 0, released: int = 0, expired: int = 0
) -> None:
    """So many seats have changed; `rejected`: the code had none left when it was asked."""
    for counter, amount in (
        (_granted, granted),
        (_rejected, rejected),
        (_joined, joined),
        (_released, released),
        (_expired, expired),
    ):
        if amount:
            _count(counter, amount)


# ---------------------------------------------------------------- the journal

FLUSH_SECONDS = Histogram(
    "nearcode_flush_seconds",
    "seconds of one flush of the journal, to its durable end",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=_registry,
)
FLUSH_REQUESTS = Histogram(
    "nearcode_flush_requests",
    "requests that one flush of the journal made durable",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=_registry,
)
QUEUE_REQUESTS = Gauge(
    "nearcode_journal_queue_requests",
    "requests that wait for the journal's next flush",
    multiprocess_mode="livesum",
    registry=_registry,
)
_refusals = Counter(
    "nearcode_refusals",
    "requests answered 503 because the journal's queue was full",
    registry=_registry,
)


def refused() -> None:
    """A request found the journal's queue full."""
    _count(_refusals)


def flushed(seconds: float, requests: int) -> None:
    """A flush of the journal is durable."""
    FLUSH_SECONDS.observe(seconds)
    FLUSH_REQUESTS.observe(requests)


# ---------------------------------------------------------------- the spool

SPOOL_ENTRIES = Gauge(
    "nearcode_spool_entries",
    "what visitors did while the database was away, and has not been written yet",
    multiprocess_mode="livesum",
    registry=_registry,
)
SPOOL_BYTES = Gauge(
    "nearcode_spool_bytes",
    "size of the spool's files",
    multiprocess_mode="livesum",
    registry=_registry,
)
SPOOL_AGE_SECONDS = Gauge(
    "nearcode_spool_age_seconds",
    "age of the oldest entry in the spool; 0 if there is none",
    multiprocess_mode="livemax",
    registry=_registry,
)


# ---------------------------------------------------------------- the worker

WORKERS = Gauge(
    "nearcode_workers", "workers that serve", multiprocess_mode="livesum", registry=_registry
)
DIRECTORY_AGE_SECONDS = Gauge(
    "nearcode_directory_age_seconds",
    "seconds since the worker that is farthest behind last looked for changes of the catalog",
    multiprocess_mode="livemax",
    registry=_registry,
)
STORES = Gauge(
    "nearcode_stores",
    "stores, those that are closed included",
    multiprocess_mode="livemostrecent",
    registry=_registry,
)
STORES_SERVING = Gauge(
    "nearcode_stores_serving",
    "stores with a code that can take one more visitor, as the workers know it",
    multiprocess_mode="livemostrecent",
    registry=_registry,
)
CODES = Gauge(
    "nearcode_codes",
    "group codes, those that are retired included",
    multiprocess_mode="livemostrecent",
    registry=_registry,
)
LISTENER_CONNECTED = Gauge(
    "nearcode_listener_connected",
    "1 while every worker hears at once what others change, else 0",
    multiprocess_mode="livemin",
    registry=_registry,
)
_notices = Counter(
    "nearcode_notices",
    "notices between workers: catalog or room; heard, or told by a worker",
    ("channel", "way"),
    registry=_registry,
)
CATALOG_HEARD = _notices.labels("catalog", "heard")
ROOM_HEARD = _notices.labels("room", "heard")
ROOM_TOLD = _notices.labels("room", "told")
DATABASE_SILENCE_SECONDS = Gauge(
    "nearcode_database_silence_seconds",
    "seconds since PostgreSQL last answered, at the worker that has waited longest; each asks"
    " every second",
    multiprocess_mode="livemax",
    registry=_registry,
)
_deliveries = Counter(
    "nearcode_webhook_deliveries",
    "attempts to deliver a webhook: delivered, failed (it is tried again), dead (it is not)",
    ("outcome",),
    registry=_registry,
)
_delivered = {name: _deliveries.labels(name) for name in ("delivered", "failed", "dead")}
OUTBOX_AGE_SECONDS = Gauge(
    "nearcode_outbox_age_seconds",
    "seconds for which the webhook that is due longest has waited; 0 if none does",
    multiprocess_mode="livemostrecent",
    registry=_registry,
)


def delivered(outcome: str) -> None:
    """An attempt to deliver a webhook came out so."""
    _count(_delivered[outcome])


_build = Gauge(
    "nearcode_build_info",
    "1; the program's and Python's versions are its labels",
    ("version", "python"),
    multiprocess_mode="livemax",
    registry=_registry,
)


def begin() -> None:
    """This process is a worker from now on."""
    _build.labels(importlib.metadata.version("nearcode"), platform.python_version()).set(1)
    WORKERS.set(1)


def settle() -> None:
    """Hand over what has been counted since the last time: every second, and at the end."""
    for answered in _answered.values():
        answered.settle()
    for counter, amount in _unsettled.items():
        counter.inc(amount)
    _unsettled.clear()


# ---------------------------------------------------------------- asking


def exposition() -> bytes:
    """All metrics of all workers, in Prometheus' text format. Reads files: not for the loop."""
    registry = _registry
    if os.environ.get(FOLDER):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return prometheus_client.generate_latest(registry)


def forget(process_id: int) -> None:
    """A worker has ended: its gauges end with it. For the process that starts the workers."""
    multiprocess.mark_process_dead(process_id)  # type: ignore[no-untyped-call]
