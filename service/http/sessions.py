"""Sessions at the door: the cookie, and the token that goes with every change made by it.

The cookie holds a random token that the database knows by its hash (see `signed_in`); who it stands
for is looked up at every request, so whoever is signed out is out at once. It comes with requests
that other sites make their visitors' browsers send; the token of a form, or of the header
`X-CSRF-Token`, does not.
"""

import urllib.parse

import itsdangerous
from fastapi import Request, Response

from service import audit, errors, signed_in
from service.accounts import Caller
from service.runtime import Service

COOKIE = "nc_session"
HEADER = "X-CSRF-Token"

_TOKEN_SALT = "nearcode console form"  # noqa: S105 (a name, not a secret)


async def start(request: Request, response: Response, caller: Caller, service: Service) -> None:
    """Sign this browser in as the caller; the session that it had ends."""
    async with service.connection() as connection:
        token = await signed_in.start(
            connection,
            caller,
            service.settings,
            agent=request.headers.get("user-agent", ""),
            instead_of=_cookie(request),
        )
    _set(response, token, service)


async def end(
    request: Request, response: Response, caller: Caller | None, service: Service
) -> None:
    """Sign this browser out."""
    if caller is not None and caller.session_id is not None:
        async with service.connection() as connection:
            await signed_in.end(connection, caller.chain_id, caller.session_id)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_secure(service))


async def caller(request: Request, service: Service) -> Caller | None:
    """Who is signed in; None without a session that works."""
    cookie = _cookie(request)
    if not cookie:
        return None
    async with service.connection() as connection:
        found = await signed_in.find(connection, cookie, service.settings)
    if found is None:
        return None
    request.state.session_used = found.used
    if found.caller.chain_id not in service.directory.chains:
        await service.refresh()  # a chain that was made a moment ago
    audit.act_as(found.caller.actor)
    return found.caller


def keep(request: Request, response: Response) -> None:
    """Where a session's time has begun anew, so does its cookie's."""
    if getattr(request.state, "session_used", False) and "set-cookie" not in response.headers:
        _set(response, _cookie(request), request.app.state.service)


def token(request: Request, service: Service) -> str:
    """What changes by this session carry, so that no other site can make them."""
    return _tokens(service).get_signature(_cookie(request)).decode()


def is_token(given: object, request: Request, service: Service) -> bool:
    return isinstance(given, str) and _tokens(service).verify_signature(
        _cookie(request).encode(), given.encode()
    )


def check_same_site(request: Request, service: Service) -> None:
    """Refuses a form of another site where there is no session yet, and so no token: signing
    somebody in as somebody else is a trick, too. Raises `errors.NotAllowed`."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        allowed = site in ("none", "same-origin")
    else:
        origin = request.headers.get("origin")
        here = (request.url.netloc, urllib.parse.urlsplit(service.settings.public_url).netloc)
        allowed = origin is None or urllib.parse.urlsplit(origin).netloc in here
    if not allowed:
        raise errors.NotAllowed("Only the page itself may sign somebody in")


def _set(response: Response, token: str, service: Service) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(service.settings.session_days * 86400),
        httponly=True,
        secure=_secure(service),
        # Lax: a link in a message opens the page that it leads to. Every change needs a token.
        samesite="lax",
    )


def _secure(service: Service) -> bool:
    return service.settings.public_url.startswith("https://")


def _cookie(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def _tokens(service: Service) -> itsdangerous.Signer:
    return itsdangerous.Signer(service.secret, salt=_TOKEN_SALT)
