"""The picture of a decision: what is in it, where, and that it is well-formed whatever the names.

Rendered by a browser it is looked at by people; here it is read as XML.
"""

import dataclasses
import itertools
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import timedelta

import pytest
import shapely

from geo import distance
from geo.point import Point
from service import explanation
from service import map as maps
from service.directory import Directory
from service.domain import Code, Entry, Fix, Outcome, Reason, Routing, Source
from service.steps import route
from tests.service import test_route as making
from tests.service.test_route import GEOD, MIDDLE, NOW, beside, code, store

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, read back."""

    root: ET.Element

    @property
    def ground(self) -> ET.Element:
        return self.found("g[@id='map']")

    @property
    def px_per_m(self) -> float:
        return float(self.ground.attrib["data-px-per-m"])

    @property
    def visitor(self) -> tuple[float, float]:
        return place(self.found("g[@id='visitor']"))

    def found(self, path: str) -> ET.Element:
        element = self.root.find(f".//{SVG}{path}")
        assert element is not None, path
        return element

    def kinds(self) -> dict[str, str]:
        """By store, what it is drawn as."""
        return {m.attrib["data-store"]: m.attrib["data-kind"] for m in self.marks()}

    def marks(self) -> list[ET.Element]:
        return self.root.findall(f".//{SVG}g[@class='mark']")

    def places(self) -> dict[str, tuple[float, float]]:
        return {mark.attrib["data-store"]: place(mark) for mark in self.marks()}

    def labels(self) -> list[str]:
        return ["".join(label.itertext()) for label in self.label_elements()]

    def label_elements(self) -> list[ET.Element]:
        return self.ground.findall(f"{SVG}text")

    def circles(self, kind: str) -> list[float]:
        """Their radii; only those on the map, not those of the legend."""
        return [float(c.attrib["r"]) for c in self.ground.findall(f"{SVG}circle[@class='{kind}']")]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.root.itertext()).split())


def place(element: ET.Element) -> tuple[float, float]:
    x, y = re.findall(r"[-\d.]+", element.attrib["transform"])
    return float(x), float(y)


def decided(
    known: tuple[Directory, Entry], fix: Fix | None, **values: object
) -> tuple[route.Route, Routing]:
    directory, entry = known
    asked = route.Route(directory, entry, making.RULES, NOW, fix, **values)  # type: ignore[arg-type]
    return asked, asked.explain()


def drawn(known: tuple[Directory, Entry], fix: Fix | None, **values: object) -> Drawn:
    return Drawn(ET.fromstring(maps.svg(*decided(known, fix, **values))))


def square(middle: Point, half_m: float) -> dict[str, object]:
    corners = [beside(middle, turn, half_m) for turn in (45, 315, 225, 135, 45)]
    return {"type": "Polygon", "coordinates": [[[p.lon, p.lat] for p in corners]]}


def street(count: int = 8, full: int = 2) -> tuple[Directory, Entry]:
    """Stores S0, S1 ... every 100 m to the east, the first `full` of them without a seat."""
    shops = [
        store(f"S{i}", beside(MIDDLE, 90, 100 * (i + 1)), name=f"{i}号店") for i in range(count)
    ]
    return making.world(shops, [code(f"S{i}", seats=0 if i < full else 5) for i in range(count)])


def own_code() -> Code:
    """An entry's own, in no store."""
    return dataclasses.replace(code("own"), store=None)


# ---------------------------------------------------------------- what is in it


def test_a_picture_has_the_visitor_the_skipped_the_shown_the_next_and_the_rest() -> None:
    picture = drawn(street(), making.at(MIDDLE, accuracy_m=40))
    kinds = picture.kinds()
    of_decision = ["skipped", "skipped", "shown", "next", "next", "next"]
    assert [kinds.pop(f"S{i}") for i in range(6)] == of_decision
    assert set(kinds.values()) <= {"serving"}
    said = "|".join(picture.labels())
    for label in ("访客", "±40 m", "1 0号店", "100 m · 已满", "3 2号店", "300 m", "4 3号店"):
        assert label in said
    assert "展示 2号店（S2），300 m" in picture.text
    assert explanation.REASONS[Reason.NEXT_STORE][0] in picture.text
    assert picture.root.find(f".//{SVG}g[@id='north']") is not None


def test_stores_around_are_drawn_whether_they_can_serve_or_not_up_to_a_number() -> None:
    shops = [store(f"S{i}", beside(MIDDLE, 37 * i, 300 + i)) for i in range(120)]
    known = making.world(
        [store("A", beside(MIDDLE, 90, 400)), *shops],
        [code("A"), *(code(f"S{i}", seats=i % 2) for i in range(120))],
    )
    kinds = list(drawn(known, making.at(MIDDLE)).kinds().values())
    around = [kind for kind in kinds if kind in ("serving", "dark")]
    assert len(around) == maps.MOST_OTHERS
    assert set(around) == {"serving", "dark"}


