"""From a TOML tree to frozen classes: strict about types, exact about where a fault is.

Generic over the class; which values are allowed is the class's own affair. A validator's text begins with the name of
its field and a colon (`top: must be between 1 and 1000, not 0`), which is joined to the path of the table.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

__all__ = ["Fault", "TreeError", "structure"]

T = TypeVar("T")

_BITS = 128  # more digits than anything has that is counted here; text of longer ones would fill the screen
_SHOWN = 240  # characters of one complaint
_WORD = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


class TreeError(ValueError):
    """What is wrong with a tree: one line that names the path of every fault."""


class Fault(ValueError):
    """One key of a table is wrong; raised by a class that reads its own table (`from_table`)."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def structure(tree: dict[str, Any], kind: type[T]) -> T:
    """Fill `kind`; its attributes are texts, numbers, booleans, such classes, tuples of texts or of such classes.

    Raises:
        TreeError: something in it is wrong.
    """
    try:
        return _converter().structure(tree, kind)
    except cattrs.BaseValidationError as error:
        raise TreeError("; ".join(_lines(error, ""))) from None


def _strict(kind: type, *accept: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is kind or type(value) in accept:
            return kind(_sane(value))
        raise ValueError(f"must be {_WORD[kind]}, not {value!r}")

    return hook


def _decimal(value: Any, _: Any) -> Decimal:
    """The decimal that was written: TOML's float prints back as its shortest text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {value!r}")  # noqa: TRY004 - one kind of error for one kind of fault
    number = Decimal(str(_sane(value)))
    if not number.is_finite():
        raise ValueError(f"must be a finite number, not {value!r}")
    return number


def _sane(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise ValueError(f"is a number of more than {_BITS} bits")
    return value


def _texts(value: Any, _: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or any(type(text) is not str for text in value):
        raise ValueError(f"must be a list of texts in quotes, not {value!r}")
    return tuple(value)


@functools.cache  # it compiles a function for each class
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()

    def table(kind: type) -> Callable[[Any, Any], Any]:
        fill: Callable[..., Any] = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

        def hook(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise ValueError(f"must be a table, not {value!r}")  # noqa: TRY004 - as above
            if "from_table" in vars(kind):  # which class it is depends on what is in it
                return vars(kind)["from_table"].__get__(None, kind)(value, converter.structure)
            return fill(value, kind)

        return hook

    def tables(kind: Any) -> Callable[[Any, Any], Any]:
        (row, _) = get_args(kind)

        def hook(value: Any, _: Any) -> Any:
            if not isinstance(value, list):
                raise ValueError(f"must be a list of tables, not {value!r}")  # noqa: TRY004 - as above
            rows, faults = [], []
            for place, item in enumerate(value):
                try:
                    rows.append(converter.structure(item, row))
                except (ValueError, cattrs.BaseValidationError) as fault:
                    faults.append(_noted(fault, place))
            if faults:
                raise cattrs.IterableValidationError("rows", faults, kind)
            return tuple(rows)

        return hook

    converter.register_structure_hook_factory(attrs.has, table)
    converter.register_structure_hook_factory(_is_tables, tables)
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _texts)
    converter.register_structure_hook(bool, _strict(bool))
    converter.register_structure_hook(int, _strict(int))
    converter.register_structure_hook(float, _strict(float, int))
    converter.register_structure_hook(str, _strict(str))
    converter.register_structure_hook(Decimal, _decimal)
    return converter


def _is_tables(kind: Any) -> bool:
    """`tuple[C, ...]` of such classes."""
    return get_origin(kind) is tuple and attrs.has(get_args(kind)[0])


def _noted(fault: Exception, place: int) -> Exception:
    fault.add_note(cattrs.IterableValidationNote("row", place, None))
    return fault


def _joined(path: str, key: str) -> str:
    """A dotted path; an odd key is quoted, so that it cannot break the line."""
    shown = key if _BARE_KEY.fullmatch(key) else json.dumps(key[:60])
    return f"{path}.{shown}" if path else shown


def _lines(error: BaseException, path: str, table: type | None = None) -> list[str]:
    """Flatten cattrs' tree of errors into `path: what is wrong`; `table` is the class whose constructor raised."""
    if isinstance(error, cattrs.ClassValidationError):
        out: list[str] = []
        for sub in error.exceptions:
            note = next(
                (n for n in getattr(sub, "__notes__", ()) if isinstance(n, cattrs.AttributeValidationNote)), None
            )
            out += _lines(sub, path, error.cl) if note is None else _lines(sub, _joined(path, note.name))
        return out
    if isinstance(error, cattrs.IterableValidationError):
        places = [
            (sub, next(n.index for n in sub.__notes__ if isinstance(n, cattrs.IterableValidationNote)))
            for sub in error.exceptions
        ]
        return [line for sub, place in places for line in _lines(sub, f"{path}[{place}]")]
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        names = [field.name for field in attrs.fields(error.cl)]
        return [f"{_joined(path, key)}: unknown key{_meant(key, names)}" for key in sorted(error.extra_fields)]
    if isinstance(error, Fault):
        path = _joined(path, error.key)
    field, colon, text = str(error).partition(": ")
    first, *deeper = field.split(".")  # a table may speak of a key of a table in it
    if table is not None and colon and first in attrs.fields_dict(table):
        path = functools.reduce(_joined, (first, *deeper), path)
    else:
        text = str(error)
    return [f"{path}: {text if len(text) <= _SHOWN else text[: _SHOWN - 3] + '...'}"]


def _meant(key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key[:60], names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
