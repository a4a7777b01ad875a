"""How often somebody may try a password: counted in PostgreSQL, so that all workers count as one.

An attempt counts before the password is looked at: a hundred guesses at once are a hundred
attempts. Addresses are kept as keyed hashes.
"""

import hashlib
import hmac
import math
from ipaddress import ip_network

from service import db, errors
from service.settings import Settings

_sql = db.load("throttle")


class Attempt:
    """One attempt to sign in: `email` in lower case, `address` that it came from (None: not
    known)."""

    def __init__(self, secret: bytes, email: str, address: str | None) -> None:
        self._account = _subject(secret, "account", email)
        self._address = None if address is None else _subject(secret, "address", _network(address))

    async def count(self, connection: db.Connection, settings: Settings) -> None:
        """Raises `errors.TooManyAttempts`, whether the password would have been right or not."""
        seconds = settings.sign_in_minutes * 60
        for subject, most in (
            (self._address, settings.sign_in_attempts_per_address),
            (self._account, settings.sign_in_attempts_per_account),
        ):
            if subject is None or not most:
                continue
            row = await _sql.count_attempt(connection, subject=subject, seconds=seconds)
            if row["attempts"] > most:
                wait_s = max(1, math.ceil(row["wait_s"]))
                minutes = math.ceil(wait_s / 60)
                raise errors.TooManyAttempts(
                    f"Too many attempts: try again in {minutes} minutes", retry_after_s=wait_s
                )

    async def forgive(self, connection: db.Connection) -> None:
        """It was the right password: the account starts anew, the address has tried one less."""
        await _sql.forget_attempts(connection, subject=self._account)
        if self._address is not None:
            await _sql.take_back_attempt(connection, subject=self._address)


async def forget_account(connection: db.Connection, secret: bytes, email: str) -> None:
    """Let an account be tried again at once."""
    await _sql.forget_attempts(connection, subject=_subject(secret, "account", email))


async def tidy(connection: db.Connection, settings: Settings) -> None:
    """Forget the attempts that count no more."""
    await _sql.forget_old_attempts(connection, seconds=settings.sign_in_minutes * 60)


def _network(address: str) -> str:
    """Of IPv6 the /56: a household or shop has as many addresses as it likes."""
    return str(ip_network(f"{address}/56", strict=False)) if ":" in address else address


def _subject(secret: bytes, kind: str, value: str) -> bytes:
    return hmac.digest(secret, f"{kind}:{value}".encode("utf-8", "replace"), hashlib.sha256)
