"""Who may come in: people, invitations of managers, and the browsers that are signed in. HQ alone
sees them."""

from typing import Any

from fastapi import APIRouter, Response, UploadFile

from service import errors, invitations, people, signed_in
from service.domain import Role
from service.http import invitations as invitations_api
from service.http import people as api
from service.http import signed_in as sessions_api
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute, checked, values_of
from service.web import hq, reason_words
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

_MOST = 10_000
_PEOPLE = (
    Column(key="name", link="url", note="email"),
    Column(key="email", filed=True),
    Column(key="role", kind="words"),
    Column(key="stores", kind="list", wide=True),
    Column(key="status", kind="state"),
    Column(key="sessions", kind="number", wide=True),
    Column(key="seen_at", kind="moment", wide=True),
    Column(key="created_at", kind="moment", wide=True),
)
_INVITATIONS = (
    Column(key="name", label="col.who"),
    Column(key="stores", kind="list"),
    Column(key="status", kind="state"),
    Column(key="created_at", kind="moment", wide=True),
    Column(key="expires_at", kind="moment", wide=True),
)
_SESSIONS = (
    Column(key="name", note="device"),
    Column(key="role", kind="words"),
    Column(key="device", filed=True),
    Column(key="status", kind="state"),
    Column(key="seen_at", kind="moment"),
    Column(key="created_at", kind="moment", wide=True),
    Column(key="expires_at", kind="moment", wide=True),
)
_OFFICE = (Role.HQ, Role.READ)  # who have a password; managers are invited


def _own(desk: Desk) -> None:
    if not desk.may_change:
        raise errors.NotAllowed("This needs an hq key")


# ---------------------------------------------------------------- people


@router.get("/hq/people")
@router.get("/hq/people.{form}")
async def list_people(desk: DeskDep, form: str = "") -> Response:
    return await _people(desk, form)


async def _people(
    desk: Desk, form: str = "", *, said: hq.Said | None = None, link: str = ""
) -> Response:
    _own(desk)
    role = next((role for role in Role if role.value == desk.asked("role")), None)
    async with desk.service.connection() as connection:
        found = await people.people(connection, desk.caller.chain_id, role=role, most=_MOST)
    rows = [_person(row) for row in map(api.person_json, found)]
    table = desk.whole(
        "people",
        _PEOPLE,
        rows,
        form,
        searched=("name", "email", "stores"),
        keep={"role": role.value if role else ""},
    )
    if form:
        return await desk.download(table, form)
    roles = [(each.value, desk.say(f"role.{each}")) for each in Role]
    return desk.html(
        "people.html",
        "people",
        status=422 if said else 200,
        table=table,
        said=said,
        link=link,
        choices=[("role", desk.say("col.role"), roles)],
        roles=[(each.value, desk.say(f"role.{each}")) for each in _OFFICE],
    )


def _person(told: dict[str, Any]) -> dict[str, Any]:
    return {
        **told,
        "status": "active" if told["active"] else "closed_out",
        "url": hq.Query("/hq/person", {})(person=told["person_id"]),
    }


