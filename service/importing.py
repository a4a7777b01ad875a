"""Rows of a table as stores, codes and placements: typed, checked, each mistake told with its row.

Pure: what a row would change in the catalogue is not known here. A rejected row keeps no other
out, and is rejected for the first mistake found in it.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Generic, TypeVar

import shapely

from geo import area, places
from geo import datum as datums
from geo.datum import Datum
from geo.point import InvalidPoint, Point
from service import errors, qr, reading, tabular
from service.domain import PLACEMENT_PATTERN, CodeStatus, StoreStatus
from service.tabular import Table, Value

STORE_NUMBER_MAX_LENGTH = 64
NAME_MAX_LENGTH = 200
PLACE_MAX_LENGTH = 100  # brand, province, city, district
ADDRESS_MAX_LENGTH = 500
LABEL_MAX_LENGTH = 200
CHANNEL_MAX_LENGTH = 64  # and a variant's
COST_MAX = 100_000_000_000
TAG_MAX_LENGTH = 50
TAGS_MAX = 20
STORES_MAX = 1000  # of one manager

GROUP_MEMBERS_MAX = 500
"""What a WeChat or WeCom group holds, invited members included; contacts have no such limit."""

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
"""All of China keeps this time, without summer time since 1991."""


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One store as the file has it. None: the file does not say, which is not the same as empty."""

    row: int
    store: str
    name: str
    brand: str | None
    address: str | None
    province: str | None
    city: str | None
    district: str | None
    lon: float  # WGS-84 degrees
    lat: float
    given_lon: float  # as in the file, in `datum`
    given_lat: float
    datum: Datum
    tags: tuple[str, ...] | None
    status: StoreStatus | None
    service_area: dict[str, object] | None  # GeoJSON Polygon or MultiPolygon, WGS-84


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One group code as the file has it. None: the file does not say."""

    row: int
    store: str
    payload: str
    kind: qr.CodeKind
    capacity: int | None
    members: int | None
    expires_at: datetime | None  # aware
    label: str | None
    status: CodeStatus | None
    picture: reading.Copy | None = None  # what is kept of the picture that it was read from
    file: str | None = None  # the picture's name


@dataclass(frozen=True, slots=True)
class PlacementRow:
    """One placement as the file has it. None: the file does not say."""

    row: int
    placement: str
    name: str | None
    channel: str | None
    store: str | None
    printed: int | None
    cost: Decimal | None
    variant: str | None


@dataclass(frozen=True, slots=True)
class ManagerRow:
    """One manager to invite. Without a name they go by their stores'."""

    row: int
    stores: tuple[str, ...]  # in the file's order, each once
    name: str | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a row was not taken; `row` as the spreadsheet shows it. `reason`: a word for programs."""

    row: int
    field: str
    detail: str
    reason: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Warned:
    """What somebody should look at in a row that was taken all the same."""

    row: int
    field: str
    detail: str


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T_co]):
    """All in the file's order."""

    rows: tuple[T_co, ...]
    rejected: tuple[Rejected, ...]
    warnings: tuple[Warned, ...] = ()


def stores(
    table: Table, *, datum: Datum | None = None, done: Callable[[], object] = lambda: None
) -> Parsed[StoreRow]:
    """The table's stores, positions turned into WGS-84; no two with the same number.

    A row's own datum goes before `datum`; with neither, degrees are WGS-84. Raises BadInput
    for the header alone: a column that is needed and missing, or two for the same thing. `done` is
    called after each row.
    """
    first_rows: dict[str, int] = {}

    warnings: list[Warned] = []

    def parse(row: int, cells: Cells) -> StoreRow:
        store = _store_number(cells)
        if store in first_rows:
            raise Mistake("store", f"{quoted(store)} is in row {first_rows[store]} already")
        parsed = _store(row, store, cells, datum or Datum.WGS84)
        # Only now: a rejected row leaves its number to a later one.
        first_rows[store] = row
        if doubt := _place_doubt(parsed):
            warnings.append(doubt)
        return parsed

    parsed = rows_of(table, _STORE_HEADERS, ("store", "name", "lon", "lat"), parse, done)
    return replace(parsed, warnings=tuple(warnings))


