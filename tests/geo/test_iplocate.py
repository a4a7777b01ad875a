"""IP addresses: a position with an honest radius, or nothing."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ip2region.util
import pytest

from geo import distance, iplocate
from geo.iplocate import IpFix, IpLocator
from geo.point import Point

DATA = Path(__file__).parent / "data"
DBIP = (DATA / "dbip_city_sample_ipv4.mmdb", DATA / "dbip_city_sample_ipv6.mmdb")


@pytest.fixture(scope="module")
def locator() -> IpLocator:
    return IpLocator()


@pytest.fixture(scope="module")
def with_dbip() -> IpLocator:
    return IpLocator(mmdb=DBIP)


def _judged(fix: IpFix | None, truth: str) -> str:
    """Right is the province and, if both name one, the city; abroad, that it is not in China."""
    if fix is None:
        return "silent"
    country, *names = truth.split("/")
    if country not in ("CN", "HK", "MO", "TW"):
        return "right" if fix.province is None else "wrong"
    if fix.province != names[0]:
        return "wrong"
    if country == "CN" and len(names) > 1 and fix.city not in (None, names[1]):
        return "wrong"
    return "right"


@pytest.mark.parametrize("mmdb", [(), DBIP], ids=["xdb", "xdb+dbip"])
def test_of_known_addresses_under_three_percent_are_placed_wrongly(
    mmdb: tuple[Path, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    locator = IpLocator(mmdb=mmdb)
    counts: dict[str, Counter[str]] = {"IPv4": Counter(), "IPv6": Counter()}
    with (DATA / "known_addresses.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            verdict = _judged(locator.locate(row["ip"]), row["truth"])
            counts["IPv6" if ":" in row["ip"] else "IPv4"][verdict] += 1
    with capsys.disabled():
        for family, count in counts.items():
            verdicts = ", ".join(f"{count[v]} {v}" for v in ("right", "wrong", "silent"))
            print(f"\n  {family}, {1 + len(mmdb)} files: {verdicts}", end="")
    total = counts["IPv4"] + counts["IPv6"]
    assert total["wrong"] / total.total() < 0.03
    assert counts["IPv4"]["right"] >= 38
    assert counts["IPv6"]["wrong"] == 0


@pytest.mark.parametrize(
    "address",
    [
        "", " ", "not an address", "256.1.1.1", "1.2.3", "1.2.3.4:80", "10.0.0.1", "192.168.1.1",
        "172.16.0.1", "127.0.0.1", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "100.64.0.1",
        "169.254.1.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "2001:db8::1", "::",
        "::ffff:10.0.0.1", "202.96.209.5, 10.0.0.1", "\x00", "２０２.96.209.5",
    ],
)  # fmt: skip
def test_what_is_no_public_address_is_nowhere(with_dbip: IpLocator, address: str) -> None:
    assert with_dbip.locate(address) is None


def test_a_city_is_its_seat_and_its_radius_covers_it(locator: IpLocator) -> None:
    fix = locator.locate("202.96.134.133")
    assert fix is not None
    assert (fix.province, fix.city, fix.source) == ("广东省", "深圳市", "ip2region")
    assert distance.geodesic_m(fix.point, Point(114.055, 22.545)) < 5_000
    assert distance.geodesic_m(fix.point, Point(114.56, 22.52)) < fix.radius_m  # its eastern cape
    assert fix.radius_m < 100_000


def test_an_address_wrapped_in_ipv6_is_the_address(locator: IpLocator) -> None:
    assert locator.locate("::ffff:202.96.134.133") == locator.locate("202.96.134.133")
    assert locator.locate(" 202.96.134.133 ") == locator.locate("202.96.134.133")


def test_a_second_database_that_agrees_narrows_the_radius(
    locator: IpLocator, with_dbip: IpLocator
) -> None:
    alone, together = locator.locate("61.128.128.68"), with_dbip.locate("61.128.128.68")
    assert alone is not None
    assert together is not None
    assert together.radius_m < alone.radius_m
    assert together.point == alone.point
    assert together.source == "ip2region+dbip"


def test_a_second_database_that_names_a_headquarters_changes_nothing(
    locator: IpLocator, with_dbip: IpLocator
) -> None:
    # Chongqing Mobile, which DB-IP puts at the carrier's seat in Guangzhou
    assert with_dbip.locate("183.230.98.97") == locator.locate("183.230.98.97")


def test_carriers_ipv6_is_unknown(with_dbip: IpLocator) -> None:
    assert with_dbip.locate("240e:58:c000:1600:180:168:255:18") is None  # Shanghai, named Beijing
    assert with_dbip.locate("2409:8062:2000:1::1") is None  # Sichuan, named Guangzhou


def test_abroad_only_an_mmdb_knows(locator: IpLocator, with_dbip: IpLocator) -> None:
    assert locator.locate("165.21.83.88") is None
    fix = with_dbip.locate("165.21.83.88")
    assert fix is not None
    assert distance.geodesic_m(fix.point, Point(103.85, 1.3)) < fix.radius_m
    assert (fix.province, fix.city, fix.source) == (None, None, "dbip")


def test_the_databases_attribution_is_told_once(locator: IpLocator, with_dbip: IpLocator) -> None:
    assert locator.attributions == ()
    assert with_dbip.attributions == (("IP Geolocation by DB-IP", "https://db-ip.com"),)


class _Xdb:
    """Stands in for a file of the other record layout, which is not to be had as a wheel."""

    def __init__(self, region: str, version: Any = ip2region.util.IPv4) -> None:
        self._region, self._version = region, version

    def get_ip_version(self) -> Any:
        return self._version

    def search(self, address: bytes) -> str:
        return self._region


class _Mmdb:
    def __init__(self, record: object, ip_version: int = 6) -> None:
        self._record, self.ip_version = record, ip_version

    def metadata(self) -> "_Mmdb":
        return self

    def get(self, address: object) -> object:
        return self._record


Told = Callable[..., IpFix | None]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The fix of an address of which the databases say this."""

    def locate(region: str, *records: object, address: str = "1.2.4.8") -> IpFix | None:
        version = ip2region.util.IPv6 if ":" in address else ip2region.util.IPv4
        monkeypatch.setattr(iplocate, "_open_xdb", lambda path: _Xdb(region, version))
        opened = iter([("dbip", _Mmdb(record)) for record in records])
        monkeypatch.setattr(iplocate, "_open_mmdb", lambda path: next(opened))
        return IpLocator(mmdb=[Path("any.mmdb")] * len(records)).locate(address)

    return locate


