"""Runs a user's strategy file and finds his class in it, with one line for whatever may be wrong."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any, Final

import attrs

__all__ = ["Found", "OwnFileError", "load_class"]

#: What the engine calls; a class that says it is a `Strategy` has all but the first two from there.
_NEEDED: Final = ("Params", "on_events", "name", "every_bar", "hears", "analysis", "forget")
_LONGEST: Final = 2_000_000


class OwnFileError(ValueError):
    """What is wrong with a strategy's file or class, in one line; `key` is the key of the config that names it."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(" ".join(reason.split()))
        self.key = key


@attrs.frozen(kw_only=True)
class Found:
    """A strategy's class, the class of its parameters, and the SHA-256 of its file's text."""

    kind: type[Any]
    params: type[Any]
    sha256: str


class _Source:
    """Loads one text as a module. The machinery's own loader would write compiled code beside the user's file."""

    def __init__(self, path: str, text: bytes) -> None:
        self._path, self._text = path, text

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._text, self._path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - that is asked


def load_class(path: str, name: str) -> Found:
    """The class `name` of a Python file. The same text is run once. Raises OwnFileError."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise OwnFileError("file", f"{path!r}: {getattr(error, 'strerror', None) or error}") from None
    sha256 = hashlib.sha256(text).hexdigest()
    module = _module(path, text, sha256)
    kinds = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    own = [key for key, kind in kinds.items() if kind.__module__ == module.__name__ and hasattr(kind, "on_events")]
    if name not in kinds:
        offered = f"it has {', '.join(own)}" if own else "it has no class with on_events"
        raise OwnFileError("name", f"must name a class of {path}, not {name!r}: {offered}")
    kind: Any = kinds[name]
    missing = [wanted for wanted in _NEEDED if not hasattr(kind, wanted)]
    if missing:
        raise OwnFileError("name", f"class {name} of {path} has no {', '.join(missing)}")
    if not (isinstance(kind.Params, type) and attrs.has(kind.Params)):
        raise OwnFileError("name", f"{name}.Params of {path} is no attrs class")
    return Found(kind=kind, params=kind.Params, sha256=sha256)


def _module(path: str, text: bytes, sha256: str) -> types.ModuleType:
    key = f"aegis_strategy_{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()[:16]}_{sha256[:16]}"
    if key in sys.modules:
        return sys.modules[key]
    module = importlib.util.module_from_spec(ModuleSpec(key, _Source(path, text), origin=path))  # type: ignore[arg-type]
    module.__file__ = path
    sys.modules[key] = module  # attrs looks there for what a written type means
    try:
        module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code may do
        del sys.modules[key]
        raise OwnFileError("file", f"{path}{_line(error, path)}: {type(error).__name__}: {error}") from None
    return module


def _line(error: BaseException, path: str) -> str:
    """Where in the file it happened, where that is known."""
    number = error.lineno if isinstance(error, SyntaxError) and error.filename == path else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f": line {number}" if number else ""
