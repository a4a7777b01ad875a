"""The consoles of HQ (`/hq`) and of managers (`/m`): pages and forms, without JavaScript.

```
/hq/...          HQ's pages (see `hq`); `/` leads there
/m/...           the managers' (see `manager`)
/hq/sign-in ...  the doors (see `doors`)
```

They show and change what the JSON does, through the same functions. A form is answered by the
page that it came from: with a redirect once it is done, else at once with what is wrong.
"""

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from service.http import doors
from service.http.console_pages import PageRoute
from service.http.hq import router as hq

router = APIRouter(include_in_schema=False, route_class=PageRoute)
router.include_router(doors.router)
router.include_router(hq.router)


@router.get("/")
async def front_door() -> Response:
    return RedirectResponse("/hq", 303)
