"""The spool: what it has said is kept is kept, in order, and goes to one who writes it, once."""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service import errors
from service.spool import Spool

MOST = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "spool"


def opened(folder: Path, most_bytes: int = MOST) -> Spool:
    return Spool(folder, most_bytes)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def everything(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def fill(kept: Spool) -> list[bytes]:
    """Keep records until one is refused; those that were not."""
    held: list[bytes] = []
    while len(held) < 1000:
        record = b"record %d" % len(held)
        try:
            await kept.keep(b"a", record)
        except errors.Unavailable:
            return held
        held.append(record)
    raise AssertionError("it is never full")


@contextlib.asynccontextmanager
async def taken(waiting: Spool) -> AsyncIterator[list[bytes]]:
    """All records that wait, in order; written at the end."""
    found = await waiting.take()
    yield [record for spooled in found for record in spooled.records()]
    for spooled in found:
        spooled.done()
    waiting.emptied()


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """As on a disk that is full: what is written beyond is cut off, and then refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


KEEPS = """
import asyncio, sys
from pathlib import Path
from service.spool import Spool

async def main():
    kept = Spool(Path(sys.argv[1]), 1_000_000)
    for number in range(3):
        await kept.keep(b"k%d" % number, b"record %d" % number)
    print("kept", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@contextlib.contextmanager
def another_worker(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has kept three records."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "kept\n"
            yield process
        finally:
            process.kill()


async def test_records_come_back_in_the_order_in_which_they_were_kept(folder: Path) -> None:
    kept = opened(folder)
    wanted = [b"record %d" % number for number in range(500)]
    await asyncio.gather(*(kept.keep(b"key", record) for record in wanted[:300]))
    for record in wanted[300:]:
        await kept.keep(b"key", record)
    assert len(files(folder)) == 1
    async with taken(kept) as records:
        assert records == wanted
        # What is kept meanwhile is for the next time.
        await kept.keep(b"key", b"later")
    assert len(files(folder)) == 1
    async with taken(kept) as records:
        assert records == [b"later"]
    assert files(folder) == []


async def test_what_is_kept_while_it_is_taken_is_never_lost(folder: Path) -> None:
    kept, found = opened(folder), []
    wanted = {b"record %d" % number for number in range(2000)}

    async def keep(records: list[bytes]) -> None:
        for record in records:
            await kept.keep(b"key", record)

    every = sorted(wanted)
    keeping = asyncio.gather(*(keep(every[start::20]) for start in range(20)))
    while not keeping.done():
        async with taken(kept) as records:
            found += records
    await keeping
    async with taken(kept) as records:
        found += records
    assert len(found) == len(wanted)
    assert set(found) == wanted


async def test_every_worker_finds_a_scan_wherever_it_was_opened(folder: Path) -> None:
    one, other = opened(folder), opened(folder)
    assert one.find(b"a") == []
    await one.keep(b"a", b"opened")
    assert other.find(b"a") == [b"opened"]
    await other.keep(b"a", b"positioned")
    await other.keep(b"b", b"another's")
    await one.keep(b"a", b"pressed")
    assert one.find(b"a") == other.find(b"a") == [b"opened", b"pressed", b"positioned"]
    assert one.find(b"b") == [b"another's"]
    assert one.find(b"c") == []
    async with taken(one):
        assert sorted(other.find(b"a")) == [b"opened", b"positioned", b"pressed"]
    assert other.find(b"a") == [b"positioned"]


async def test_a_line_that_was_torn_by_a_crash_is_left_out(folder: Path) -> None:
    kept = opened(folder)
    await kept.keep(b"a", b"whole")
    await kept.keep(b"a", b"torn")
    (path,) = files(folder)
    os.truncate(path, path.stat().st_size - 3)
    assert opened(folder).find(b"a") == [b"whole"]
    async with taken(kept) as records:
        assert records == [b"whole"]
    assert everything(folder) == []


async def test_a_line_that_is_spoilt_is_put_aside_and_harms_no_other(folder: Path) -> None:
    kept = opened(folder)
    for number in range(3):
        await kept.keep(b"a", b"record %d" % number)
    (path,) = files(folder)
    text = path.read_bytes()
    path.write_bytes(text.replace(b"record 1", b"recorX 1"))
    assert opened(folder).find(b"a") == [b"record 0", b"record 2"]
    async with taken(kept) as records:
        assert records == [b"record 0", b"record 2"]
    (aside,) = everything(folder)
    assert aside.suffix == ".rejected"
    assert b"recorX 1" in aside.read_bytes()


async def test_a_full_spool_refuses_and_takes_again_once_it_is_written(folder: Path) -> None:
    kept = opened(folder, most_bytes=200)
    held = await fill(kept)
    assert len(held) > 5
    assert files(folder)[0].stat().st_size <= 200
    async with taken(kept) as records:
        assert records == held
        # Not before it is written: it is on the disk until then.
        assert await fill(kept) == []
    assert len(await fill(kept)) == len(held)


async def test_many_at_once_do_not_fill_it_beyond_its_size(folder: Path) -> None:
    kept = opened(folder, most_bytes=1000)
    done = await asyncio.gather(
        *(kept.keep(b"a", b"record") for _ in range(1000)), return_exceptions=True
    )
    assert done.count(None) == 1000 // len(b"01234567 a record\n")
    assert files(folder)[0].stat().st_size <= 1000


async def test_a_disk_that_is_full_loses_nothing_that_was_kept(folder: Path) -> None:
    kept = opened(folder)
    before = [b"record %4d" % number for number in range(5000)]
    await asyncio.gather(*(kept.keep(b"b", record) for record in before))
    await kept.keep(b"a", b"before")
    size = files(folder)[0].stat().st_size
    with files_end_at(size + 30):
        # The first of these lines still fits: nobody is answered for it, so it may not be there.
        failed = await asyncio.gather(
            *(kept.keep(b"a", b"in vain %d" % number) for number in range(3)),
            return_exceptions=True,
        )
    assert [type(error) for error in failed] == [errors.Unavailable] * 3
    await kept.keep(b"a", b"after")
    assert kept.find(b"a") == [b"before", b"after"]
    async with taken(kept) as records:
        assert records == [*before, b"before", b"after"]
    assert everything(folder) == []


async def test_a_disk_that_fails_costs_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = opened(folder, most_bytes=200)

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken_disk:
        broken_disk.setattr(os, "fsync", broken)
        for _ in range(50):
            with pytest.raises(errors.Unavailable, match="Input/output error"):
                await kept.keep(b"a", b"in vain")
    await kept.keep(b"a", b"kept")
    async with taken(kept) as records:
        assert records == [b"kept"]


async def test_a_workers_file_is_left_to_it_while_it_lives_and_then_goes_to_one_other(
    folder: Path,
) -> None:
    with another_worker(folder) as process:
        assert await opened(folder).take() == []
        assert len(files(folder)) == 1
        process.kill()
        process.wait()
    heirs = [opened(folder) for _ in range(8)]
    found = await asyncio.gather(*(heir.take() for heir in heirs))
    (spooled,) = (spooled for taken_by in found for spooled in taken_by)
    assert spooled.records() == [b"record 0", b"record 1", b"record 2"]
    # Nor does anybody, the heir included, take it again while it is written, or after.
    assert [await heir.take() for heir in heirs] == [[]] * 8
    spooled.done()
    assert [await heir.take() for heir in heirs] == [[]] * 8


async def test_an_heir_that_dies_has_an_heir(folder: Path) -> None:
    dying = opened(folder)
    await dying.keep(b"a", b"record")
    (first,) = await dying.take()
    assert await opened(folder).take() == []
    os.close(first.handle)  # as the kernel does for one who dies
    (second,) = await opened(folder).take()
    assert second.spool_id == first.spool_id
    assert second.records() == [b"record"]


@pytest.fixture
def strange_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "notes.spool").write_text("what is this?")
    (folder / "notes.txt").write_text("nothing")


@pytest.mark.usefixtures("strange_files")
async def test_a_file_that_is_not_the_spools_own_stops_nothing(folder: Path) -> None:
    kept = opened(folder)
    await kept.keep(b"a", b"record")
    assert kept.find(b"a") == [b"record"]
    async with taken(kept) as records:
        assert records == [b"record"]
    assert await kept.take() == []


async def test_files_are_taken_in_the_order_in_which_they_were_begun(folder: Path) -> None:
    first, second = opened(folder), opened(folder)
    await first.keep(b"a", b"1")
    await second.keep(b"a", b"2")
    await first.keep(b"a", b"3")  # the first is the younger by its last change
    held = [*await second.take(), *await first.take()]
    for spooled in held:
        os.close(spooled.handle)
    found = await opened(folder).take()
    assert [spooled.records() for spooled in found] == [[b"1", b"3"], [b"2"]]
