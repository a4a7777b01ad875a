"""A crowd at a running service: by its public API alone, as phones and programs use it.

An open loop: visitors come when they come, however long others wait. What they do is drawn before
(crowd.py), so that a seed gives the same decisions at any service; what they are shown is the
service's.
"""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from geo.point import Point
from service import errors
from service.domain import Event, Outcome
from service.simulate import buyers, crowd
from service.simulate.crowd import Act, Do, Plan, Seen, World

_TIMEOUT_S = 30.0
_TRIES = 4
_PAGE = 1000
# Orders are sent by the till from time to time, not one by one.
_ORDERS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Run:
    """What a crowd is to do. `key` is an hq key: without one nobody leaves and nobody buys.
    `haste`: how many times faster than people they are between their acts. `day_s`: a day with its
    hours passes in so many seconds; None: they come evenly."""

    base_url: str
    entry: str
    seed: int = 1
    rate: float = 5.0  # visitors a second
    visitors: int | None = None
    seconds: float | None = None
    day_s: float | None = None
    key: str | None = None
    haste: float = 1.0
    leaves: float = 0.08  # of those who join
    buys: float = 0.25


@dataclass(slots=True)
class Figures:
    """What came of it so far, counted at the visitors' end."""

    visitors: int = 0  # who have come
    there: int = 0  # who are still at it
    scans: int = 0
    bots: int = 0
    located: int = 0
    denied: int = 0
    shown: int = 0
    joined: int = 0  # who pressed, or more
    reported: int = 0
    complained: int = 0
    unserved: int = 0
    left: int = 0
    orders: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of each request

    @property
    def conversion(self) -> float | None:
        return self.joined / self.scans if self.scans else None

    def percentile_ms(self, share: float, *, latest: int | None = None) -> float | None:
        """Of all requests, or of the latest so many."""
        seconds: Sequence[float] = self.seconds[-latest:] if latest else self.seconds
        if not seconds:
            return None
        ordered = sorted(seconds)
        return 1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


async def world_of(run: Run, habits: crowd.Habits | None = None) -> World:
    """The service's stores and placements, as far as the run's key may see them; without a key,
    the stores that serve now. Raises `errors.BadInput`, `errors.Unavailable`."""
    async with _client(run, run.key) as client:
        if run.key is None:
            found = await _get(client, f"/api/v1/entries/{run.entry}/stores", limit=200)
            return World(_places(found["stores"]), seed=run.seed, habits=habits)
        stores = [row async for row in _list(client, "/api/v1/stores", "stores")]
        path = f"/api/v1/entries/{run.entry}/placements"
        posted = [
            crowd.Posted(
                row["placement"], row["channel"], row["store"], row["printed"], row["variant"]
            )
            async for row in _list(client, path, "placements")
        ]
    opened = [row for row in stores if row["status"] == "open"]
    return World(_places(opened), posted, seed=run.seed, habits=habits)


async def drive(
    run: Run,
    world: World,
    *,
    figures: Figures | None = None,
    stop: asyncio.Event | None = None,
) -> Figures:
    """Let the crowd come. Ends when all have come and done what they do, or soon after `stop` is
    set: who is there finishes the request that they are at."""
    told = figures or Figures()
    stopped = stop or asyncio.Event()
    async with _client(run) as client:
        visits = _Crowd(run, client, told, stopped)
        await visits.come(world)
        await visits.settle()
    return told