@pytest.mark.parametrize(
    ("region", "province", "city"),
    [
        ("中国|0|广东省|深圳市|电信", "广东省", "深圳市"),
        ("中国|广东省|深圳市|电信|CN", "广东省", "深圳市"),
        ("中国|0|广西|南宁市|电信", "广西壮族自治区", "南宁市"),
        ("中国|广西壮族自治区|南宁市|电信|CN", "广西壮族自治区", "南宁市"),
        ("中国|0|上海|上海市|联通", "上海市", "上海市"),
        ("中国|上海|上海市|联通|CN", "上海市", "上海市"),
        ("中国|上海|0|联通|CN", "上海市", "上海市"),
        ("中国|0|内蒙古|锡林郭勒|联通", "内蒙古自治区", "锡林郭勒盟"),
        ("中国|0|云南省|大理|电信", "云南省", "大理白族自治州"),
        ("中国|0|新疆|喀什|电信", "新疆维吾尔自治区", "喀什地区"),
        ("中国|0|新疆|阿克苏|电信", "新疆维吾尔自治区", "阿克苏地区"),
        ("中国|0|青海省|海南|电信", "青海省", "海南藏族自治州"),
        ("中国|0|吉林省|吉林市|联通", "吉林省", "吉林市"),
        ("中国|0|河南省|济源|联通", "河南省", "济源市"),
        ("中国|0|山东省|莱芜市|联通", "山东省", "济南市"),
        ("中国|0|广东省|0|电信", "广东省", None),
        ("中国|广东省|0|电信|CN", "广东省", None),
        ("中国|0|香港|0|电讯盈科", "香港特别行政区", "香港特别行政区"),
        ("中国|0|澳门|0|澳门电讯", "澳门特别行政区", "澳门特别行政区"),
        ("中国|0|台湾省|台北|中华电信", "台湾省", "台湾省"),
    ],
)
def test_both_record_layouts_and_mixed_names_are_read(
    told: Told, region: str, province: str, city: str | None
) -> None:
    fix = told(region)
    assert fix is not None
    assert (fix.province, fix.city) == (province, city)


