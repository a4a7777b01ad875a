"""Load by wrk (https://github.com/wg/wrk): on each connection, the next when one is answered.

What is sent is said in Lua, in a script of its own for each kind of request.
"""

import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MISSING = "wrk is not installed: `apt-get install wrk` on Debian and Ubuntu, `brew install wrk`."

# Once a run, in the state that has seen no request: what wrk has counted.
_DONE = """
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("counted %d %d %d %d %d %d %d\\n", summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""

# The arguments: what visitors are named by, and the file that is given the scans' ids.
OPEN = (
    """
local head, tail, visitor, file
local count = 0
function init(args)
  visitor, file = args[1], io.open(args[3], "w")
  local body = '{"entry":"' .. args[2] .. '"}'
  head = "POST /api/v1/scans HTTP/1.1\\r\\nHost: " .. wrk.host
    .. "\\r\\nContent-Type: application/json\\r\\nContent-Length: " .. #body .. "\\r\\nX-Visitor: "
  tail = "\\r\\n\\r\\n" .. body
end
function request()
  count = count + 1
  return head .. visitor .. count .. tail
end
function response(status, headers, body)
  local scan_id = body:match('"scan_id":"([^"]+)"')
  if scan_id then file:write(scan_id, "\\n") end
end
"""
    + _DONE
)

# The arguments: files of scans' ids and of JSON bodies, a line each; ids are used once, and from
# the start again where the third argument says "again".
LOCATE = (
    """
local ids, bodies = {}, {}
local middle, again
local count = 0
function init(args)
  for line in io.lines(args[1]) do ids[#ids + 1] = line end
  for line in io.lines(args[2]) do
    bodies[#bodies + 1] = "Content-Length: " .. #line .. "\\r\\n\\r\\n" .. line
  end
  again = args[3] == "again"
  middle = "/position HTTP/1.1\\r\\nHost: " .. wrk.host
    .. "\\r\\nContent-Type: application/json\\r\\n"
end
function request()
  if count >= #ids and not again then
    wrk.thread:stop()
    return "GET /no-scans-left HTTP/1.1\\r\\nHost: " .. wrk.host .. "\\r\\n\\r\\n"
  end
  count = count + 1
  return "POST /api/v1/scans/" .. ids[(count - 1) % #ids + 1] .. middle
    .. bodies[(count - 1) % #bodies + 1]
end
"""
    + _DONE
)

# The arguments: a path and a user agent.
PAGE = (
    """
local text
function init(args)
  text = "GET " .. args[1] .. " HTTP/1.1\\r\\nHost: " .. wrk.host
    .. "\\r\\nAccept-Language: zh-CN,zh;q=0.9\\r\\nUser-Agent: " .. args[2] .. "\\r\\n\\r\\n"
end
function request()
  return text
end
"""
    + _DONE
)


@dataclass(frozen=True, slots=True)
class Load:
    """What a run came to. `refused`: answers of 400 and more; latencies are those of a client that
    waits for each answer, in seconds."""

    answered: int
    refused: int
    broken: int
    taken_s: float
    p50_s: float
    p99_s: float
    p999_s: float
    own_cpu_s: float

    @property
    def per_s(self) -> float:
        return self.answered / self.taken_s


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def run(
    folder: Path,
    script: str,
    base_url: str,
    arguments: Sequence[str | Path],
    *,
    connections: int,
    seconds: int,
) -> Load:
    """One thread of wrk's for so long; `folder` is where its script is put."""
    file = folder / "wrk.lua"
    file.write_text(script, encoding="utf-8")
    before_s = _children_cpu_s()
    done = subprocess.run(
        [
            "wrk",
            "--threads=1",
            f"--connections={connections}",
            f"--duration={seconds}s",
            "--timeout=10s",
            f"--script={file}",
            base_url,
            "--",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    counted = [line for line in done.stdout.splitlines() if line.startswith("counted ")]
    if done.returncode or not counted:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    answered, refused, broken, *micros = map(int, counted[-1].split()[1:])
    taken_s, p50_s, p99_s, p999_s = (each / 1e6 for each in micros)
    own_cpu_s = _children_cpu_s() - before_s
    return Load(answered, refused, broken, taken_s, p50_s, p99_s, p999_s, own_cpu_s)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
