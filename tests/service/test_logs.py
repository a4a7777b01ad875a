"""Logs: alike whoever speaks, with the request's values, and without secrets."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from service import logs, settings


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configure(**given: str) -> None:
    logs.configure(settings.Settings.model_validate(given))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""  # stdout is the command's answer
    return [json.loads(line) for line in captured.err.splitlines()]


def test_our_own_and_other_peoples_lines_come_out_alike(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    structlog.get_logger("service.app").info("Started", port=8000)
    logging.getLogger("uvicorn.error").info(
        "Started %s", "server", extra={"color_message": "\x1b[1m"}
    )
    ours, theirs = lines(capsys)
    assert ours.pop("at").endswith("Z")
    assert theirs.pop("at").endswith("Z")
    assert ours == {"event": "Started", "port": 8000, "logger": "service.app", "level": "info"}
    assert theirs == {"event": "Started server", "logger": "uvicorn.error", "level": "info"}


def test_bound_values_are_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    structlog.contextvars.bind_contextvars(request_id="r1")
    structlog.get_logger().info("ours")
    logging.getLogger("asyncio").warning("theirs")
    assert [line["request_id"] for line in lines(capsys)] == ["r1", "r1"]


def test_configuring_again_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    configure()
    logging.getLogger("anything").error("once")
    assert len(lines(capsys)) == 1


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_level="warning")
    structlog.get_logger().info("no")
    logging.getLogger("asyncio").info("no")
    structlog.get_logger().warning("yes")
    assert [line["event"] for line in lines(capsys)] == ["yes"]


SECRETS: list[dict[str, object]] = [
    {"authorization": "Bearer s3cret"},
    {"Cookie": "visitor=s3cret"},
    {"password": "s3cret"},
    {"wecom_secret": "s3cret"},
    {"key": "s3cret"},
    {"api_key": "s3cret"},
    {"headers": {"X-Api-Key": "s3cret"}},
    {"headers": [(b"authorization", b"s3cret")]},
    {"detail": "refused nck_s3cret"},
    {"detail": ["curl -H 'Authorization: Bearer s3cret'"]},
    {"url": "postgresql://nearcode:s3cret@db/nearcode"},
    {"anything": RuntimeError("with nck_s3cret")},
]


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("secret", SECRETS, ids=str)
def test_a_secret_is_in_no_line(
    capsys: pytest.CaptureFixture[str], log_format: str, secret: dict[str, object]
) -> None:
    configure(log_format=log_format)
    structlog.get_logger().info("seen", **secret)
    line = capsys.readouterr().err
    assert "seen" in line
    assert "***" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_is_told_without_its_secrets_or_variables(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure(log_format=log_format)
    position = [121.4737, 31.2304]
    try:
        raise ValueError("no such key nck_s3cret")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed")
        structlog.get_logger().exception("failed")
    text = capsys.readouterr().err
    assert text.count("ValueError: no such key nck_***") == 2
    assert "s3cret" not in text
    assert str(position[0]) not in text


def test_a_pool_that_cannot_connect_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    try:
        raise ConnectionRefusedError("nobody listens")
    except ConnectionRefusedError:
        logging.getLogger("asyncpg.pool").warning("Failed to restore the floor", exc_info=True)
    (line,) = lines(capsys)
    assert line["event"] == "Failed to restore the floor"
    assert line["error"] == "ConnectionRefusedError('nobody listens')"
    assert "exception" not in line


def test_what_only_looks_like_a_secret_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    told: dict[str, object] = {
        "key_id": 7,
        "store": "SH001",
        "url": "http://localhost:8000/q/main",
        "keyboard": "x",
        "time": "12:30@noon",
        "pair": ["a", "b"],
    }
    structlog.get_logger().info("seen", **told)
    (line,) = lines(capsys)
    assert {name: line[name] for name in told} == told


def test_chinese_is_written_as_itself(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    structlog.get_logger().info("seen", city="上海市")
    assert "上海市" in capsys.readouterr().err
