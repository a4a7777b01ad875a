"""How many seats one address, or one network, may hold at once: no script takes them all.

A shop's customers share one address, so the limits are far above what a shop needs. Whoever is well
below them costs nothing: only a network to which this worker itself has lately granted a share of
its limit is counted in the database, and then exactly, network by network under a lock.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from service import db
from service.domain import Scan

_sql = db.load("allowance")

# So many workers can share a limit without one of them noticing that it comes near.
_WORKERS = 20


@dataclass(slots=True)
class Budget:
    """What may still be held within one transaction. Networks that are not named have no limit."""

    per_address: int
    per_subnet: int
    # Live seats by network and address.
    held: dict[bytes, Counter[bytes]] = field(default_factory=dict)

    def take(self, scan: Scan) -> bool:
        """One more seat for this scan's address, if it may have one."""
        address, subnet = scan.address_hash, scan.subnet_hash
        if address is None or subnet is None or (held := self.held.get(subnet)) is None:
            return True
        if self.per_address and held[address] >= self.per_address:
            return False
        if self.per_subnet and held.total() >= self.per_subnet:
            return False
        held[address] += 1
        return True


class Allowance:
    """One worker's memory of what it granted to whom. A limit of 0 is none."""

    def __init__(self, per_address: int, per_subnet: int, hold_s: float) -> None:
        self._per_address = per_address
        self._per_subnet = per_subnet
        limits = [limit for limit in (per_address, per_subnet) if limit]
        self._watched_from = min(limits) / _WORKERS if limits else 0
        # Seats granted in the current and the last span of `hold_s`: older ones are held no more.
        self._span_s = hold_s
        self._began = time.monotonic()
        self._now: Counter[bytes] = Counter()
        self._last: Counter[bytes] = Counter()

    def granted(self, scan: Scan) -> None:
        if self._watched_from and scan.subnet_hash is not None:
            self._now[scan.subnet_hash] += 1

    def near(self, scans: Iterable[Scan]) -> list[bytes]:
        """The networks of these to which a share of their limit has been granted."""
        if not self._watched_from:
            return []
        self._turn_over()
        asking = Counter(scan.subnet_hash for scan in scans if scan.subnet_hash is not None)
        return [
            subnet
            for subnet, many in asking.items()
            if self._now[subnet] + self._last[subnet] + many > self._watched_from
        ]

    async def budget(self, connection: db.Connection, scans: Iterable[Scan]) -> Budget:
        """What these may still be granted. Networks near a limit stay locked until the commit."""
        budget = Budget(self._per_address, self._per_subnet)
        near = self.near(scans)
        if not near:
            return budget
        locks = sorted(int.from_bytes(subnet[:8], "big", signed=True) for subnet in near)
        await db.rows(_sql.lock_subnets(connection, locks=locks))
        budget.held = {subnet: Counter() for subnet in near}
        for row in await db.rows(_sql.count_held(connection, subnets=near)):
            budget.held[row["subnet_hash"]][row["address_hash"]] = row["seats"]
        return budget

    def _turn_over(self) -> None:
        now = time.monotonic()
        if now - self._began >= self._span_s:
            self._last = self._now if now - self._began < 2 * self._span_s else Counter()
            self._now = Counter()
            self._began = now
