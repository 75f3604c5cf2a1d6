"""How a process of ours is started."""

from __future__ import annotations

import sys

__all__ = ["module_command"]


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of the package that runs now.

    `-P`: not of a package of the same name in the current directory, which it is inside of a clone.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