def codes(
    table: Table,
    *,
    tz: tzinfo = SHANGHAI,
    group_members_max: int = GROUP_MEMBERS_MAX,
    done: Callable[[], object] = lambda: None,
) -> Parsed[CodeRow]:
    """The table's group codes, classified by payload; no payload twice.

    `tz` is what times without an offset are in. A date alone is its first moment, so that no code
    is shown on the day on which it may be dead. Raises BadInput as `stores`.
    """
    first_rows: dict[str, int] = {}

    def parse(row: int, cells: Cells) -> CodeRow:
        parsed = _code(row, cells, tz, group_members_max)
        if parsed.payload in first_rows:
            raise Mistake("payload", f"the same code is in row {first_rows[parsed.payload]}")
        first_rows[parsed.payload] = row
        return parsed

    return rows_of(table, _CODE_HEADERS, ("store", "payload"), parse, done)


def placements(table: Table, *, done: Callable[[], object] = lambda: None) -> Parsed[PlacementRow]:
    """The table's placements; none twice. Raises BadInput as `stores`."""
    first_rows: dict[str, int] = {}

    def parse(row: int, cells: Cells) -> PlacementRow:
        parsed = _placement(row, cells)
        if parsed.placement in first_rows:
            first = first_rows[parsed.placement]
            raise Mistake("placement", f"{quoted(parsed.placement)} is in row {first} already")
        first_rows[parsed.placement] = row
        return parsed

    return rows_of(table, _PLACEMENT_HEADERS, ("placement",), parse, done)


def managers(table: Table, *, done: Callable[[], object] = lambda: None) -> Parsed[ManagerRow]:
    """The table's managers, each with one store or several. Raises BadInput as `stores`."""
    return rows_of(table, _MANAGER_HEADERS, ("store",), _manager, done)


# ---------------------------------------------------------------- headers

_STORE = ("store", "store_id", "store_number", "store_no", "store_code",
          "门店编号", "门店编码", "门店号", "编号")  # fmt: skip
_STATUS = ("status", "状态")

_STORE_HEADERS: dict[str, tuple[str, ...]] = {
    "store": _STORE,
    "name": ("name", "store_name", "门店名称", "店名", "名称"),
    "brand": ("brand", "品牌"),
    "address": ("address", "地址", "门店地址", "详细地址"),
    "province": ("province", "省", "省份"),
    "city": ("city", "市", "城市"),
    "district": ("district", "区", "区县"),
    "lon": ("lon", "lng", "longitude", "经度"),
    "lat": ("lat", "latitude", "纬度"),
    "datum": ("datum", "坐标系"),
    "status": (*_STATUS, "营业状态"),
    "tags": ("tags", "标签"),
    "service_area": ("service_area", "服务范围"),
}
_CODE_HEADERS: dict[str, tuple[str, ...]] = {
    "store": _STORE,
    "payload": ("payload", "内容", "链接", "二维码内容"),
    "capacity": ("capacity", "容量"),
    "members": ("members", "人数"),
    "expires_at": ("expires_at", "有效期", "到期时间"),
    "label": ("label", "备注", "名称"),
    "status": _STATUS,
}
_PLACEMENT_HEADERS: dict[str, tuple[str, ...]] = {
    "placement": ("placement", "placement_id", "投放编号", "投放编码", "投放码", "编号"),
    "name": ("name", "placement_name", "投放名称", "名称"),
    "channel": ("channel", "渠道", "投放渠道"),
    "store": (*(alias for alias in _STORE if alias != "编号"), "门店"),
    "printed": ("printed", "sent", "quantity", "印数", "印刷数量", "发送数", "发送数量", "数量"),
    "cost": ("cost", "成本", "费用", "投放成本"),
    "variant": ("variant", "version", "版本", "方案", "ab版本", "a/b版本", "a/b"),
}

_MANAGER_HEADERS: dict[str, tuple[str, ...]] = {
    "store": (*_STORE, "stores", "门店"),
    "name": ("name", "manager", "姓名", "店长", "店长姓名"),
}

