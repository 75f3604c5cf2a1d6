"""What a strategy has said, checked before the engine acts on it; and what to write down when it failed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aegis.signals.strategy import Advice, Setup, Withdraw

__all__ = ["fault", "heard"]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_LONGEST = 200


def heard(said: Iterable[object], symbol: int) -> list[Advice]:
    """The advice, all of it about this symbol. Raises TypeError, ValueError, and whatever an iterator raises."""
    advice: list[Advice] = []
    for one in said:
        if not isinstance(one, Setup | Withdraw):
            raise TypeError(f"said {type(one).__name__}, which is neither Setup nor Withdraw")
        if one.symbol != symbol:
            raise ValueError(f"asked about symbol {symbol}, spoke of {one.symbol!r}")
        advice.append(one)
    return advice


def fault(error: Exception) -> str:
    """The error in one line that is the same in every process: for the journal, whose digest it is part of."""
    text = _ADDRESS.sub("0x...", " ".join(f"{type(error).__name__}: {error}".split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
