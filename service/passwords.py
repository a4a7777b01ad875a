"""Passwords: Argon2id (RFC 9106), and what is asked of a new one.

Hashing takes tens of milliseconds and megabytes by intent, so it has few threads of its own: a
flood of guesses waits there, and nothing else does.
"""

import asyncio
import concurrent.futures
import functools
import unicodedata
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import argon2

from service import errors
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

LEAST, MOST = 10, 200  # characters
_DIFFERENT = 5
_LANES = 4

_threads = concurrent.futures.ThreadPoolExecutor(2, "passwords")


def check(password: str, *others: str) -> None:
    """Refuses what is guessed first: too short, hardly any different characters, or the person's
    own name or address (`others`). Raises `errors.BadInput`."""
    plain = _normal(password)
    if not LEAST <= len(plain) <= MOST:
        raise errors.BadInput.of("password", f"{LEAST} to {MOST} characters")
    if len(set(plain)) < _DIFFERENT:
        raise errors.BadInput.of("password", f"at least {_DIFFERENT} different characters")
    if plain.casefold() in {_normal(other).casefold() for other in others}:
        raise errors.BadInput.of("password", "may not be your name or address")


async def hashed(password: str, settings: Settings) -> str:
    """The hash to keep, with its parameters in it."""
    return await _work(_hasher(settings).hash, _bytes(password))


async def matches(password_hash: str | None, password: str, settings: Settings) -> bool:
    """Whether it is the password. Where there is none to compare with it takes as long."""
    hasher = _hasher(settings)
    wanted = password_hash
    if wanted is None:
        wanted = await _work(_nobodys, settings.password_memory_mb, settings.password_rounds)
    try:
        await _work(hasher.verify, wanted, _bytes(password))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return password_hash is not None


def outdated(password_hash: str, settings: Settings) -> bool:
    """Whether it was made with other parameters than the settings' of now."""
    return _hasher(settings).check_needs_rehash(password_hash)


def _bytes(password: str) -> bytes:
    """Never more than is worth hashing, and also of half a character, which UTF-8 does not have."""
    return _normal(password)[:MOST].encode("utf-8", "replace")


def _normal(password: str) -> str:
    """The same however a keyboard has put it together, full width included."""
    return unicodedata.normalize("NFKC", password)


def _hasher(settings: Settings) -> argon2.PasswordHasher:
    memory_kib = int(settings.password_memory_mb * 1024)
    return argon2.PasswordHasher(settings.password_rounds, memory_kib, parallelism=_LANES)


@functools.cache
def _nobodys(memory_mb: float, rounds: int) -> str:
    """What a password is compared with where there is none."""
    return argon2.PasswordHasher(rounds, int(memory_mb * 1024), _LANES).hash("nobody's")


async def _work(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    work = functools.partial(function, *arguments, **named)
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
