"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.runtime.log_events import EVENTS

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "aegis").rglob("*.py"))
EVERYTHING = sorted([*PACKAGE, *(ROOT / "tests").rglob("*.py"), ROOT / "noxfile.py"])
#: Modules of which only the harmless names may be used outside `runtime/clock.py`: no clock, no hidden generator.
HARMLESS = {
    "time": {"gmtime", "strftime"},
    "random": {"Random", "Generator", "Philox", "SeedSequence"},  # also numpy's: all of them take a seed
    "uuid": {"UUID"},
    "secrets": {"compare_digest"},
}
#: Names that read the clock, whatever object they are called on.
CLOCK_CALLS = {"utcnow", "today", "now"}
# places that only one machine has; URLs and the standard device files are not meant
MACHINE_PATH = re.compile(r"(?<![\w./:~<>}{-])/(?:home|Users|root|tmp|work|mnt|opt|workspace)/[\w.]")
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "aegis").as_posix()


def ids(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(module, name) of every import; name is "" for a plain `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", EVERYTHING, ids=ids(EVERYTHING))
def test_modules_have_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", EVERYTHING, ids=ids(EVERYTHING))
def test_functions_have_at_most_70_lines(path: Path) -> None:
    functions = [n for n in ast.walk(parse(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if f.end_lineno is not None and f.end_lineno - f.lineno >= 70] == []


def test_clocks_and_randomness_come_through_one_module() -> None:
    faults = [
        f"{relative(path)}: {fault}"
        for path in PACKAGE
        if relative(path) != "runtime/clock.py"
        for fault in hidden_inputs(parse(path))
    ]
    assert faults == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "from time import time_ns",
        "import random\nrandom.random()",
        "import numpy as np\nnp.random.normal()",
        "import numpy as np\nnp.random.default_rng()",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from uuid import uuid4",
        "import os\nos.urandom(8)",
    ],
)
def test_the_rule_on_clocks_finds_each_kind(source: str) -> None:
    assert hidden_inputs(ast.parse(source)) != []


def hidden_inputs(tree: ast.Module) -> list[str]:
    """Uses of a clock or of a generator that was given no seed."""
    found = [f"from {module} import {name}" for module, name in imported(tree) if name and not harmless(module, name)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = {ast.Name: "id", ast.Attribute: "attr"}.get(type(node.value), "")
        module = getattr(node.value, owner, "") if owner else ""
        if not harmless(module, node.attr) or (module in ("datetime", "date") and node.attr in CLOCK_CALLS):
            found.append(f"{module}.{node.attr}")
    return found


def harmless(module: str, name: str) -> bool:
    if module == "os":
        return name not in ("urandom", "getrandom")
    allowed = HARMLESS.get(module.removeprefix("numpy."))
    return allowed is None or name in allowed


@pytest.mark.parametrize("path", PACKAGE, ids=ids(PACKAGE))
def test_output_goes_through_the_surface_alone(path: Path) -> None:
    calls = [n for n in ast.walk(parse(path)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    printing = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
    name = relative(path)
    assert not printing or name.startswith("surface/") or name in ("cli.py", "__main__.py")


@pytest.mark.parametrize("path", PACKAGE, ids=ids(PACKAGE))
def test_log_events_are_in_the_registry(path: Path) -> None:
    """Catches a wrong name on a path that no test takes."""
    names = [
        node.args[0].value
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_METHODS
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    assert [name for name in names if name not in EVENTS] == []


@pytest.mark.parametrize("path", EVERYTHING, ids=ids(EVERYTHING))
def test_no_path_of_one_machine_is_written_down(path: Path) -> None:
    assert MACHINE_PATH.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", PACKAGE, ids=ids(PACKAGE))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parse(path))


def test_the_root_holds_only_what_belongs_there() -> None:
    visible = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert visible - {"build", "dist"} <= {"aegis", "tests", "config", "pyproject.toml", "README.md", "noxfile.py"}
