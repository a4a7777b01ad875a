"""A decision as a picture: the visitor, the stores around, and which of them was taken and why.

Pure: takes a route and its routing, gives SVG, or an HTML page around it. Nothing in them is
fetched from elsewhere and nothing is a script: they can be mailed, and print.

The projection is azimuthal equidistant about the visitor: on paper every place is in its true
direction from them and at its true geodesic distance, also at a pole and across 180 degrees.
"""

import functools
import heapq
import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import markupsafe
import numpy as np
import pyproj
import shapely
import shapely.affinity
from numpy.typing import NDArray

from geo import area
from geo.point import Point
from service import explanation
from service.domain import Routing, Source, Store
from service.explanation import Part, Row, Words
from service.steps.route import Route
from service.web import templating

MOST_OTHERS = 40
"""Stores drawn besides those of the decision."""

# The paper, in pixels: a title above the picture, a legend below it.
_WIDTH, _HEAD, _HEIGHT = 1000.0, 96.0, 620.0
_MARGIN = 12.0
_ROOM_X, _ROOM_Y = 120.0, 64.0  # kept free for labels around what must be seen
_LINE = 20.0

# Metres: below this, a picture would show nothing but its own accuracy.
_LEAST_M = 60.0
_FARTHEST_M = 20_003_931.0
# How much smaller the picture may become to show also what is not the decision itself.
_FOR_NEXT, _FOR_ACCURACY, _FOR_RADIUS = 3.0, 4.0, 1.5

_LABEL_EM = 24.0  # longer names end in an ellipsis; the table and the hover title have them whole
_FONT, _SMALL = 13.0, 12.0
_MARK = 10.0  # half of a mark's size
_SMALL_MARK = 4.5
_VISITOR = 13.0  # the radius of the visitor's sign
_LABELLED_OTHERS = 14

Metres = NDArray[np.float64]
"""Shape (n, 2): east and north of the middle."""


def svg(route: Route, routing: Routing) -> str:
    """The picture. `routing` is what `route` gave."""
    return _render("map.svg", picture=_draw(route, routing))


def html(route: Route, routing: Routing) -> str:
    """A page with the picture, a legend in words and what was tried in a table."""
    now = route.now.astimezone(ZoneInfo(route.chain.timezone))
    return _render("map.html", picture=_draw(route, routing), now=now)


# ---------------------------------------------------------------- the drawing


@dataclass(frozen=True, slots=True)
class Mark:
    """A store on paper. `kind` is a `Part`, or `serving` or `dark` for those around."""

    x: float
    y: float
    kind: str
    store: Store
    number: int | None
    hover: str


@dataclass(frozen=True, slots=True)
class Label:
    """Text beside its mark: `y` is its upper edge, `x` the edge or the middle that `anchor`, SVG's
    text-anchor, names; and the line that leads to it."""

    x: float
    y: float
    kind: str
    head: str
    detail: str
    anchor: str
    leader: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Outline:
    """A service area on paper, as the data of an SVG path."""

    store: Store
    path: str
    holds_visitor: bool


@dataclass(frozen=True, slots=True)
class Key:
    """One sign in the legend."""

    x: float
    y: float
    kind: str
    words: Words


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    row: Row
    away: str
    why: Words


@dataclass(slots=True)
class Picture:
    """All that the templates draw; lengths in pixels unless their names say otherwise."""

    entry: str
    entry_name: str
    outcome: Words
    reason: Words
    codes: str
    lines: list[Line]
    notes: list[Words] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)
    visitor: tuple[float, float] | None = None
    middle: tuple[float, float] = (_WIDTH / 2, _HEAD + _HEIGHT / 2)
    px_per_m: float = 0.0
    accuracy: float | None = None
    radius: float | None = None
    nearer: float | None = None
    bar: float = 0.0
    bar_words: str = ""
    north: bool = False
    width: float = _WIDTH
    head: float = _HEAD
    notes_y: float = 0.0
    frame_height: float = _HEIGHT
    margin: float = _MARGIN
    height: float = _HEAD + _HEIGHT