Cells = Mapping[str, Value]
"""A row's values by field; fields without a column are missing."""


class Mistake(Exception):
    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


def _columns(
    found: tuple[str, ...], headers: Mapping[str, tuple[str, ...]], required: tuple[str, ...]
) -> dict[str, str]:
    """Field -> the file's own heading. Other columns are left alone. Raises BadInput."""
    by_alias = {alias: field for field, aliases in headers.items() for alias in aliases}
    columns: dict[str, str] = {}
    mistakes: list[errors.FieldError] = []
    for heading in found:
        field = by_alias.get(_plain_heading(heading))
        if field is None:
            continue
        if field in columns:
            detail = f"columns {columns[field]!r} and {heading!r} say the same; keep one of them"
            mistakes.append(errors.FieldError(field, detail))
        columns.setdefault(field, heading)
    for field in required:
        if field not in columns:
            names = " or ".join((headers[field][0], _chinese(headers[field])))
            detail = f"no column {names} among {quoted(', '.join(found), 100)}"
            mistakes.append(errors.FieldError(field, detail))
    if mistakes:
        raise errors.BadInput(*mistakes)
    return columns


def _plain_heading(heading: str) -> str:
    """Full width and capitals made plain, "*" for a required column dropped."""
    plain = unicodedata.normalize("NFKC", INVISIBLE.sub("", heading)).strip().strip("*").casefold()
    return re.sub(r"[\s\-]+", "_", plain.strip())


def _chinese(aliases: tuple[str, ...]) -> str:
    return next(alias for alias in aliases if not alias.isascii())


def rows_of(
    table: Table,
    headers: Mapping[str, tuple[str, ...]],
    required: tuple[str, ...],
    parse: Callable[[int, Cells], T],
    done: Callable[[], object] = lambda: None,
) -> Parsed[T]:
    columns = _columns(table.columns, headers, required)
    good: list[T] = []
    rejected: list[Rejected] = []
    for row in table:
        try:
            good.append(parse(row.number, _cells(row, columns)))
        except Mistake as mistake:
            rejected.append(Rejected(row.number, mistake.field, mistake.detail))
        done()
    return Parsed(tuple(good), tuple(rejected))


def _cells(row: tabular.Row, columns: Mapping[str, str]) -> Cells:
    if row.surplus:
        raise Mistake(
            "row",
            "the row has more cells than the header; "
            "a text with a comma in it must stand in quote marks",
        )
    return {field: row.values.get(heading) for field, heading in columns.items()}


# ---------------------------------------------------------------- stores

_STORE_STATUSES: dict[str, StoreStatus] = {
    **dict.fromkeys(("open", "营业", "营业中", "正常营业"), StoreStatus.OPEN),
    **dict.fromkeys(("closed", "关闭", "停业", "已关闭", "闭店"), StoreStatus.CLOSED),
}


def _store(row: int, store: str, cells: Cells, default_datum: Datum) -> StoreRow:
    name = text_of(cells, "name", NAME_MAX_LENGTH)
    if name is None:
        raise Mistake("name", "the store's name is missing")
    given = _given_position(cells)
    datum = _datum(cells, default_datum)
    position = datums.to_wgs84(given, datum)
    return StoreRow(
        row=row,
        store=store,
        name=name,
        brand=text_of(cells, "brand", PLACE_MAX_LENGTH),
        address=text_of(cells, "address", ADDRESS_MAX_LENGTH),
        province=text_of(cells, "province", PLACE_MAX_LENGTH),
        city=text_of(cells, "city", PLACE_MAX_LENGTH),
        district=text_of(cells, "district", PLACE_MAX_LENGTH),
        lon=position.lon,
        lat=position.lat,
        given_lon=given.lon,
        given_lat=given.lat,
        datum=datum,
        tags=_tags(cells),
        status=_choice(cells, _STORE_STATUSES),
        service_area=_service_area(cells, datum),
    )


