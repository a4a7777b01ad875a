"""What visitors say of codes, for whoever has to mend them: how many said what, and when last."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from service import db

_sql = db.load("complaints")

DAYS = 7
"""How far back what was said still matters."""


@dataclass(frozen=True, slots=True)
class Said:
    """Of one code: how many different visitors said each kind, most first; and the last time."""

    visitors: Mapping[str, int]
    last_at: datetime


async def of_codes(
    connection: db.Connection, chain_id: uuid.UUID, code_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, Said]:
    """What was said within `DAYS` and since somebody last looked after the code; codes of which
    nothing was said are left out."""
    rows = await db.rows(
        _sql.of_codes(connection, chain_id=chain_id, code_ids=list(code_ids), days=DAYS)
    )
    visitors: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    last_at: dict[uuid.UUID, datetime] = {}
    for row in rows:
        code_id = row["code_id"]
        visitors[code_id][row["kind"]] = row["visitors"]
        last_at[code_id] = max(row["last_at"], last_at.get(code_id, row["last_at"]))
    return {code_id: Said(said, last_at[code_id]) for code_id, said in visitors.items()}
