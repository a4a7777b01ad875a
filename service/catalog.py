"""The catalog: stores, group codes, entries and placements as HQ and managers edit them.

Every function takes a connection and works in one transaction: all of it or nothing. Each raises
the chain's version, by which workers learn that something has changed.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import asyncpg

from geo import places
from geo.point import Point
from service import audit, copies, db, decoding, errors, qr, reading
from service.domain import PLACEMENT_PATTERN, CodeStatus, CountedBy, IpPolicy, StoreStatus, uuid7
from service.importing import CodeRow, PlacementRow, Rejected, StoreRow
from service.settings import Settings
from service.steps import hold

_sql = db.load("catalog")
_versions = db.load("directory")

_MOST_CONTACTS = 1_000_000
_BATCH = 2000
MOST_CHANGES = 500  # named, of an import's


@dataclass(frozen=True, slots=True)
class Change:
    """What an import does to one thing: `before` is None for a new one; both hold only what
    differs."""

    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do. `rejected` in the order of the rows; `changes`, too, and of
    these the first that a person would look through."""

    created: int
    updated: int
    unchanged: int
    rejected: tuple[Rejected, ...]
    changes: tuple[Change, ...] = ()
    created_rows: tuple[int, ...] = ()  # of an import of codes


async def _bump(connection: db.Connection, chain_id: uuid.UUID) -> int:
    """The chain's next version; its row stays locked until the end of the transaction."""
    version: int | None = await _versions.bump(connection, chain_id=chain_id)
    if version is None:
        raise errors.NotFound("There is no such chain")
    return version


# ---------------------------------------------------------------- stores


async def put_stores(
    connection: db.Connection,
    chain_id: uuid.UUID,
    rows: Sequence[StoreRow],
    *,
    rejected: tuple[Rejected, ...] = (),
    cleared: frozenset[str] = frozenset(),
    dry_run: bool = False,
    done: Callable[[int], object] = lambda rows: None,
) -> Imported:
    """Create the stores that are new and update those that differ.

    What a row leaves out (None) stays as it is, but for the columns in `cleared`, which become
    empty. Place names that are not stated, or stated in a short form (上海 for 上海市), come from
    the polygon that the store stands in. `done` is told how many rows have been dealt with.
    """
    async with connection.transaction():
        version = 0 if dry_run else await _bump(connection, chain_id)
        known = {
            row["store"]: row
            for row in await db.rows(
                _sql.stores_by_number(
                    connection, chain_id=chain_id, stores=[row.store for row in rows]
                )
            )
        }
        created = updated = unchanged = 0
        changed: list[tuple[str, dict[str, Any]]] = []
        for number, row in [*known.items()]:
            if row["status"] == StoreStatus.DELETED:
                del known[number]  # a number may be given again
        # Looking up the places of thousands of stores must not keep visitors waiting.
        values = await asyncio.to_thread(
            lambda: [_store_values(row, known.get(row.store), cleared) for row in rows]
        )
        for store_row, after in zip(rows, values, strict=True):
            before = known.get(store_row.store)
            if before is None:
                created += 1
            elif {column: before[column] for column in after} == after:
                unchanged += 1
                continue
            else:
                updated += 1
            changed.append((store_row.store, after))
        done(len(rows) - len(changed))
        for start in range(0, len(changed), _BATCH):
            batch = changed[start : start + _BATCH]
            if not dry_run:
                await _write_stores(connection, chain_id, version, batch)
            done(len(batch))
        if not dry_run:
            await _log_stores(connection, chain_id, changed, known, alone=len(rows) == 1)
    return Imported(created, updated, unchanged, rejected, _changes(changed, known))


def _changes(
    changed: Sequence[tuple[str, dict[str, Any]]], known: Mapping[str, Mapping[str, Any]]
) -> tuple[Change, ...]:
    found = []
    for subject, after in changed[:MOST_CHANGES]:
        was = known.get(subject)
        if was is None:
            told = {column: value for column, value in after.items() if value not in (None, [])}
            found.append(Change(subject, None, told))
            continue
        differs = [column for column in after if was[column] != after[column]]
        found.append(
            Change(subject, {name: was[name] for name in differs}, {n: after[n] for n in differs})
        )
    return tuple(found)


