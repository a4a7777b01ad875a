"""A primary dies and its standby takes over: both hosts in one URL, nothing answered is lost.

Both are made by PostgreSQL's own programs, those of the embedded one. Replication is synchronous:
what was committed at the one is at the other.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from service import db, embedded, system_account
from service.settings import Settings
from tests import running
from tests.conftest import execute
from tests.running import Running
from tests.service.crowd import UNLIMITED, Crowd, put_up_stores

BACK_WITHIN_S = 20  # five on a machine that does nothing else; what it is gets printed

_CONF = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
shared_buffers = '32MB'
max_connections = 60
hot_standby = on
wal_receiver_status_interval = 1s
"""


@dataclass(slots=True)
class Host:
    """One PostgreSQL server in `folder`, which is also where its socket is."""

    folder: Path
    _account: system_account.Account | None = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700)
        # PostgreSQL refuses to run as root.
        self._account = system_account.ensure() if os.geteuid() == 0 else None
        if self._account is not None:
            os.chown(self.folder, self._account.uid, self._account.gid)

    @property
    def data(self) -> Path:
        return self.folder / "cluster"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}&port=5432&sslmode=disable"

    def initialize(self) -> None:
        self._call("initdb", "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "-A", "trust")
        self._configure()

    def copy(self, primary: "Host") -> None:
        """Become that one's standby, called `standby` in its `synchronous_standby_names`."""
        conninfo = f"host={primary.folder} port=5432 user=postgres application_name=standby"
        self._call(
            "pg_basebackup",
            "-D",
            str(self.data),
            "-d",
            conninfo,
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        self._configure()

    def _configure(self) -> None:
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(_CONF.format(folder=self.folder))

    def start(self) -> None:
        log = self.folder / "postgresql.log"
        self._call("pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(log))

    def promote(self) -> None:
        self._call("pg_ctl", "promote", "-w", "-D", str(self.data))

    def demote(self) -> None:
        """Switch over in order: it serves on, as one that can only be read. Connections stand."""
        running.run(execute(self.url(), "ALTER SYSTEM SET default_transaction_read_only = on"))
        running.run(execute(self.url(), "SELECT pg_reload_conf()"))

    def kill(self) -> None:
        """As a machine that loses its power: the postmaster first, so that it starts nothing."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(postmaster)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        for process_id in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._call("pg_ctl", "stop", "-m", "immediate", "-D", str(self.data))

    def _call(self, program: str, *arguments: str) -> None:
        account = self._account
        with (self.folder / "called.log").open("ab") as said:
            subprocess.run(
                [str(embedded._program(program)), *arguments],
                cwd=self.folder,
                env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
                check=True,
            )


@dataclass(frozen=True, slots=True)
class Pair:
    primary: Host
    standby: Host

    @property
    def url(self) -> str:
        """Both hosts; whichever can be written to is meant."""
        query = urllib.parse.urlencode(
            {
                "host": f"{self.primary.folder},{self.standby.folder}",
                "port": "5432,5432",
                "sslmode": "disable",
                "target_session_attrs": "read-write",
            },
            safe="/,",
        )
        return f"postgresql://postgres@/nearcode?{query}"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="nearcode-tests-") as folder:
        Path(folder).chmod(0o755)
        primary, standby = Host(Path(folder) / "one"), Host(Path(folder) / "two")
        try:
            primary.initialize()
            primary.start()
            running.run(execute(primary.url(), "CREATE DATABASE nearcode"))
            standby.copy(primary)
            standby.start()
            running.run(
                execute(
                    primary.url(),
                    "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
                    "SELECT pg_reload_conf()",
                )
            )
            running.run(until_synchronous(primary.url()))
            yield Pair(primary, standby)
        finally:
            primary.stop()
            standby.stop()


async def until_synchronous(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(30):
            query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            while not await connection.fetchval(query):  # noqa: ASYNC110 (it cannot tell us)
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


@pytest.fixture
def stores(pair: Pair, tmp_path: Path) -> Iterator[Running]:
    """S1 with three seats, and S2 and S3, which have room for all."""
    running.run(db.migrate(pair.url))
    with running.running(pair.url, Settings(data_dir=tmp_path, **UNLIMITED)) as service:
        put_up_stores(service)
        yield service


def until(crowd: Crowd, seats: int) -> None:
    deadline = time.monotonic() + 30
    while len(crowd.seated_at) < seats:
        assert time.monotonic() < deadline, crowd
        time.sleep(0.02)


def until_written(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while any((folder / "spool").glob("*.spool")):
        assert time.monotonic() < deadline, "the spool is not written"
        time.sleep(0.02)
    assert not any((folder / "spool").glob("*"))


def test_a_standby_that_is_promoted_goes_on_with_everything_that_was_answered(
    stores: Running, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = Crowd([stores.base_url])
    with crowd.visiting():
        until(crowd, 30)
        pair.primary.kill()
        killed_at = time.monotonic()
        time.sleep(1)  # whoever watches the primary takes some time
        pair.standby.promote()
        promoted_at = time.monotonic()
        back_s = crowd.seated_after(promoted_at)
        time.sleep(0.5)
    until_written(tmp_path)
    dark = [at for at in crowd.away_at if at > killed_at]
    with capsys.disabled():
        print(
            f"\nprimary killed, standby promoted after {promoted_at - killed_at:.1f} s: {crowd};"
            f" seats again {back_s:.2f} s after that"
        )
    assert dark, "posters were dark meanwhile"
    assert set(crowd.statuses) <= {200, 201, 503}
    assert crowd.faults(pair.standby.url("nearcode"), away=True) == {}
    assert back_s < BACK_WITHIN_S


def test_a_primary_that_can_only_be_read_any_more_is_left_for_the_other(
    stores: Running, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A switch-over that cuts no connection: what is written there fails, and says so."""
    crowd = Crowd([stores.base_url])
    with crowd.visiting():
        until(crowd, 30)
        pair.primary.demote()
        time.sleep(1)
        pair.standby.promote()
        promoted_at = time.monotonic()
        back_s = crowd.seated_after(promoted_at)
        time.sleep(0.5)
    until_written(tmp_path)
    with capsys.disabled():
        print(f"\nswitched over: {crowd}; seats again after {back_s:.2f} s")
    assert set(crowd.statuses) <= {200, 201, 503}
    assert crowd.faults(pair.standby.url("nearcode"), away=True) == {}
    assert back_s < BACK_WITHIN_S
