"""What store managers do while a simulated history goes by: look at their codes some times a day,
put up a new group before the last one is full, renew what expires, resume what was paused."""

import hashlib
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from service import audit, catalog, db, qr
from service.directory import Chain
from service.domain import Code, CodeStatus, Store, StoreStatus
from service.settings import Settings
from service.simulate import crowd

# When they look, by the wall clock.
HOURS = (9, 14, 19)

_CAREFUL_SHARE = 0.88  # the others look on Mondays
_WECHAT_SHARE = 0.25  # of new groups; the others are WeCom's, which do not expire
_RENEWED_BEFORE = timedelta(hours=26)
_DEAD_AFTER = timedelta(days=3)
_MANAGER = audit.Actor(audit.ActorKind.MANAGER, "店长")


@dataclass(frozen=True, slots=True)
class Managers:
    """Of one chain. `asleep`: the stores whose managers never look."""

    chain_id: uuid.UUID
    seed: int
    asleep: Collection[str]
    settings: Settings

    async def look(
        self, connection: db.Connection, chain: Chain, now: datetime, timezone: tzinfo
    ) -> bool:
        """All of them look at their codes; whether anything was changed. In the caller's
        transaction."""
        changed = False
        with audit.acting(_MANAGER):
            for number in sorted(chain.stores):
                store = chain.stores[number]
                if store.status is StoreStatus.OPEN and self._looks(number, now, timezone):
                    changed |= await self._look_after(connection, store, now)
        return changed

    def _looks(self, store: str, now: datetime, timezone: tzinfo) -> bool:
        if store in self.asleep:
            return False
        local = now.astimezone(timezone)
        careful = crowd.share_of(self.seed, store, "careful") < _CAREFUL_SHARE
        return careful or (local.weekday() == 0 and local.hour == HOURS[0])

    async def _look_after(self, connection: db.Connection, store: Store, now: datetime) -> bool:
        changed = False
        for code in store.codes:
            for change in self._mend(code, now):
                await change(connection)
                changed = True
        free = sum(
            code.capacity - code.members - code.held
            for code in store.codes
            if code.skipped(now) is None and not _expires_soon(code, now)
        )
        if free < max(8, 0.12 * self.settings.default_capacity):
            await self._put_up(connection, store, now)
            changed = True
        return changed

    def _mend(self, code: Code, now: datetime) -> Iterator["_Change"]:
        if code.flagged:
            # They have tried it themselves: it works again.
            yield _Change(self, code, {"status": CodeStatus.ACTIVE.value})
        elif code.status is CodeStatus.ACTIVE and _expires_soon(code, now):
            if code.members < 0.8 * code.capacity:
                yield _Change(self, code, renewed_at=now)
            elif code.expires_at is not None and code.expires_at <= now:
                yield _Change(self, code, {"status": CodeStatus.RETIRED.value})

    async def _put_up(self, connection: db.Connection, store: Store, now: datetime) -> None:
        number = 1 + len(store.codes)
        mark = f"{self.seed}/{store.store}/{now:%Y-%m-%dT%H}"
        wechat = crowd.share_of(mark, "kind") < _WECHAT_SHARE
        new = catalog.NewCode(
            store.store,
            payload(mark, wechat=wechat),
            qr.CodeKind.WECHAT_GROUP if wechat else qr.CodeKind.WECOM_GROUP,
            capacity=100 if wechat else self.settings.default_capacity,
            label=f"{store.name.rpartition('·')[2][:20]}{number}群",
        )
        await catalog.create_code(connection, self.chain_id, new, now, self.settings)


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of one code: some values, or a new picture of the same group."""

    managers: Managers
    code: Code
    values: dict[str, object] | None = None
    renewed_at: datetime | None = None

    async def __call__(self, connection: db.Connection) -> None:
        chain_id, settings = self.managers.chain_id, self.managers.settings
        code_id = self.code.code_id
        if self.renewed_at is not None:
            mark = f"{self.managers.seed}/{self.code.store}/{self.renewed_at:%Y-%m-%dT%H}/renewed"
            picture = payload(f"{mark}/{self.code.position}", wechat=True)
            await catalog.renew_code(
                connection, chain_id, code_id, picture, self.renewed_at, settings
            )
            # It is the same group: they type how many are in it.
            values: dict[str, object] = {"members": self.code.members}
        else:
            values = self.values or {}
        await catalog.change_code(connection, chain_id, code_id, values, settings)


def _expires_soon(code: Code, now: datetime) -> bool:
    """Or has expired of late: what has been dead for long is not looked at any more."""
    expires_at = code.expires_at
    return expires_at is not None and now - _DEAD_AFTER < expires_at < now + _RENEWED_BEFORE


def payload(mark: str, *, wechat: bool) -> str:
    """A group's payload of the right shape that leads nowhere."""
    digest = hashlib.blake2b(mark.encode(), digest_size=16).hexdigest()
    if wechat:
        return f"https://weixin.qq.com/g/AwYAA{digest}{digest[:22]}"
    return f"https://work.weixin.qq.com/gm/{digest}"
