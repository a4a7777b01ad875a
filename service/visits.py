"""Visits: what becomes of one visitor's request. It decides, and writes nothing.

```
open    scan  -> the seat they already have, if they were here before
locate  fix   -> route -> hold -> show
choose  store -> route -> hold -> show
tell    evidence -> join;  complaint -> the next code
```

The journal locks the visitor, lets one of these decide on a `Visit`, and writes what it then says:
many visits in one transaction. A seat is only asked for here; PostgreSQL grants it. If it does not,
the visit is decided anew.
"""

import dataclasses
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from service import errors
from service.allowance import Budget
from service.directory import Directory
from service.domain import (
    Code,
    Entry,
    Event,
    Evidence,
    Fix,
    HoldState,
    Outcome,
    Reason,
    Routing,
    Scan,
    Source,
)
from service.settings import Settings
from service.steps import hold, locate, route
from service.steps.scan import Opening

COMPLAINTS = (Event.FULL, Event.EXPIRED, Event.BROKEN)
EVIDENCE = {Event.PRESSED: Evidence.PRESSED, Event.JOINED: Evidence.REPORTED}
_TICK = timedelta(microseconds=1)  # what PostgreSQL's times are kept to


@dataclasses.dataclass(slots=True)
class Visitor:
    """What their locked row says: the last seat they had, where they stand, what failed them."""

    revision: int
    seat: hold.Hold | None = None
    # When they were given that seat.
    held_at: datetime | None = None
    standing: locate.Standing | None = None
    reported: frozenset[uuid.UUID] = frozenset()

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to say of them."""
        return self.seat is None and self.standing is None and not self.reported


@dataclasses.dataclass(slots=True)
class Decisions:
    """A scan's decisions so far, oldest first, and when the last of them was made.

    They are kept in the order of their times, and no two clocks agree (workers' with the
    database's, a transaction's with that of the one that it waited for): so a decision is never
    made before the last one was.
    """

    routings: list[Routing] = dataclasses.field(default_factory=list)
    last_at: datetime | None = None

    def add(self, routing: Routing, at: datetime) -> None:
        self.routings.append(routing)
        self.last_at = at

    def after(self, now: datetime) -> datetime:
        """`now`, or if that was earlier than the last decision, just after it."""
        return now if self.last_at is None else max(now, self.last_at + _TICK)


@dataclasses.dataclass(slots=True)
class Ask:
    """A seat of `code`; `routing` is the answer if it is granted, from the hold's id and end."""

    code: Code
    routing: Callable[[uuid.UUID | None, datetime | None], Routing]


@dataclasses.dataclass(slots=True)
class Joining:
    """Evidence that the visitor of `shown` joined `code`; whether it counts as membership, and the
    seat that it is about: None if they were shown the code without one, in an outage."""

    evidence: Evidence
    shown: Routing
    code: Code
    counts: bool
    hold_id: uuid.UUID | None


@dataclasses.dataclass(slots=True, eq=False)
class Visit:
    """One request's turn; `so_far` has been decided about its scan."""

    scan: Scan
    entry: Entry
    visitor: Visitor
    so_far: Decisions
    now: datetime
    opening: Opening | None = None  # of a scan that is new
    budget: Budget | None = None  # None: no seat is granted
    refused: frozenset[uuid.UUID] = frozenset()  # the codes that had no seat for it just now

    # What it changes
    fix: Fix | None = None
    complaint: Event | None = None
    about: Code | None = None  # what the complaint is about
    joining: Joining | None = None
    ask: Ask | None = None
    gives_up: hold.Hold | None = None  # the seat that is let go
    forgets: bool = False  # the visitor comes back to nothing
    routing: Routing | None = None  # the new decision, if there is one

    # What came of it, by the journal
    taken: hold.Hold | None = None  # the seat that was granted
    joined: bool = False  # a member more
    walked_in: hold.Hold | None = None  # a member's seat that was never held
    freed: bool = False  # the seat that it gives up was still held
    changed: bool = False  # what is remembered of the visitor

    def __post_init__(self) -> None:
        self.now = self.so_far.after(self.now)

    @property
    def before(self) -> Routing | None:
        """The scan's routing as it stands."""
        return self.so_far.routings[-1] if self.so_far.routings else None

    @property
    def answer(self) -> Routing:
        """The scan's routing as it then stands. Raises `errors.NotFound` if it never had one."""
        routing = self.routing or self.before
        if routing is None:
            raise errors.NotFound("This scan has no routing")
        return routing

    def may_hold(self) -> bool:
        """Whether one more seat may be asked for; who has one moves, and takes none more."""
        had = self.visitor.seat
        moves = had is not None and had.state is HoldState.HELD
        return moves or self.budget is None or self.budget.take(self.scan)

    def witness(self, evidence: Evidence, shown: Routing, code: Code) -> None:
        """There is evidence that the visitor joined the code that they were shown."""
        had, hold_id = self.visitor.seat, shown.hold_id
        if hold_id is None and had is not None and had.code_id == code.code_id:
            hold_id = had.hold_id
        counts = evidence.counts_for(code.counted_by)
        self.joining = Joining(evidence, shown, code, counts, hold_id)

    def let_go(self) -> None:
        """Free the seat that the visitor has, if they have one."""
        had = self.visitor.seat
        if had is not None and had.state is HoldState.HELD:
            self.gives_up = had