def test_a_vague_position_shows_its_circle_and_the_choices() -> None:
    known = street(full=0)
    picture = drawn(known, making.at(MIDDLE, accuracy_m=900))
    assert list(picture.kinds().values()).count("choice") == 5
    assert picture.circles("accuracy") == [pytest.approx(900 * picture.px_per_m, rel=0.01)]
    assert "请访客从 5 家门店中选择" in picture.text


def test_the_circle_through_the_shown_store_holds_those_that_were_skipped() -> None:
    picture = drawn(street(), making.at(MIDDLE))
    (radius,) = picture.circles("nearer")
    x, y = picture.visitor
    away = {name: math.dist((x, y), at) for name, at in picture.places().items()}
    assert away["S2"] == pytest.approx(radius, abs=0.1)
    assert {name for name, px in away.items() if px < radius - 0.1} == {"S0", "S1"}


def test_the_entry_radius_is_drawn_where_it_fits_and_said_where_not() -> None:
    directory, entry = street()
    near = drawn((directory, entry), making.at(MIDDLE))
    assert near.circles("radius") == []
    assert "入口半径 10 km，超出图的范围" in near.text
    entry.radius_m = 400
    far = drawn((directory, entry), making.at(MIDDLE))
    assert far.circles("radius") == [pytest.approx(400 * far.px_per_m, rel=0.01)]
    assert "入口半径 400 m" in far.text


def test_out_of_range_shows_the_nearest_that_could_serve_and_how_far_it_is() -> None:
    visitor = beside(MIDDLE, 270, 60_000)
    picture = drawn(street(), making.at(visitor))
    assert picture.kinds()["S2"] == "beyond"
    assert "60.3 km" in "".join(picture.labels())
    assert "没有可展示的码" in picture.text
    # 10 km of 60: large enough to be seen.
    assert len(picture.circles("radius")) == 1


def test_a_fallback_is_told_with_the_stores_that_could_not_serve() -> None:
    shops = [store("A", beside(MIDDLE, 0, 200))]
    known = making.world(shops, [code("A", seats=0)], [own_code()])
    asked, routing = decided(known, making.at(MIDDLE))
    assert routing.reason is Reason.FALLBACK
    picture = Drawn(ET.fromstring(maps.svg(asked, routing)))
    assert picture.kinds() == {"A": "skipped"}
    assert "展示入口的备用码" in picture.text
    assert "入口备用码" in maps.html(asked, routing)


def test_an_entry_without_stores_and_a_visitor_without_a_position_are_said_so() -> None:
    empty = making.world([], [])
    with_visitor = drawn(empty, making.at(MIDDLE))
    assert with_visitor.marks() == []
    assert with_visitor.found("g[@id='visitor']") is not None
    assert "这个入口没有门店" in with_visitor.text
    nowhere = drawn(empty, None)
    assert "没有可画的位置" in nowhere.text
    assert nowhere.root.find(f".//{SVG}g[@id='visitor']") is None
    choices = drawn(street(), None)
    assert "choice" in choices.kinds().values()
    assert choices.root.find(f".//{SVG}g[@id='visitor']") is None


def test_a_chosen_store_is_drawn_from_where_the_visitor_really_stands() -> None:
    known = street()
    here = beside(MIDDLE, 0, 150)
    fix = Fix(point=MIDDLE, accuracy_m=0, source=Source.CHOSEN)
    picture = drawn(known, fix, chosen="S4", standing=here)
    assert picture.kinds()["S4"] == "shown"
    metres = distance.geodesic_m(here, known[0].chains[making.CHAIN].stores["S4"].point)
    away = math.dist(picture.visitor, picture.places()["S4"])
    assert away / picture.px_per_m == pytest.approx(metres, rel=0.01)


# ---------------------------------------------------------------- areas


def test_areas_of_the_stores_and_those_around_the_visitor_are_outlined() -> None:
    near = store("A", beside(MIDDLE, 90, 300), service_area=square(beside(MIDDLE, 90, 300), 200))
    # Stands outside the picture, but serves where the visitor is.
    far = store("B", beside(MIDDLE, 0, 9_000), service_area=square(MIDDLE, 12_000))
    known = making.world([near, far], [code("A"), code("B", seats=0)])
    picture = drawn(known, making.at(MIDDLE))
    outlines = {
        path.attrib["data-store"]: path
        for path in picture.ground.findall(f"{SVG}path")
        if "area" in path.attrib["class"]
    }
    assert set(outlines) == {"A", "B"}
    assert "holds" in outlines["B"].attrib["class"]
    assert "holds" not in outlines["A"].attrib["class"]
    corners = [
        tuple(float(n) for n in corner.split())
        for corner in re.findall(r"[-\d.]+ [-\d.]+", outlines["A"].attrib["d"])
    ]
    drawn_area = shapely.Polygon(corners)
    side_px = math.sqrt(2) * 200 * picture.px_per_m
    assert math.sqrt(drawn_area.area) == pytest.approx(side_px, rel=0.01)
    assert drawn_area.centroid.distance(shapely.Point(picture.places()["A"])) < 2


