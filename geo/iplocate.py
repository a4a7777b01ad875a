"""Where an IP address is: a position with an honest radius, or nothing.

Sources, and what each is believed for:

- An ip2region `.xdb` file (names of province and city, no coordinates). Measured on Chinese IPv4
  addresses of known place it is right for 80 of 80 provinces and 62 of 63 cities, so **it alone
  decides about mainland China**. A city becomes its seat, with the distance to the city's farthest
  corner as radius (exclaves left out); a province without city becomes its capital, with the
  province's (up to 1,600 km: enough for the province's name and a list to choose from). A country
  alone is nothing.
- `.mmdb` files (MaxMind's nested records or flat ones) for the rest of the world. In China they
  name carriers' headquarters and the country's middle (province wrong for 11 of 80, three quarters
  of all addresses on one point), so there they only confirm: a city that a second database puts
  within 60 km of the seat is believed to within 60 km.

Dropped from `.mmdb` files: records without a city (country centres), Chinese addresses that the
`.xdb` does not know, and IPv6 that fewer than two of them agree on (carriers' blocks: province
wrong for 32 of 41). Two that agree abroad narrow the radius; two that differ widen it to hold both,
and say nothing if that is more than 500 km.
"""

import csv
import importlib.resources
import importlib.util
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ip2region.searcher
import ip2region.util
import maxminddb

from geo import distance, places
from geo.point import InvalidPoint, Point

_AGREED_M = 60_000.0
_CITY_ABROAD_M = 50_000.0
_TOO_FAR_APART_M = 500_000.0
_CHINA = "中国"
# What China's own databases count as provinces and others as countries.
_OTHER_CODES = {"HK": "香港特别行政区", "MO": "澳门特别行政区", "TW": "台湾省"}


class UnreadableDatabase(ValueError):
    """A file that is no IP database of the kind it was named as."""


@dataclass(frozen=True, slots=True)
class IpFix:
    """A position with the radius in metres within which the address is believed to be.

    `province` and `city` are full Chinese names, None where not known or abroad. `source` names
    the databases: "ip2region", "ip2region+dbip", "maxmind", ...
    """

    point: Point
    radius_m: float
    province: str | None
    city: str | None
    source: str


@dataclass(frozen=True, slots=True)
class _Seat:
    province: str
    city: str | None
    point: Point
    radius_m: float


@dataclass(frozen=True, slots=True)
class _Record:
    """What one .mmdb file says, where that is worth something."""

    country: str
    point: Point
    radius_m: float
    source: str


class Attribution(NamedTuple):
    """What a page that shows a database's answer must say, and where it must lead."""

    text: str
    url: str


