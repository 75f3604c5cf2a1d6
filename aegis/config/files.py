"""Finding TOML files: a path, or the bare name of one that ships with the package."""

from __future__ import annotations

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from aegis.core.errors import ConfigError

__all__ = ["load_toml", "located", "parse_toml", "preset_files", "read_named"]

_NAME = 240  # characters of a file's name that are repeated to whoever mistyped it


def _folder(name: str) -> Any:
    installed = resources.files("aegis") / "presets"
    # an editable install reads them where they are written
    root: Any = installed if installed.is_dir() else Path(__file__).parents[2] / "config"
    return root / name if name else root


def preset_files(folder: str = "") -> tuple[str, ...]:
    """Bare names of what ships in a folder of presets."""
    names = (entry.name for entry in _folder(folder).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def read_named(name: str, folder: str, what: str) -> tuple[str, str]:
    """(text, origin) of a path or a bare name; a file of that name comes first. Raises ConfigError with one line.

    Args:
        what: what the shipped ones are called in the error, in the plural.
    """
    bare = name.removesuffix(".toml")
    try:
        if bare in preset_files(folder) and not Path(name).is_file():
            return (_folder(folder) / f"{bare}.toml").read_text(encoding="utf-8"), f"{bare}.toml"
        return Path(name).read_text(encoding="utf-8"), name
    except (OSError, ValueError) as error:  # ValueError: bytes that are no text, a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        shown = name if name.isprintable() and 0 < len(name) <= _NAME else repr(name[:_NAME])
        raise ConfigError(f"{shown}: {reason}; shipped {what} are {', '.join(preset_files(folder))}") from None


def located(name: str, folder: Path, shipped: tuple[str, ...]) -> str:
    """A bare name of one that ships as it is, else the whole path of a file named in `folder`."""
    if name.removesuffix(".toml") in shipped and not (folder / name).is_file():
        return name
    return os.path.abspath(folder / name)


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """Raises ConfigError with one line."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply") from None
    except ValueError as error:  # also an integer of thousands of digits, which the parser does not expect
        raise ConfigError(f"{origin}: {' '.join(str(error).split())}") from None


def load_toml(name: str, folder: str, what: str) -> tuple[dict[str, Any], str]:
    """(tree, origin) of a path or a bare name. Raises ConfigError with one line."""
    text, origin = read_named(name, folder, what)
    return parse_toml(text, origin), origin