class _Crowd:
    def __init__(
        self,
        run: Run,
        client: httpx.AsyncClient,
        figures: Figures,
        stopped: asyncio.Event,
    ) -> None:
        self._run = run
        self._client = client
        self._told = figures
        self._stopped = stopped
        # Another run is another crowd, of the same minds.
        self._name = f"crowd-{uuid.uuid4().hex[:8]}"
        self._there: set[asyncio.Task[None]] = set()
        self._joined: list[tuple[str, int]] = []  # scans, and their visitors' numbers
        self._began = datetime.now(UTC)

    async def come(self, world: World) -> None:
        """Start each visitor when their time has come."""
        began = time.monotonic()
        for number, plan in enumerate(self._plans(world)):
            due = (plan.at - self._began).total_seconds()
            if self._run.visitors is not None and number >= self._run.visitors:
                break
            if self._run.seconds is not None and due >= self._run.seconds:
                break
            if (wait := began + due - time.monotonic()) > 0 and await self._stops_within(wait):
                break
            if self._stopped.is_set():
                break
            task = asyncio.create_task(self._visit(plan))
            self._there.add(task)
            task.add_done_callback(self._gone)
            self._told.visitors += 1
            self._told.there = len(self._there)
        while self._there:
            await asyncio.wait(set(self._there))

    def _plans(self, world: World) -> Iterator[Plan]:
        return world.crowd(self._began, self._run.rate, day_s=self._run.day_s)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._there.discard(task)
        self._told.there = len(self._there)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._told.errors[type(error).__name__] += 1

    async def _stops_within(self, seconds: float) -> bool:
        """Sleep so long, or until it is time to stop."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True

    # One visitor

    async def _visit(self, plan: Plan) -> None:
        acts = crowd.behave(plan, 0.0)
        visit = _Visit(plan)
        act: Act = next(acts)
        while True:
            if act.pause_s and await self._stops_within(act.pause_s / self._run.haste):
                return
            answer = await self._act(visit, act)
            if answer is None:
                return
            self._count(visit, act, answer)
            try:
                act = acts.send(answer)
            except StopIteration:
                break
        self._told.unserved += not plan.bot and answer.outcome is not Outcome.CODE
        if visit.joined:
            self._joined.append((visit.scan_id, plan.number))

    async def _act(self, visit: "_Visit", act: Act) -> Seen | None:
        plan = visit.plan
        if act.do is Do.OPEN:
            return await self._open(visit)
        path = f"/api/v1/scans/{visit.scan_id}"
        body: dict[str, Any]
        if act.do is Do.POSITION:
            path, body = f"{path}/position", {
                "lon": plan.point.lon, "lat": plan.point.lat, "accuracy_m": plan.accuracy_m,
            }  # fmt: skip
        elif act.do is Do.IP:
            path, body = f"{path}/position", {"source": "ip"}
        elif act.do is Do.PICK:
            path, body = f"{path}/store", {"store": act.store}
        else:
            path, body = f"{path}/events", {"event": act.event}
        answer = await self._ask("POST", path, json=body)
        return None if answer is None else _seen(answer.json())

    async def _open(self, visit: "_Visit") -> Seen | None:
        plan = visit.plan
        if plan.bot:
            # Crawlers come to the page: an app's own client is no crawler.
            params = {"p": plan.placement} if plan.placement else {}
            headers = {"User-Agent": plan.user_agent}
            answer = await self._ask("GET", f"/q/{self._run.entry}", params=params, headers=headers)
            self._client.cookies.clear()
            return None if answer is None else Seen(Outcome.UNSERVED)
        body = {"entry": self._run.entry, "placement": plan.placement}
        headers = {"X-Visitor": f"{self._name}-{plan.number}", "User-Agent": plan.user_agent}
        answer = await self._ask("POST", "/api/v1/scans", json=body, headers=headers)
        if answer is None:
            return None
        visit.scan_id = answer.json()["scan_id"]
        now = await self._ask("GET", f"/api/v1/scans/{visit.scan_id}")
        return None if now is None else _seen(now.json())

    def _count(self, visit: "_Visit", act: Act, seen: Seen) -> None:
        told = self._told
        if act.do is Do.OPEN:
            told.bots += visit.plan.bot
            told.scans += not visit.plan.bot
        visit.once("located", act.do in (Do.POSITION, Do.PICK), told)
        visit.once("denied", act.event is Event.DENIED, told)
        visit.once("shown", seen.outcome is Outcome.CODE, told)
        visit.once("joined", act.event in (Event.PRESSED, Event.JOINED), told)
        visit.once("reported", act.event is Event.JOINED, told)
        complaint = act.event in (Event.FULL, Event.EXPIRED, Event.BROKEN)
        visit.once("complained", complaint, told)

    async def _ask(self, method: str, path: str, **sent: Any) -> httpx.Response | None:
        """One request, again if the service asks for patience; None if nothing comes of it."""
        for number in range(_TRIES):
            started = time.perf_counter()
            try:
                answer = await self._client.request(method, path, **sent)
            except httpx.TransportError as error:
                self._told.errors[type(error).__name__] += 1
            else:
                self._told.seconds.append(time.perf_counter() - started)
                if answer.is_success:
                    return answer
                self._told.errors[str(answer.status_code)] += 1
                if answer.status_code != 503:
                    return None
            if await self._stops_within(0.2 * 2**number):
                return None
        return None

    # What HQ's systems do

    async def settle(self) -> None:
        """Some of the new members leave, some buy: told by the chain's own systems."""
        if self._run.key is None or not self._joined:
            return
        headers = {"Authorization": f"Bearer {self._run.key}"}
        by_scan = {
            row["scan_id"]: row["join_id"]
            async for row in _list(
                self._client, "/api/v1/joins", "joins", headers, since=self._began.isoformat()
            )
        }
        orders = []
        for scan_id, number in self._joined:
            join_id = by_scan.get(scan_id)
            if join_id is None:
                continue  # they had joined before
            if crowd.share_of(self._run.seed, number, "leaves") < self._run.leaves:
                path = f"/api/v1/joins/{join_id}/left"
                left = await self._ask("POST", path, headers=headers)
                self._told.left += left is not None
            if crowd.share_of(self._run.seed, number, "buys") < self._run.buys:
                orders.append(self._order(scan_id, number))
        for start in range(0, len(orders), _ORDERS_AT_ONCE):
            batch = {"orders": orders[start : start + _ORDERS_AT_ONCE]}
            answer = await self._ask("POST", "/api/v1/orders", json=batch, headers=headers)
            self._told.orders += 0 if answer is None else answer.json()["accepted"]

    def _order(self, scan_id: str, number: int) -> dict[str, Any]:
        costs = crowd.share_of(self._run.seed, number, "costs")
        return {
            "order": f"{self._name}-{number}",
            "at": datetime.now(UTC).isoformat(),
            "amount": f"{buyers.price(0.5 + 2 * costs)}",
            "scan_id": scan_id,
        }


