"""What the README says is so: its two commands, every command and option that it names, every exit code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from aegis import cli
from aegis import config as configs
from aegis.core import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: The commands that a user without any knowledge types, verbatim.
TRY_IT = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/aegis run"
TEST_IT = "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox"
#: A command word by word: `aegis journal export`; what follows in the same code span are its arguments.
SPAN = re.compile(r"`(?:\S*/)?aegis((?: [a-z]+(?:-[a-z]+)*)*)([^`]*)`")
EXIT_ROW = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE)


def leaves(group: click.Group = cli.cli, name: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for word, one in group.commands.items():
        found |= leaves(one, f"{name}{word} ") if isinstance(one, click.Group) else {name + word: one}
    return found


def spoken() -> list[tuple[str, str]]:
    """(command, its arguments) of each `aegis ...` in the README that is a call."""
    return [(words.strip(), rest) for words, rest in SPAN.findall(README) if words]


def options(one: click.Command) -> set[str]:
    return {text for parameter in one.params for text in parameter.opts if text.startswith("--")}


@pytest.mark.parametrize("command", [TRY_IT, TEST_IT])
def test_the_two_commands_are_in_the_readme(command: str) -> None:
    assert command in README


def test_the_test_command_is_what_the_build_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert script[-1] == TEST_IT


@pytest.mark.parametrize("name", sorted(leaves()))
def test_every_command_is_described(name: str) -> None:
    table = "\n".join(line for line in README.splitlines() if line.startswith("| `aegis"))
    assert f"`aegis {name}" in table


def test_every_call_in_the_readme_is_one_that_the_command_line_takes() -> None:
    known = leaves()
    assert spoken()
    for words, rest in spoken():
        name = next((one for one in known if f"{words} ".startswith(f"{one} ")), None)
        assert name is not None, f"aegis {words}"
        assert set(re.findall(r"--[a-z-]+", rest)) <= options(known[name]), f"aegis {words}{rest}"


def test_every_option_in_the_command_table_exists() -> None:
    every = set().union(*map(options, leaves().values())) | {"--help", "--version"}
    rows = "\n".join(line for line in README.splitlines() if line.startswith("| `aegis"))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rows)) <= every


def test_every_option_of_a_run_is_told() -> None:
    hidden = {"--home", "--json", "--config", "--live"}  # told elsewhere in the text
    (row,) = [line for line in README.splitlines() if line.startswith("| `aegis run` ")]
    assert options(leaves()["run"]) - hidden <= set(re.findall(r"--[a-z-]+", row))


def test_the_exit_codes_are_those_of_the_command() -> None:
    rows = {int(code): meaning for code, meaning in EXIT_ROW.findall(README)}
    assert set(rows) == {
        0, cli.EXIT_CHECK_FAILED, cli.EXIT_USAGE, cli.EXIT_VENUE, cli.EXIT_INTERNAL, cli.EXIT_CONFIG,
    }  # fmt: skip
    for code, word in {0: "done", 1: "check", 2: "usage", 69: "venue", 70: "internal", 78: "config"}.items():
        assert word in rows[code].lower()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 78),
        (errors.VenueUnavailable("x"), 69),
        (errors.VenueRefusal(-1, "x"), 69),
        (errors.InvariantBroken("x"), 70),
        (errors.Ambiguous("x"), 70),
    ],
)
def test_the_row_of_an_exit_code_is_true(
    error: errors.AegisError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(configs, "load", fail)
    monkeypatch.setattr("sys.argv", ["aegis", "check"])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == code
    assert str(code) in dict(EXIT_ROW.findall(README))
    assert capsys.readouterr().err == f"aegis: {error}\n"


def test_every_shipped_config_is_named() -> None:
    assert [name for name in configs.preset_names() if f"`{name}" not in README and f'"{name}"' not in README] == []


def test_links_inside_the_readme_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors
    files = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert [link for link in files if not (ROOT / link).exists()] == []


def test_modules_that_the_readme_names_exist() -> None:
    paths = re.findall(
        r"`((?:core|kernels|runtime|venue|exchange|signals|engine|research|surface)/[\w/]+\.py)`", README
    )
    assert paths
    assert [path for path in paths if not (ROOT / "aegis" / path).exists()] == []
