"""The doors: signing in and out, a manager's invitation, choosing a password.

```
POST /hq/sign-in, /m/sign-in        with e-mail and password, or with a key
POST /hq/sign-out, /m/sign-out
GET  /m/join/{token}                what an invitation is for; nothing is used up by looking
POST /m/join/{token}                takes it up: this phone is signed in
GET  /m/join/{token}/qr.{png,svg}   its link as a code
GET, POST /hq/password              who is signed in changes their password
GET, POST /hq/password/{token}      by a link: the first password, or a new one
```

Tokens are part of these addresses: whatever writes addresses down must leave them out (see
`app.AccessLog`).
"""

import asyncio
import dataclasses
import uuid
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service import accounts, errors, invitations, passwords, people, qr, throttle
from service.accounts import Caller
from service.directory import Chain
from service.domain import Role
from service.http import console_pages, context, sessions
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.runtime import Service
from service.web import doors
from service.web.console import Here

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_STORES = 8  # named on an invitation


# ---------------------------------------------------------------- signing in and out


@router.post("/hq/sign-in")
@router.post("/m/sign-in")
async def sign_in(request: Request, service: ServiceDep) -> Response:
    sessions.check_same_site(request, service)
    async with request.form(max_files=0, max_fields=5) as form:
        key = console_pages.text_of(form, "key").strip()
        email = console_pages.text_of(form, "email").strip().lower()
        password = console_pages.text_of(form, "password")
    if not (email or password):
        async with service.connection() as connection:
            found = await accounts.caller_of(connection, key)
        return await _signed_in(request, service, found, "wrong")
    try:
        found = await _by_password(request, service, email, password)
    except errors.TooManyAttempts as error:
        minutes = -(-error.retry_after_s // 60)
        response = _sign_in_again(request, "too_many", error.status, email, minutes)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    return await _signed_in(request, service, found, "wrong_password", email)


async def _by_password(
    request: Request, service: Service, email: str, password: str
) -> Caller | None:
    """Who signs in; None for a wrong address or password, which take equally long.

    Raises `errors.TooManyAttempts`.
    """
    settings = service.settings
    attempt = throttle.Attempt(service.secret, email, context.address_of(request, settings))
    async with service.connection() as connection:
        await attempt.count(connection, settings)
        person = await people.by_email(connection, email)
    password_hash = None if person is None else person["password_hash"]
    if not await passwords.matches(password_hash, password, settings) or person is None:
        return None
    async with service.connection() as connection:
        await attempt.forgive(connection)
        await people.rehash(connection, person, password, settings)
    return people.caller(person)


async def _signed_in(
    request: Request,
    service: Service,
    found: Caller | None,
    trouble: doors.Trouble,
    email: str = "",
) -> Response:
    if found is None:
        return _sign_in_again(request, trouble, errors.NotSignedIn.status, email)
    response = RedirectResponse(f"/{_home(found)}", 303)
    await sessions.start(request, response, found, service)
    return response


def _sign_in_again(
    request: Request, trouble: doors.Trouble, status: int, email: str, minutes: int = 0
) -> Response:
    frame = console_pages.frame_of(request, console_pages.here_of(request))
    page = doors.sign_in(frame, trouble, email=email[:254], minutes=minutes)
    return console_pages.html(page, frame, status=status)


@router.post("/hq/sign-out")
@router.post("/m/sign-out")
async def sign_out(request: Request, service: ServiceDep) -> Response:
    caller = await sessions.caller(request, service)
    if caller is not None:
        async with request.form(max_files=0, max_fields=5) as form:
            console_pages.check_token(request, service, form)
    response = RedirectResponse(f"/{console_pages.here_of(request)}", 303)
    await sessions.end(request, response, caller, service)
    return response


def _home(caller: Caller) -> Here:
    return "m" if caller.role is Role.MANAGER else "hq"


# ---------------------------------------------------------------- an invitation


@router.get("/m/join/{token}")
async def invitation(token: str, request: Request, service: ServiceDep) -> Response:
    """What it is for. Chats and mail programs open links before people do: looking changes
    nothing."""
    caller = await sessions.caller(request, service)
    try:
        async with service.connection() as connection:
            row = await invitations.behind(connection, token)
            names = await invitations.stores_of(connection, row)
    except errors.NotFound as error:
        return _over(request, "m", "unknown", error)
    own = caller is not None and caller.person_id == row["person_id"] is not None
    if row["state"] != invitations.State.OPEN:
        if own:
            return RedirectResponse("/m", 303)
        return _over(request, "m", row["state"], errors.Gone(""))
    chain = await _chain(service, row["chain_id"])
    frame = console_pages.frame_of(request, "m")
    frame = dataclasses.replace(frame, timezone=ZoneInfo(chain.timezone))
    page = doors.Invitation(
        name=row["name"],
        chain_name=chain.name,
        stores=names[:_STORES],
        more=max(0, len(names) - _STORES),
        until=row["expires_at"],
        as_other="" if caller is None or own else caller.name,
    )
    return console_pages.html(doors.invitation(frame, page), frame)


async def _chain(service: Service, chain_id: uuid.UUID) -> Chain:
    if chain_id not in service.directory.chains:
        await service.refresh()  # a chain that was made a moment ago
    return service.directory.chains[chain_id]


@router.post("/m/join/{token}")
async def join(token: str, request: Request, service: ServiceDep) -> Response:
    """The phone on which it was opened is signed in, once."""
    sessions.check_same_site(request, service)
    try:
        async with service.connection() as connection:
            person = await invitations.use(connection, token)
    except errors.NotFound as error:
        return _over(request, "m", "unknown", error)
    except errors.Gone as error:
        caller = await sessions.caller(request, service)
        async with service.connection() as connection:
            row = await invitations.behind(connection, token)
        # A double tap: the first has signed them in.
        if caller is not None and caller.person_id == row["person_id"] is not None:
            return RedirectResponse("/m", 303)
        return _over(request, "m", row["state"], error)
    response = RedirectResponse("/m", 303)
    await sessions.start(request, response, people.caller(person), service)
    return response


_MEDIA = {"png": "image/png", "svg": "image/svg+xml"}


@router.get("/m/join/{token}/qr.{form}")
async def invitation_code(token: str, form: str, service: ServiceDep) -> Response:
    """The link as a code, for whoever has the link; as long as it works."""
    async with service.connection() as connection:
        row = await invitations.behind(connection, token)
    if form not in _MEDIA or row["state"] != invitations.State.OPEN:
        raise errors.NotFound("There is no such code")
    draw = qr.svg if form == "svg" else qr.png
    link = invitations.link(token, service.settings)
    picture = await asyncio.to_thread(draw, link, error_correction=qr.ErrorCorrection.M)
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(picture, headers=headers, media_type=_MEDIA[form])


def _over(request: Request, here: Here, why: doors.Over, error: errors.NearcodeError) -> Response:
    frame = console_pages.frame_of(request, here)
    return console_pages.html(doors.over(frame, why), frame, status=error.status)


# ---------------------------------------------------------------- passwords


@router.get("/hq/password")
async def own_password(request: Request, service: ServiceDep) -> Response:
    caller = await sessions.caller(request, service)
    if caller is None:
        return console_pages.door(request, "hq")
    return await _own_password_page(request, service, caller)


@router.post("/hq/password")
async def change_password(request: Request, service: ServiceDep) -> Response:
    caller = await sessions.caller(request, service)
    if caller is None:
        raise errors.NotSignedIn("There is no session")
    async with request.form(max_files=0, max_fields=6) as form:
        console_pages.check_token(request, service, form)
        current, new, again = (
            console_pages.text_of(form, name) for name in ("current", "password", "again")
        )
    if new != again:
        return await _own_password_page(request, service, caller, "differ")
    async with service.connection() as connection:
        person = await people.person_of(connection, caller)
    attempt = throttle.Attempt(
        service.secret, person["email"], context.address_of(request, service.settings)
    )
    async with service.connection() as connection:
        await attempt.count(connection, service.settings)
        try:
            await people.change_password(connection, caller, current, new, service.settings)
        except errors.BadInput as error:
            wrong = error.errors[0].field == "current"
            trouble: doors.PasswordTrouble = "wrong" if wrong else "weak"
            return await _own_password_page(request, service, caller, trouble)
        await attempt.forgive(connection)
    return RedirectResponse("/hq", 303)


async def _own_password_page(
    request: Request,
    service: Service,
    caller: Caller,
    trouble: doors.PasswordTrouble | None = None,
) -> Response:
    async with service.connection() as connection:
        person = await people.person_of(connection, caller)
    frame = console_pages.frame_of(request, "hq", service, caller)
    page = _password(person["name"], person["email"], trouble, changing=True)
    status = errors.BadInput.status if trouble else 200
    return console_pages.html(doors.password(frame, page), frame, status=status)


@router.get("/hq/password/{token}")
async def password_link(token: str, request: Request, service: ServiceDep) -> Response:
    return await _chosen(request, service, token)


@router.post("/hq/password/{token}")
async def choose_password(token: str, request: Request, service: ServiceDep) -> Response:
    sessions.check_same_site(request, service)
    async with request.form(max_files=0, max_fields=5) as form:
        new, again = (console_pages.text_of(form, name) for name in ("password", "again"))
    if new != again:
        return await _chosen(request, service, token, "differ")
    try:
        async with service.connection() as connection:
            person = await people.use_password_link(connection, token, new, service.settings)
            await throttle.forget_account(connection, service.secret, person["email"])
    except errors.BadInput:
        return await _chosen(request, service, token, "weak")
    except errors.Gone as error:
        return _over(request, "hq", "password", error)
    response = RedirectResponse("/hq", 303)
    await sessions.start(request, response, people.caller(person), service)
    return response


async def _chosen(
    request: Request,
    service: Service,
    token: str,
    trouble: doors.PasswordTrouble | None = None,
) -> Response:
    """The page behind a link to choose a password."""
    try:
        async with service.connection() as connection:
            person = await people.behind_password_link(connection, token)
    except errors.Gone as error:
        return _over(request, "hq", "password", error)
    frame = console_pages.frame_of(request, "hq")
    page = _password(person["name"], person["email"], trouble, changing=False)
    status = errors.BadInput.status if trouble else 200
    return console_pages.html(doors.password(frame, page), frame, status=status)


def _password(
    name: str, email: str, trouble: doors.PasswordTrouble | None, *, changing: bool
) -> doors.Password:
    return doors.Password(
        name=name,
        email=email,
        changing=changing,
        least=passwords.LEAST,
        most=passwords.MOST,
        trouble=trouble,
    )
