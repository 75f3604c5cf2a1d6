"""Validators of configuration values: their text begins with the field's name, which is joined to its table's path."""

from __future__ import annotations

import re
from typing import Any

import attrs

__all__ = ["between", "matching", "one_of"]


def between(low: float, high: float) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
        if not low <= value <= high:  # also refuses NaN
            raise ValueError(f"{attribute.name}: must be between {low:g} and {high:g}, not {value!r}")

    return check


def one_of(*allowed: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
        if value not in allowed:
            raise ValueError(f"{attribute.name}: must be one of {', '.join(allowed)}, not {value!r}")

    return check


def matching(pattern: str, wanted: str, *, seen: bool = True) -> Any:
    """The text, or each of several, matches; not `seen`: it could be a secret that was put there by mistake."""

    def check(_: object, attribute: attrs.Attribute[Any], value: str | tuple[str, ...]) -> None:
        for text in (value,) if isinstance(value, str) else value:
            if re.fullmatch(pattern, text) is None:
                raise ValueError(f"{attribute.name}: must be {wanted}" + (f", not {text!r}" if seen else ""))

    return check
