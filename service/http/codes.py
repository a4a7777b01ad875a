"""Group codes, by JSON: HQ's all, a manager's those of their own stores."""

import base64
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, File, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service import (
    catalog,
    copies,
    errors,
    qr,
    reading,
)
from service.accounts import Caller
from service.domain import (
    CodeStatus,
    CountedBy,
)
from service.http import answers, context
from service.http.context import Editor, Json, Moment, Reader, ServiceDep, Text
from service.runtime import Service

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["codes"],
    dependencies=[Depends(context.storable)],
)


class CodeBody(BaseModel):
    """A new code by its payload, or by a picture that a preview has put aside."""

    model_config = ConfigDict(extra="forbid")

    payload: str | None = Field(None, max_length=2000)
    pending: UUID | None = None
    capacity: int | None = None
    members: int | None = None
    expires_at: Moment | None = None
    label: Text | None = Field(None, max_length=200)
    counted_by: CountedBy | None = None


class CodeChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    capacity: int | None = None
    members: int | None = None
    counted_by: CountedBy | None = None
    status: CodeStatus | None = None
    expires_at: Moment | None = None
    position: int | None = Field(None, ge=0, le=10_000)
    label: Text | None = Field(None, max_length=200)


@router.get("/stores/{store}/codes")
async def list_codes(store: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    """A store's codes in the order in which they are filled."""
    answers.within(caller, store)
    async with service.connection() as connection:
        await catalog.get_store(connection, caller.chain_id, store)
        rows = await catalog.codes_of_store(connection, caller.chain_id, store)
    return {"codes": [code_json(row) for row in rows], "next": None}


@router.post("/stores/{store}/codes", status_code=201)
async def create_code(
    store: str, request: Request, service: ServiceDep, caller: Editor
) -> dict[str, Any]:
    """Put up a code: multipart with a picture as `image`, or JSON with its `payload`."""
    answers.within(caller, store)
    body, picture = await _code_body(request, service)
    async with service.connection() as connection, connection.transaction():
        if body.pending is not None:
            kept = await copies.pending(connection, caller.chain_id, store, body.pending)
            body.payload, picture = kept.payload, kept.copy
            await copies.settle(connection, caller.chain_id, body.pending)
        new = catalog.NewCode(
            store=store,
            payload=body.payload or "",
            kind=catalog.kind_of(body.payload or ""),
            capacity=body.capacity,
            members=body.members,
            expires_at=body.expires_at,
            label=body.label,
            counted_by=body.counted_by,
            picture=picture,
        )
        row = await catalog.create_code(
            connection,
            caller.chain_id,
            new,
            datetime.now(UTC),
            service.settings,
            scope=caller.scope,
        )
    await service.refresh()
    return code_json(row)


@router.post("/stores/{store}/codes/preview")
async def preview_code(
    store: str, request: Request, service: ServiceDep, caller: Editor, keep: bool = False
) -> dict[str, Any]:
    """What a picture or payload would be as a code of this store: nothing is put up.

    Sent as to `POST .../codes`. With `keep`, a picture waits for 15 minutes: send `pending` instead
    of it then.
    """
    answers.within(caller, store)
    body, picture = await _code_body(request, service)
    if body.payload is None:
        raise errors.BadInput.of("payload", "a picture or a payload is needed")
    async with service.connection() as connection:
        await catalog.get_store(connection, caller.chain_id, store)
        preview = await catalog.preview_code(
            connection,
            caller.chain_id,
            store,
            body.payload,
            datetime.now(UTC),
            service.settings,
            scope=caller.scope,
        )
        pending = None
        if keep and picture is not None:
            pending = await copies.put_aside(
                connection, caller.chain_id, store, body.payload, picture
            )
    return preview_json(preview) | {"pending": pending}


def preview_json(preview: catalog.Preview) -> dict[str, Any]:
    """`image` is the code drawn anew, to be shown as it is."""
    drawn = qr.svg(preview.payload, error_correction=qr.ErrorCorrection.M)
    in_use = {"at": preview.up_at, "store": preview.up_store, "code_id": preview.up_code_id}
    used_before = {"until": preview.used_until, "store": preview.used_store}
    return {
        "payload": preview.payload,
        "kind": preview.kind.value,
        "expires_at": preview.expires_at,
        "capacity": preview.capacity,
        "in_use": in_use if preview.up_at else None,
        "used_before": used_before if preview.used_until else None,
        "doubts": [doubt.value for doubt in preview.doubts],
        "image": f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}",
    }


