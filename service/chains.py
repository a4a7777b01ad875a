"""A chain's own settings: its name, its time zone and its currency.

The time zone says which day it is: what is summed by the chain's days is summed anew when that
changes. The currency is what amounts are in that name none, and what reports are in unless they are
asked for another: orders keep the currency that they came with.
"""

import uuid
import zoneinfo
from collections.abc import Mapping
from typing import Any

from service import audit, currencies, db, errors, orders

_sql = db.load("chains")
_versions = db.load("directory")

NAME_MAX_LENGTH = 200
FIELDS = ("name", "timezone", "currency")


async def get(connection: db.Connection, chain_id: uuid.UUID) -> dict[str, Any]:
    """`chain`, `name`, `timezone`, `currency`."""
    return dict(await _sql.get_chain(connection, chain_id=chain_id))


async def change(
    connection: db.Connection, chain_id: uuid.UUID, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Change some of `FIELDS`; the chain as it is then. Raises `errors.BadInput`."""
    check(changes)
    async with connection.transaction():
        # First the orders' turn, then the chain's row: as all that changes orders has it.
        if "timezone" in changes:
            await orders.take_turn(connection, chain_id)
        before = dict(await _sql.lock_chain(connection, chain_id=chain_id))
        after = {**before, **{name: changes[name] for name in FIELDS if name in changes}}
        if after != before:
            await _sql.update_chain(connection, chain_id=chain_id, **after)
            await _versions.bump(connection, chain_id=chain_id)
            if after["timezone"] != before["timezone"]:
                await orders.date_anew(connection, chain_id)
            if after["currency"] != before["currency"]:
                await _sql.touch_bought(connection, chain_id=chain_id)
            told = await get(connection, chain_id)
            await audit.record(
                connection, chain_id, "chain.update", told["chain"], before=before, after=after
            )
    return await get(connection, chain_id)


def check(changes: Mapping[str, Any]) -> None:
    """Raises `errors.BadInput`, with all that is wrong."""
    wrong = []
    name = changes.get("name", "x")
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_MAX_LENGTH:
        wrong.append(errors.FieldError("name", f"1 to {NAME_MAX_LENGTH} characters are needed"))
    timezone = changes.get("timezone", "UTC")
    if timezone not in zoneinfo.available_timezones():
        wrong.append(errors.FieldError("timezone", f"{timezone} is none; write Asia/Shanghai, say"))
    currency = changes.get("currency", "CNY")
    if currency not in currencies.CODES:
        detail = f"{currency} is no currency of ISO 4217; write CNY or HKD, say"
        wrong.append(errors.FieldError("currency", detail))
    if wrong:
        raise errors.BadInput(*wrong)
