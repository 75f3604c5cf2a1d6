"""A venue named by the config: addresses that load back, those that cannot be, and modes that do not take one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from aegis import config as configs
from aegis.cli import cli
from aegis.core.errors import ConfigError


def test_check_prints_what_loads_back_to_the_same_with_its_venue(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('mode = "paper"\n[venue]\nrest = "http://127.0.0.1:1"\nstream = "ws://[::1]:2/x"\n')
    result = CliRunner().invoke(cli, ["check", "--config", str(path)])
    assert result.exit_code == 0
    assert configs.loads(result.output) == configs.load(str(path))
    assert configs.loads(result.output).venue.stream == "ws://[::1]:2/x"


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ('rest = "ftp://h:1"\nstream = "ws://h:2"', "venue.rest"),
        ('rest = "http://h:1/path"\nstream = "ws://h:2"', "venue.rest"),
        ('rest = "http://h:99999"\nstream = "ws://h:2"', "venue.rest"),
        ('rest = "http://h:0"\nstream = "ws://h:2"', "venue.rest"),
        ('rest = "http://"\nstream = "ws://h:2"', "venue.rest"),
        ('rest = "http://h:1"\nstream = "http://h:2"', "venue.stream"),
        ('rest = "http://h:1"\nstream = "ws://key@h:2"', "venue.stream"),
        ('rest = "http://h:1"\nstream = "ws://h:2?a=b"', "venue.stream"),
        ('rest = "http://h:1"\nstream = "ws://h :2"', "venue.stream"),
        ('rest = "http://h:1"\nstream = "ws://h:2"\ntrade = "h:3"', "venue.trade"),
        ('rest = "http://h:1"', "venue"),
        ('stream = "ws://h:1"', "venue"),
        ('trade = "ws://h:1"', "venue"),
        ('rest = 5\nstream = "ws://h:1"', "venue.rest"),
        ("port = 5", "venue"),
    ],
)
def test_address_that_cannot_be_is_refused_with_its_path(table: str, path: str) -> None:
    with pytest.raises(ConfigError, match=rf"\bx\.toml: {path}\b.*"):
        configs.loads(f'mode = "paper"\n[venue]\n{table}', "x.toml")


def test_mode_sim_does_not_take_an_address_that_it_would_not_use() -> None:
    with pytest.raises(ConfigError, match="venue"):
        configs.loads('[venue]\nrest = "http://h:1"\nstream = "ws://h:2"')


def test_live_refuses_to_start_also_with_a_venue_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('mode = "live"\n[venue]\nrest = "http://127.0.0.1:1"\nstream = "ws://127.0.0.1:1"\n')
    for options in ([], ["--live"]):
        result = CliRunner().invoke(cli, ["run", "--config", str(path), "--seconds", "1", *options])
        assert isinstance(result.exception, (ConfigError, SystemExit))
        assert "does not start yet" in f"{result.output}{result.exception}"


def test_paper_refuses_live_money() -> None:
    result = CliRunner().invoke(cli, ["run", "--config", "paper", "--live"])
    assert "--live goes with" in f"{result.output}{result.exception}"
