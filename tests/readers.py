"""The processes that read pictures, as Linux tells of them."""

import contextlib
import re
from pathlib import Path


def children() -> set[int]:
    """Those that this process has started, and that live."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread or a process that has just ended
            for pid in (task / "children").read_text().split():
                if "service.reader" in told_of(int(pid), "cmdline"):
                    found.add(int(pid))
    return found


def told_of(process: int, what: str) -> str:
    return Path(f"/proc/{process}/{what}").read_text()


def open_files(process: int) -> list[str]:
    return [str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()]


def peak_mb() -> float:
    """The most memory that any of them has had at once, in megabytes."""
    peaks = [0.0]
    for process in children():
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s*(\d+) kB", told_of(process, "status"))
            peaks += [int(found[1]) / 1000] if found else []
    return max(peaks)
