"""The cache of compiled kernels: kept while the sources stand still, left behind when any of them changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import aegis
from aegis.kernels import compile as compiling

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="numba is off")

CALLEE = """
from aegis.kernels.compile import inner

@inner()
def part(x):
    return x + {}
"""
CALLER = """
from aegis.kernels.callee import part
from aegis.kernels.compile import kernel

@kernel(example=lambda: (1,))
def whole(x):
    return part(x) * 10
"""
ASK = "from aegis.kernels.caller import whole; print(whole(1), sum(whole.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The kernel package with two kernels of this test in place of all others."""
    kernels = tmp_path / "aegis" / "kernels"
    kernels.mkdir(parents=True)
    root = Path(aegis.__file__).parent
    for name in ("__init__.py", "kernels/__init__.py", "kernels/compile.py", "kernels/linking.py"):
        shutil.copy(root / name, tmp_path / "aegis" / name)
    (kernels / "callee.py").write_text(CALLEE.format(1))
    (kernels / "caller.py").write_text(CALLER)
    return tmp_path


def ask(package: Path) -> tuple[int, int]:
    """(what the caller returns, how much of it came from the cache), from a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(package), "XDG_CACHE_HOME": str(package / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, cwd=package, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    value, hits = done.stdout.split()
    return int(value), int(hits)


def test_an_edited_callee_in_another_file_changes_its_caller(package: Path) -> None:
    assert ask(package) == (20, 0)
    assert ask(package) == (20, 1)
    (package / "aegis" / "kernels" / "callee.py").write_text(CALLEE.format(2))
    assert ask(package) == (30, 0)


def test_the_key_depends_on_every_source_and_on_bounds_checking(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "__file__", str(package / "aegis" / "kernels" / "compile.py"))
    keys = {compiling.cache_key()}
    for path in (package / "aegis" / "kernels").iterdir():
        path.write_bytes(path.read_bytes() + b"#")
        keys.add(compiling.cache_key())
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)
    keys.add(compiling.cache_key())
    assert len(keys) == 7
    assert compiling.cache_key() in keys
