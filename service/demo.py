"""The demo: a sample chain on the embedded PostgreSQL, with a key for each role."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service import (
    accounts,
    catalog,
    db,
    errors,
    importing,
    invitations,
    passwords,
    people,
    printing,
    tabular,
)
from service.domain import IpPolicy, Role
from service.settings import Settings

_MANAGED_STORES = 3


def fixtures() -> Path:
    """The folder of the sample chain: beside the packages in a clone, inside them in a wheel."""
    package = Path(__file__).parent
    for folder in (package.parent / "fixtures", package / "fixtures"):
        if (folder / "entry.json").is_file():
            return folder
    raise errors.SetupError("The sample chain (fixtures/) is not where this program is")


@contextlib.contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Holds a data folder for one demo: two would overwrite each other's `demo.json`.

    Raises `errors.SetupError` while another demo holds it. A demo that dies lets go of it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.SetupError(
                f"Another copy runs on the data folder {data_dir}: give this one a folder of its "
                "own by NEARCODE_DATA_DIR"
            ) from error
        yield


async def load(connection: db.Connection, settings: Settings) -> bool:
    """Load the sample chain, unless the database has it; whether it was loaded now."""
    folder = fixtures()
    sample: dict[str, Any] = json.loads((folder / "entry.json").read_text("utf-8"))
    now = datetime.now(UTC)
    async with connection.transaction():
        known = {row["chain"] for row in await accounts.chains(connection)}
        if sample["chain"] in known:
            return False
        chain_id = await accounts.create_chain(connection, sample["chain"], sample["chain_name"])
        stores = importing.stores(tabular.read((folder / "stores.csv").read_bytes()))
        codes = importing.codes(tabular.read((folder / "codes.csv").read_bytes()))
        await catalog.put_stores(connection, chain_id, stores.rows)
        await catalog.import_codes(connection, chain_id, codes.rows, now, settings)
        await catalog.create_entry(
            connection,
            chain_id,
            sample["entry"],
            catalog.EntryValues(
                name=sample["name"],
                radius_m=sample["radius_m"],
                ip_policy=IpPolicy.CHOOSE,
                fallback=(sample["fallback"],),
            ),
            now,
            settings,
        )
        for placement in sample["placements"]:
            await catalog.put_placement(
                connection,
                chain_id,
                sample["entry"],
                {
                    "store": None,
                    "printed": None,
                    "variant": None,
                    **placement,
                    "cost": float(placement["cost"]) if placement.get("cost") else None,
                },
            )
    return True


async def card(connection: db.Connection, settings: Settings) -> dict[str, Any]:
    """What `demo.json` says: addresses, a key for each role, a person of HQ with their password,
    and a manager's invitation.

    What an earlier run wrote is kept while it works; only what is new can be told, since the
    database knows no key, password or link itself.
    """
    sample = json.loads((fixtures() / "entry.json").read_text("utf-8"))
    chain_id = await accounts.chain_id_of(connection, sample["chain"])
    before = _read(settings.data_dir)
    stores = await catalog.find_stores(connection, chain_id, city="上海市", most=_MANAGED_STORES)
    managed = [row["store"] for row in stores]
    base = settings.public_url
    return {
        "base_url": base,
        "visitor_url": printing.entry_url(base, sample["entry"]),
        "hq_url": f"{base}/hq",
        "manager_url": f"{base}/m",
        "chain": sample["chain"],
        "entry": sample["entry"],
        "keys": await _keys(connection, chain_id, managed, before.get("keys")),
        "hq_person": await _hq_person(
            connection, chain_id, f"hq@{sample['chain']}.example", before.get("hq_person"), settings
        ),
        "invitation_url": await _invitation(
            connection, chain_id, managed, before.get("invitation_url"), settings
        ),
    }


async def _keys(
    connection: db.Connection, chain_id: uuid.UUID, managed: list[str], before: object
) -> dict[str, str]:
    known = before if isinstance(before, dict) else {}
    keys = {}
    for role in Role:
        key = str(known.get(role.value, ""))
        caller = await accounts.caller_of(connection, key)
        if caller is None or caller.chain_id != chain_id:
            stores = frozenset(managed if role is Role.MANAGER else ())
            _, key = await accounts.create_key(
                connection, chain_id, role, name=f"demo {role}", stores=stores
            )
        keys[role.value] = key
    return keys


async def _hq_person(
    connection: db.Connection,
    chain_id: uuid.UUID,
    email: str,
    before: object,
    settings: Settings,
) -> dict[str, str]:
    known = before if isinstance(before, dict) else {}
    person = await people.by_email(connection, email)
    if person is not None and person["chain_id"] == chain_id:
        password = str(known.get("password", ""))
        if await passwords.matches(person["password_hash"], password, settings):
            return {"email": email, "password": password}
        link = await people.password_link(connection, chain_id, person["person_id"], settings)
    else:
        link = await people.create(
            connection, chain_id, Role.HQ, name="总部", email=email, settings=settings
        )
    password = secrets.token_urlsafe(9)
    await people.use_password_link(connection, link.token, password, settings)
    return {"email": email, "password": password}


async def _invitation(
    connection: db.Connection,
    chain_id: uuid.UUID,
    managed: list[str],
    before: object,
    settings: Settings,
) -> str:
    token = str(before).rpartition("/")[2]
    try:
        known = await invitations.behind(connection, token)
        if known["chain_id"] == chain_id and known["state"] == invitations.State.OPEN:
            return invitations.link(token, settings)
    except errors.NotFound:
        pass
    made = await invitations.create(connection, chain_id, settings, stores=managed, name="演示店长")
    return made.link(settings)


def _read(data_dir: Path) -> dict[str, Any]:
    try:
        told = json.loads((data_dir / "demo.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def write(data_dir: Path, told: dict[str, Any]) -> Path:
    """Write `demo.json`, readable by its owner alone; complete or not at all."""
    path = data_dir / "demo.json"
    draft = data_dir / f".demo.json.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(told, file, ensure_ascii=False, indent=2)
        file.write("\n")
    draft.replace(path)
    return path


def network_address() -> str | None:
    """This machine's address in its network, as a phone beside it would use; None without one.

    Asks the routing table; nothing is sent.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith(("127.", "0.")) else address
