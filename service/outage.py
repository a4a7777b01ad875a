"""An outage: while the database is away, visitors are shown the codes as last known.

No seat is taken, none is promised: how many will fit is only known again when the database is back.
What visitors do is spooled, and then written as it happened.
"""

import dataclasses
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import TypeAdapter

from geo.point import Point
from service.directory import Directory
from service.domain import Event, Evidence, Fix, HoldState, Outcome, Routing, Scan
from service.spool import Spool
from service.steps import hold, locate
from service.steps.scan import Opening
from service.visits import COMPLAINTS, EVIDENCE, Visit, Visitor

Key = tuple[uuid.UUID, uuid.UUID, str]


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
        """Let it have happened now: without a new seat, but as evidence or a complaint."""
        visit.now, visit.fix, visit.routing = self.at, self.fix, self.routing
        if self.event is None:
            return
        code = (
            directory.codes.get(self.shown.code_id) if self.shown and self.shown.code_id else None
        )
        if self.event in COMPLAINTS and code is not None:
            visit.complaint, visit.about = self.event, code
            had = visit.visitor.seat
            if had is not None and had.code_id == code.code_id:
                visit.forgets = True
                visit.let_go()
        elif self.event in EVIDENCE and code is not None and self.shown is not None:
            visit.witness(EVIDENCE[self.event], self.shown, code)
        elif self.event is Event.DENIED:
            visit.complaint = self.event


_records = TypeAdapter(Record)


def parse(record: bytes) -> Record:
    """Raises `ValueError` for what no version of this program has written."""
    return _records.validate_json(record)


@dataclasses.dataclass(slots=True)
class _Known:
    """What one visitor did since the database went away."""

    standing: locate.Standing | None = None
    reported: frozenset[uuid.UUID] = frozenset()


class Outage:
    """One worker's visitors while the database is away."""

    def __init__(self, directory: Directory, spool: Spool) -> None:
        self.spool = spool
        self._directory = directory
        self._known: dict[Key, _Known] = {}
        self._joined: set[uuid.UUID] = set()

    def begin(self) -> None:
        self._known.clear()
        self._joined.clear()

    def has_joined(self, scan_id: uuid.UUID) -> bool:
        """Whether its visitor has said so since the database went away."""
        return scan_id in self._joined

    def standing(self, scanned: Scan) -> Fix | None:
        known = self._known.get(_key(scanned))
        return locate.standing(known.standing) if known else None

    def find(self, scan_id: uuid.UUID) -> Record | None:
        """The latest of a scan that was spooled by whichever worker of this machine."""
        found = None
        for text in self.spool.find(str(scan_id).encode()):
            record = parse(text)
            if record.scan.scan_id == scan_id and (found is None or record.at >= found.at):
                found = record
        return found

    async def visit(
        self,
        scanned: Scan,
        opening: Opening | None,
        routings: list[Routing],
        decide: Callable[[Visit], None],
    ) -> Visit:
        """Decide a visit from memory, and spool it. Raises what `decide` raises, and
        `errors.Unavailable` if it cannot be kept."""
        known = self._known.setdefault(_key(scanned), _Known())
        now = datetime.now(UTC)
        visit = Visit(
            scan=scanned,
            entry=self._directory.entries[scanned.entry],
            visitor=Visitor(
                revision=-1,
                seat=_seat(routings, now),
                standing=known.standing,
                reported=known.reported,
            ),
            routings=routings,
            now=now,
        )
        decide(visit)
        if visit.ask is not None:
            visit.routing = visit.ask.routing(None, None)
        visit.answer  # noqa: B018 (there must be one)
        event = visit.complaint
        shown = visit.before
        if visit.joining is not None:
            told = {evidence: event for event, evidence in EVIDENCE.items()}
            event, shown = told[visit.joining.evidence], visit.joining.shown
        record = Record(
            at=now,
            scan=scanned,
            opening=opening,
            fix=_coarse(visit.fix) if visit.fix else None,
            routing=_coarse_routing(visit.routing) if visit.routing else None,
            event=event,
            shown=_coarse_routing(shown) if event and shown else None,
        )
        await self.spool.keep(_records.dump_json(record))
        if visit.fix is not None:
            known.standing = locate.stands(visit.fix, now) or known.standing
        if visit.about is not None:
            known.reported |= {visit.about.code_id}
        if visit.joining is not None and visit.joining.evidence is not Evidence.PRESSED:
            self._joined.add(scanned.scan_id)
        return visit


def _key(scanned: Scan) -> Key:
    return scanned.chain_id, scanned.visitor_id, scanned.entry


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