@pytest.mark.parametrize(
    "region",
    ["", "0|0|0|内网IP|内网IP", "中国|0|0|0|电信", "中国|0|0|电信|CN", "美国|0|0|0|Level3", "中国"],
)
def test_a_country_alone_is_nothing(told: Told, region: str) -> None:
    assert told(region) is None


def test_a_province_without_city_is_its_capital_with_the_provinces_radius(told: Told) -> None:
    fix = told("中国|0|广东省|0|电信")
    assert fix is not None
    assert distance.geodesic_m(fix.point, Point(113.26, 23.13)) < 5_000
    assert fix.radius_m > distance.geodesic_m(fix.point, Point(110.35, 20.35))  # Xuwen, far south


def _flat(city: str, lon: float, lat: float, country: str) -> dict[str, object]:
    return {"city": city, "country_code": country, "longitude": lon, "latitude": lat}


def _nested(city: str, lon: float, lat: float, country: str, km: int = 20) -> dict[str, object]:
    return {
        "city": {"names": {"en": city}} if city else {},
        "country": {"iso_code": country},
        "location": {"longitude": lon, "latitude": lat, "accuracy_radius": km},
    }


SYDNEY = (151.209, -33.8688)


def test_both_shapes_of_mmdb_records_are_read(told: Told) -> None:
    flat, nested = told("", _flat("Sydney", *SYDNEY, "AU")), told("", _nested("X", *SYDNEY, "AU"))
    assert flat is not None
    assert nested is not None
    assert flat.point == nested.point == Point(*SYDNEY)
    assert (flat.radius_m, nested.radius_m) == (50_000, 20_000)


@pytest.mark.parametrize(
    "record",
    [
        _flat("", 113.722, 34.7732, "CN"),
        _nested("", 113.722, 34.7732, "CN", 1000),
        _nested("", -97.822, 37.751, "US", 1000),
        _flat("Beijing", 116.407, 39.9042, "CN"),
        {"city": "Nowhere", "country_code": "AU"},
        {"city": "Nowhere", "country_code": "AU", "longitude": 999, "latitude": 5},
        {"city": "Nowhere", "country_code": "AU", "longitude": "1", "latitude": "2"},
        {"city": 5, "country": "AU", "location": []},
        {},
        None,
        "text",
    ],
)
def test_a_countrys_middle_a_headquarters_and_broken_records_are_nothing(
    told: Told, record: object
) -> None:
    assert told("", record) is None
    assert told("中国|0|0|0|电信", record) is None


def test_two_that_agree_abroad_narrow_the_radius_and_two_that_differ_widen_it(told: Told) -> None:
    one = _flat("Sydney", *SYDNEY, "AU")
    agreed = told("", one, _nested("Sydney", 151.21, -33.87, "AU", 10))
    assert agreed is not None
    assert agreed.radius_m == 10_000
    differing = told("", one, _flat("Canberra", 149.13, -35.28, "AU"))
    assert differing is not None
    assert 200_000 < differing.radius_m < 300_000
    assert told("", one, _flat("Perth", 115.86, -31.95, "AU")) is None


def test_ipv6_abroad_needs_two_that_agree(told: Told) -> None:
    sydney = _flat("Sydney", *SYDNEY, "AU")
    assert told("", sydney, address="2400:cb00::1") is None
    assert told("", sydney, sydney, address="2400:cb00::1") is not None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.xdb"
    for content in (b"", b"text" * 10, b"\xff" * 600_000):
        wrong.write_bytes(content)
        with pytest.raises(iplocate.UnreadableDatabase):
            IpLocator(xdb=[wrong])
        with pytest.raises(iplocate.UnreadableDatabase):
            IpLocator(mmdb=[wrong])
    with pytest.raises(FileNotFoundError):
        IpLocator(xdb=[tmp_path / "none.xdb"])
    with pytest.raises(FileNotFoundError):
        IpLocator(mmdb=[tmp_path / "none.mmdb"])