class IpLocator:
    """Looks addresses up in `.xdb` files, one for IPv4 and one for IPv6, and any number of `.mmdb`
    files.

    Without an IPv4 `xdb` it is the file in the `ip_region` wheel (February 2024); without an IPv6
    one, no IPv6 address is placed in China. Raises `UnreadableDatabase` or `OSError` for files that
    cannot be read.
    """

    def __init__(self, xdb: Sequence[Path] = (), mmdb: Sequence[Path] = ()) -> None:
        # By IP version; of two files for one version the later counts.
        self._xdbs: dict[int, ip2region.searcher.Searcher] = {}
        for path in [default_xdb(), *xdb]:
            searcher = _open_xdb(path)
            self._xdbs[searcher.get_ip_version().id] = searcher
        self._mmdbs = [_open_mmdb(path) for path in mmdb]

    @property
    def attributions(self) -> tuple[Attribution, ...]:
        """What pages that show an answer must say, each once."""
        asked = (_ATTRIBUTIONS.get(name) for name, _ in self._mmdbs)
        return tuple(dict.fromkeys(attribution for attribution in asked if attribution))

    def locate(self, address: str) -> IpFix | None:
        """The fix of an IPv4 or IPv6 address; None if it is not known, private or no address."""
        ip = _public(address)
        if ip is None:
            return None
        records = [record for record in self._records(ip) if record is not None]
        region = self._region(ip)
        if region is not None and region[0] == _CHINA:
            seat = _seat(region[1], region[2])
            if seat is None:
                return None
            return _confirmed(seat, records)
        abroad = [record for record in records if record.country != "CN"]
        if len(abroad) < len(records):  # one says China, the other not: nothing is known
            return None
        return _abroad(abroad, needed=1 if ip.version == 4 else 2)

    def _region(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[str] | None:
        """Country, province and city as the .xdb names them, "" for what it does not know."""
        xdb = self._xdbs.get(ip.version)
        if xdb is None:
            return None
        fields = [field if field != "0" else "" for field in xdb.search(ip.packed).split("|")]
        if len(fields) < 5:
            return None
        # 国家|0|省|市|ISP until 2025, then 国家|省|市|ISP|ISO2
        newer = len(fields[4]) == 2 and fields[4].isascii() and fields[4].isupper()
        return [fields[0], *(fields[1:3] if newer else fields[2:4])]

    def _records(
        self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> Iterator[_Record | None]:
        for name, reader in self._mmdbs:
            if ip.version == 6 and reader.metadata().ip_version == 4:
                continue
            found = reader.get(ip)
            if isinstance(found, Mapping):
                yield _record(found, name)


def default_xdb() -> Path:
    """The .xdb file in the `ip_region` wheel (found without importing it, which imports much)."""
    spec = importlib.util.find_spec("ipregion")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the ip_region wheel is not installed")
    return Path(spec.submodule_search_locations[0]) / "ip2region.xdb"


def _public(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip if ip.is_global and not ip.is_multicast else None


def _open_xdb(path: Path) -> ip2region.searcher.Searcher:
    content = path.read_bytes()
    if len(content) < ip2region.util.HeaderInfoLength + ip2region.util.VectorIndexLength:
        raise UnreadableDatabase(f"{path} is too short for an ip2region .xdb file")
    header = ip2region.util.Header(content[: ip2region.util.HeaderInfoLength])
    version = ip2region.util.version_from_header(header)
    structures = (ip2region.util.XdbStructure20, ip2region.util.XdbStructure30)
    if version is None or header.version not in structures:
        raise UnreadableDatabase(f"{path} is no ip2region .xdb file of a known version")
    return ip2region.searcher.new_with_buffer(version, content)


_ATTRIBUTIONS = {
    "dbip": Attribution("IP Geolocation by DB-IP", "https://db-ip.com"),
    "maxmind": Attribution(
        "This product includes GeoLite Data created by MaxMind", "https://www.maxmind.com"
    ),
}


def _open_mmdb(path: Path) -> tuple[str, maxminddb.Reader]:
    try:
        reader = maxminddb.open_database(path)
    except maxminddb.InvalidDatabaseError as error:
        raise UnreadableDatabase(f"{path} is no .mmdb file: {error}") from error
    hint = f"{reader.metadata().database_type} {path.name}".lower().replace("-", "")
    if "dbip" in hint:
        return "dbip", reader
    return ("maxmind" if "geolite" in hint or "geoip" in hint else "mmdb"), reader


def _record(found: Mapping[str, object], source: str) -> _Record | None:
    """Reads MaxMind's nested shape and the flat one of `@ip-location-db`."""
    if "country_code" in found or "latitude" in found:
        country, city = found.get("country_code"), found.get("city")
        lon, lat, radius_km = found.get("longitude"), found.get("latitude"), None
    else:
        country = _inner(found, "country").get("iso_code")
        city = _inner(_inner(found, "city"), "names").get("en") or _any_name(found)
        location = _inner(found, "location")
        lon, lat = location.get("longitude"), location.get("latitude")
        radius_km = location.get("accuracy_radius")
    if not (isinstance(lon, int | float) and isinstance(lat, int | float)):
        return None
    if not (isinstance(country, str) and isinstance(city, str) and city.strip()):
        return None
    try:
        point = Point(float(lon), float(lat))
    except InvalidPoint:
        return None
    radius_m = _CITY_ABROAD_M
    if isinstance(radius_km, int | float) and radius_km > 0:
        radius_m = float(radius_km) * 1000
    return _Record(country, point, radius_m, source)


def _inner(record: Mapping[str, object], name: str) -> Mapping[str, object]:
    inner = record.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _any_name(record: Mapping[str, object]) -> object:
    return next(iter(_inner(_inner(record, "city"), "names").values()), None)


def _confirmed(seat: _Seat, records: Sequence[_Record]) -> IpFix:
    """The seat's fix, narrower if another database puts the address near the seat as well."""
    radius_m, source = seat.radius_m, "ip2region"
    if seat.city is not None:
        for record in records:
            if distance.geodesic_m(seat.point, record.point) <= _AGREED_M:
                radius_m = min(radius_m, _AGREED_M)
                source = f"ip2region+{record.source}"
                break
    return IpFix(seat.point, radius_m, seat.province, seat.city, source)


def _abroad(records: Sequence[_Record], needed: int) -> IpFix | None:
    if len(records) < needed:
        return None
    first = records[0]
    radius_m = first.radius_m
    apart_m = [distance.geodesic_m(first.point, record.point) for record in records[1:]]
    sources = [first.source]
    if apart_m:
        farthest_m = max(apart_m)
        if farthest_m > _TOO_FAR_APART_M or (needed > 1 and farthest_m > _AGREED_M):
            return None
        if farthest_m <= _AGREED_M:
            agreed_m = max(farthest_m, min(record.radius_m for record in records))
            radius_m = min(radius_m, agreed_m)
        else:
            radius_m = max(radius_m, farthest_m)
        sources += [record.source for record in records[1:]]
    place = places.default().at(first.point) if first.country in _OTHER_CODES else None
    province = _OTHER_CODES.get(first.country)
    city = place.city if place is not None and place.province == province else province
    return IpFix(first.point, radius_m, province, city, "+".join(dict.fromkeys(sources)))


# Cities that the shipped .xdb still names and that have since become part of another.
_MERGED = {("山东省", "莱芜"): "济南市"}


@cache
def _seat(province: str, city: str) -> _Seat | None:
    """The seat for names as ip2region has them: 广东省 or 广西, 上海, 大理, 阿拉善, 深圳市."""
    provinces, cities = _seats()
    full = _completed(province, list(provinces))
    if full is None:
        return None
    plain = city.removesuffix("市")
    known = _MERGED.get((full, plain)) or _completed(city, cities[full])
    if known is None and len(cities[full]) == 1:  # municipalities, Hong Kong, Macau, Taiwan
        known = cities[full][0]
    return provinces[full] if known is None else _city_seats()[full, known]


def _completed(short: str, names: Sequence[str]) -> str | None:
    """The one name that `short` is or begins, its 市 left out: 广西 is 广西壮族自治区."""
    if not short:
        return None
    if short in names:
        return short
    plain = short.removesuffix("市").removesuffix("省")
    fitting = [name for name in names if name.startswith(plain)]
    return fitting[0] if len(fitting) == 1 else None


@cache
def _seats() -> tuple[dict[str, _Seat], dict[str, list[str]]]:
    """Provinces with their capitals, and the names of each one's cities."""
    provinces = {}
    cities: dict[str, list[str]] = {}
    for row in _seat_rows():
        if row["level"] == "province":
            provinces[row["province"]] = _row_seat(row)
        else:
            cities.setdefault(row["province"], []).append(row["city"])
    return provinces, cities


@cache
def _city_seats() -> dict[tuple[str, str], _Seat]:
    return {
        (row["province"], row["city"]): _row_seat(row)
        for row in _seat_rows()
        if row["level"] == "city"
    }


def _row_seat(row: Mapping[str, str]) -> _Seat:
    point = Point(float(row["lon"]), float(row["lat"]))
    return _Seat(row["province"], row["city"] or None, point, float(row["radius_m"]))


@cache
def _seat_rows() -> list[dict[str, str]]:
    path = importlib.resources.files("geo") / "data" / "city_seats.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
