"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["home_option", "json_option", "run_option", "symbol_option"]

C = TypeVar("C", bound=Callable[..., Any])


def home_option(command: C) -> C:
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="AEGIS_HOME",
        help="Where state lives; or AEGIS_HOME. Default: the user's state directory.",
    )(command)


def json_option(command: C) -> C:
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")(command)


def run_option(command: C) -> C:
    return click.option("--run", "run_id", metavar="RUN", help="A past run; default: the latest.")(command)


def symbol_option(command: C) -> C:
    return click.option("--symbol", required=True, metavar="SYMBOL", help="Such as BTCUSDT.")(command)
