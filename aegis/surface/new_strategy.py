"""A strategy to start from: its file, its tests, a config that names it."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from aegis.config import preset_names
from aegis.config.strategy import SHIPPED
from aegis.core.errors import ConfigError

__all__ = ["new_strategy"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: Template to the name of what is made of it.
_FILES = {"strategy.py.txt": "{}.py", "test.py.txt": "test_{}.py", "config.toml.txt": "{}.toml"}


def new_strategy(name: str, folder: Path) -> tuple[Path, ...]:
    """Write three files and return their paths; nothing is ever overwritten. Raises ConfigError."""
    if _NAME.fullmatch(name) is None or keyword.iskeyword(name):
        raise ConfigError(f"NAME: must be 1 to 40 of a-z, 0-9 and _ and begin with a letter, not {name[:60]!r}")
    if name in SHIPPED or name in preset_names():
        raise ConfigError(f"NAME: {name} is the name of one that ships; choose another")
    words = {"name": name, "Class": "".join(part.capitalize() for part in name.split("_"))}
    paths = {source: folder / target.format(name) for source, target in _FILES.items()}
    for path in paths.values():
        if path.exists():
            raise ConfigError(f"{path}: exists, and nothing is overwritten")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, path in paths.items():
            text = (resources.files("aegis") / "surface" / "template" / source).read_text(encoding="utf-8")
            with path.open("x", encoding="utf-8") as file:
                file.write(Template(text).substitute(words))
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror}") from None
    return tuple(paths.values())
