"""Sessions: browsers that are signed in, as rows, so that they can be listed and ended at once.

A session is that of a person, or of a key that somebody has signed in with. It ends by itself when
it has not been used for `NEARCODE_SESSION_DAYS`. Its token is 32 random bytes; only the SHA-256 of
it is kept.
"""

import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from service import audit, db, errors
from service.accounts import Caller
from service.domain import Role, uuid7
from service.settings import Settings

_sql = db.load("signed_in")

_MOST_AGENT = 300


@dataclass(frozen=True, slots=True)
class Found:
    """Whose session it is; `used`: it was not for an hour, and its time begins anew."""

    caller: Caller
    used: bool


async def start(
    connection: db.Connection, caller: Caller, settings: Settings, *, agent: str, instead_of: str
) -> str:
    """Sign a browser in; the token of its session. `instead_of`: the token that it had, whose
    session ends, so that nobody who knew it comes along."""
    token, session_id = secrets.token_urlsafe(32), uuid7()
    async with connection.transaction():
        await _sql.end_by_token(connection, token_hash=_hash(instead_of))
        await _sql.insert_session(
            connection,
            chain_id=caller.chain_id,
            session_id=session_id,
            token_hash=_hash(token),
            person_id=caller.person_id,
            key_id=caller.key_id,
            agent=_printable(agent),
            lasts=_lasts(settings),
        )
        with audit.acting(caller.actor):
            await audit.record(
                connection,
                caller.chain_id,
                "session.start",
                str(session_id),
                after={"name": caller.name, "role": caller.role.value, "device": device(agent)},
            )
    return token


async def find(connection: db.Connection, token: str, settings: Settings) -> Found | None:
    """Whom a token stands for; None for one that is not known, has ended or run out, or whose
    person or key may not sign in any more."""
    token_hash = _hash(token)
    row = await _sql.find_session(connection, token_hash=token_hash)
    if row is None:
        return None
    if row["unused"]:
        await _sql.use_session(connection, token_hash=token_hash, lasts=_lasts(settings))
    caller = Caller(
        chain_id=row["chain_id"],
        name=row["name"],
        role=Role(row["role"]),
        stores=frozenset(row["stores"]),
        key_id=row["key_id"],
        person_id=row["person_id"],
        session_id=row["session_id"],
    )
    return Found(caller, row["unused"])


async def sessions(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    of: Caller | None = None,
    person_id: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """The sessions that have not ended, oldest first: the chain's, those of a caller (`of`), or of
    a person."""
    return await db.rows(
        _sql.list_sessions(
            connection,
            chain_id=chain_id,
            of_person=person_id if of is None else of.person_id,
            of_key=None if of is None else of.key_id,
            after=after,
            most=most,
        )
    )


async def end(
    connection: db.Connection,
    chain_id: uuid.UUID,
    session_id: uuid.UUID,
    *,
    of: Caller | None = None,
) -> None:
    """Sign a browser out, at once. `of`: only if it is theirs. Raises `errors.NotFound`."""
    async with connection.transaction():
        row = await _sql.end_session(
            connection,
            chain_id=chain_id,
            session_id=session_id,
            of_person=None if of is None else of.person_id,
            of_key=None if of is None else of.key_id,
        )
        if row is None:
            raise errors.NotFound(f"There is no session {session_id}")
        was = {"name": row["name"], "device": device(row["agent"])}
        await audit.record(connection, chain_id, "session.end", str(session_id), before=was)


async def end_all(
    connection: db.Connection,
    chain_id: uuid.UUID,
    person_id: uuid.UUID,
    *,
    but: uuid.UUID | None = None,
) -> int:
    """Sign a person out everywhere, `but` for one session; how many sessions that were."""
    ended: int = await _sql.end_sessions_of(
        connection, chain_id=chain_id, person_id=person_id, but=but
    )
    if ended:
        await audit.record(
            connection, chain_id, "session.end_all", str(person_id), before={"sessions": ended}
        )
    return ended


async def tidy(connection: db.Connection) -> None:
    """Forget the sessions that ended long ago."""
    await _sql.forget_old_sessions(connection)


_SYSTEMS = (
    ("iPad", "iPad"), ("iPhone", "iPhone"), ("HarmonyOS", "HarmonyOS"), ("Android", "Android"),
    ("Windows", "Windows"), ("Mac OS X", "Mac"), ("Linux", "Linux"),
)  # fmt: skip
_BROWSERS = (
    ("wxwork", "WeCom"), ("MicroMessenger", "WeChat"), ("DingTalk", "DingTalk"),
    ("Edg", "Edge"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"),
)  # fmt: skip


def device(agent: str) -> str:
    """A browser's own words in two of ours, "iPhone, WeChat"; empty for what is none."""
    system = next((name for word, name in _SYSTEMS if word in agent), "")
    browser = next((name for word, name in _BROWSERS if word in agent), "")
    return ", ".join(filter(None, (system, browser)))


def _lasts(settings: Settings) -> timedelta:
    return timedelta(days=settings.session_days)


def _printable(agent: str) -> str:
    return re.sub(r"[^\x20-\x7e]+", "?", agent)[:_MOST_AGENT]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
