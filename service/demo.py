"""The demo: a sample chain on the embedded PostgreSQL, with a key for each role."""

import contextlib
import fcntl
import io
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import qrcode

from service import accounts, catalog, db, errors, importing, printing, tabular
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
    """What `demo.json` says: addresses and a key for each role.

    Keys that an earlier run wrote are kept while they work; only new ones can be told, since the
    database knows no key itself.
    """
    sample = json.loads((fixtures() / "entry.json").read_text("utf-8"))
    chain_id = await accounts.chain_id_of(connection, sample["chain"])
    keys = _read_keys(settings.data_dir)
    stores = await catalog.find_stores(connection, chain_id, city="上海市", most=_MANAGED_STORES)
    for role in Role:
        caller = await accounts.caller_of(connection, keys.get(role.value, ""))
        if caller is None or caller.chain_id != chain_id:
            managed = frozenset(row["store"] for row in stores) if role is Role.MANAGER else ()
            _, keys[role.value] = await accounts.create_key(
                connection, chain_id, role, name=f"demo {role}", stores=frozenset(managed)
            )
    base = settings.public_url
    return {
        "base_url": base,
        "visitor_url": printing.entry_url(base, sample["entry"]),
        "hq_url": f"{base}/hq",
        "manager_url": f"{base}/m",
        "chain": sample["chain"],
        "entry": sample["entry"],
        "keys": {role.value: keys[role.value] for role in Role},
    }


def _read_keys(data_dir: Path) -> dict[str, str]:
    try:
        keys = json.loads((data_dir / "demo.json").read_text("utf-8"))["keys"]
        return {role: key for role, key in keys.items() if isinstance(key, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


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


def terminal_code(url: str) -> str:
    """The URL as a QR code of half blocks, light on dark, as terminals mostly are."""
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=2)
    code.add_data(url)
    drawn = io.StringIO()
    code.print_ascii(out=drawn, invert=True)
    return drawn.getvalue()


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
