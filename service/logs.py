"""Logs: one line an event, on stderr, as JSON for machines or text for people.

Everything that logs comes out alike: our own `structlog.get_logger()`, and what uvicorn, asyncio
and other libraries say through `logging`. Values bound with `structlog.contextvars` (the request's
id, say) are on every line. Secrets are on none: see `mask`.
"""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service import settings as settings_module

MASK = "***"

# Names whose values are not logged, whatever they look like.
_SECRET_NAME = re.compile(
    r"authorization|cookie|passw|secret|credential|token|database_url|(?:^|[_-])(?:api)?key$",
    re.IGNORECASE,
)
# What is a secret wherever it stands: our API keys, bearer tokens, a URL's password.
_SECRET_TEXT = re.compile(
    r"(?P<api_key>\bnck_)[\w.~-]+"
    r"|(?P<bearer>\bBearer\s+)[\w.~+/=-]+"
    r"|(?P<url>\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)[^\s/@\"']+(?=@)",
    re.IGNORECASE,
)

_SECRET_SIGNS = ("nck_", "bearer", "://")  # one of them is in whatever that finds

# Set by `configure`: lines of requests need nothing but JSON.
_json_at_info = False
_WRITE_EVERY_S = 0.1
_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z

_HANDLER = "nearcode"
# They bring handlers of their own, which would print their lines a second time.
_TALKATIVE = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "asyncio")
# While the database is away it tries to connect, and tells each failure with its whole traceback.
_LONG_WINDED = "asyncpg.pool"
# Its lines have addresses and queries in them, and so positions. Ours are in `service.app`.
_INDISCREET = "uvicorn.access"


def configure(settings: settings_module.Settings) -> None:
    """Set up all logging of this process. Again is fine: the last call counts.

    uvicorn must not undo it: run it with `log_config=None`.
    """
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    global _json_at_info
    _json_at_info = settings.log_format == "json" and level <= logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(_HANDLER)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _drop_repeated, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _mask_names,
                _renderer(settings.log_format),
                _mask_line,
            ],
        )
    )
    root = logging.getLogger()
    for earlier in [h for h in root.handlers if h.get_name() == _HANDLER]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger(_LONG_WINDED).addFilter(_in_one_line)
    access = logging.getLogger(_INDISCREET)
    access.handlers.clear()
    access.propagate = False


class AccessLines:
    """A line for each request, as the others are, but written by the dozen: to take each through
    all of the above would be a sixth of a visitor's whole request."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("nearcode.http")
        self._lines: list[bytes] = []
        self._due: asyncio.TimerHandle | None = None

    def add(self, method: str, path: str, status: int, ms: float) -> None:
        """No query: it may hold a position."""
        if not _json_at_info:
            self._log.info("request", method=method, path=path, status=status, ms=ms)
            return
        line = {
            "method": method,
            "path": mask(path),
            "status": status,
            "ms": ms,
            "event": "request",
            "logger": "nearcode.http",
            "level": "info",
            "at": datetime.now(UTC),
        }
        self._lines.append(orjson.dumps(line, default=str, option=_LINE))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_WRITE_EVERY_S, self.flush)

    def flush(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write(b"".join(lines).decode())
            sys.stderr.flush()


def _in_one_line(record: logging.LogRecord) -> bool:
    """The error in a word, without its traceback; every line is let pass."""
    if record.exc_info and record.exc_info[1] is not None:
        record.error, record.exc_info = repr(record.exc_info[1]), None
    return True


def mask(text: str) -> str:
    """The text without the secrets in it: API keys, bearer tokens, passwords in URLs."""
    # Nearly no text holds one, and to search for them takes ten times as long as to see that.
    plain = text.lower()
    if not any(sign in plain for sign in _SECRET_SIGNS):
        return text
    return _SECRET_TEXT.sub(lambda found: f"{found[found.lastgroup or 0]}{MASK}", text)


def _renderer(log_format: str) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(serializer=_dumps)
    # Not its coloured tracebacks, which show local variables, and so visitors' positions.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        timestamp_key="at",
        exception_formatter=structlog.dev.plain_traceback,
    )


def _dumps(event: EventDict, **_: Any) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _drop_repeated(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name in ("color_message", "message"):  # of uvicorn, and of any other handler's formatter
        event.pop(name, None)
    return event


def _mask_names(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: _masked(name, value) for name, value in event.items()}


def _masked(name: object, value: object) -> object:
    if isinstance(name, bytes):  # ASGI's headers
        name = name.decode("latin-1")
    if isinstance(name, str) and _SECRET_NAME.search(name) and value is not None:
        return MASK
    if isinstance(value, Mapping):
        return {key: _masked(key, inner) for key, inner in value.items()}
    if isinstance(value, tuple) and len(value) == 2:  # a header, maybe
        return (value[0], _masked(value[0], value[1]))
    if isinstance(value, list | tuple):
        return [_masked(None, inner) for inner in value]
    return value


# structlog wants a processor to be given an event; the one after the renderer is given its line.
def _mask_line(_: WrappedLogger, __: str, line: Any) -> str:
    return mask(line)