def _store_number(cells: Cells) -> str:
    value = cells.get("store")
    if isinstance(value, datetime):
        raise Mistake(
            "store",
            "the store number has become a date; format the column as text and type it again",
        )
    store = text_of(cells, "store", STORE_NUMBER_MAX_LENGTH)
    if store is None:
        raise Mistake("store", "the store number is missing")
    if re.fullmatch(r"\d(?:\.\d+)?E\+\d+", store):
        raise Mistake(
            "store",
            f"the spreadsheet has shortened the store number to {store}; format the column as text",
        )
    # It is part of web addresses, where these mean something else.
    if "/" in store or "\\" in store or store in (".", ".."):
        raise Mistake("store", f"a store number may not hold slashes: {quoted(store)}")
    return store


def _given_position(cells: Cells) -> Point:
    """As the file has it, before any datum."""
    lon, lat = _number(cells, "lon", "longitude"), _number(cells, "lat", "latitude")
    if lon == 0 and lat == 0:
        raise Mistake("lon", "longitude 0 and latitude 0 stand for a missing position")
    if _look_swapped(lon, lat):
        raise Mistake(
            "lat",
            "longitude and latitude are swapped; "
            f"the right way round they are lon {lat:.10g}, lat {lon:.10g}",
        )
    try:
        return Point(lon, lat)
    except InvalidPoint as error:
        raise Mistake(error.field, str(error)) from None


def _look_swapped(lon: float, lat: float) -> bool:
    if abs(lat) > 90:
        return abs(lat) <= 180 and abs(lon) <= 90
    # In Xinjiang and Tibet a longitude passes for a latitude: 87.6, 43.8 is Urumqi, 43.8, 87.6 a
    # place in the Arctic Ocean. Only what could be so is looked up.
    if not (lat > 73 and 18 <= lon <= 54):
        return False
    atlas = places.default()
    return atlas.at(Point(lat, lon)) is not None and atlas.at(Point(lon, lat)) is None


def _datum(cells: Cells, default: Datum) -> Datum:
    text = text_of(cells, "datum", 100)
    if text is None:
        return default
    try:
        return datums.parse(text)
    except datums.UnknownDatum as error:
        raise Mistake("datum", str(error)) from None


# What address books put where a city directly under a province, or a municipality, has none.
_NO_CITY = frozenset({"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划", "直辖"})
_CHINESE_NAME = re.compile("[\u4e00-\u9fff]")
_DATUM_NAMES = {Datum.WGS84: "WGS-84", Datum.GCJ02: "GCJ-02", Datum.BD09: "BD-09"}


def _place_doubt(store: StoreRow) -> Warned | None:
    """Where the stated city (or else province) is not the one that the position lies in: and which
    of the three datums would make them agree, if one would."""
    for field, stated in (("city", store.city), ("province", store.province)):
        # Names in other scripts cannot be compared with the polygons'.
        if stated is None or stated in _NO_CITY or not _CHINESE_NAME.match(stated):
            continue
        found = _place_name(field, Point(store.lon, store.lat))
        if _same_place(stated, found):
            return None
        where = f"in {found}" if found else "abroad or at sea"
        detail = f"the position lies {where}, but {quoted(stated)} is stated"
        given = Point(store.given_lon, store.given_lat)
        for datum in Datum:
            read_so = _place_name(field, datums.to_wgs84(given, datum))
            if datum is not store.datum and _same_place(stated, read_so):
                read, meant = _DATUM_NAMES[store.datum], _DATUM_NAMES[datum]
                detail += f"; read as {meant} and not as {read} it would lie there"
                break
        return Warned(store.row, field, detail)
    return None


def _place_name(field: str, point: Point) -> str | None:
    place = places.default().at(point)
    if place is None:
        return None
    return (place.city or place.district) if field == "city" else place.province


def _same_place(stated: str, found: str | None) -> bool:
    """The same name, or one is the other cut short (上海 for 上海市)."""
    return found is not None and (found.startswith(stated) or stated.startswith(found))


