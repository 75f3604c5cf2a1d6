"""Processes of ours run the package that runs now."""

from __future__ import annotations

import subprocess
from pathlib import Path

from aegis.runtime.child import module_command


def test_a_package_in_the_current_directory_is_not_taken_for_ours(tmp_path: Path) -> None:
    stranger = tmp_path / "aegis"
    stranger.mkdir()
    (stranger / "__init__.py").write_text("")
    (stranger / "__main__.py").write_text("print('the package of the current directory')")
    done = subprocess.run(
        module_command("aegis", "--help"), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("Usage: aegis")