def test_a_large_area_with_many_corners_keeps_the_picture_small() -> None:
    corners = [beside(MIDDLE, -i / 50, 40_000) for i in range(18_000)]
    ring = [[p.lon, p.lat] for p in [*corners, corners[0]]]
    area = {"type": "Polygon", "coordinates": [ring]}
    known = making.world([store("A", beside(MIDDLE, 0, 300), service_area=area)], [code("A")])
    assert len(maps.svg(*decided(known, making.at(MIDDLE)))) < 20_000


# ---------------------------------------------------------------- where


@pytest.mark.parametrize(
    "middle",
    [
        MIDDLE,
        Point(180, -17),
        Point(-179.9999, 51.9),
        Point(0, 90),
        Point(77, -89.999),
        Point(-70, 0),
    ],
    ids=["Shanghai", "on 180 degrees", "beside 180 degrees", "north pole", "south pole", "equator"],
)
@pytest.mark.parametrize("metres", [3, 400, 9_000])
def test_stores_are_drawn_in_their_true_distance_and_direction(
    middle: Point, metres: float
) -> None:
    shops = [
        store(f"S{turn}", beside(middle, turn, metres * (1 + turn / 3600)))
        for turn in range(0, 360, 40)
    ]
    known = making.world(shops, [code(shop.store, seats=i % 2) for i, shop in enumerate(shops)])
    picture = drawn(known, making.at(middle))
    x0, y0 = picture.visitor
    assert len(picture.places()) == len(shops)
    for shop in shops:
        x, y = picture.places()[shop.store]
        azimuth, _, away_m = GEOD.inv(middle.lon, middle.lat, shop.point.lon, shop.point.lat)
        on_paper_m = math.hypot(x - x0, y - y0) / picture.px_per_m
        assert on_paper_m == pytest.approx(away_m, rel=0.01, abs=0.02 / picture.px_per_m)
        off = math.degrees(math.atan2(x - x0, y0 - y)) - azimuth
        assert abs((off + 180) % 360 - 180) < 1


def test_the_bar_is_as_long_as_it_says() -> None:
    for metres in (5, 90, 700, 4_000):
        known = making.world([store("A", beside(MIDDLE, 20, metres))], [code("A")])
        picture = drawn(known, making.at(MIDDLE))
        bar = picture.found("g[@id='scale']")
        said = "".join(bar.itertext()).strip().replace(",", "")
        number, unit = said.split()
        path = bar.find(f"{SVG}path")
        assert path is not None
        length = float(re.findall(r"H([\d.]+)", path.attrib["d"])[0])
        assert 80 <= length <= 200
        told_m = float(number) * {"m": 1, "km": 1000}[unit]
        assert length / picture.px_per_m == pytest.approx(told_m, rel=0.01)


def test_there_is_no_north_at_the_pole() -> None:
    pole = Point(0, 90)
    known = making.world([store("A", beside(pole, 0, 500))], [code("A")])
    assert drawn(known, making.at(pole)).root.find(f".//{SVG}g[@id='north']") is None


def test_an_absurd_accuracy_and_a_store_on_the_other_side_of_the_earth_are_drawn() -> None:
    other_side = Point(MIDDLE.lon - 180, -MIDDLE.lat)
    known = making.world([store("A", other_side)], [code("A")])
    for accuracy_m in (0.001, 50_000, 20_003_931):
        picture = drawn(known, making.at(MIDDLE, accuracy_m=accuracy_m))
        for x, y in picture.places().values():
            assert 0 <= x <= 1000
            assert 0 <= y <= 1000


# ---------------------------------------------------------------- labels and names


