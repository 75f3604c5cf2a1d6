"""Fixtures and settings shared by all tests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from aegis.runtime import logs

#: Examples of each property test that names no number of its own; the run without the compiler uses fewer.
EXAMPLES = int(os.environ.get("AEGIS_TEST_EXAMPLES", "100"))

hypothesis.settings.register_profile(
    "aegis",
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("aegis")


@pytest.fixture(scope="session", autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test ever touches the state of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEGIS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


class LogLines(list[bytes]):
    """Finished log lines of one test."""

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The lines as objects, all or those of one event."""
        parsed = [json.loads(line) for line in self]
        return [event for event in parsed if name is None or event["event"] == name]


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[LogLines]:
    """What the test logs, through the production chain; an event name outside the registry fails the test."""
    lines = LogLines()
    structlog.contextvars.clear_contextvars()
    logs.configure(lines.append, level="debug", wall_ns=lambda: 0, strict=True, cache=False)
    yield lines
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
