"""How a code stands, in one plain word: the same on every page."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from service.domain import Code, CodeStatus

_NEARLY_FULL = 0.8  # of the capacity, held seats included
_EXPIRING = timedelta(hours=48)


class CodeState(StrEnum):
    """One plain word for how a code stands; the first that is true, from the top."""

    REPORTED = "reported"  # paused because visitors said that it does not work
    PAUSED = "paused"
    EXPIRED = "expired"
    FULL = "full"
    EXPIRING = "expiring"  # within 48 hours
    NEARLY_FULL = "nearly_full"  # 80 % or more
    SERVING = "serving"

    @property
    def takes_members(self) -> bool:
        return self in (CodeState.SERVING, CodeState.NEARLY_FULL, CodeState.EXPIRING)


def state_of(code: Code, now: datetime) -> CodeState:
    if code.status is not CodeStatus.ACTIVE:
        return CodeState.REPORTED if code.flagged else CodeState.PAUSED
    if code.expires_at is not None and code.expires_at <= now:
        return CodeState.EXPIRED
    if not code.has_room:
        return CodeState.FULL
    if code.expires_at is not None and code.expires_at - now < _EXPIRING:
        return CodeState.EXPIRING
    if code.members + code.held >= _NEARLY_FULL * code.capacity:
        return CodeState.NEARLY_FULL
    return CodeState.SERVING


def seats_left(codes: Sequence[Code], now: datetime) -> int:
    """How many can still join by these codes as they stand."""
    return sum(
        code.capacity - code.members - code.held
        for code in codes
        if state_of(code, now).takes_members
    )
