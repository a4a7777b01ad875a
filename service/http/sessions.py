"""Console sessions: a signed cookie that names a key, and the token that every form carries.

The cookie says only which key signed in and when. The key is looked up again at every request, so
one that was revoked is out at once.
"""

import uuid

import itsdangerous
from fastapi import Request, Response

from service import accounts, audit
from service.accounts import Caller
from service.runtime import Service

COOKIE = "nc_session"
_AGE_S = 90 * 86400

# What is signed for one purpose is worth nothing for another.
_SESSION_SALT = "nearcode console session"
_TOKEN_SALT = "nearcode console form"  # noqa: S105 (a name, not a secret)


def start(response: Response, caller: Caller, service: Service) -> None:
    response.set_cookie(
        COOKIE,
        _signer(service).dumps(caller.key_id.hex),
        max_age=_AGE_S,
        httponly=True,
        secure=service.settings.public_url.startswith("https://"),
        samesite="strict",
    )


def end(response: Response) -> None:
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


async def caller(request: Request, service: Service) -> Caller | None:
    """Who is signed in; None without a session, or with one that is forged, too old, or whose key
    was revoked."""
    try:
        key_id = uuid.UUID(_signer(service).loads(_cookie(request), max_age=_AGE_S))
    except (itsdangerous.BadData, ValueError):
        return None
    async with service.connection() as connection:
        found = await accounts.caller_by_id(connection, key_id)
    if found is not None:
        audit.act_as(found.actor)
    return found


def token(request: Request, service: Service) -> str:
    """What the forms of this session carry, so that no other site can send them."""
    return _tokens(service).get_signature(_cookie(request)).decode()


def is_token(given: object, request: Request, service: Service) -> bool:
    return isinstance(given, str) and _tokens(service).verify_signature(
        _cookie(request).encode(), given.encode()
    )


def _cookie(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def _signer(service: Service) -> itsdangerous.URLSafeTimedSerializer:
    return itsdangerous.URLSafeTimedSerializer(service.secret, salt=_SESSION_SALT)


def _tokens(service: Service) -> itsdangerous.Signer:
    return itsdangerous.Signer(service.secret, salt=_TOKEN_SALT)
