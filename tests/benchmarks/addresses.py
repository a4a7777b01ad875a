"""IP address to position; the floor is the bare search in the same ip2region file."""

import csv
import ipaddress
from collections.abc import Callable, Iterator

import ip2region.searcher
import ip2region.util
import numpy as np

from geo import iplocate
from tests.benchmarks import measuring, worlds
from tests.benchmarks.measuring import Job
from tests.benchmarks.options import Options

_DATA = worlds.ROOT / "tests" / "geo" / "data"
_ADDRESSES = 1_000
_ROUNDS = 9
_FLOOR = "floor: ip2region's search"


def run(options: Options) -> Iterator[str]:
    with (_DATA / "known_addresses.csv").open(encoding="utf-8", newline="") as file:
        known = [row["ip"] for row in csv.DictReader(file)]
    rng = np.random.default_rng(options.seed)
    numbers = rng.integers(0x01000000, 0xDFFFFFFF, _ADDRESSES).tolist()
    addresses = [str(ipaddress.IPv4Address(number)) for number in numbers]
    chinese = [ip for ip in known if ipaddress.ip_address(ip).version == 4]
    alone = iplocate.IpLocator()
    with_mmdb = iplocate.IpLocator(mmdb=[_DATA / "dbip_city_sample_ipv4.mmdb"])
    searcher = ip2region.searcher.new_with_buffer(
        ip2region.util.IPv4, iplocate.default_xdb().read_bytes()
    )
    packed = [ipaddress.ip_address(address).packed for address in addresses]

    def located(locator: iplocate.IpLocator, among: list[str]) -> Callable[[int], object]:
        return lambda number: locator.locate(among[number % len(among)])

    calls: dict[str, Callable[[int], object]] = {
        _FLOOR: lambda number: searcher.search(packed[number]),
        "any address": located(alone, addresses),
        "any address, with an .mmdb": located(with_mmdb, addresses),
        "known addresses, most of them Chinese": located(alone, chinese),
    }
    jobs = {name: Job(call, _ADDRESSES) for name, call in calls.items()}
    times = measuring.interleaved(jobs, options.scaled(_ROUNDS, least=3))
    yield measuring.table(
        ("addresses", "a look-up", "+-", "x floor"),
        [
            (
                name,
                measuring.duration(each.median_s),
                f"{each.spread / 2:.0%}",
                f"{each.ratio_to(times[_FLOOR]):.2f}",
            )
            for name, each in times.items()
        ],
    )
