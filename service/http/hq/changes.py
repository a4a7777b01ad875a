"""The log of changes: who changed what, when, before and after."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from service import audit, lists
from service.http import context
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.web import hq
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

COLUMNS = (
    Column(key="at", kind="moment", sorts=False),
    Column(key="who", sorts=False, note="how"),
    Column(key="action", sorts=False),
    Column(key="subject", sorts=False, note="store"),
    Column(key="change", sorts=False, wide=True),
)
_THINGS = (
    "store", "code", "entry", "placement", "orders", "members", "person", "invitation", "session",
    "key", "webhook", "chain",
)  # fmt: skip
_IN_A_FILE = 20_000
_MOST_SHOWN = 300  # characters of a change


@router.get("/hq/audit")
@router.get("/hq/audit.{form}")
async def changes(desk: DeskDep, form: str = "") -> Response:
    chosen, size = desk.filters, _IN_A_FILE if form else desk.size
    who, subject = desk.asked("who"), desk.asked("q")
    async with desk.service.connection() as connection:
        found = await audit.records(
            connection,
            desk.caller.chain_id,
            who=who or None,
            action=desk.asked("action") or None,
            subject=subject or None,
            since=chosen.begins if desk.asked("since") else None,
            until=chosen.ends if desk.asked("until") else None,
            before=context.after_cursor_uuid(desk.asked("cursor") or None),
            most=size + 1,
        )
    rows = [_told(desk, row) for row in found[:size]]
    keep = {name: desk.asked(name) for name in ("who", "action", "since", "until")}
    ask = lists.Ask(q=subject, most=size)
    table = desk.table("audit", COLUMNS, lists.Found(rows, len(rows)), ask, keep=keep)
    if form:
        return await desk.download(table, form)
    older = ""
    if len(found) > size:
        older = table.query(cursor=context.cursor(str(found[size - 1]["audit_id"])) or "")
    return desk.html("audit.html", "audit", table=table, older=older, things=_THINGS)


def _told(desk: Desk, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": row["at"],
        "who": row["actor_name"],
        "how": hq.word(desk.lang, "actor", row["actor_kind"]),
        "action": _action(desk, row["action"]),
        "subject": row["subject"],
        "store": row["store"] if row["store"] != row["subject"] else "",
        "change": change_in_words(desk, row["before"] or {}, row["after"] or {}),
    }


def _action(desk: Desk, action: str) -> str:
    thing, _, verb = action.partition(".")
    return f"{hq.word(desk.lang, 'thing', thing)} · {hq.word(desk.lang, 'verb', verb)}"


def change_in_words(desk: Desk, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """`上限: 200 → 300`, by field."""
    told = "; ".join(_one(desk, name, before, after) for name in dict.fromkeys([*after, *before]))
    return told if len(told) <= _MOST_SHOWN else told[:_MOST_SHOWN] + "…"


def _one(desk: Desk, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    label = hq.word(desk.lang, "field", name)
    if name in before and name in after:
        return f"{label}: {_value(before[name])} → {_value(after[name])}"
    return f"{label}: {_value(after[name] if name in after else before[name])}"


def _value(value: Any) -> str:
    if value is None or value in ("", []):
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
