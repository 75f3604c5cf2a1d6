"""The built wheel, installed where nothing of the checkout is in sight: every preset is found by its bare name."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from aegis import __version__

ROOT = Path(__file__).parent.parent.parent
PRESETS = ("live", "paper", "sim", "testnet")


def done(command: list[str], **options: object) -> str:
    """The output of a command that must succeed, without what this process's environment could lend it."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "AEGIS_", "COVERAGE"))}
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, env=kept, check=False, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def listing(directory: Path) -> dict[str, int]:
    """Every file with its time of change; compiled modules are Python's own affair."""
    return {
        path.relative_to(directory).as_posix(): path.stat().st_mtime_ns
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend of pyproject.toml in this environment: nothing is downloaded, the checkout stays clean."""
    target = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    done([sys.executable, "-c", build, str(target)], cwd=ROOT)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel and, by a path file, the dependencies of this one but not its `aegis`."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    variables = {"base": str(home), "platbase": str(home)}
    packages = Path(sysconfig.get_path("purelib", "venv", variables))
    with zipfile.ZipFile(wheel) as archive:  # which is what installing a pure wheel does
        archive.extractall(packages)
    # a plain line adds a directory without reading the path files in it, so that the editable install stays unseen
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def aegis(installed: Path, *arguments: str) -> list[str]:
    call = "import sys; from importlib.metadata import entry_points; sys.argv[0] = 'aegis'; "
    call += "(one,) = [e for e in entry_points(group='console_scripts', name='aegis') if e.value == 'aegis.cli:main']; "
    return [str(installed / "bin" / "python"), "-P", "-c", call + "sys.exit(one.load()())", *arguments]


def test_the_wheel_holds_the_presets_as_they_are_written(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        presets = {name: archive.read(name) for name in names if name.startswith("aegis/presets/")}
    assert presets == {
        f"aegis/presets/{path.relative_to(ROOT / 'config')}": path.read_bytes()
        for path in (ROOT / "config").rglob("*.toml")
    }
    assert {name.partition("/")[0] for name in names} == {"aegis", f"selflearningtrader-{__version__}.dist-info"}
    assert "aegis/py.typed" in names


def test_the_wheel_is_for_every_python_that_is_supported(wheel: Path) -> None:
    assert wheel.name == f"selflearningtrader-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"selflearningtrader-{__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"selflearningtrader-{__version__}.dist-info/entry_points.txt").decode()
    assert "Requires-Python: >=3.11\n" in metadata
    assert "[console_scripts]\naegis = aegis.cli:main" in scripts


def test_every_preset_is_found_from_an_empty_directory_and_nothing_is_written(installed: Path, tmp_path: Path) -> None:
    where = done([str(installed / "bin" / "python"), "-c", "import aegis; print(aegis.__file__)"], cwd=tmp_path)
    package = Path(where.strip()).parent
    assert package.is_relative_to(installed)
    before = listing(package)
    for name in PRESETS:
        text = done(aegis(installed, "check", "--config", name), cwd=tmp_path)
        assert f'mode = "{name}"' in text
        copy = tmp_path / "copy.toml"
        copy.write_text(text)
        assert done(aegis(installed, "check", "--config", "copy.toml"), cwd=tmp_path) == text
        copy.unlink()
    assert list(tmp_path.iterdir()) == []
    assert listing(package) == before


def test_the_installed_command_knows_its_version(installed: Path, tmp_path: Path) -> None:
    assert done(aegis(installed, "--version"), cwd=tmp_path) == f"aegis, version {__version__}\n"