@dataclass(frozen=True, slots=True)
class _Ground:
    """From degrees to metres around the middle, and from those to paper."""

    middle: Point
    px_per_m: float
    x: float
    y: float

    def paper(self, metres: Metres) -> NDArray[np.float64]:
        return np.asarray(metres * (self.px_per_m, -self.px_per_m) + (self.x, self.y))

    def at(self, point: Point) -> tuple[float, float]:
        x, y = self.paper(_metres(self.middle, [point.lon], [point.lat]))[0]
        return float(x), float(y)

    def corners_m(self) -> float:
        """How far the farthest corner of the picture is from the middle, in metres."""
        wide = max(self.x - _MARGIN, _WIDTH - _MARGIN - self.x)
        high = max(self.y - _HEAD, _HEAD + _HEIGHT - self.y)
        return min(math.hypot(wide, high) / self.px_per_m, _FARTHEST_M)


def _draw(route: Route, routing: Routing) -> Picture:
    rows = explanation.rows(route, routing)
    picture = Picture(
        entry=route.entry.entry,
        entry_name=route.entry.name,
        outcome=explanation.outcome(route, routing),
        reason=explanation.REASONS[routing.reason],
        codes=f"{routing.outcome}, {routing.reason}",
        lines=[_line(row) for row in rows],
    )
    visitor, accuracy_m = _visitor(route)
    stores = [row.store for row in rows if row.store is not None]
    middle = visitor or (stores[0].point if stores else None)
    if middle is None:
        picture.notes.append(("没有可画的位置", "There is no position to draw"))
    else:
        ground = _ground(middle, rows, accuracy_m, route)
        _put_circles(picture, ground, route, visitor, accuracy_m)
        _put_nearer(picture, routing)
        _put_stores(picture, ground, route, rows)
        _put_outlines(picture, ground, route, visitor)
        _put_scale(picture, ground)
        _put_labels(picture, rows, accuracy_m)
    _put_keys(picture)
    return picture


def _visitor(route: Route) -> tuple[Point | None, float | None]:
    """Where the visitor really stands, and the radius of that in metres, as far as known."""
    if route.standing is not None:
        return route.standing, None
    if route.fix is None or route.fix.source is Source.CHOSEN:
        return None, None
    return route.fix.point, route.fix.accuracy_m


def _line(row: Row) -> Line:
    away = "" if row.distance_m is None else explanation.distance(row.distance_m)
    return Line(row, away, explanation.why(row))


def _metres(middle: Point, lons: Sequence[float], lats: Sequence[float]) -> Metres:
    """Where places are on the plane about `middle`: right in distance and direction from it."""
    count = len(lons)
    azimuth, _, away_m = _wgs84().inv([middle.lon] * count, [middle.lat] * count, lons, lats)
    turned = np.radians(np.asarray(azimuth, np.float64))
    return np.stack([np.sin(turned), np.cos(turned)], 1) * np.asarray(away_m, np.float64)[:, None]


@functools.cache
def _wgs84() -> pyproj.Geod:
    return pyproj.Geod(ellps="WGS84")


# How large, and where


def _ground(middle: Point, rows: Sequence[Row], accuracy_m: float | None, route: Route) -> _Ground:
    """The scale that shows the decision well, and what belongs to it if there is room."""
    of_decision = [row.store for row in rows if row.store and row.part is not Part.NEXT]
    places = _places(middle, of_decision)
    around = [np.zeros((1, 2)), places]
    far_m = max(_LEAST_M, _reach_m(places))
    following = _places(middle, [row.store for row in rows if row.store and row.part is Part.NEXT])
    around.append(following[np.hypot(*following.T) <= _FOR_NEXT * far_m])
    for radius_m, factor in ((accuracy_m, _FOR_ACCURACY), (route.radius_m, _FOR_RADIUS)):
        if radius_m is not None and (radius_m <= factor * far_m or not of_decision):
            radius_m = min(radius_m, _FARTHEST_M)
            around.append(np.array([[-radius_m, -radius_m], [radius_m, radius_m]]))
    everything = np.concatenate(around)
    low, high = everything.min(0), everything.max(0)
    centre = (low + high) / 2
    wide, tall = np.maximum(high - low, 2 * _LEAST_M)
    px_per_m = min((_WIDTH - 2 * _ROOM_X) / wide, (_HEIGHT - 2 * _ROOM_Y) / tall)
    return _Ground(
        middle,
        float(px_per_m),
        float(_WIDTH / 2 - centre[0] * px_per_m),
        float(_HEAD + _HEIGHT / 2 + centre[1] * px_per_m),
    )