def _store_values(
    row: StoreRow, before: asyncpg.Record | None, cleared: frozenset[str]
) -> dict[str, Any]:
    def kept(name: str, value: Any, default: Any = None) -> Any:
        if value is not None:
            return value
        return default if before is None or name in cleared else before[name]

    stated = {level: getattr(row, level) for level in ("province", "city", "district")}
    if before is not None and (before["lon"], before["lat"]) == (row.lon, row.lat):
        stated = {level: kept(level, value) for level, value in stated.items()}
    place = places.default().at(Point(row.lon, row.lat))
    seen: dict[str, str | None] = {}
    if place is not None:
        # A city that stands directly under its province is a district in the polygons' terms.
        city = place.city or place.district
        seen = {"province": place.province, "city": city, "district": place.district}
    names = {level: _full_name(stated[level], seen.get(level)) for level in stated}
    return {
        "name": row.name,
        "brand": kept("brand", row.brand),
        "address": kept("address", row.address),
        **names,
        "lon": row.lon,
        "lat": row.lat,
        "datum": row.datum.value,
        "given_lon": row.given_lon,
        "given_lat": row.given_lat,
        "tags": kept("tags", None if row.tags is None else list(row.tags), []),
        "service_area": kept("service_area", row.service_area),
        "status": kept("status", row.status and row.status.value, StoreStatus.OPEN.value),
    }


def _full_name(stated: str | None, seen: str | None) -> str | None:
    """What is stated goes before what the polygon says, unless it is the same name cut short."""
    if not stated or (seen and seen.startswith(stated)):
        return seen or stated or None
    return stated


async def _write_stores(
    connection: db.Connection,
    chain_id: uuid.UUID,
    version: int,
    stores: Sequence[tuple[str, dict[str, Any]]],
) -> None:
    def column(name: str) -> list[Any]:
        return [values[name] for _, values in stores]

    await _sql.upsert_stores(
        connection,
        chain_id=chain_id,
        version=version,
        stores=[store for store, _ in stores],
        names=column("name"),
        brands=column("brand"),
        addresses=column("address"),
        provinces=column("province"),
        cities=column("city"),
        districts=column("district"),
        lons=column("lon"),
        lats=column("lat"),
        datums=column("datum"),
        given_lons=column("given_lon"),
        given_lats=column("given_lat"),
        tags=["\n".join(tags) for tags in column("tags")],
        service_areas=[
            None if area is None else json.dumps(area) for area in column("service_area")
        ],
        statuses=column("status"),
    )


async def _log_stores(
    connection: db.Connection,
    chain_id: uuid.UUID,
    changed: Sequence[tuple[str, dict[str, Any]]],
    known: Mapping[str, asyncpg.Record],
    *,
    alone: bool,
) -> None:
    """One store by its values, an import by its numbers."""
    if alone:
        for store, after in changed:
            before = known.get(store)
            await audit.record(
                connection,
                chain_id,
                "store.create" if before is None else "store.update",
                store,
                before=None if before is None else dict(before),
                after=after,
                store=store,
            )
        return
    created = [store for store, _ in changed if store not in known]
    updated = [store for store, _ in changed if store in known]
    if changed:
        told = {
            "created": len(created),
            "updated": len(updated),
            "stores_created": audit.some(created),
            "stores_updated": audit.some(updated),
        }
        await audit.record(connection, chain_id, "store.import", "stores", after=told)


