"""The container's files: what they name is there. (No engine is needed, and none is used.)"""

import http.server
import json
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction of the Dockerfile, in its order."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [line.split(None, 1)[1] for line in lines if line.split(None, 1)[:1] == [name]]


def test_everything_that_is_copied_is_there_and_let_through_to_the_builder() -> None:
    copied = [
        source
        for arguments in instructions("COPY")
        if "--from=" not in arguments
        for source in arguments.split()[:-1]
    ]
    assert "service" in copied
    let_through = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert set(copied) == let_through
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_what_the_wheel_is_built_from_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        project["project"]["readme"],
        *project["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
    }
    copied = {source for arguments in instructions("COPY") for source in arguments.split()}
    assert needed <= copied


def test_the_container_runs_a_command_that_is_installed() -> None:
    (command,) = (json.loads(arguments) for arguments in instructions("CMD"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert command[0] in project["project"]["scripts"]


def test_the_container_is_nobody_special() -> None:
    assert instructions("USER")[-1] == "10001:10001"


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_a_healthy_service_from_an_ill_one(
    status: int, exit_code: int
) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    (check,) = instructions("HEALTHCHECK")
    _, code_option, code = json.loads(check.split("CMD", 1)[1])
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        code = code.replace("8000", str(server.server_port))
        done = subprocess.run([sys.executable, code_option, code], check=False, timeout=30)
        thread.join(30)
    assert done.returncode == exit_code


def test_a_health_check_without_a_service_fails() -> None:
    (check,) = instructions("HEALTHCHECK")
    _, code_option, code = json.loads(check.split("CMD", 1)[1])
    # Port 1 is nobody's.
    done = subprocess.run(
        [sys.executable, code_option, code.replace("8000", "1")],
        check=False,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode != 0
