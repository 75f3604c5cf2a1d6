"""Fixtures of the unit tests."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from aegis import cli


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call `aegis ...` in this process: (exit code, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aegis", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as leaving:
            code = leaving.code
        return code or 0, *capsys.readouterr()

    return call