def _places(middle: Point, stores: Sequence[Store]) -> Metres:
    return _metres(
        middle, [store.point.lon for store in stores], [store.point.lat for store in stores]
    )


def _reach_m(places: Metres) -> float:
    return float(np.hypot(*places.T).max(initial=0.0))


def _inside(x: float, y: float, edge: float = 0.0) -> bool:
    """Whether a place on paper is in the picture, `edge` pixels off its frame."""
    return (
        _MARGIN + edge <= x <= _WIDTH - _MARGIN - edge
        and _HEAD + edge <= y <= _HEAD + _HEIGHT - edge
    )


# What is put on it


def _put_circles(
    picture: Picture,
    ground: _Ground,
    route: Route,
    visitor: Point | None,
    accuracy_m: float | None,
) -> None:
    x, y = picture.middle = (ground.x, ground.y)
    picture.px_per_m = ground.px_per_m
    if visitor is None:
        return
    picture.visitor = x, y
    if accuracy_m:
        said = explanation.distance(accuracy_m)
        if accuracy_m < ground.corners_m():
            accuracy = accuracy_m * ground.px_per_m
            picture.accuracy = accuracy if accuracy > _VISITOR else None
        else:
            picture.notes.append(
                (
                    f"定位精度 {said}：整幅图都在范围内",
                    f"The visitor is within {said}: all of the picture",
                )
            )
    radius = route.radius_m * ground.px_per_m
    said = explanation.distance(route.radius_m)
    if route.chosen is None and _fits(x, y, radius):
        picture.radius = radius
        picture.notes.append((f"入口半径 {said}", f"The entry's radius is {said}"))
    elif route.chosen is None and radius <= 2 * _MARK:
        picture.notes.append(
            (
                f"入口半径 {said}，图上太小，没有画出",
                f"The entry's radius is {said}, too small to be drawn here",
            )
        )
    else:
        picture.notes.append(
            (
                f"入口半径 {said}，超出图的范围",
                f"The entry's radius is {said}, beyond the picture",
            )
        )


def _put_nearer(picture: Picture, routing: Routing) -> None:
    """The circle through the store that is shown: what is nearer stands inside."""
    if routing.store is None or routing.distance_m is None or picture.visitor is None:
        return
    radius = routing.distance_m * picture.px_per_m
    picture.nearer = radius if radius > _VISITOR else None


