"""JSON logs through a bounded queue to a file: a slow disk loses log lines, counted, and never stops the loop.

Secrets are removed from the finished line, so nothing added before can carry one past. Tracebacks never show local
variables. Libraries log through the standard module: their warnings are routed here, and httpx's INFO, which holds the
full signed URL, is cut off.
"""

from __future__ import annotations

import datetime
import enum
import json
import logging
import os
import queue
import re
import threading
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from aegis.runtime.log_events import EVENTS

__all__ = ["LIBRARIES", "LogFile", "Redactor", "configure", "get_logger", "named", "processors"]

LIBRARIES = ("httpx", "httpcore", "trio-websocket", "hypercorn", "hypercorn.error", "hypercorn.access", "asyncio")
QUEUE_LINES = 8192  # at 500 lines/s the writer may stand still for 16 s before a line is lost
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_STOP = None


class Redactor:
    """Replaces known secrets, and what looks like a signature or key in a query or header, by `***`."""

    _SHAPES = re.compile(
        rb"(?i)((?:signature|listenKey|apiKey|secret|X-MBX-APIKEY)[\\\"']{0,4}\s?[=:,]\s?b?[\\\"']{0,4})[^&\s\"'\\,}\])]+"
    )

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            # a PEM key may appear whole, JSON-escaped, or line by line
            for part in (secret, *(line for line in secret.splitlines() if len(line) >= 16 and "-----" not in line)):
                if part:
                    forms |= {part.encode(), json.dumps(part)[1:-1].encode()}
        longest_first = sorted(forms, key=lambda form: -len(form))
        self._secrets = re.compile(b"|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, line: bytes) -> bytes:
        if self._secrets is not None:
            line = self._secrets.sub(b"***", line)
        return self._SHAPES.sub(rb"\1***", line)


class LogFile:
    """A file that a thread of its own writes. `dropped` counts lines lost to a full queue or to a failed write."""

    def __init__(self, path: Path, *, depth: int = QUEUE_LINES) -> None:
        self.dropped = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(depth)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._writer = threading.Thread(target=self._write_all, name="aegis-log", daemon=True)
        self._writer.start()

    def put(self, line: bytes) -> None:
        """Queue one line; never waits."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued and close; give up after `timeout_s`. It waits: call it from a thread, or at the end."""
        try:
            self._queue.put(_STOP, timeout=timeout_s)
        except queue.Full:
            return
        self._writer.join(timeout_s)

    def _write_all(self) -> None:
        while (line := self._queue.get()) is not _STOP:
            try:
                os.write(self._fd, line + b"\n")
            except OSError:  # the disk is full or gone: the counter is all that is left to tell
                self.dropped += 1
        os.close(self._fd)


class _Output:
    """What structlog calls at the end of the chain, with the finished line."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put

    def msg(self, line: bytes) -> None:
        self._put(line)

    log = debug = info = warning = error = critical = exception = fatal = msg


class _FromStandardLogging(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # a library's own mistake in its arguments
            text = str(record.msg)
        get_logger().log(record.levelno, "library.log", logger=record.name, text=text, exc_info=record.exc_info)


def _plain(value: Any) -> Any:
    """Only what JSON knows; any other object by its repr, because a serializer would look inside a `Secret`."""
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    if isinstance(value, enum.Enum):
        return value.name
    return str(value) if isinstance(value, Decimal) else repr(value)


def _check_event(strict: bool) -> Processor:
    def check(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event["event"] not in EVENTS:
            if strict:
                raise ValueError(f"log event {event['event']!r} is not in the registry")
            event["unregistered"] = True
        return event

    return check


def _stamp(wall_ns: Callable[[], int]) -> Processor:
    def stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        now = datetime.datetime.fromtimestamp(wall_ns() / 1e9, datetime.UTC)
        event["at"] = now.isoformat(timespec="microseconds")
        return event

    return stamp


def processors(wall_ns: Callable[[], int], redactor: Redactor, *, strict: bool = False) -> list[Processor]:
    """The chain from an event to a finished line of JSON bytes; redaction is the last of it."""

    def render(_: WrappedLogger, __: str, event: EventDict) -> bytes:
        plain = _plain(event)
        try:
            line = msgspec.json.encode(plain)
        except (ValueError, OverflowError):  # half a surrogate pair, or a number beyond 64 bits
            line = json.dumps(plain).encode()
        return redactor(line)

    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # the default shows them
    return [
        structlog.contextvars.merge_contextvars,
        _check_event(strict),
        structlog.stdlib.add_log_level,
        _stamp(wall_ns),
        structlog.processors.ExceptionRenderer(transformer),
        cast(Processor, render),
    ]


def configure(
    put: Callable[[bytes], None],
    *,
    level: str,
    wall_ns: Callable[[], int],
    secrets: Iterable[str] = (),
    strict: bool = False,
    cache: bool = True,
) -> None:
    """Send every log line to `put` (`LogFile.put`), and the libraries' warnings too.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        secrets: texts that must never appear.
        strict: an event name that is not in the registry raises ValueError; for tests.
        cache: bind loggers once; tests that reconfigure must say False.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Output(put),
        processors=processors(wall_ns, Redactor(secrets), strict=strict),
        cache_logger_on_first_use=cache,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _FromStandardLogging)]
    root.addHandler(_FromStandardLogging(logging.WARNING))
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger() -> FilteringBoundLogger:
    """The logger; events are names from the registry, everything else is a keyword."""
    return cast(FilteringBoundLogger, structlog.get_logger())


async def named(task: str, body: Callable[[], Awaitable[Any]]) -> None:
    """Run `body` with `task` in the context of every line it logs; child tasks copy it when they are spawned."""
    with structlog.contextvars.bound_contextvars(task=task):
        await body()
