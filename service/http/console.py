"""The consoles of HQ (`/hq`) and of managers (`/m`): pages and forms, without JavaScript.

```
GET  /hq, /m                        the page, or where to sign in; `/` leads to /hq
POST /hq/sign-in, /m/sign-in        with a key; then a session (see `sessions`)
POST /hq/sign-out, /m/sign-out
POST /m/codes                       put up a code by its picture
POST /m/codes/{code_id}/count | image | status
```

They show and change what the JSON does, through the same functions. A form is answered by the
page that it came from: with a redirect once it is done, else at once with what is wrong.
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service import accounts, errors
from service.accounts import Caller
from service.domain import Role
from service.http import console_overview, console_pages, manager, sessions
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.web import console
from service.web.console import Here

router = APIRouter(include_in_schema=False, route_class=PageRoute)
router.include_router(console_overview.router)
router.include_router(manager.router)


@router.get("/")
async def front_door() -> Response:
    return RedirectResponse("/hq", 303)


@router.post("/hq/sign-in")
@router.post("/m/sign-in")
async def sign_in(request: Request, service: ServiceDep) -> Response:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise errors.NotAllowed("Only the page itself may sign somebody in")
    async with request.form(max_files=0, max_fields=5) as form:
        key = console_pages.text_of(form, "key").strip()
    async with service.connection() as connection:
        found = await accounts.caller_of(connection, key)
    if found is None:
        frame = console_pages.frame_of(request, console_pages.here_of(request))
        return console_pages.html(console.sign_in(frame, "wrong"), frame, status=401)
    response = RedirectResponse(f"/{_home(found)}", 303)
    sessions.start(response, found, service)
    return response


@router.post("/hq/sign-out")
@router.post("/m/sign-out")
async def sign_out(request: Request, service: ServiceDep) -> Response:
    if await sessions.caller(request, service) is not None:
        async with request.form(max_files=0, max_fields=5) as form:
            console_pages.check_token(request, service, form)
    response = RedirectResponse(f"/{console_pages.here_of(request)}", 303)
    sessions.end(response)
    return response


def _home(caller: Caller) -> Here:
    return "m" if caller.role is Role.MANAGER else "hq"