@router.post("/hq/people")
async def create_person(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    try:
        body = checked(
            api.PersonBody, {name: values.get(name, "") for name in ("role", "name", "email")}
        )
        made = await api.create_person(body, desk.service, desk.caller)
    except (errors.BadInput, errors.Conflict) as error:
        return await _people(desk, said=desk.said(error, values))
    return await _people(desk, link=made["password_link"])


@router.get("/hq/person")
async def person(desk: DeskDep) -> Response:
    return await _one(desk, desk.asked("person"))


async def _one(
    desk: Desk, person_id: str, *, said: hq.Said | None = None, link: str = ""
) -> Response:
    """Raises `errors.NotFound`."""
    _own(desk)
    found = await api.get_person(person_id, desk.service, desk.caller)
    sessions = await sessions_api.list_sessions(
        desk.service, desk.caller, person_id=person_id, limit=100
    )
    return desk.html(
        "person.html",
        "people",
        status=422 if said else 200,
        person=found,
        said=said,
        link=link,
        sessions=sessions["sessions"],
        roles=[(each.value, desk.say(f"role.{each}")) for each in _OFFICE],
        stores=[(store, figures.store_url(store)) for store in found["stores"]],
    )


@router.post("/hq/person")
async def change_person(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    person_id = values.pop("person", "")
    change: dict[str, Any] = {
        name: values[name] for name in ("name", "email", "role") if values.get(name)
    }
    if "stores" in values:
        change["stores"] = _several(values["stores"])
    if values.get("active"):
        change["active"] = values["active"] == "yes"
    try:
        body = checked(api.PersonChange, change)
        await api.change_person(person_id, body, desk.service, desk.caller)
    except (errors.BadInput, errors.Conflict) as error:
        return await _one(desk, person_id, said=desk.said(error, values))
    return desk.done("/hq/person", "saved", person=person_id)


@router.post("/hq/person/password-link")
async def password_link(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    person_id = values.get("person", "")
    try:
        made = await api.password_link(person_id, desk.service, desk.caller)
    except (errors.BadInput, errors.Conflict) as error:
        return await _one(desk, person_id, said=desk.said(error, {}))
    return await _one(desk, person_id, link=made["password_link"])


@router.post("/hq/person/sign-out")
async def sign_out_everywhere(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    person_id = values.get("person", "")
    await api.end_sessions(person_id, desk.service, desk.caller)
    return desk.done("/hq/person", "signed_out", person=person_id)


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.replace("，", ",").split(",") if part.strip()]


# ---------------------------------------------------------------- invitations


@router.get("/hq/invitations")
@router.get("/hq/invitations.{form}")
async def list_invitations(desk: DeskDep, form: str = "") -> Response:
    return await _invitations(desk, form)


async def _invitations(
    desk: Desk,
    form: str = "",
    *,
    said: hq.Said | None = None,
    made: list[dict[str, Any]] | None = None,
    rejected: list[dict[str, Any]] | None = None,
) -> Response:
    _own(desk)
    async with desk.service.connection() as connection:
        found = await invitations.invitations(connection, desk.caller.chain_id, most=_MOST)
    rows = [
        {**row, "status": "waiting" if row["state"] == "open" else row["state"]}
        for row in map(invitations_api.invitation_json, found)
    ]
    table = desk.whole("invitations", _INVITATIONS, rows, form, searched=("name", "stores"))
    if form:
        return await desk.download(table, form)
    return desk.html(
        "invitations.html",
        "invitations",
        status=422 if said else 200,
        table=table,
        said=said,
        made=made or [],
        rejected=[
            {**row, "detail": reason_words.worded(desk.lang, row["detail"])}
            for row in rejected or []
        ],
    )


@router.post("/hq/invitations")
async def invite(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    body: dict[str, Any] = {"name": values.get("name", "")}
    body["stores"] = _several(values.get("stores", ""))
    try:
        asked = checked(invitations_api.InvitationBody, body)
        made = await invitations_api.create_invitation(asked, desk.service, desk.caller)
    except (errors.BadInput, errors.Conflict) as error:
        return await _invitations(desk, said=desk.said(error, values))
    return await _invitations(desk, made=[made])


@router.post("/hq/invitations/import")
async def invite_many(desk: DeskDep) -> Response:
    async with desk.sent(files=1) as form:
        upload = form.get("file")
        if upload is None or isinstance(upload, str) or not upload.filename:
            missing = errors.BadInput.of("file", desk.say("import.empty"))
            return await _invitations(desk, said=desk.said(missing, {}))
        sent = UploadFile(upload.file, filename=upload.filename)
        try:
            done = await invitations_api.import_invitations(desk.service, desk.caller, sent)
        except (errors.BadInput, errors.TooLarge) as error:
            return await _invitations(desk, said=hq.Said(errors=[("file", error.detail)]))
    return await _invitations(desk, made=done["created"], rejected=done["rejected"])


@router.post("/hq/invitations/revoke")
async def revoke(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    try:
        await invitations_api.revoke_invitation(
            values.get("invitation", ""), desk.service, desk.caller
        )
    except errors.Conflict as error:
        return await _invitations(desk, said=desk.said(error, {}))
    return desk.done("/hq/invitations", "withdrawn")


# ---------------------------------------------------------------- sessions


@router.get("/hq/sessions")
@router.get("/hq/sessions.{form}")
async def list_sessions(desk: DeskDep, form: str = "") -> Response:
    _own(desk)
    async with desk.service.connection() as connection:
        found = await signed_in.sessions(connection, desk.caller.chain_id, of=None, most=_MOST)
    told = (sessions_api.session_json(row, desk.caller) for row in found)
    rows = [{**row, "status": "current" if row["current"] else "active"} for row in told]
    table = desk.whole(
        "sessions", _SESSIONS, rows, form, searched=("name", "device"), default="-seen_at"
    )
    if form:
        return await desk.download(table, form)
    return desk.html("sessions.html", "sessions", table=table)


@router.post("/hq/sessions/end")
async def end_session(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    await sessions_api.end_session(values.get("session", ""), desk.service, desk.caller)
    return desk.done("/hq/sessions", "signed_out")