def _tags(cells: Cells) -> tuple[str, ...] | None:
    value = cells.get("tags")
    if value is None:
        return None
    if isinstance(value, list):
        value = ",".join(str(tag) for tag in value)
    whole = text_of({"tags": value}, "tags", TAGS_MAX * (TAG_MAX_LENGTH + 2))
    parts = (part.strip() for part in re.split(r"[,，;；、|]", whole or ""))
    tags = tuple(dict.fromkeys(part for part in parts if part))
    if len(tags) > TAGS_MAX:
        raise Mistake("tags", f"{len(tags)} tags; at most {TAGS_MAX} are kept")
    for tag in tags:
        if len(tag) > TAG_MAX_LENGTH:
            raise Mistake("tags", f"{quoted(tag)} has more than {TAG_MAX_LENGTH} characters")
    return tags


def _service_area(cells: Cells, datum: Datum) -> dict[str, object] | None:
    value = cells.get("service_area")
    if value is None:
        return None
    if not isinstance(value, str | dict):
        raise Mistake("service_area", "the area is not a GeoJSON object")
    try:
        geometry = area.parse(value)
    except area.InvalidArea as error:
        raise Mistake("service_area", str(error)) from None
    if datum is not Datum.WGS84:
        geometry = shapely.transform(geometry, lambda pairs: _all_to_wgs84(pairs, datum))
    shape: dict[str, object] = json.loads(shapely.to_geojson(geometry))
    return shape


def _all_to_wgs84(pairs: Iterable[Iterable[float]], datum: Datum) -> list[tuple[float, float]]:
    points = (datums.to_wgs84(Point(*map(float, pair)), datum) for pair in pairs)
    return [(point.lon, point.lat) for point in points]


# ---------------------------------------------------------------- codes

_CODE_STATUSES: dict[str, CodeStatus] = {
    **dict.fromkeys(("active", "启用", "正常", "使用中"), CodeStatus.ACTIVE),
    **dict.fromkeys(("paused", "暂停", "停用"), CodeStatus.PAUSED),
}


def _code(row: int, cells: Cells, tz: tzinfo, group_members_max: int) -> CodeRow:
    store = _store_number(cells)
    payload, kind = _payload(cells)
    capacity = _count(cells, "capacity", at_least=1)
    members = _count(cells, "members", at_least=0)
    if kind in qr.GROUPS:
        for field, count in (("capacity", capacity), ("members", members)):
            if count is not None and count > group_members_max:
                raise Mistake(field, f"{count} is more than the {group_members_max} of a group")
    return CodeRow(
        row=row,
        store=store,
        payload=payload,
        kind=kind,
        capacity=capacity,
        members=members,
        expires_at=_time(cells, "expires_at", tz),
        label=text_of(cells, "label", LABEL_MAX_LENGTH),
        status=_choice(cells, _CODE_STATUSES),
    )


def _payload(cells: Cells) -> tuple[str, qr.CodeKind]:
    value = cells.get("payload")
    if value is None:
        raise Mistake("payload", "the code's payload is missing")
    payload = str(value).strip()
    try:
        return payload, qr.classify(payload)
    except qr.UnknownPayload as error:
        raise Mistake("payload", str(error)) from None


# ---------------------------------------------------------------- placements


