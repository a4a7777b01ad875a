"""An outage: while the database is away, visitors are shown the codes as last known.

No seat is taken, none is promised: how many will fit is only known again when the database is back.
What visitors do is spooled, and then written as it happened.
"""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import Callable
from datetime import datetime

from pydantic import TypeAdapter

from geo.point import Point
from service import errors
from service.directory import Directory
from service.domain import Code, Event, Fix, HoldState, Outcome, Routing, Scan
from service.spool import Spool
from service.steps import hold, locate
from service.steps.scan import Opening
from service.visits import COMPLAINTS, EVIDENCE, Decisions, Visit, Visitor
from service.writing import Key, key_of


@dataclasses.dataclass(slots=True)
class Record:
    """One visit, as it is spooled: what happened, and what was answered."""

    at: datetime
    scan: Scan
    opening: Opening | None = None
    fix: Fix | None = None
    routing: Routing | None = None
    event: Event | None = None
    # What the event is about.
    shown: Routing | None = None

    def decide(self, visit: Visit, directory: Directory) -> None:
        """Let it have happened now: without a new seat, but as evidence or a complaint.

        A seat that the visitor was given since is none of its business.
        """
        visitor = visit.visitor
        visit.now, visit.fix, visit.routing = self.at, self.fix, self.routing
        shown = self.shown
        code = directory.codes.get(shown.code_id) if shown and shown.code_id else None
        if visitor.held_at is None or visitor.held_at <= self.at:
            self._move_on(visit, code)
        if self.event in COMPLAINTS and code is not None:
            visit.complaint, visit.about = self.event, code
        elif self.event in EVIDENCE and code is not None and shown is not None:
            visit.witness(EVIDENCE[self.event], shown, code)
        elif self.event is Event.DENIED:
            visit.complaint = self.event

    def _move_on(self, visit: Visit, told_of: Code | None) -> None:
        """Whoever was shown another code, or said that theirs does not work, keeps no seat of it
        from others."""
        had = visit.visitor.seat
        if had is None:
            return
        moved = self.routing is not None and self.routing.code_id not in (None, had.code_id)
        refused = (
            self.event in COMPLAINTS and told_of is not None and told_of.code_id == had.code_id
        )
        if refused or (moved and had.state is HoldState.HELD):
            visit.forgets = True
            visit.let_go()


_records = TypeAdapter(Record)


def dump(record: Record) -> bytes:
    return _records.dump_json(record)


def parse(record: bytes) -> Record:
    """Raises `ValueError` for what no version of this program has written."""
    return _records.validate_json(record)


