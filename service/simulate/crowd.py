"""Who comes, when, to which store, and what they do there. Pure: the same seed, the same crowd.

What visitors do is told as a conversation: `behave` yields acts and is sent what the visitor then
sees. Who carries them out, by HTTP or in the past, is not known here.
"""

import bisect
import csv
import hashlib
import itertools
import math
import random
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum, auto
from functools import cache
from importlib import resources

from geo.point import Point
from service.domain import Event, Outcome


@dataclass(frozen=True, slots=True)
class Habits:
    """Shares of the crowd, from 0 to 1. Half of a direct code's visitors join: 48 %, measured in
    the field."""

    bots: float = 0.03
    refuses: float = 0.16  # says no when asked for their position
    by_ip: float = 0.05  # has no position to give: located by IP alone
    picks: float = 0.72  # of those who are shown a list: picks a store from it
    joins: float = 0.48  # of those who are shown a code
    reports: float = 0.35  # of those who join: says so to the page
    late: float = 0.015  # of those who join: long after their seat ran out
    complains: float = 0.008  # of those who are shown a code
    returns: float = 0.12  # has scanned before
    far: float = 0.05  # scans far away from every store
    unknown_placement: float = 0.003
    # How much stores and variants differ in what becomes of a visitor; 0: not at all.
    spread: float = 0.16


@dataclass(frozen=True, slots=True)
class Place:
    """A store, as far as the crowd knows it."""

    store: str
    point: Point
    province: str | None = None
    city: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """A placement, as far as the crowd sees it."""

    placement: str
    channel: str
    store: str | None = None
    printed: int | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One scan and what its visitor is minded to do, whatever they will be shown."""

    number: int  # of the visitor
    at: datetime
    home: Place  # near which they stand, if not far away
    placement: str | None
    user_agent: str
    bot: bool
    refuses: bool
    by_ip: bool
    point: Point  # as their phone has it
    accuracy_m: float
    picks: bool
    pick: int  # which of those on the list
    joins: bool
    reports: bool
    late: bool
    complaint: Event | None
    pauses_s: tuple[float, ...]  # before their acts, one after the other


class Do(Enum):
    OPEN = auto()
    POSITION = auto()  # tell where they are
    IP = auto()  # be located by IP
    PICK = auto()  # a store
    TELL = auto()  # an event


@dataclass(frozen=True, slots=True)
class Act:
    do: Do
    pause_s: float = 0.0  # before it
    event: Event | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page then shows."""

    outcome: Outcome
    choices: tuple[str, ...] = ()


def behave(plan: Plan, hold_s: float) -> Generator[Act, Seen, None]:
    """A visitor's acts, in order. `hold_s`: how long a seat is kept, which late ones let pass."""
    pauses = itertools.cycle(plan.pauses_s)
    seen = yield Act(Do.OPEN)
    if plan.bot:
        return
    if seen.outcome is not Outcome.CODE:
        if plan.refuses:
            yield Act(Do.TELL, next(pauses), Event.DENIED)
            seen = yield Act(Do.IP, 0.5)
        elif plan.by_ip:
            seen = yield Act(Do.IP, next(pauses))
        else:
            seen = yield Act(Do.POSITION, next(pauses))
        if seen.outcome is not Outcome.CODE and plan.picks:
            if seen.choices:
                store = seen.choices[plan.pick % len(seen.choices)]
                seen = yield Act(Do.PICK, next(pauses), store=store)
            elif plan.refuses or plan.by_ip:
                seen = yield Act(Do.PICK, 2 * next(pauses), store=plan.home.store)
    if seen.outcome is not Outcome.CODE:
        return
    if plan.complaint is not None:
        seen = yield Act(Do.TELL, 2 * next(pauses), plan.complaint)
        if seen.outcome is not Outcome.CODE:
            return
    if not plan.joins:
        return
    wait_s = hold_s + 60 if plan.late else 0.0
    yield Act(Do.TELL, wait_s + next(pauses), Event.PRESSED)
    if plan.reports:
        yield Act(Do.TELL, next(pauses), Event.JOINED)


# ---------------------------------------------------------------- where, when and how