def test_labels_cover_neither_each_other_nor_a_mark() -> None:
    # Twelve skipped stores within 250 m, two of them in the same place.
    shops = [
        store(f"S{i}", beside(MIDDLE, 130 * (i // 2), 60 + 30 * (i // 2)), name=f"近码茶社第{i}店")
        for i in range(8)
    ]
    shops.append(store("A", beside(MIDDLE, 200, 400), name="近码茶社末店"))
    known = making.world(shops, [*(code(f"S{i}", seats=0) for i in range(8)), code("A")])
    picture = drawn(known, making.at(MIDDLE))
    boxes = [label_box(label) for label in picture.label_elements()]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.intersects(other)
    for box in boxes:
        assert not any(box.contains(shapely.Point(spot)) for spot in picture.places().values())
    said = "".join(picture.labels())
    assert all(f"第{i}店" in said for i in range(8))


def label_box(label: ET.Element) -> shapely.Polygon:
    """Where a browser would write: Chinese signs are as wide as high, others about half."""
    lines = [span.text or "" for span in label]
    width = max(sum(1 if ord(sign) > 0x2E80 else 0.5 for sign in line) for line in lines) * 12
    left = float(label.attrib["x"])
    left -= {"start": 0, "middle": width / 2, "end": width}[label.attrib["text-anchor"]]
    base = float(label.attrib["y"])
    return shapely.box(left, base - 10, left + width, base + 16 * (len(lines) - 1) + 2)


HOSTILE = "</text><script>alert(1)</script>&\"'<!--]]>\x0b\ufffe\u202e{{ 7*7 }}"


def test_hostile_names_stay_text() -> None:
    area = square(MIDDLE, 500)
    shops = [
        store('A"><x>', beside(MIDDLE, 0, 100), name=HOSTILE),
        store("B", beside(MIDDLE, 90, 200), name=HOSTILE, service_area=area),
        store("C", beside(MIDDLE, 180, 250), name=HOSTILE * 40),
    ]
    known = making.world(
        shops, [code('A"><x>', seats=0), code("B", seats=0, label=HOSTILE), code("C")]
    )
    known[1].name = HOSTILE
    asked, routing = decided(known, making.at(MIDDLE))
    picture = Drawn(ET.fromstring(maps.svg(asked, routing)))
    assert set(picture.kinds()) == {'A"><x>', "B", "C"}
    tags = {element.tag.removeprefix(SVG) for element in picture.root.iter()}
    assert tags <= {"svg", "title", "style", "g", "rect", "text", "tspan", "clipPath", "path",
                    "circle", "line"}  # fmt: skip
    assert "alert(1)" in picture.text
    page = maps.html(asked, routing)
    assert "<script" not in page
    assert "49" not in re.sub(r"[\d.]*49[\d.]*(?=[ \"<LMZ])", "", page)
    assert "{{ 7*7 }}" in page


def test_nothing_is_fetched_and_nothing_runs() -> None:
    asked, routing = decided(street(), making.at(MIDDLE))
    for text in (maps.svg(asked, routing), maps.html(asked, routing)):
        addresses = set(re.findall(r"https?://[^\"' )]+", text))
        assert addresses == {"http://www.w3.org/2000/svg"}
        assert "<script" not in text
        assert not re.search(r"\son\w+=", text)
        assert "@import" not in text
        assert set(re.findall(r"url\(([^)]*)\)", text)) <= {"#frame"}


# ---------------------------------------------------------------- the table


def test_the_page_tells_each_code_that_was_passed_by_and_what_would_be_next() -> None:
    shops = [store(name, beside(MIDDLE, 90, 100 * (i + 1))) for i, name in enumerate("AB")]
    past = NOW - timedelta(days=1)
    known = making.world(
        shops,
        [code("A", seats=0), code("A", position=1, expires_at=past), code("B", label="乙群")],
        [own_code()],
    )
    asked, routing = decided(known, making.at(MIDDLE))
    rows = explanation.rows(asked, routing)
    assert [(row.number, row.part.value, row.why.value) for row in rows] == [
        (1, "skipped", "full"),
        (1, "skipped", "expired"),
        (2, "shown", "next_store"),
        (3, "next", "fallback"),
    ]
    page = maps.html(asked, routing)
    assert page.index("已过期") < page.index("乙群")
    assert "100 m" in page


def test_at_most_three_stores_are_next_and_none_of_them_twice() -> None:
    known = street(count=9, full=1)
    directory, _ = known
    chain = directory.chains[making.CHAIN]
    for extra in (code("S1", position=1), code("S2", position=1)):
        directory.codes[extra.code_id] = extra
        chain.replace_code(extra)
    asked, routing = decided(known, making.at(MIDDLE))
    rows = explanation.rows(asked, routing)
    following = [row.store.store for row in rows if row.part is explanation.Part.NEXT and row.store]
    assert following == ["S2", "S3", "S4"]


def test_a_reported_store_is_not_told_to_be_too_far() -> None:
    put_up = code("A")
    known = making.world([store("A", beside(MIDDLE, 0, 100))], [put_up])
    asked, routing = decided(known, making.at(MIDDLE), reported=frozenset({put_up.code_id}))
    assert routing.outcome is Outcome.UNSERVED
    assert [row.part.value for row in explanation.rows(asked, routing)] == ["skipped"]


@pytest.mark.parametrize("why", list(Reason))
def test_every_reason_has_words(why: Reason) -> None:
    assert all(explanation.REASONS[why])