@dataclasses.dataclass(slots=True)
class _Known:
    """What one visitor did since the database went away; their requests take turns."""

    standing: locate.Standing | None = None
    reported: frozenset[uuid.UUID] = frozenset()
    turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class Outage:
    """One worker's visitors while the database is away.

    What they did at other workers of this machine is found in the spool.
    """

    def __init__(self, directory: Directory, spool: Spool) -> None:
        self.spool = spool
        self._directory = directory
        self._known: dict[Key, _Known] = {}

    def begin(self) -> None:
        self._known.clear()

    def has_joined(self, scan_id: uuid.UUID) -> bool:
        """Whether its visitor has said so since the database went away."""
        return any(record.event is Event.JOINED for record in self._history(scan_id))

    def standing(self, scanned: Scan) -> Fix | None:
        known = self._known.get(key_of(scanned))
        return locate.standing(_standing(known, self._history(scanned.scan_id)))

    def find(self, scan_id: uuid.UUID) -> Record | None:
        """The latest of a scan that was spooled by whichever worker of this machine, with the
        routing that the scan had then."""
        history = self._history(scan_id)
        if not history:
            return None
        return dataclasses.replace(history[-1], routing=next(iter(_routings(history)[-1:]), None))

    def routings(self, scan_id: uuid.UUID, remembered: list[Routing]) -> list[Routing]:
        """A scan's decisions: those that this worker remembers, and then, as the last one at the
        latest, what was decided since the database went away."""
        return [*remembered, *_routings(self._history(scan_id))]

    async def visit(
        self,
        scanned: Scan,
        opening: Opening | None,
        remembered: Decisions,
        now: datetime,
        decide: Callable[[Visit], None],
    ) -> Visit:
        """Decide a visit from memory, at the database's time as far as it is known, and spool it.
        Raises what `decide` raises, and `errors.Unavailable` if it cannot be kept."""
        known = self._known.setdefault(key_of(scanned), _Known())
        async with known.turn:
            history = self._history(scanned.scan_id)
            reported = known.reported.union(
                record.shown.code_id
                for record in history
                if record.event in COMPLAINTS and record.shown and record.shown.code_id
            )
            so_far = Decisions(
                [*remembered.routings, *_routings(history)],
                max((record.at for record in history), default=remembered.last_at),
            )
            visit = Visit(
                scan=scanned,
                entry=self._directory.entries[scanned.entry],
                visitor=Visitor(
                    revision=-1,
                    seat=_seat(so_far.routings, now),
                    standing=_standing(known, history),
                    reported=reported,
                ),
                so_far=so_far,
                now=now,
            )
            try:
                decide(visit)
            except errors.Conflict as error:
                # A code may have been shown that only the database knows of.
                raise errors.Unavailable("The database does not answer") from error
            if visit.ask is not None:
                visit.routing = visit.ask.routing(None, None)
            if visit.routing is None and visit.before is None:
                raise errors.Unavailable("The database does not answer")
            record = _record(visit, opening)
            await self.spool.keep(scanned.scan_id.hex.encode(), dump(record))
            if visit.fix is not None:
                known.standing = locate.stands(visit.fix, visit.now) or known.standing
            if visit.about is not None:
                known.reported |= {visit.about.code_id}
            return visit

    def _history(self, scan_id: uuid.UUID) -> list[Record]:
        """What was spooled of a scan, oldest first."""
        history = []
        for text in self.spool.find(scan_id.hex.encode()):
            # Another version's: it may know what it means when it writes it.
            with contextlib.suppress(ValueError):
                history.append(parse(text))
        return sorted(history, key=lambda record: record.at)


def _routings(history: list[Record]) -> list[Routing]:
    """The decisions; where there are none, those that the visitor had been shown before."""
    decided = [record.routing for record in history if record.routing]
    return decided or [record.shown for record in history if record.shown]


def _record(visit: Visit, opening: Opening | None) -> Record:
    event, shown = visit.complaint, visit.before
    if visit.joining is not None:
        told = {evidence: event for event, evidence in EVIDENCE.items()}
        event, shown = told[visit.joining.evidence], visit.joining.shown
    return Record(
        at=visit.now,
        scan=visit.scan,
        opening=opening,
        fix=_coarse(visit.fix) if visit.fix else None,
        routing=_coarse_routing(visit.routing) if visit.routing else None,
        event=event,
        shown=_coarse_routing(shown) if event and shown else None,
    )


def _standing(known: _Known | None, history: list[Record]) -> locate.Standing | None:
    """Where a visitor was last seen: exactly, if it was this worker that saw them."""
    if known is not None and known.standing is not None:
        return known.standing
    seen = (locate.stands(record.fix, record.at) for record in reversed(history) if record.fix)
    return next(filter(None, seen), None)


def _seat(routings: list[Routing], now: datetime) -> hold.Hold | None:
    """What the visitor was shown last stands for the seat that cannot be looked up."""
    last = routings[-1] if routings else None
    if last is None or last.outcome is not Outcome.CODE or last.code_id is None:
        return None
    nobody = uuid.UUID(int=0)
    return hold.Hold(
        last.hold_id or nobody, last.scan_id or nobody, last.code_id, HoldState.JOINED, now
    )


def _coarse(fix: Fix) -> Fix:
    """The fix as it is kept: no exact position goes to the disk."""
    point = Point(
        round(fix.point.lon, locate.COARSE_DECIMALS), round(fix.point.lat, locate.COARSE_DECIMALS)
    )
    return dataclasses.replace(fix, point=point)


def _coarse_routing(routing: Routing) -> Routing:
    located = routing.located
    if isinstance(located, Fix):
        located = _coarse(located)
    return dataclasses.replace(routing, located=located)