async def _code_body(request: Request, service: Service) -> tuple[CodeBody, reading.Copy | None]:
    """The body in either form, the payload read from the picture if there is one, and its copy."""
    kind = request.headers.get("content-type", "")
    copy = None
    try:
        if not kind.startswith("multipart/form-data"):
            body = CodeBody.model_validate_json(await request.body())
        else:
            async with request.form(max_files=1, max_fields=20) as form:
                values: dict[str, Any] = {k: v for k, v in form.items() if isinstance(v, str) and v}
                image = form.get("image")
                if image is not None and not isinstance(image, str):
                    sent = await context.read_upload(image, "image", service.settings)
                    picture = await catalog.read_picture(service.decoder, sent)
                    values["payload"], copy = picture.payload, picture.copy
                elif not {"payload", "pending"} & values.keys():
                    raise errors.BadInput.of("image", "a picture of the code is needed")
                body = CodeBody.model_validate(values)
        if (body.payload is None) == (body.pending is None):
            raise errors.BadInput.of("payload", "send a picture, or payload, or pending")
        return body, copy
    except ValidationError as error:
        raise errors.BadInput(
            *(
                errors.FieldError(".".join(map(str, e["loc"])) or "body", e["msg"])
                for e in error.errors()
            )
        ) from error


@router.get("/codes/{code_id}")
async def get_code(code_id: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    return code_json(await _own_code(service, caller, code_id))


@router.patch("/codes/{code_id}")
async def change_code(
    code_id: str, body: CodeChange, service: ServiceDep, caller: Editor
) -> dict[str, Any]:
    """Capacity, head count, pause, resume, order. Only what is sent changes."""
    await _own_code(service, caller, code_id)
    change = body.model_dump(exclude_unset=True)
    for name in ("capacity", "members", "counted_by", "status", "position"):
        if name in change and change[name] is None:
            raise errors.BadInput.of(name, "may not be null")
    async with service.connection() as connection:
        row = await catalog.change_code(
            connection,
            caller.chain_id,
            context.parse_uuid(code_id, "code"),
            change,
            service.settings,
            scope=caller.scope,
        )
    await service.refresh()
    return code_json(row)


@router.put("/codes/{code_id}/image")
async def renew_code(
    code_id: str, service: ServiceDep, caller: Editor, image: Annotated[UploadFile, File()]
) -> dict[str, Any]:
    """A new picture in the code's place: same store, order and capacity; a new expiry."""
    before = await _own_code(service, caller, code_id)
    picture = await context.read_upload(image, "image", service.settings)
    found = await catalog.read_picture(service.decoder, picture)
    async with service.connection() as connection:
        row = await catalog.renew_code(
            connection,
            caller.chain_id,
            before["code_id"],
            found.payload,
            datetime.now(UTC),
            service.settings,
            picture=found.copy,
            scope=caller.scope,
        )
    await service.refresh()
    return code_json(row)


@router.get("/codes/{code_id}/picture", response_class=Response)
async def picture_of_code(code_id: str, service: ServiceDep, caller: Reader) -> Response:
    """The small copy of the picture that the code was read from, if it was read from one."""
    code = await _own_code(service, caller, code_id)
    async with service.connection() as connection:
        kept = await copies.of_code(connection, caller.chain_id, code["code_id"])
    return Response(
        kept["picture"],
        media_type=kept["media_type"],
        headers={"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"},
    )


async def _own_code(service: Service, caller: Caller, code_id: str) -> asyncpg.Record:
    async with service.connection() as connection:
        row = await catalog.get_code(
            connection, caller.chain_id, context.parse_uuid(code_id, "code")
        )
    if not caller.sees_store(row["store"]):
        raise errors.NotFound("There is no such code")
    return row


def code_json(row: asyncpg.Record) -> dict[str, Any]:
    """`serving`: whether the next visitor could be shown it. `flagged_at`: when it was paused
    because several visitors said that it does not work. `picture`: a small copy of the picture that
    it was read from."""
    expired = row["expires_at"] is not None and row["expires_at"] <= datetime.now(UTC)
    room = row["members"] + row["held"] < row["capacity"]
    # Null: a fallback code, which stands behind no store.
    open_store = row["store_status"] in (None, "open")
    return {
        "code_id": row["code_id"],
        "store": row["store"],
        "kind": row["kind"],
        "payload": row["payload"],
        "label": row["label"],
        "capacity": row["capacity"],
        "members": row["members"],
        "held": row["held"],
        "counted_by": row["counted_by"],
        "status": row["status"],
        "flagged_at": row["flagged_at"],
        "serving": row["status"] == "active" and not expired and room and open_store,
        "expires_at": row["expires_at"],
        "position": row["position"],
        "image": f"/c/{row['code_id']}.png",
        "picture": f"/api/v1/codes/{row['code_id']}/picture" if row["has_picture"] else None,
    }
