"""The embedded PostgreSQL: shared by processes, stopped by the last, unharmed by any death.

Other processes are real ones: each runs a small script that starts the server of the same folder,
says so, and does as it is told.
"""

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from service import embedded, errors
from tests import running

WAIT_S = 30

# Starts the server of the folder argv[1], prints its URL, and stops when its input ends. Deaf to
# Ctrl-C, as a service is that still has visitors to answer.
USER = """
import signal, sys
from pathlib import Path
from service import embedded
signal.signal(signal.SIGINT, signal.SIG_IGN)
with embedded.EmbeddedPostgres(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""

# The same as an ordinary user, for tests that root runs.
NOBODY = "import os\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"


@contextlib.contextmanager
def another_process(
    data_dir: Path, script: str = USER
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that uses the server of `data_dir`, and the URL that it got."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(WAIT_S)


def ask(url: str, query: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return running.run(fetch())


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgresql" / "postmaster.pid").read_text().split()[0])


def runs(data_dir: Path) -> bool:
    """Whether any process of a server still holds the folder."""
    with (data_dir / "server.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: a second pytest on the machine closes that one to PostgreSQL's account.
    with tempfile.TemporaryDirectory(prefix="nearcode-tests-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A folder with a cluster in it, its server stopped: for tests that leave it so."""
    with tempfile.TemporaryDirectory(prefix="nearcode-tests-") as name:
        with embedded.EmbeddedPostgres(Path(name) / "data"):
            pass
        yield Path(name) / "data"


@pytest.fixture(autouse=True)
def no_server_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "data_dir" in request.fixturenames:
        data_dir: Path = request.getfixturevalue("data_dir")
        wait_until(lambda: not runs(data_dir))


def test_the_first_start_makes_a_safe_utf8_database_with_a_closed_folder(folder: Path) -> None:
    data_dir = folder / "new" / "data"
    with embedded.EmbeddedPostgres(data_dir) as server:
        assert ask(server.url, "SELECT current_database()") == "nearcode"
        assert ask(server.url, "SHOW server_encoding") == "UTF8"
        assert ask(server.url, "SHOW fsync") == "on"
        assert ask(server.url, "SHOW listen_addresses") == ""
        assert ask(server.url, "SELECT upper('é')") == "É"  # whatever the machine's locale
        mode = stat.S_IMODE(data_dir.stat().st_mode)
        # Root lets PostgreSQL's account pass, and nobody else.
        assert mode == (0o710 if os.geteuid() == 0 else 0o700)
        assert stat.S_IMODE((data_dir / "postgresql").stat().st_mode) == 0o700


def test_stop_leaves_no_process_and_a_second_start_finds_the_data(data_dir: Path) -> None:
    with embedded.EmbeddedPostgres(data_dir) as server:
        ask(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
        assert runs(data_dir)
    wait_until(lambda: not runs(data_dir))
    assert not (data_dir / "postgresql" / "postmaster.pid").exists()
    with embedded.start(data_dir) as server:
        assert ask(server.url, "SELECT n FROM kept") == 7


def test_stopping_twice_is_no_error_and_the_url_is_there_only_while_it_runs(
    data_dir: Path,
) -> None:
    server = embedded.start(data_dir)
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError):
        _ = server.url


def test_a_second_process_joins_the_server_and_its_end_does_not_stop_it(data_dir: Path) -> None:
    with embedded.EmbeddedPostgres(data_dir) as server:
        pid = server_pid(data_dir)
        with another_process(data_dir) as (other, url):
            assert url == server.url
        assert other.returncode == 0
        assert server_pid(data_dir) == pid
        assert ask(server.url, "SELECT 1") == 1


