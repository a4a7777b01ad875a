"""What handlers share: the worker's parts, who calls, from where, and JSON answers."""

import base64
import binascii
import re
import uuid
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from service import accounts, audit, errors, moments
from service.accounts import Caller
from service.domain import Entry, Role
from service.http import sessions
from service.runtime import Service
from service.settings import Settings

_CHUNK = 1 << 16


class Json(JSONResponse):
    """JSON by orjson: times as ISO 8601 with offset, UUIDs as text."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=str)


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# A dependency that is no coroutine would be run in a thread of its own: a fifth of a millisecond.
async def _service(request: Request) -> Service:
    return service_of(request)


ServiceDep = Annotated[Service, Depends(_service)]

Model = TypeVar("Model", bound=BaseModel)


async def body_of(request: Request, model: type[Model]) -> Model:
    """The request's JSON, checked. As a parameter of the handler it would cost a third of the whole
    request; where thousands a second come, it is asked for by hand. Raises
    `RequestValidationError`."""
    try:
        return model.model_validate_json(await _body(request))
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from error


async def _body(request: Request) -> bytes:
    """All of the request's body: it comes in one piece nearly always, which is not worth the
    generators that Starlette reads it by. Raises `ClientDisconnect`."""
    parts = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """What `/openapi.json` says of a handler that uses `body_of`."""
    schema = model.model_json_schema()
    named = schema.pop("$defs", {})
    for name, value in schema["properties"].items():
        if "$ref" in value:
            schema["properties"][name] = named[value["$ref"].rpartition("/")[2]]
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


async def caller(request: Request, service: ServiceDep) -> Caller:
    """Whom the `Authorization: Bearer` key stands for; without one, who is signed in: their changes
    need the session's token in the header `X-CSRF-Token`.

    Raises `errors.NotSignedIn`, `errors.NotAllowed`.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        signed_in = await sessions.caller(request, service)
        if signed_in is not None:
            given = request.headers.get(sessions.HEADER)
            reads = request.method in ("GET", "HEAD")
            if not reads and not sessions.is_token(given, request, service):
                raise errors.NotAllowed(f"Send the session's token as `{sessions.HEADER}`")
            return signed_in
    if scheme.lower() != "bearer" or not key.strip():
        raise errors.NotSignedIn("Send `Authorization: Bearer KEY`, or sign in")
    async with service.connection() as connection:
        found = await accounts.caller_of(connection, key.strip())
    if found is None:
        raise errors.NotSignedIn("This key is not known, or it was revoked")
    if found.chain_id not in service.directory.chains:
        await service.refresh()  # a chain that was made a moment ago
    audit.act_as(found.actor)
    return found


Reader = Annotated[Caller, Depends(caller)]


async def hq(found: Reader) -> Caller:
    """Only HQ may go on. Raises `errors.NotAllowed`."""
    if found.role is not Role.HQ:
        raise errors.NotAllowed(f"This is for HQ; your role is {found.role}")
    return found


async def editor(found: Reader) -> Caller:
    """HQ, or a manager within their stores. Raises `errors.NotAllowed`."""
    if found.role is Role.READ:
        raise errors.NotAllowed("Readers change nothing")
    return found


async def chain_reader(found: Reader) -> Caller:
    """HQ or a reader: what is of the whole chain. Raises `errors.NotAllowed`."""
    if found.role is Role.MANAGER:
        raise errors.NotAllowed(f"This is for HQ and readers; your role is {found.role}")
    return found


Hq = Annotated[Caller, Depends(hq)]
ChainReader = Annotated[Caller, Depends(chain_reader)]
Editor = Annotated[Caller, Depends(editor)]


async def own_entry(service: Service, found: Caller, entry: str) -> Entry:
    """The caller's entry of that name, though another worker made it a moment ago.

    Raises `errors.NotFound`.
    """
    if entry not in service.directory.entries:
        await service.refresh()
    known = service.directory.entries.get(entry)
    if known is None or known.chain_id != found.chain_id:
        raise errors.NotFound(f"There is no entry {entry}")
    return known


def address_of(request: Request, settings: Settings) -> str | None:
    """The client's IP address.

    The right-most X-Forwarded-For entry that is not a trusted proxy, and only when the peer is
    one: anything else can be forged.
    """
    peer = request.client.host if request.client else None
    if peer is None or not _trusted(peer, settings):
        return _plain(peer)
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        plain = _plain(hop)
        if plain is None:
            return _plain(peer)
        if not _trusted(plain, settings):
            return plain
    return _plain(peer)


# Some proxies add the port: 192.0.2.1:4711, [2001:db8::1]:4711.
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?")


def _plain(address: str | None) -> str | None:
    """An address as Python writes it; IPv4 in IPv6 (::ffff:1.2.3.4) as IPv4; None if it is none."""
    text = (address or "").strip()
    if found_port := _WITH_PORT.fullmatch(text):
        text = found_port["v6"] or found_port["v4"] or ""
    try:
        found = ip_address(text.split("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _trusted(address: str, settings: Settings) -> bool:
    plain = _plain(address)
    if plain is None:
        return False
    found = ip_address(plain)
    return any(found in network for network in settings.trusted_proxies)


async def read_upload(upload: UploadFile, field: str, settings: Settings) -> bytes:
    """The upload's bytes. Raises `errors.TooLarge`, and `errors.BadInput` if there are none."""
    limit = int(settings.max_upload_mb * 1_000_000)
    data = bytearray()
    while chunk := await upload.read(_CHUNK):
        data += chunk
        if limit and len(data) > limit:
            raise errors.TooLarge(f"{field}: at most {settings.max_upload_mb:g} MB")
    if not data:
        raise errors.BadInput.of(field, "the file is empty")
    return bytes(data)


def parse_uuid(text: str, what: str) -> uuid.UUID:
    """Raises `errors.NotFound`: what is no id, is nobody's id."""
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise errors.NotFound(f"There is no such {what}") from error


def cursor(after: str | None) -> str | None:
    """The cursor that leads on after this key: opaque to callers."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(after.encode()).decode().rstrip("=")


def after_cursor(text: str | None) -> str | None:
    """The key behind a cursor. Raises `errors.BadInput`."""
    if text is None:
        return None
    try:
        padded = (text + "=" * (-len(text) % 4)).encode()
        after = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise errors.BadInput.of("cursor", "this is not a cursor of ours") from error
    if _UNSTORABLE.search(after):
        raise errors.BadInput.of("cursor", "this is not a cursor of ours")
    return after


def after_cursor_uuid(text: str | None) -> uuid.UUID | None:
    """The same where the key is an id."""
    after = after_cursor(text)
    try:
        return uuid.UUID(after) if after is not None else None
    except ValueError as error:
        raise errors.BadInput.of("cursor", "this is not a cursor of ours") from error


Moment = Annotated[AwareDatetime, AfterValidator(moments.in_range)]


# ---------------------------------------------------------------- texts

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _without_nul(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("holds a character that cannot be kept")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
"""Text that PostgreSQL can keep: all of Unicode but the zero character."""


async def storable(request: Request) -> None:
    """Refuses a URL with a text that PostgreSQL cannot keep. Raises `errors.BadInput`."""
    named = [*request.path_params.items(), *request.query_params.multi_items()]
    wrong = dict.fromkeys(name for name, text in named if _UNSTORABLE.search(str(text)))
    if wrong:
        raise errors.BadInput(
            *(
                errors.FieldError(printable(name), "holds a character that cannot be kept")
                for name in wrong
            )
        )


def printable(name: str) -> str:
    return name.encode("ascii", "replace").decode().replace("\x00", "?")[:64]