# Scans by hour of a shop's day: before work, lunch, tea, and the evening.
_HOURS = (
    2, 1, 0.5, 0.3, 0.3, 1, 4, 12, 22, 26, 34, 52,
    78, 62, 50, 58, 56, 54, 66, 72, 64, 44, 22, 8,
)  # fmt: skip
_WEEK = (0.90, 0.88, 0.92, 0.96, 1.08, 1.22, 1.12)  # Monday first
_CHANNELS = {
    "poster": 3.0, "table_card": 2.2, "package_card": 1.6, "receipt": 0.8, "sms": 0.6,
    "online_ad": 1.0,
}  # fmt: skip

_PEOPLE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.54(0x18003631) NetType/WIFI"
    " Language/zh_CN",
    "Mozilla/5.0 (Linux; Android 14; V2324A Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML,"
    " like Gecko) Version/4.0 Chrome/130.0.6723.103 Mobile Safari/537.36 MicroMessenger/8.0.56.2800"
    " WeChat/arm64 Weixin NetType/5G Language/zh_CN ABI/arm64",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; U; Android 13; zh-CN; 23013RK75C) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Version/4.0 Chrome/100.0.4896.58 UCBrowser/15.5.8 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Mobile/15E148 AliApp(AP/10.6.20) AlipayClient/10.6.20 Language/zh-Hans",
)
_PEOPLE_SHARES = (46, 86, 92, 96, 100)
_BOTS = (
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36"
    " (compatible; Bytespider; https://zhanzhang.toutiao.com/)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
_METRES_PER_DEGREE = 111_320.0
_MOST_A_DAY = 10_000_000


def visitor_id(seed: int, number: int) -> uuid.UUID:
    """The same visitor, the same id."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=16).digest()
    return uuid.UUID(bytes=digest, version=4)


def share_of(*what: object) -> float:
    """A number from 0 to below 1 that belongs to these alone."""
    digest = hashlib.blake2b("/".join(map(str, what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


class World:
    """Stores, placements and habits; the plans of a crowd among them.

    Stores are visited by a power law: a few have most of the visitors. Which ones is the seed's.
    """

    def __init__(
        self,
        places: Sequence[Place],
        posted: Sequence[Posted] = (),
        *,
        seed: int = 1,
        habits: Habits | None = None,
    ) -> None:
        if not places:
            raise ValueError("there is no store to go to")
        self.seed = seed
        self.habits = habits or Habits()
        self.places = sorted(places, key=lambda place: place.store)
        ranks = list(range(len(places)))
        random.Random(f"{seed}/ranks").shuffle(ranks)
        self._weights = [1 / (rank + 3) for rank in ranks]
        self._posted = sorted(posted, key=lambda each: each.placement)
        self._general = [each for each in self._posted if each.store is None]
        self._general_shares = list(itertools.accumulate(map(_reach, self._general)))
        self._at_store: dict[str, list[Posted]] = {}
        for each in self._posted:
            if each.store is not None:
                self._at_store.setdefault(each.store, []).append(each)
        self._appeal = self._appeals()
        self.far_places = _far_from(self.places)
        random.Random(f"{seed}/far").shuffle(self.far_places)
        self._far_shares = list(
            itertools.accumulate(1 / (rank + 2) for rank in range(len(self.far_places)))
        )

    def day(self, day: date, timezone: tzinfo, scans_a_day: int) -> list[Plan]:
        """A day's plans, by time; the day is one of `timezone`."""
        rng = random.Random(f"{self.seed}/{day}")
        count = self._count(day, scans_a_day)
        visits = _Visits(self, day, rng, timezone)
        midnight = datetime(day.year, day.month, day.day, tzinfo=timezone)
        after = midnight + timedelta(days=1)
        moments = []
        for hour in rng.choices(range(24), _HOURS, k=count):
            # By the wall clock: on days of 23 or 25 hours, too, lunch is at noon.
            wall = midnight.replace(hour=hour, minute=rng.randrange(60), second=rng.randrange(60))
            moment = wall.replace(microsecond=rng.randrange(1_000_000)).astimezone(UTC)
            if moment < after.astimezone(UTC):
                moments.append(moment)
        moments.sort()
        return [visits.plan(moment, place) for place, moment in enumerate(moments)]

    def crowd(self, start: datetime, rate: float, *, day_s: float | None = None) -> Iterator[Plan]:
        """Plans without end, `rate` a second on average from `start` on, as they come (Poisson).

        With `day_s` a day passes in so many seconds, from midnight on, with its hours: few come at
        night, most at noon and in the evening.
        """
        rng = random.Random(f"{self.seed}/crowd")
        visits = _Visits(self, start.date(), rng)
        moments = _evenly(start, rate, rng) if day_s is None else _hourly(start, rate, day_s, rng)
        for number, moment in enumerate(moments):
            yield visits.plan(moment, number)

    # What a day is like

    def _count(self, day: date, scans_a_day: int) -> int:
        rng = random.Random(f"{self.seed}/{day}/count")
        mean = scans_a_day * _WEEK[day.weekday()]
        mean *= 1 + 0.15 * math.sin(2 * math.pi * day.toordinal() / 91)
        if day.day <= 4:
            mean *= 1.3  # a campaign opens the month
        return max(0, min(_MOST_A_DAY, round(rng.gauss(mean, math.sqrt(mean)))))

    def cumulative(self, day: date) -> list[float]:
        """The stores' shares of a day's visitors, added up: some stores rise, others fall."""
        turn = day.toordinal() / 75
        return list(
            itertools.accumulate(
                weight * (1 + 0.35 * math.sin(2 * math.pi * (turn + share_of("turn", place.store))))
                for weight, place in zip(self._weights, self.places, strict=True)
            )
        )

    def trouble(self, day: date) -> tuple[Place, int] | None:
        """On some days a store's code does not work for some hours: which, and from what hour."""
        rng = random.Random(f"{self.seed}/{day}/trouble")
        if rng.random() >= 0.2:
            return None
        return rng.choices(self.places, self._weights)[0], rng.randrange(10, 19)

    def place_of(self, number: int, cumulative: list[float]) -> Place:
        """Where a visitor is at home: always the same, but for the days' ups and downs."""
        mark = share_of(self.seed, "home", number) * cumulative[-1]
        return self.places[min(bisect.bisect(cumulative, mark), len(self.places) - 1)]

    def joining(self, place: Place, posted: Posted | None) -> float:
        """How likely a visitor joins who is shown a code."""
        likely = self.habits.joins * self._appeal[place.store]
        if posted is not None and posted.variant is not None:
            # Of two variants one is better: the later letter, by luck of the draw of the seed.
            likely *= 1 + self.habits.spread * (share_of(self.seed, posted.variant) - 0.5)
        return min(0.97, likely)

    def _appeals(self) -> dict[str, float]:
        spread = self.habits.spread
        raw = {
            place.store: math.exp(
                random.Random(f"{self.seed}/{place.store}/appeal").gauss(0, spread)
            )
            for place in self.places
        }
        weighed = zip(self.places, self._weights, strict=True)
        mean = sum(weight * raw[place.store] for place, weight in weighed) / sum(self._weights)
        return {store: appeal / mean for store, appeal in raw.items()}

    # What a visitor finds

    def far_place(self, rng: random.Random) -> Point:
        """Some of what is sent out reaches the same few cities again and again."""
        return rng.choices(self.far_places, cum_weights=self._far_shares)[0]

    def posted_for(self, rng: random.Random, place: Place | None) -> Posted | None:
        here = self._at_store.get(place.store, ()) if place is not None else ()
        if here and rng.random() < 0.6:
            return rng.choice(here)
        if self._general and rng.random() < 0.9:
            return rng.choices(self._general, cum_weights=self._general_shares)[0]
        return None


def _reach(posted: Posted) -> float:
    return _CHANNELS.get(posted.channel, 1.0) * math.pow(1 + (posted.printed or 5000), 0.3)


class _Visits:
    """The plans of one day, drawn one after the other."""

    def __init__(
        self, world: World, day: date, rng: random.Random, timezone: tzinfo | None = None
    ) -> None:
        """`timezone`: of the day; None: they come one after the other, on no day."""
        self._world = world
        self._timezone = timezone
        self._habits = world.habits
        self._day = day
        self._rng = rng
        self._cumulative = world.cumulative(day)
        self._first = day.toordinal() * _MOST_A_DAY if timezone else 0
        self._trouble = world.trouble(day) if timezone else None

    def plan(self, moment: datetime, place: int) -> Plan:
        rng, habits = self._rng, self._habits
        number = self._number(place)
        home = self._world.place_of(number, self._cumulative)
        bot = rng.random() < habits.bots
        world = self._world
        far = rng.random() < habits.far and bool(world.far_places)
        around = home.point
        if far:
            around = world.far_place(rng)
        posted = world.posted_for(rng, None if far else home)
        placement = posted.placement if posted else None
        if rng.random() < habits.unknown_placement:
            placement = "poster-of-last-year"
        accuracy_m = min(3000.0, max(4.0, rng.lognormvariate(math.log(22), 0.9)))
        point = self._stand(around, 9000.0 if far else self._metres(), accuracy_m)
        agents, shares = (_BOTS, None) if bot else (_PEOPLE, _PEOPLE_SHARES)
        chance = rng.random()
        return Plan(
            number=number,
            at=moment,
            home=home,
            placement=placement,
            user_agent=rng.choices(agents, cum_weights=shares)[0],
            bot=bot,
            refuses=chance < habits.refuses,
            by_ip=habits.refuses <= chance < habits.refuses + habits.by_ip,
            point=point,
            accuracy_m=round(accuracy_m, 1),
            picks=rng.random() < habits.picks,
            pick=0 if rng.random() < 0.75 else 1,
            joins=rng.random() < world.joining(home, posted),
            reports=rng.random() < habits.reports,
            late=rng.random() < habits.late,
            complaint=self._complaint(moment, home),
            pauses_s=tuple(round(1 + rng.expovariate(1 / 6), 2) for _ in range(3)),
        )

    def _number(self, place: int) -> int:
        """Of the visitor: most are new, some have been here on an earlier day or a while ago."""
        rng = self._rng
        if rng.random() >= self._habits.returns:
            return self._first + place
        if self._timezone is None:
            return max(0, place - 1 - int(rng.expovariate(1 / 200)))
        days = 1 + int(rng.expovariate(1 / 9))
        return self._first - days * _MOST_A_DAY + rng.randrange(max(1, 1 + place))

    def _complaint(self, moment: datetime, home: Place) -> Event | None:
        rng = self._rng
        if self._trouble is not None and home == self._trouble[0]:
            hour = moment.astimezone(self._timezone).hour
            if 0 <= hour - self._trouble[1] < 3 and rng.random() < 0.7:
                return Event.BROKEN
        if rng.random() >= self._habits.complains:
            return None
        return rng.choices((Event.FULL, Event.EXPIRED, Event.BROKEN), (5, 3, 2))[0]

    def _metres(self) -> float:
        """How far from their store they stand: mostly in it, some on their way."""
        rng = self._rng
        if rng.random() < 0.68:
            return rng.expovariate(1 / 25)
        return min(6000.0, rng.expovariate(1 / 700))

    def _stand(self, around: Point, metres: float, accuracy_m: float) -> Point:
        """The position as a phone tells it: the true one, and its error. 95 % of errors lie within
        the accuracy, which is 2.45 standard deviations of each axis."""
        rng = self._rng
        angle, sigma = rng.uniform(0, 2 * math.pi), accuracy_m / 2.4477
        east = metres * math.cos(angle) + rng.gauss(0, sigma)
        north = metres * math.sin(angle) + rng.gauss(0, sigma)
        lat = max(-89.9, min(89.9, around.lat + north / _METRES_PER_DEGREE))
        wide = _METRES_PER_DEGREE * max(0.01, math.cos(math.radians(lat)))
        lon = (around.lon + east / wide + 180) % 360 - 180
        return Point(round(lon, 6), round(lat, 6))


@cache
def _seats() -> tuple[Point, ...]:
    """The seats of China's cities."""
    file = resources.files("geo") / "data" / "city_seats.csv"
    with file.open(encoding="utf-8") as lines:
        return tuple(Point(float(row["lon"]), float(row["lat"])) for row in csv.DictReader(lines))


def _far_from(places: Sequence[Place]) -> list[Point]:
    """Where people scan what was sent to them: cities in whose degree no store stands."""

    def degree(point: Point) -> tuple[int, int]:
        return round(point.lon), round(point.lat)

    taken = {degree(place.point) for place in places}
    return [seat for seat in _seats() if degree(seat) not in taken]


def _evenly(start: datetime, rate: float, rng: random.Random) -> Iterator[datetime]:
    while True:
        start += timedelta(seconds=rng.expovariate(rate))
        yield start


def _hourly(start: datetime, rate: float, day_s: float, rng: random.Random) -> Iterator[datetime]:
    """As many at any time as at the busiest hour, of which only the hour's share come."""
    most = max(_HOURS)
    for moment in _evenly(start, rate * most * len(_HOURS) / sum(_HOURS), rng):
        day_part = (moment - start).total_seconds() / day_s % 1
        if rng.random() * most < _HOURS[int(day_part * len(_HOURS))]:
            yield moment