def rules(settings: Settings) -> route.Rules:
    return route.Rules(
        radius_m=settings.radius_m,
        trusted_accuracy_m=settings.trusted_accuracy_m,
        max_choices=settings.max_choices,
        max_hops=settings.max_hops,
    )


class Visits:
    """How visits are decided, from what a worker knows."""

    def __init__(self, directory: Directory, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._rules = rules(settings)

    def open(self, visit: Visit) -> None:
        """Who was here before gets their code at once; the others are asked where they are."""
        if not self._seat_again(visit):
            visit.routing = self._ask_where(visit.scan, self.options(visit.entry, None, visit.now))

    def locate(self, visit: Visit, fix: Fix | None) -> None:
        """To the nearest store with a free seat; `fix` None: nobody knows where they are."""
        visit.fix = fix
        if not self._seat_again(visit, fix):
            self._seat(visit, self.options(visit.entry, fix, visit.now))

    def choose(self, visit: Visit, store: str) -> None:
        """To the store that they picked, or to the next one if it has no seat.

        Raises `errors.NotFound` if the entry has no such store.
        """
        picked = self._directory.chains[visit.scan.chain_id].stores.get(store)
        if picked is None or picked.status == "deleted":
            raise errors.NotFound(f"There is no store {store}")
        visit.fix = locate.by_choice(picked)
        if not self._seat_again(visit, visit.fix, only_store=store):
            self._seat(visit, self._around(visit, visit.fix, store))

    def tell(self, visit: Visit, event: Event, about: uuid.UUID | None = None) -> None:
        """What the visitor's page tells of the code that it shows.

        `about` is that code, where the page says it: a complaint that comes twice says nothing of
        the code that was shown after the first. Raises `errors.Conflict` if the scan has not been
        shown a code that this could be about.
        """
        if event is Event.DENIED:
            visit.complaint = event
            return
        shown = visit.before
        if about is not None:
            told = (
                routing for routing in reversed(visit.so_far.routings) if routing.code_id == about
            )
            shown = next(told, None)
        code = self._directory.codes.get(shown.code_id) if shown and shown.code_id else None
        if shown is None or code is None:
            raise errors.Conflict("No code has been shown to this scan")
        if event not in COMPLAINTS:
            visit.witness(EVIDENCE[event], shown, code)
            return
        had = visit.visitor.seat
        if had is not None and had.code_id != code.code_id:
            # They have been shown another since: that one, then.
            if code.code_id not in visit.visitor.reported:
                visit.complaint, visit.about = event, code
            if not self._seat_again(visit):
                self._seat(visit, self._elsewhere(visit, shown))
            return
        visit.complaint, visit.about, visit.forgets = event, code, True
        visit.let_go()
        self._seat(visit, self._elsewhere(visit, shown))

    def options(
        self,
        entry: Entry,
        fix: Fix | None,
        now: datetime,
        *,
        chosen: str | None = None,
        standing: Fix | None = None,
    ) -> route.Route:
        return route.Route(
            directory=self._directory,
            entry=entry,
            rules=self._rules,
            now=now,
            fix=fix,
            chosen=chosen,
            standing=standing.point if standing else None,
        )

    # Seats

    def _seat(self, visit: Visit, options: route.Route) -> None:
        """The first code on the way; a seat that the visitor had before is freed for it."""
        scan = visit.scan
        if scan.bot is not None:
            visit.routing = self._ask_where(scan, options)
            return
        options.reported, options.refused = visit.visitor.reported, visit.refused
        if visit.about is not None:
            options.reported |= {visit.about.code_id}
        if doubt := options.doubt():
            visit.routing = Routing(
                scan.scan_id, Outcome.CHOOSE, doubt.reason, options.fix, choices=doubt.choices
            )
            return
        walk = options.walk()
        shown = next(iter(walk), None)
        if shown is None:
            visit.routing = walk.routing(scan.scan_id, None)
            return
        if not visit.may_hold():
            visit.routing = Routing(
                scan.scan_id, Outcome.UNSERVED, Reason.ADDRESS_LIMIT, options.fix
            )
            return
        visit.let_go()
        visit.ask = Ask(
            shown.code,
            lambda hold_id, held_until: walk.routing(
                scan.scan_id, shown, hold_id=hold_id, held_until=held_until
            ),
        )

    def _seat_again(
        self, visit: Visit, fix: Fix | None = None, *, only_store: str | None = None
    ) -> bool:
        """The code that the visitor was shown before, while it can serve them.

        Within `sticky_days`; a seat that has expired is taken again if there is one.
        """
        scan, visitor, now = visit.scan, visit.visitor, visit.now
        had = visitor.seat
        code = self._directory.codes.get(had.code_id) if had else None
        if had is None or code is None or scan.bot is not None:
            return False
        chain = self._directory.chains[scan.chain_id]
        if not chain.still_serves(code, now):
            visit.let_go()
            return False
        store = chain.stores.get(code.store) if code.store else None
        if only_store is not None and code.store != only_store:
            return False
        sticky = timedelta(days=self._settings.sticky_days)
        if sticky and visitor.held_at is not None and visitor.held_at < now - sticky:
            return False
        if code.code_id in visitor.reported or code.code_id in visit.refused:
            return False
        before = visit.before
        if (
            before is not None
            and before.code_id == code.code_id
            and before.hold_id in (had.hold_id, None)
            and had.has_seat(now)
        ):
            return True  # the same scan asks again: the same answer
        seen = fix or locate.standing(visitor.standing)
        metres = None
        if store is not None and seen is not None and seen.source is not Source.IP:
            metres = locate.metres_to(seen, store)
        reason = Reason.CHOSEN if only_store else Reason.RETURNING

        def routing(hold_id: uuid.UUID | None, held_until: datetime | None) -> Routing:
            return Routing(
                scan.scan_id,
                Outcome.CODE,
                reason,
                seen,
                store=code.store,
                distance_m=metres,
                code_id=code.code_id,
                hold_id=hold_id,
                held_until=held_until,
            )

        if had.has_seat(now):
            visit.routing = routing(had.hold_id, had.held_until)
            return True
        if code.skipped(now) is not None or not visit.may_hold():
            return False
        visit.let_go()
        visit.ask = Ask(code, routing)
        return True

    def _ask_where(self, scan: Scan, options: route.Route) -> Routing:
        """The routing of a visitor of whom nothing is known, or of a program: no seat is taken."""
        doubt = dataclasses.replace(options, fix=None, chosen=None).doubt()
        return Routing(
            scan.scan_id,
            Outcome.CHOOSE if doubt else Outcome.UNSERVED,
            Reason.POSITION_NEEDED,
            options.fix,
            choices=doubt.choices if doubt else (),
        )

    def _elsewhere(self, visit: Visit, shown: Routing) -> route.Route:
        """The route of a visitor whose code does not work: the same place, without that code."""
        chain = self._directory.chains[visit.scan.chain_id]
        store = chain.stores.get(shown.store) if shown.store else None
        fix = locate.standing(visit.visitor.standing)
        vague = fix is None or fix.source is Source.IP or shown.reason is Reason.CHOSEN
        if store is not None and vague:
            # They were shown this store's code: its neighbours are where to go on.
            return self._around(visit, locate.by_choice(store), store.store)
        return self.options(visit.entry, fix, visit.now)

    def _around(self, visit: Visit, fix: Fix, store: str) -> route.Route:
        """That store and its neighbours, as seen from where the visitor stands if that is known."""
        standing = locate.standing(visit.visitor.standing)
        exact = standing is not None and standing.source is not Source.IP
        return self.options(
            visit.entry, fix, visit.now, chosen=store, standing=standing if exact else None
        )