def test_the_first_to_start_may_leave_first(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    with another_process(data_dir) as (_, url):
        server.stop()
        assert ask(url, "SELECT 1") == 1
    wait_until(lambda: not runs(data_dir))


def test_two_objects_of_one_process_are_two_users(data_dir: Path) -> None:
    with embedded.EmbeddedPostgres(data_dir) as first:
        with embedded.EmbeddedPostgres(data_dir) as second:
            assert second.url == first.url
        assert ask(first.url, "SELECT 1") == 1


def test_many_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    data_dir = folder / "data"
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", USER, str(data_dir)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        urls = {process.stdout.readline() for process in processes if process.stdout}
        assert len(urls) == 1
        for process in processes:
            process.communicate(timeout=WAIT_S)
        assert [process.returncode for process in processes] == [0, 0, 0, 0]
    wait_until(lambda: not runs(data_dir))


def test_two_folders_are_two_servers_side_by_side(data_dir: Path, folder: Path) -> None:
    with (
        embedded.EmbeddedPostgres(data_dir) as one,
        embedded.EmbeddedPostgres(folder / "data") as two,
    ):
        ask(two.url, "CREATE TABLE only_here ()")
        assert ask(one.url, "SELECT to_regclass('only_here')") is None
        one.stop()
        assert ask(two.url, "SELECT to_regclass('only_here')::text") == "only_here"


@pytest.mark.parametrize(
    "name", ["with a space", "门店 数据", 'it\'s, "quoted" $HOME `x`', "long-" + "x" * 150]
)
def test_any_folder_name_will_do(folder: Path, name: str) -> None:
    with embedded.EmbeddedPostgres(folder / name) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_a_relative_folder_stays_where_it_was_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    server = embedded.start(Path("data"))
    monkeypatch.undo()
    server.stop()
    assert (folder / "data" / "postgresql" / "PG_VERSION").exists()


def test_settings_meant_for_another_server_do_not_mislead(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGHOST": "db.example.org",
        "PGPORT": "1",
        "PGDATA": "/nowhere",
        "PGSSLMODE": "verify-full",
        "PGOPTIONS": "--nonsense",
    }.items():
        monkeypatch.setenv(name, value)
    with embedded.EmbeddedPostgres(data_dir) as server:
        assert ask(server.url, "SELECT current_database()") == "nearcode"


def test_a_folder_whose_user_was_killed_is_joined_and_then_stopped(data_dir: Path) -> None:
    with another_process(data_dir) as (other, _):
        other.kill()
        other.wait(WAIT_S)
        assert runs(data_dir)  # nobody was left to stop it
        pid = server_pid(data_dir)
        with embedded.EmbeddedPostgres(data_dir) as server:
            assert server_pid(data_dir) == pid
            assert ask(server.url, "SELECT 1") == 1
    wait_until(lambda: not runs(data_dir))


def test_after_kill_9_of_everything_what_was_committed_is_there(data_dir: Path) -> None:
    with another_process(data_dir) as (other, url):
        ask(url, "CREATE TABLE survivors AS SELECT generate_series(1, 1000) AS n")
        os.kill(server_pid(data_dir), signal.SIGKILL)
        other.kill()
    with embedded.EmbeddedPostgres(data_dir) as server:
        assert ask(server.url, "SELECT count(*) FROM survivors") == 1000


def test_a_stale_pid_that_another_program_has_by_now_is_no_hindrance(data_dir: Path) -> None:
    with another_process(data_dir) as (other, _):
        pid_file = data_dir / "postgresql" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGKILL)
        other.kill()
    wait_until(lambda: not runs(data_dir))
    # As after a container's restart: the number lives, and runs as the server's own account.
    with subprocess.Popen(["sleep", "60"], user=pid_file.stat().st_uid) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        with embedded.EmbeddedPostgres(data_dir) as server:
            assert ask(server.url, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_ctrl_c_reaches_the_program_and_not_its_database(data_dir: Path) -> None:
    with another_process(data_dir) as (other, url):
        os.killpg(other.pid, signal.SIGINT)
        time.sleep(0.3)
        assert ask(url, "SELECT 1") == 1
    assert other.returncode == 0


def test_an_interrupted_first_start_is_made_anew(folder: Path) -> None:
    half = folder / "data" / "postgresql.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with embedded.EmbeddedPostgres(folder / "data") as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not half.exists()


def test_a_server_that_cannot_start_names_the_reason_and_the_log(folder: Path) -> None:
    with embedded.EmbeddedPostgres(folder / "data"):
        pass
    with (folder / "data" / "postgresql" / "postgresql.conf").open("a") as conf:
        conf.write("max_wal_senders = many\n")
    with pytest.raises(errors.SetupError) as caught:
        embedded.start(folder / "data")
    assert "postgresql.log" in caught.value.detail
    assert "configuration file" in caught.value.detail
    assert not runs(folder / "data")


def test_a_cluster_of_another_version_is_refused_untouched(folder: Path) -> None:
    cluster = folder / "data" / "postgresql"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("15\n")
    with pytest.raises(errors.SetupError, match="made by PostgreSQL 15"):
        embedded.start(folder / "data")
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


def test_a_folder_that_is_a_file_is_a_setup_error(folder: Path) -> None:
    (folder / "data").write_text("")
    with pytest.raises(errors.SetupError, match="NEARCODE_DATA_DIR"):
        embedded.start(folder / "data")


def test_a_folder_removed_under_the_server_does_not_break_the_end(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = embedded.start(folder / "data")
    pid = server_pid(folder / "data")
    (folder / "data").rename(folder / "elsewhere")
    server.stop()
    assert "was removed while PostgreSQL ran" in caplog.text
    os.kill(pid, signal.SIGINT)
    wait_until(lambda: not runs(folder / "elsewhere"))


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are run by an ordinary user")
def test_an_ordinary_user_runs_it_as_themselves(folder: Path) -> None:
    folder.chmod(0o777)
    with another_process(folder / "data", USER.replace("\nwith", f"\n{NOBODY}with")) as (_, url):
        assert ask(url, "SELECT 1") == 1
        assert (folder / "data" / "postgresql").stat().st_uid == 65534
        assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
        with embedded.EmbeddedPostgres(folder / "data") as server:  # root joins
            assert ask(server.url, "SELECT 1") == 1
    with embedded.EmbeddedPostgres(folder / "data") as server:  # and starts it as its owner
        assert ask(server.url, "SELECT 1") == 1
    with another_process(folder / "data", USER.replace("\nwith", f"\n{NOBODY}with")) as (_, url):
        assert ask(url, "SELECT 1") == 1