def _fits(x: float, y: float, radius: float) -> bool:
    """Whether a circle is all in the picture, and large enough to be seen."""
    return radius > 2 * _MARK and all(
        _inside(x + radius * dx, y + radius * dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )


def _put_stores(picture: Picture, ground: _Ground, route: Route, rows: Sequence[Row]) -> None:
    """Those around first, those of the decision above them, the shown one on top."""
    listed: dict[str, Row] = {}
    whys: dict[str, list[str]] = {}
    for row in rows:
        if row.store is not None:
            listed.setdefault(row.store.store, row)
            said = whys.setdefault(row.store.store, [])
            if (why := explanation.why(row)[0]) not in said:
                said.append(why)
            if row.part is Part.SHOWN:
                listed[row.store.store] = row
    for away_m, store in _around(route, ground, listed):
        x, y = ground.at(store.point)
        skips = explanation.cannot_serve(route, store)
        whys_not = "、".join(explanation.SKIPS[why][0] for why in skips)
        hover = _hover(store, away_m, whys_not or "可接待")
        picture.marks.append(Mark(x, y, "dark" if skips else "serving", store, None, hover))
    missing: list[int] = []
    order = [Part.BEYOND, Part.NEXT, Part.SKIPPED, Part.CHOICE, Part.SHOWN]
    for row in sorted(listed.values(), key=lambda row: (order.index(row.part), -row.number)):
        if row.store is None:
            continue
        x, y = ground.at(row.store.point)
        if not _inside(x, y, edge=_MARK):
            missing.append(row.number)
        else:
            hover = _hover(row.store, row.distance_m, "、".join(whys[row.store.store]))
            picture.marks.append(Mark(x, y, row.part.value, row.store, row.number, hover))
    if missing:
        numbers = sorted(missing)
        picture.notes.append(
            (
                f"不在图上：{'、'.join(f'{number} 号' for number in numbers)}",
                f"Not in the picture: {', '.join(map(str, numbers))}",
            )
        )


def _around(route: Route, ground: _Ground, without: Iterable[str]) -> Iterator[tuple[float, Store]]:
    """Further stores in the picture, nearest first, whether they can serve or not."""
    chain, limit_m, left_out = route.chain, ground.corners_m(), set(without)
    brands = route.entry.brands
    near = heapq.merge(
        itertools.takewhile(
            lambda near: near.distance_m <= limit_m, route.nearest_serving(ground.middle)
        ),
        chain.dark.walk(ground.middle, within_m=limit_m),
        key=lambda near: near.distance_m,
    )
    count = 0
    for found in near:
        store = chain.stores[found.key]
        if found.key in left_out or (brands and store.brand not in brands):
            continue
        if _inside(*ground.at(store.point), edge=_SMALL_MARK):
            yield found.distance_m, store
            count += 1
        if count == MOST_OTHERS:
            return


def _hover(store: Store, away_m: float | None, why: str) -> str:
    away = "" if away_m is None else explanation.distance(away_m)
    return " · ".join(part for part in (f"{store.name} ({store.store})", away, why) if part)


def _put_outlines(picture: Picture, ground: _Ground, route: Route, visitor: Point | None) -> None:
    """The service areas of the stores in the picture, and those that the visitor stands in."""
    holding = set(route.chain.areas_at(visitor)) if visitor else set()
    shown = {mark.store.store: mark.store for mark in picture.marks}
    for number in holding:
        shown.setdefault(number, route.chain.stores[number])
    frame = (_MARGIN - 20, _HEAD - 20, _WIDTH - _MARGIN + 20, _HEAD + _HEIGHT + 20)
    for number, store in sorted(shown.items()):
        if store.service_area is None:
            continue
        shape = shapely.clip_by_rect(_on_paper(area.parse(store.service_area), ground), *frame)
        if path := _path(shape.simplify(0.3)):
            picture.outlines.append(Outline(store, path, number in holding))


def _on_paper(shape: area.Area, ground: _Ground) -> shapely.Geometry:
    # What is straight in degrees is bent on the ground: corners enough that it is bent here, too.
    low_lon, low_lat, high_lon, high_lat = shape.bounds
    fine = shapely.segmentize(shape, max(high_lon - low_lon, high_lat - low_lat) / 64)

    def onto(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
        return ground.paper(_metres(ground.middle, degrees[:, 0].tolist(), degrees[:, 1].tolist()))

    drawn = shapely.transform(fine, onto)
    return drawn if drawn.is_valid else shapely.make_valid(drawn)


def _path(shape: shapely.Geometry) -> str:
    rings: list[shapely.LinearRing] = []
    for part in shapely.get_parts(shape):
        for polygon in shapely.get_parts(part):
            if isinstance(polygon, shapely.Polygon) and not polygon.is_empty:
                rings += [polygon.exterior, *polygon.interiors]
    return "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring.coords[:-1]) + "Z" for ring in rings
    )


def _put_scale(picture: Picture, ground: _Ground) -> None:
    """A bar of 1, 2 or 5 times a power of ten metres, 80 to 200 pixels long."""
    most_m = 200 / ground.px_per_m
    power = 10.0 ** math.floor(math.log10(most_m))
    length_m = max(step * power for step in (1, 2, 5) if step * power <= most_m)
    picture.bar = length_m * ground.px_per_m
    picture.bar_words = f"{length_m:,.0f} m" if length_m < 1000 else f"{length_m / 1000:,.0f} km"
    # At a pole every direction is south, or north.
    picture.north = abs(ground.middle.lat) < 89.999


# ---------------------------------------------------------------- labels


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A label that looks for its place."""

    x: float
    y: float
    kind: str
    head: str
    detail: str
    off: float
    near_only: bool = False

    @property
    def width(self) -> float:
        return max(_em(self.head) * _FONT, _em(self.detail) * _SMALL) + 6

    @property
    def height(self) -> float:
        return (18.0 if self.head else 0.0) + (16.0 if self.detail else 0.0)


def _put_labels(picture: Picture, rows: Sequence[Row], accuracy_m: float | None) -> None:
    """A label for the visitor and each store of the decision, and for some of those around, where
    there is room: none covers another or a mark. The number in the mark stands in for the rest."""
    taken: list[shapely.Geometry] = [
        shapely.box(m.x - size, m.y - size, m.x + size, m.y + size)
        for m in picture.marks
        for size in (_SMALL_MARK + 1 if m.number is None else _MARK,)
    ]
    bottom, edge = _HEAD + _HEIGHT, _WIDTH - _MARGIN
    taken.append(shapely.box(_MARGIN, bottom - 46, _MARGIN + picture.bar + 30, bottom))
    if picture.north:
        taken.append(shapely.box(edge - 46, _HEAD, edge, _HEAD + 64))
    if picture.visitor is not None:
        x, y = picture.visitor
        taken.append(shapely.Point(x, y).buffer(_VISITOR))
        taken += [
            shapely.LineString([(x, y), (mark.x, mark.y)])
            for mark in picture.marks
            if mark.kind == Part.SHOWN
        ]
    leaders: list[shapely.Geometry] = []
    for wanted in _labels_wanted(picture, rows, accuracy_m):
        placed = _placed(wanted, taken, leaders)
        if placed is None:
            continue
        box, leader = placed
        taken.append(box)
        if leader is not None:
            leaders.append(leader)
        left, top, right, _ = box.bounds
        ends = None if leader is None else tuple(itertools.chain(*leader.coords))
        # Towards its mark, so that no gap opens between them if the width was guessed too large.
        x, anchor = (left + right) / 2, "middle"
        if left > wanted.x:
            x, anchor = left + 3, "start"
        elif right < wanted.x:
            x, anchor = right - 3, "end"
        picture.labels.append(Label(x, top, wanted.kind, wanted.head, wanted.detail, anchor, ends))


def _labels_wanted(
    picture: Picture, rows: Sequence[Row], accuracy_m: float | None
) -> Iterator[_Wanted]:
    """The most important first: they choose their places first."""
    whys: dict[int, list[str]] = {}
    away: dict[int, str] = {}
    for row, line in zip(rows, picture.lines, strict=True):
        said = whys.setdefault(row.number, [])
        if row.part is Part.SKIPPED and line.why[0] not in said:
            said.append(line.why[0])
        away[row.number] = line.away
    order = [Part.SHOWN, Part.CHOICE, Part.SKIPPED, Part.BEYOND, Part.NEXT]
    listed = [mark for mark in picture.marks if mark.number is not None]
    listed.sort(key=lambda mark: (order.index(Part(mark.kind)), mark.number))
    visitor = None
    if picture.visitor is not None:
        within = f"±{explanation.distance(accuracy_m)}" if accuracy_m else ""
        visitor = _Wanted(*picture.visitor, "visitor", "访客", within, off=15)
    for mark in listed:
        number = mark.number or 0
        # A store that is shown after all had codes that could not serve: that is in the table.
        said = [] if mark.kind == Part.SHOWN.value else whys[number]
        detail = " · ".join([away[number], *said] if away[number] else said)
        head = f"{number} {_short(mark.store.name)}"
        yield _Wanted(mark.x, mark.y, mark.kind, head, detail, off=_MARK + 3)
        if visitor is not None:
            yield visitor
            visitor = None
    if visitor is not None:
        yield visitor
    others = [mark for mark in picture.marks if mark.number is None]
    for mark in others[:_LABELLED_OTHERS]:
        yield _Wanted(mark.x, mark.y, mark.kind, "", _short(mark.store.name), off=7, near_only=True)


def _placed(
    wanted: _Wanted, taken: list[shapely.Geometry], leaders: list[shapely.Geometry]
) -> tuple[shapely.Polygon, shapely.LineString | None] | None:
    """The first free place: right, left, above, below, at a slant; then farther, with a leader."""
    blocked = np.array(taken + leaders, dtype=object)
    boxes = np.array(taken, dtype=object)
    for off in (wanted.off,) if wanted.near_only else (wanted.off, 34.0, 56.0, 84.0, 120.0, 165.0):
        near = off == wanted.off
        for turn in (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240):
            dx, dy = math.cos(math.radians(turn)), -math.sin(math.radians(turn))
            # The box lies on its side of the mark: its nearest edge is `off` away.
            left = wanted.x + dx * off + (dx - 1) / 2 * wanted.width
            top = wanted.y + dy * off + (dy - 1) / 2 * wanted.height
            right, bottom = left + wanted.width, top + wanted.height
            if not (_inside(left, top, edge=3) and _inside(right, bottom, edge=3)):
                continue
            box = shapely.box(left, top, right, bottom)
            if shapely.intersects(box, blocked).any():
                continue
            if near:
                return box, None
            ends = (min(max(wanted.x, left), right), min(max(wanted.y, top), bottom))
            leader = shapely.LineString([(wanted.x, wanted.y), ends])
            # It may start on its own mark, and on those that stand in the same place.
            own = shapely.Point(wanted.x, wanted.y).buffer(2 * _MARK)
            crossed = shapely.intersects(shapely.difference(leader, own), boxes).any()
            if not crossed and not (
                leaders and shapely.crosses(leader, np.array(leaders, dtype=object)).any()
            ):
                return box, leader
    return None


def _em(text: str) -> float:
    """About how wide a text is, in its font's size: Chinese signs fill a square."""
    return sum(1.0 if unicodedata.east_asian_width(sign) in "WFA" else 0.6 for sign in text)


def _short(name: str) -> str:
    """A name that fits beside its mark."""
    width = 0.0
    for count, sign in enumerate(name):
        width += _em(sign)
        if width > _LABEL_EM:
            return name[:count] + "…"
    return name


# ---------------------------------------------------------------- legend


_KEYS: dict[str, Words] = {
    "visitor": ("访客", "visitor"),
    "accuracy": ("定位精度", "accuracy"),
    Part.SHOWN: ("展示", "shown"),
    Part.CHOICE: ("可选", "choice"),
    Part.SKIPPED: ("跳过", "skipped"),
    Part.NEXT: ("其后", "next"),
    Part.BEYOND: ("半径外", "too far"),
    "serving": ("可接待", "can serve"),
    "dark": ("不可接待", "cannot serve"),
    "area": ("服务范围", "service area"),
    "nearer": ("此圈内更近", "nearer than the one shown"),
    "radius": ("入口半径", "entry radius"),
}


def _put_keys(picture: Picture) -> None:
    """A sign for each kind that is in the picture, in lines as wide as the paper."""
    there = {mark.kind for mark in picture.marks}
    for kind, is_there in (
        ("visitor", picture.visitor),
        ("accuracy", picture.accuracy),
        ("area", picture.outlines),
        ("nearer", picture.nearer),
        ("radius", picture.radius),
    ):
        if is_there:
            there.add(kind)
    x, y = _MARGIN + 12, _HEAD + _HEIGHT + 26
    for kind, words in _KEYS.items():
        if kind not in there:
            continue
        width = 36 + _em(" ".join(words)) * _SMALL
        if x + width > _WIDTH - _MARGIN:
            x, y = _MARGIN + 12, y + _LINE + 4
        picture.keys.append(Key(x, y, str(kind), words))
        x += width
    picture.notes_y = y + _LINE + 10
    picture.height = picture.notes_y + _LINE * len(picture.notes)


# ---------------------------------------------------------------- templates

# What XML has no way to write, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _render(name: str, *, picture: Picture, now: datetime | None = None) -> str:
    return _templates().get_template(name).render(picture=picture, now=now)


@functools.cache
def _templates() -> jinja2.Environment:
    return templating.environment("map").overlay(keep_trailing_newline=True, finalize=_written)


def _written(value: Any) -> Any:
    """Numbers to a hundredth of a pixel, texts without what XML cannot have."""
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, str) and not isinstance(value, markupsafe.Markup):
        return _NOT_XML.sub("\ufffd", value)
    return value