def _placement(row: int, cells: Cells) -> PlacementRow:
    placement = text_of(cells, "placement", 200)
    if placement is None:
        raise Mistake("placement", "the placement's number is missing")
    # It is part of printed addresses and of file names.
    if not PLACEMENT_PATTERN.fullmatch(placement):
        raise Mistake(
            "placement",
            f"{quoted(placement)} must be letters a-z, digits, -, _ and ., 64 at most, "
            "a letter or digit first",
        )
    cost = None
    if cells.get("cost") is not None:
        amount = _number(cells, "cost", "cost")
        if not 0 <= amount <= COST_MAX:
            raise Mistake("cost", f"the cost must be 0 to {COST_MAX:,}, not {amount:.10g}")
        cost = Decimal(str(amount)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return PlacementRow(
        row=row,
        placement=placement,
        name=text_of(cells, "name", NAME_MAX_LENGTH),
        channel=text_of(cells, "channel", CHANNEL_MAX_LENGTH),
        store=_store_number(cells) if text_of(cells, "store", NAME_MAX_LENGTH) else None,
        printed=_count(cells, "printed", at_least=0),
        cost=cost,
        variant=text_of(cells, "variant", CHANNEL_MAX_LENGTH),
    )


# ---------------------------------------------------------------- managers


def _manager(row: int, cells: Cells) -> ManagerRow:
    whole = text_of(cells, "store", STORES_MAX * (STORE_NUMBER_MAX_LENGTH + 2))
    stores = tuple(
        dict.fromkeys(
            _store_number({"store": part})
            for part in re.split(r"[,，;；、|]", whole or "")
            if part.strip()
        )
    )
    if not stores:
        raise Mistake("store", "the store number is missing")
    if len(stores) > STORES_MAX:
        raise Mistake("store", f"{len(stores)} stores; one manager has at most {STORES_MAX}")
    return ManagerRow(row, stores, text_of(cells, "name", NAME_MAX_LENGTH))


# ---------------------------------------------------------------- cells

# Pasted from chats and web pages; they make two equal texts differ.
INVISIBLE = re.compile("[\u00ad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
_TIME = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
    r"(?:[T ]*(\d{1,2})[:时](\d{1,2})(?::(\d{1,2})(?:\.\d+)?|分)? ?(Z|[-+]\d\d:?\d\d)?)?",
    re.ASCII,
)


def quoted(text: str, length: int = 40) -> str:
    return repr(text if len(text) <= length else text[: length - 1] + "…")


def text_of(cells: Cells, field: str, max_length: int) -> str | None:
    """Trimmed, line breaks and runs of spaces made one space; None if nothing is left."""
    value = cells.get(field)
    if value is None:
        return None
    if isinstance(value, dict | list):
        raise Mistake(field, f"{field} must be a text")
    text = " ".join(INVISIBLE.sub("", str(value)).split())
    if not text:
        return None
    if _UNSTORABLE.search(text):
        raise Mistake(field, f"{field} holds control characters: {quoted(text)}")
    if len(text) > max_length:
        raise Mistake(field, f"{field} has {len(text)} characters; at most {max_length} are kept")
    return text


def _choice(cells: Cells, choices: Mapping[str, T]) -> T | None:
    text = text_of(cells, "status", 100)
    if text is None:
        return None
    if text.casefold() not in choices:
        expected = ", ".join(choices)
        raise Mistake("status", f"unknown status {quoted(text)}: expected one of {expected}")
    return choices[text.casefold()]


def _number(cells: Cells, field: str, name: str) -> float:
    value = cells.get(field)
    if isinstance(value, str):
        plain = unicodedata.normalize("NFKC", INVISIBLE.sub("", value)).strip()
        value = float(plain) if _NUMBER.fullmatch(plain) else value if plain else None
    if value is None:
        raise Mistake(field, f"the {name} is missing")
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e15:
        raise Mistake(field, f"the {name} is not a number: {quoted(str(value))}")
    return float(value)


def _count(cells: Cells, field: str, *, at_least: int) -> int | None:
    if cells.get(field) is None:
        return None
    number = _number(cells, field, field)
    if not number.is_integer() or not at_least <= number < 1e9:
        raise Mistake(
            field, f"{field} must be a whole number of at least {at_least}, not {number:.10g}"
        )
    return int(number)


def _time(cells: Cells, field: str, tz: tzinfo) -> datetime | None:
    value = cells.get(field)
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else moment_of(str(value))
    if moment is None or not 2000 <= moment.year < 2200:
        raise Mistake(
            field,
            f"{quoted(str(value))} is not a time; write 2026-01-31 18:00, "
            "or nothing for a code that does not expire",
        )
    return moment if moment.tzinfo else moment.replace(tzinfo=tz)


def moment_of(text: str) -> datetime | None:
    match = _TIME.fullmatch(unicodedata.normalize("NFKC", text).strip())
    if not match:
        return None
    year, month, day, hour, minute, second, offset = match.groups(default="")
    stamp = (
        f"{year}-{month:0>2}-{day:0>2}T{hour or '0':0>2}:{minute or '0':0>2}:{second or '0':0>2}"
    )
    try:
        return datetime.fromisoformat(stamp + offset)
    except ValueError:
        return None