@dataclass(slots=True)
class _Visit:
    plan: Plan
    scan_id: str = ""
    counted: set[str] = field(default_factory=set)

    @property
    def joined(self) -> bool:
        return "joined" in self.counted

    def once(self, what: str, happened: bool, figures: Figures) -> None:
        """Count it, the first time that it happens to this visitor."""
        if happened and what not in self.counted:
            self.counted.add(what)
            setattr(figures, what, getattr(figures, what) + 1)


def _seen(routing: dict[str, Any]) -> Seen:
    return Seen(
        Outcome(routing["outcome"]), tuple(choice["store"] for choice in routing["choices"])
    )


def _places(rows: Iterable[dict[str, Any]]) -> list[crowd.Place]:
    places = [
        crowd.Place(row["store"], Point(row["lon"], row["lat"]), None, row["city"]) for row in rows
    ]
    if not places:
        raise errors.BadInput.of("--entry", "there is no store that a crowd could go to")
    return places


# ---------------------------------------------------------------- asking


@asynccontextmanager
async def _client(run: Run, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    # As many at once as come; no proxy of the environment stands between.
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=200)
    async with httpx.AsyncClient(
        base_url=run.base_url, timeout=_TIMEOUT_S, limits=limits, trust_env=False
    ) as client:
        if key is not None:
            client.headers["Authorization"] = f"Bearer {key}"
        yield client


async def _get(
    client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None, **params: Any
) -> dict[str, Any]:
    """Raises `errors.BadInput` for what the service refuses, `errors.Unavailable`."""
    try:
        answer = await client.get(path, params=params, headers=headers)
    except httpx.TransportError as error:
        raise errors.Unavailable(f"{client.base_url} does not answer: {error}") from error
    if not answer.is_success:
        raise errors.BadInput.of(path, f"{answer.status_code}: {answer.text[:200]}")
    found: dict[str, Any] = answer.json()
    return found


async def _list(
    client: httpx.AsyncClient,
    path: str,
    noun: str,
    headers: dict[str, str] | None = None,
    **params: Any,
) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        asked = {"limit": _PAGE, **params, **({"cursor": cursor} if cursor else {})}
        found = await _get(client, path, headers, **asked)
        for row in found[noun]:
            yield row
        cursor = found["next"]
        if cursor is None:
            return