async def find_stores(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    scope: list[str] | None = None,
    city: str | None = None,
    q: str | None = None,
    after: str | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Stores by number; `scope` is what may be seen, None for all."""
    return await db.rows(
        _sql.list_stores(
            connection, chain_id=chain_id, scope=scope, city=city, q=q, after=after, most=most
        )
    )


async def get_store(connection: db.Connection, chain_id: uuid.UUID, store: str) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    found = await db.rows(_sql.stores_by_number(connection, chain_id=chain_id, stores=[store]))
    if not found or found[0]["status"] == "deleted":
        raise errors.NotFound(f"There is no store {store}")
    return found[0]


async def delete_store(connection: db.Connection, chain_id: uuid.UUID, store: str) -> None:
    """Take a store and its codes out of service for good; what happened there stays.

    Raises `errors.NotFound`.
    """
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        key = {"chain_id": chain_id, "store": store, "version": version}
        name = await _sql.delete_store(connection, **key)
        if name is None:
            raise errors.NotFound(f"There is no store {store}")
        retired = await db.rows(_sql.retire_codes_of(connection, **key))
        await copies.drop(connection, chain_id, [row["code_id"] for row in retired])
        await audit.record(
            connection,
            chain_id,
            "store.delete",
            store,
            before={"name": name, "codes": [row["code_id"] for row in retired]},
            store=store,
        )


# ---------------------------------------------------------------- codes

_CODE_COLUMNS = (
    "capacity", "members", "counted_by", "status", "expires_at", "position", "label", "payload",
    "kind",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewCode:
    """A group code to be put up. None: the default of its kind or of the settings."""

    store: str | None
    payload: str
    kind: qr.CodeKind
    capacity: int | None = None
    members: int | None = None
    expires_at: datetime | None = None
    label: str | None = None
    status: CodeStatus | None = None
    counted_by: CountedBy | None = None
    picture: reading.Copy | None = None


class Doubt(StrEnum):
    """What to look at before a code is put up."""

    IN_USE = "in_use"  # it is up already: it will be refused
    USED_BEFORE = "used_before"  # it was up once, and was retired or replaced
    PERSONAL = "personal"  # it leads to one person's own WeChat


@dataclass(frozen=True, slots=True)
class Preview:
    """What a payload would be as a code. Places that the caller may not know of are not named."""

    payload: str
    kind: qr.CodeKind
    expires_at: datetime | None
    capacity: int
    up_at: str | None = None  # where it is up already, in words
    up_store: str | None = None
    up_code_id: uuid.UUID | None = None
    used_until: datetime | None = None
    used_store: str | None = None
    doubts: tuple[Doubt, ...] = ()


def kind_of(payload: str) -> qr.CodeKind:
    """Raises `errors.BadInput` for a payload that leads to no group and no contact."""
    try:
        return qr.classify(payload)
    except qr.QrError as error:
        raise errors.BadInput.of("payload", str(error), error.word) from error


async def read_picture(decoder: decoding.Decoder, image: bytes) -> decoding.Picture:
    """The group's or contact's code in a picture. Raises `errors.BadInput`, whose reason is a word
    of `qr.QrError`'s, and `errors.Unavailable`."""
    try:
        return await decoder.read(image)
    except qr.QrError as error:
        raise errors.BadInput.of("image", str(error), error.word) from error


def default_expiry(kind: qr.CodeKind, now: datetime, settings: Settings) -> datetime | None:
    """When a code of this kind that is put up now stops working, if it does."""
    if qr.default_expiry(kind) is None:
        return None
    return now + timedelta(days=settings.personal_group_days)


def _up_at(store: str | None, scope: Collection[str] | None) -> str:
    """Where a code is up, as far as one may know who sees the stores of `scope`; None: all."""
    if scope is not None and store not in scope:
        return "another place of the chain"
    return store or "an entry's fallback"


async def preview_code(
    connection: db.Connection,
    chain_id: uuid.UUID,
    store: str,
    payload: str,
    now: datetime,
    settings: Settings,
    *,
    renewing: uuid.UUID | None = None,
    scope: Collection[str] | None = None,
) -> Preview:
    """What the payload would be if it were put up at the store now, or in the place of the code
    `renewing`; nothing is changed. `scope` as in `create_code`.

    Raises `errors.BadInput` for a payload that cannot be put up.
    """
    kind = kind_of(payload)
    preview = Preview(
        payload=payload,
        kind=kind,
        expires_at=default_expiry(kind, now, settings),
        capacity=_default_capacity(kind, settings),
    )
    doubts = [Doubt.PERSONAL] if kind is qr.CodeKind.WECHAT_PERSONAL else []

    def known(of: str | None) -> bool:
        return scope is None or of in scope

    used = await db.rows(_sql.codes_by_payload(connection, chain_id=chain_id, payloads=[payload]))
    if used and used[0]["code_id"] != renewing:
        up = used[0]
        doubts.append(Doubt.IN_USE)
        preview = replace(
            preview,
            up_at="this store" if up["store"] == store else _up_at(up["store"], scope),
            up_store=up["store"] if known(up["store"]) else None,
            up_code_id=up["code_id"] if known(up["store"]) else None,
        )
    for before in await db.rows(_sql.last_uses(connection, chain_id=chain_id, payloads=[payload])):
        doubts.append(Doubt.USED_BEFORE)
        preview = replace(
            preview,
            used_until=before["until_at"],
            used_store=before["store"] if known(before["store"]) else None,
        )
    return replace(preview, doubts=tuple(doubts))


async def create_code(
    connection: db.Connection,
    chain_id: uuid.UUID,
    new: NewCode,
    now: datetime,
    settings: Settings,
    *,
    scope: Collection[str] | None = None,
) -> asyncpg.Record:
    """Put a code up behind the store's others. `scope`: the stores that the caller may know of.

    Raises `errors.NotFound` (store), `errors.Conflict` (the payload is in use), `errors.BadInput`.
    """
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        if new.store is not None:
            await get_store(connection, chain_id, new.store)
        used = await db.rows(
            _sql.codes_by_payload(connection, chain_id=chain_id, payloads=[new.payload])
        )
        if used:
            same = used[0]["store"] == new.store
            where = "this store" if same else _up_at(used[0]["store"], scope)
            raise errors.Conflict(f"This code is already up at {where}")
        (code_id,) = await _insert_codes(connection, chain_id, version, [new], now, settings)
        row = await get_code(connection, chain_id, code_id)
        await _log_new_code(connection, row)
        return row


async def _log_new_code(connection: db.Connection, row: asyncpg.Record) -> None:
    after = {column: row[column] for column in ("store", *_CODE_COLUMNS)}
    await audit.record(
        connection,
        row["chain_id"],
        "code.create",
        str(row["code_id"]),
        after=after,
        store=row["store"],
    )


async def import_codes(
    connection: db.Connection,
    chain_id: uuid.UUID,
    rows: Sequence[CodeRow],
    now: datetime,
    settings: Settings,
    *,
    rejected: tuple[Rejected, ...] = (),
    scope: Collection[str] | None = None,
    dry_run: bool = False,
    assumed: Mapping[str, str | None] | None = None,
) -> Imported:
    """Put up the codes that are not up yet. One that its store already has stays unchanged; one
    that is up elsewhere, or whose store is unknown (or outside `scope`), is rejected, and one that
    was up before and was retired or replaced: or the same file, sent again, would bring it back.
    `assumed` are payloads by store that a dry run would have put up before."""
    refused = list(rejected)
    async with connection.transaction():
        version = 0 if dry_run else await _bump(connection, chain_id)
        stores = {
            row["store"]
            for row in await db.rows(
                _sql.stores_by_number(
                    connection, chain_id=chain_id, stores=list({row.store for row in rows})
                )
            )
            if row["status"] != "deleted" and (scope is None or row["store"] in scope)
        }
        known = {**(assumed or {})} | {
            row["payload"]: row["store"]
            for row in await db.rows(
                _sql.codes_by_payload(
                    connection, chain_id=chain_id, payloads=[row.payload for row in rows]
                )
            )
        }
        before = {
            row["payload"]: row["until_at"]
            for row in await db.rows(
                _sql.last_uses(
                    connection, chain_id=chain_id, payloads=[row.payload for row in rows]
                )
            )
        }
        unchanged = 0
        new: list[NewCode] = []
        created_rows: list[int] = []
        for row in rows:
            if row.store not in stores:
                detail = f"there is no store {row.store}"
                refused.append(Rejected(row.row, "store", detail, "no_store"))
            elif row.payload in before and row.payload not in known:
                detail = (
                    f"this code was retired or replaced on {before[row.payload]:%Y-%m-%d}; "
                    "if it is meant, put it up by itself"
                )
                refused.append(Rejected(row.row, "payload", detail, "used_before"))
            elif row.payload not in known:
                code = NewCode(
                    row.store,
                    row.payload,
                    row.kind,
                    row.capacity,
                    row.members,
                    row.expires_at,
                    row.label,
                    row.status,
                    picture=row.picture,
                )
                try:
                    _check_counts(code.kind, code.capacity, code.members, settings)
                except errors.BadInput as error:
                    refused.append(Rejected(row.row, error.errors[0].field, error.errors[0].detail))
                else:
                    known[row.payload] = row.store
                    new.append(code)
                    created_rows.append(row.row)
            elif known[row.payload] == row.store:
                unchanged += 1
            else:
                where = _up_at(known[row.payload], scope)
                detail = f"this code is up at {where}"
                refused.append(Rejected(row.row, "payload", detail, "in_use"))
        if not dry_run:
            code_ids = await _insert_codes(connection, chain_id, version, new, now, settings)
            if code_ids:
                told = {
                    "created": len(code_ids),
                    "stores": audit.some(dict.fromkeys(code.store for code in new)),
                    "codes": audit.some(code_ids),
                }
                await audit.record(connection, chain_id, "code.import", "codes", after=told)
    refused.sort(key=lambda rejection: rejection.row)
    changes = tuple(
        Change(code.store or "", None, {"label": code.label, "kind": code.kind.value})
        for code in new[:MOST_CHANGES]
    )
    return Imported(
        len(new), 0, unchanged, tuple(refused), changes, created_rows=tuple(created_rows)
    )


async def _insert_codes(
    connection: db.Connection,
    chain_id: uuid.UUID,
    version: int,
    new: Sequence[NewCode],
    now: datetime,
    settings: Settings,
) -> list[uuid.UUID]:
    places_after = {
        row["store"]: row["position"]
        for row in await db.rows(
            _sql.next_positions(
                connection, chain_id=chain_id, stores=list({code.store for code in new})
            )
        )
    }
    positions = []
    for code in new:
        _check_counts(code.kind, code.capacity, code.members, settings)
        positions.append(places_after.get(code.store, 0))
        places_after[code.store] = positions[-1] + 1
    code_ids = [uuid7() for _ in new]
    await _sql.insert_codes(
        connection,
        chain_id=chain_id,
        version=version,
        code_ids=code_ids,
        stores=[code.store for code in new],
        kinds=[code.kind.value for code in new],
        payloads=[code.payload for code in new],
        labels=[code.label for code in new],
        capacities=[code.capacity or _default_capacity(code.kind, settings) for code in new],
        members=[code.members or 0 for code in new],
        counted_bys=[(code.counted_by or CountedBy.PRESSED).value for code in new],
        statuses=[(code.status or CodeStatus.ACTIVE).value for code in new],
        expires_ats=[code.expires_at or default_expiry(code.kind, now, settings) for code in new],
        positions=positions,
    )
    pictures = {
        code_id: code.picture
        for code_id, code in zip(code_ids, new, strict=True)
        if code.picture is not None
    }
    await copies.keep(connection, chain_id, pictures)
    return code_ids


def _check_counts(
    kind: qr.CodeKind, capacity: int | None, members: int | None, settings: Settings
) -> None:
    most = settings.max_capacity if kind in qr.GROUPS else _MOST_CONTACTS
    if capacity is not None and not 1 <= capacity <= most:
        raise errors.BadInput.of("capacity", f"must be 1 to {most}")
    if members is not None and not 0 <= members <= _MOST_CONTACTS:
        raise errors.BadInput.of("members", f"must be 0 to {_MOST_CONTACTS}")


def _default_capacity(kind: qr.CodeKind, settings: Settings) -> int:
    return settings.default_capacity if kind in qr.GROUPS else settings.contact_capacity


async def get_code(
    connection: db.Connection, chain_id: uuid.UUID, code_id: uuid.UUID
) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    row = await _sql.get_code(connection, chain_id=chain_id, code_id=code_id)
    if row is None:
        raise errors.NotFound("There is no such code")
    return row


async def codes_of_store(
    connection: db.Connection, chain_id: uuid.UUID, store: str
) -> list[asyncpg.Record]:
    """The store's codes that are not retired, in the order in which they are filled."""
    return await db.rows(_sql.codes_of_store(connection, chain_id=chain_id, store=store))


async def change_code(
    connection: db.Connection,
    chain_id: uuid.UUID,
    code_id: uuid.UUID,
    change: dict[str, Any],
    settings: Settings,
    *,
    picture: reading.Copy | None = None,
    scope: Collection[str] | None = None,
) -> asyncpg.Record:
    """Change some of capacity, members, counted_by, status, expires_at, position, label, payload;
    `picture` is that of a new payload.

    A code that becomes too small for the seats held on it gives the youngest of them back. A new
    payload is another group: its seats start anew. A retired code stays retired. Raises
    `errors.NotFound`, `errors.BadInput`, `errors.Conflict`.
    """
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        before = await _sql.lock_code(connection, chain_id=chain_id, code_id=code_id)
        if before is None:
            raise errors.NotFound("There is no such code")
        if before["status"] == "retired" and change.get("status", "retired") != "retired":
            raise errors.Conflict("This code is retired: put it up anew")
        after = {column: change.get(column, before[column]) for column in _CODE_COLUMNS}
        _check_counts(
            qr.CodeKind(after["kind"]), change.get("capacity"), change.get("members"), settings
        )
        # Whoever counts the heads, puts up a new picture or resumes a code has looked at it: what
        # visitors said of it before does not count any more.
        trusted = bool({"members", "payload"} & change.keys()) or change.get("status") == "active"
        if trusted and before["flagged_at"] is not None and before["status"] == "paused":
            after["status"] = change.get("status", "active")
        held = before["held"]
        if after["payload"] != before["payload"]:
            used = await db.rows(
                _sql.codes_by_payload(connection, chain_id=chain_id, payloads=[after["payload"]])
            )
            if used:
                where = _up_at(used[0]["store"], scope)
                raise errors.Conflict(f"This code is already up at {where}")
        room = max(0, after["capacity"] - after["members"])
        if after["status"] == "retired" or after["payload"] != before["payload"]:
            room = 0
        if held > room:
            await hold.shrink(connection, chain_id, code_id, held - room)
            held = room
        if after["payload"] != before["payload"]:
            await _sql.note_former(
                connection, chain_id=chain_id, code_id=code_id, payload=before["payload"]
            )
        if after["status"] == "retired" or after["payload"] != before["payload"]:
            await copies.drop(connection, chain_id, [code_id])
        if picture is not None and after["status"] != "retired":
            await copies.keep(connection, chain_id, {code_id: picture})
        row: asyncpg.Record = await _sql.update_code(
            connection,
            chain_id=chain_id,
            code_id=code_id,
            held=held,
            trusted=trusted,
            version=version,
            **after,
        )
        await audit.record(
            connection,
            chain_id,
            f"code.{_verb(before, after)}",
            str(code_id),
            before=dict(before),
            after=after,
            store=before["store"],
        )
        return row


_STATUS_VERBS = {"active": "resume", "paused": "pause", "retired": "retire"}


def _verb(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What was done to a code, in the log's word."""
    changed = {column for column in after if after[column] != before[column]}
    if "payload" in changed:
        return "renew"
    if changed == {"status"}:
        return _STATUS_VERBS[after["status"]]
    return "count" if "members" in changed and changed <= {"members", "status"} else "update"


async def heed_complaints(
    connection: db.Connection, chain_id: uuid.UUID, code_id: uuid.UUID, settings: Settings
) -> bool:
    """Pause a code, and flag it to its manager, if enough different visitors have said of late
    that it does not work; whether it was."""
    enough, minutes = settings.complaints_to_pause, settings.complaints_minutes
    if not enough:
        return False
    key = {"chain_id": chain_id, "code_id": code_id}
    if await _sql.count_reporters(connection, **key, minutes=minutes) < enough:
        return False
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        flagged = await _sql.flag_code(connection, **key, version=version)
        if flagged is not None:
            with audit.acting(audit.VISITORS):
                await audit.record(
                    connection,
                    chain_id,
                    "code.flag",
                    str(code_id),
                    before={"status": "active"},
                    after={"status": "paused"},
                    store=flagged["store"],
                )
    return True


async def move_code(
    connection: db.Connection,
    chain_id: uuid.UUID,
    code_id: uuid.UUID,
    places: int,
    settings: Settings,
) -> None:
    """Move a code by so many places in its store's order, up for fewer than none; not beyond the
    ends. Raises `errors.NotFound`."""
    async with connection.transaction():
        await _bump(connection, chain_id)  # from here on, nobody else orders them
        code = await get_code(connection, chain_id, code_id)
        if code["store"] is None or code["status"] == CodeStatus.RETIRED.value:
            raise errors.NotFound("There is no such code")
        rows = await codes_of_store(connection, chain_id, code["store"])
        order = [row["code_id"] for row in rows]
        now_at = order.index(code_id)
        order.insert(min(max(now_at + places, 0), len(order) - 1), order.pop(now_at))
        stands = {row["code_id"]: row["position"] for row in rows}
        for position, each in enumerate(order):
            if stands[each] != position:
                change = {"position": position}
                await change_code(connection, chain_id, each, change, settings)


async def renew_code(
    connection: db.Connection,
    chain_id: uuid.UUID,
    code_id: uuid.UUID,
    payload: str,
    now: datetime,
    settings: Settings,
    *,
    picture: reading.Copy | None = None,
    scope: Collection[str] | None = None,
) -> asyncpg.Record:
    """Put a new picture's payload in a code's place: same order and capacity, new expiry.

    A contact's capacity that a group cannot have becomes a new group's. Raises as `change_code`.
    """
    kind = kind_of(payload)
    before = await get_code(connection, chain_id, code_id)
    change: dict[str, Any] = {
        "payload": payload,
        "kind": kind.value,
        "expires_at": default_expiry(kind, now, settings),
        "status": CodeStatus.ACTIVE.value,
    }
    if payload != before["payload"]:
        change["members"] = 0
    if kind in qr.GROUPS and before["capacity"] > settings.max_capacity:
        change["capacity"] = _default_capacity(kind, settings)
    return await change_code(
        connection, chain_id, code_id, change, settings, picture=picture, scope=scope
    )


# ---------------------------------------------------------------- entries and placements


@dataclass(frozen=True, slots=True)
class EntryValues:
    """What HQ says of an entry. `fallback`: codes by id, or payloads that become codes."""

    name: str
    radius_m: float | None = None
    brands: tuple[str, ...] = ()
    ip_policy: IpPolicy = IpPolicy.CHOOSE
    fallback: tuple[str, ...] = ()


async def create_entry(
    connection: db.Connection,
    chain_id: uuid.UUID,
    entry: str,
    values: EntryValues,
    now: datetime,
    settings: Settings,
) -> asyncpg.Record:
    """Raises `errors.Conflict` if the name is taken, `errors.BadInput` for an unknown fallback."""
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        made = await _sql.insert_entry(
            connection,
            chain_id=chain_id,
            entry=entry,
            version=version,
            **await _entry_columns(connection, chain_id, version, values, now, settings),
        )
        if made is None:
            raise errors.Conflict(f"The entry {entry} is taken: printed codes are for ever")
        row = await get_entry(connection, chain_id, entry)
        await audit.record(connection, chain_id, "entry.create", entry, after=_entry_values(row))
        return row


async def change_entry(
    connection: db.Connection,
    chain_id: uuid.UUID,
    entry: str,
    change: dict[str, Any],
    now: datetime,
    settings: Settings,
) -> asyncpg.Record:
    """Raises `errors.NotFound`, `errors.BadInput`."""
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        before = await get_entry(connection, chain_id, entry)
        values = replace(
            EntryValues(
                before["name"],
                before["radius_m"],
                tuple(before["brands"]),
                IpPolicy(before["ip_policy"]),
                tuple(str(code_id) for code_id in before["fallback"]),
            ),
            **change,
        )
        await _sql.update_entry(
            connection,
            chain_id=chain_id,
            entry=entry,
            version=version,
            **await _entry_columns(connection, chain_id, version, values, now, settings),
        )
        row = await get_entry(connection, chain_id, entry)
        await audit.record(
            connection,
            chain_id,
            "entry.update",
            entry,
            before=_entry_values(before),
            after=_entry_values(row),
        )
        return row


def _entry_values(row: asyncpg.Record) -> dict[str, Any]:
    columns = ("name", "radius_m", "brands", "ip_policy", "fallback")
    return {column: row[column] for column in columns}


async def _entry_columns(
    connection: db.Connection,
    chain_id: uuid.UUID,
    version: int,
    values: EntryValues,
    now: datetime,
    settings: Settings,
) -> dict[str, Any]:
    return {
        "name": values.name,
        "radius_m": values.radius_m,
        "brands": list(values.brands),
        "ip_policy": values.ip_policy.value,
        "fallback": [
            await _fallback_code(connection, chain_id, version, code, now, settings)
            for code in values.fallback
        ],
    }


async def _fallback_code(
    connection: db.Connection,
    chain_id: uuid.UUID,
    version: int,
    code: str,
    now: datetime,
    settings: Settings,
) -> uuid.UUID:
    """The code meant by an id or by a payload; a payload that is not up yet becomes a code that
    belongs to no store."""
    try:
        code_id = uuid.UUID(code)
    except ValueError:
        try:
            kind = kind_of(code)
        except errors.BadInput as error:
            raise errors.BadInput.of("fallback", error.errors[0].detail) from error
        used = await db.rows(_sql.codes_by_payload(connection, chain_id=chain_id, payloads=[code]))
        if used:
            found: uuid.UUID = used[0]["code_id"]
            return found
        new = NewCode(None, code, kind)
        (code_id,) = await _insert_codes(connection, chain_id, version, [new], now, settings)
        await _log_new_code(connection, await get_code(connection, chain_id, code_id))
        return code_id
    try:
        await get_code(connection, chain_id, code_id)
    except errors.NotFound as error:
        raise errors.BadInput.of("fallback", f"there is no code {code}") from error
    return code_id


async def get_entry(connection: db.Connection, chain_id: uuid.UUID, entry: str) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    row = await _sql.get_entry(connection, chain_id=chain_id, entry=entry)
    if row is None:
        raise errors.NotFound(f"There is no entry {entry}")
    return row


async def entries(
    connection: db.Connection, chain_id: uuid.UUID, *, after: str | None = None, most: int
) -> list[asyncpg.Record]:
    return await db.rows(_sql.list_entries(connection, chain_id=chain_id, after=after, most=most))


async def put_placement(
    connection: db.Connection, chain_id: uuid.UUID, entry: str, values: dict[str, Any]
) -> asyncpg.Record:
    """Create a placement, or change the one of that name; `created` says which.

    Raises `errors.NotFound` (entry), `errors.BadInput` (store).
    """
    async with connection.transaction():
        version = await _bump(connection, chain_id)
        await get_entry(connection, chain_id, entry)
        if values.get("store") is not None:
            try:
                await get_store(connection, chain_id, values["store"])
            except errors.NotFound as error:
                raise errors.BadInput.of("store", error.detail) from error
        key = {"chain_id": chain_id, "entry": entry}
        before = await _sql.lock_placement(connection, **key, placement=values["placement"])
        row: asyncpg.Record = await _sql.upsert_placement(
            connection, **key, version=version, **values
        )
        await audit.record(
            connection,
            chain_id,
            "placement.create" if before is None else "placement.update",
            f"{entry}/{row['placement']}",
            before=None if before is None else _placement_values(before),
            after=_placement_values(row),
            store=row["store"],
        )
        return row


async def store_placement(
    connection: db.Connection, chain_id: uuid.UUID, entry: str, store: str
) -> asyncpg.Record:
    """The placement of the poster that hangs in this store: `store-SH001`. Made once, with the
    store's name; what HQ makes of it afterwards stays.

    Raises `errors.NotFound` (entry, store).
    """
    key = {"chain_id": chain_id, "entry": entry}
    async with connection.transaction():
        for placement in _store_placements(store):
            row = await _sql.get_placement(connection, **key, placement=placement)
            if row is not None and row["store"] == store:
                return row
            if row is None:
                await _bump(connection, chain_id)  # from here on, nobody else makes it
                row = await _sql.get_placement(connection, **key, placement=placement)
                if row is not None and row["store"] == store:
                    return row
            if row is None:
                shop = await get_store(connection, chain_id, store)
                values = {"placement": placement, "name": shop["name"], "channel": "poster"}
                nothing = dict.fromkeys(("printed", "cost", "variant"))
                return await put_placement(
                    connection, chain_id, entry, {**values, **nothing, "store": store}
                )
    raise errors.Conflict(f"Placements of other stores have the names meant for {store}")


def _store_placements(store: str) -> list[str]:
    """What a store's placement may be called: by its number where that makes a placement's id, or
    by a digest of it, which another store's number cannot come to."""
    named = f"store-{store}"
    digest = f"store-{hashlib.sha256(store.encode()).hexdigest()[:16]}"
    return [named, digest] if PLACEMENT_PATTERN.fullmatch(named) else [digest]


def _placement_values(row: asyncpg.Record) -> dict[str, Any]:
    return {column: row[column] for column in _PLACEMENT_COLUMNS}


_PLACEMENT_COLUMNS = ("name", "channel", "store", "printed", "cost", "variant")


async def import_placements(
    connection: db.Connection,
    chain_id: uuid.UUID,
    entry: str,
    rows: Sequence[PlacementRow],
    *,
    rejected: tuple[Rejected, ...] = (),
    dry_run: bool = False,
    done: Callable[[int], object] = lambda rows: None,
) -> Imported:
    """Create the placements that are new and change those that differ; what a row leaves out stays
    as it is. A new one needs a channel, and without a name is called by its number; one whose store
    is unknown is rejected. `done` is told how many rows have been dealt with.

    Raises `errors.NotFound` (entry).
    """
    refused = list(rejected)
    async with connection.transaction():
        version = 0 if dry_run else await _bump(connection, chain_id)
        await get_entry(connection, chain_id, entry)
        stores = {
            row["store"]
            for row in await db.rows(
                _sql.stores_by_number(
                    connection,
                    chain_id=chain_id,
                    stores=list({row.store for row in rows if row.store is not None}),
                )
            )
            if row["status"] != "deleted"
        }
        known = {
            row["placement"]: _placement_values(row)
            for row in await db.rows(
                _sql.placements_by_name(
                    connection,
                    chain_id=chain_id,
                    entry=entry,
                    placements=[row.placement for row in rows],
                )
            )
        }
        created = unchanged = 0
        changed: list[tuple[str, dict[str, Any]]] = []
        for row in rows:
            before = known.get(row.placement)
            after = dict(before or dict.fromkeys(_PLACEMENT_COLUMNS))
            for column in _PLACEMENT_COLUMNS:
                if (value := getattr(row, column)) is not None:
                    after[column] = value
            after["name"] = after["name"] or row.placement
            if row.store is not None and row.store not in stores:
                refused.append(Rejected(row.row, "store", f"there is no store {row.store}"))
            elif after["channel"] is None:
                refused.append(Rejected(row.row, "channel", "a new placement needs a channel"))
            elif after == before:
                unchanged += 1
            else:
                created += before is None
                changed.append((row.placement, after))
        done(len(rows) - len(changed))
        for start in range(0, len(changed), _BATCH):
            batch = changed[start : start + _BATCH]
            if not dry_run:
                await _write_placements(connection, chain_id, entry, version, batch)
            done(len(batch))
        if changed and not dry_run:
            told = {
                "created": created,
                "updated": len(changed) - created,
                "placements": audit.some(placement for placement, _ in changed),
            }
            await audit.record(connection, chain_id, "placement.import", entry, after=told)
    refused.sort(key=lambda rejection: rejection.row)
    return Imported(
        created, len(changed) - created, unchanged, tuple(refused), _changes(changed, known)
    )


async def _write_placements(
    connection: db.Connection,
    chain_id: uuid.UUID,
    entry: str,
    version: int,
    placements: Sequence[tuple[str, dict[str, Any]]],
) -> None:
    columns = {
        f"{column}s": [values[column] for _, values in placements] for column in _PLACEMENT_COLUMNS
    }
    await _sql.upsert_placements(
        connection,
        chain_id=chain_id,
        entry=entry,
        version=version,
        placements=[placement for placement, _ in placements],
        **columns,
    )


async def placements(
    connection: db.Connection,
    chain_id: uuid.UUID,
    entry: str,
    *,
    after: str | None = None,
    most: int,
) -> list[asyncpg.Record]:
    return await db.rows(
        _sql.list_placements(connection, chain_id=chain_id, entry=entry, after=after, most=most)
    )
