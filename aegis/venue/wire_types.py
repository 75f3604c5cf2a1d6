"""Constrained JSON types that every strict decoder of the venue shares, and what a bad payload becomes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeVar

import attrs
import msgspec

from aegis.core.errors import AegisError

__all__ = [
    "DecodeError",
    "Flag",
    "Id",
    "Malformed",
    "Ms",
    "Name",
    "Number",
    "OptionalNumber",
    "Text",
    "number",
    "parse",
]

#: A decimal as the venue writes it: no exponent, no NaN, bounded digits. Kept as text until it becomes a Decimal.
Number = Annotated[str, msgspec.Meta(pattern=r"\A-?[0-9]{1,20}(?:\.[0-9]{1,20})?\Z")]
#: The same, where the venue also writes an empty text for "none".
OptionalNumber = Annotated[str, msgspec.Meta(pattern=r"\A(?:-?[0-9]{1,20}(?:\.[0-9]{1,20})?)?\Z")]
#: Order, trade and algo ids exceed 2^53.
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Ms = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Flag = bool

S = TypeVar("S")


class DecodeError(AegisError):
    """A payload is not what the protocol says; the text names the field, never the payload."""


@attrs.frozen(kw_only=True)
class Malformed:
    """A payload that was dropped: counted, never half used."""

    reason: str
    size: int


def parse(decoder: msgspec.json.Decoder[S], payload: bytes | msgspec.Raw) -> S:
    """Decode or raise `DecodeError`; nothing else escapes, whatever the bytes are."""
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: bad UTF-8
        reason = str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__
    raise DecodeError(reason[:200])


def number(text: str) -> Decimal:
    """Exact value of a `Number` or `OptionalNumber`; empty is 0."""
    return Decimal(text) if text else Decimal(0)
