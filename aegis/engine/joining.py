"""A symbol's terms, learnt while the engine runs: the symbol joins, or its rules have changed."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from aegis.core.brackets import LeverageBrackets
from aegis.core.errors import InvariantBroken
from aegis.core.filters import SymbolSpec
from aegis.core.risk import Fees
from aegis.engine.channel import Channel
from aegis.engine.decision import Decision
from aegis.kernels.joining import add_symbol
from aegis.kernels.market import Table

__all__ = ["Terms", "decode_terms", "encode_terms", "take_terms"]


@attrs.frozen(kw_only=True)
class Terms:
    """What the venue says of one symbol. `quotes` and `trades` are the channels that carry it, if it joins."""

    spec: SymbolSpec
    brackets: LeverageBrackets
    fees: Fees
    quotes: int
    trades: int


def encode_terms(terms: Terms) -> bytes:
    return msgspec.json.encode(terms)


def decode_terms(payload: bytes) -> Terms:
    """The inverse. Raises msgspec.DecodeError."""
    return msgspec.json.decode(payload, type=Terms)


def take_terms(
    terms: Terms, table: Table, decision: Decision, channels: Sequence[Channel], carriers: list[int], now_ns: int
) -> int | None:
    """Put a symbol's terms into effect. Returns its index where it is new.

    A new one takes a spare row of the table (and of everything that has a row a symbol), and its channels carry it;
    `carriers` gets its channel of quotes.

    Raises InvariantBroken where there is no spare row, no such channel, or where the lots of a known symbol would
    change under its bars: nothing is changed.
    """
    spec, contexts = terms.spec, decision.contexts
    index = contexts.index(spec.symbol)
    if index is None:
        if not (terms.quotes in range(len(channels)) and terms.trades in range(len(channels))):
            raise InvariantBroken(f"{spec.symbol}: it cannot join on channels {terms.quotes} and {terms.trades}")
        try:
            added = add_symbol(table, spec.symbol, spec.qty_decimals)
        except ValueError as error:
            raise InvariantBroken(f"it cannot join: {error}") from None
        for number in {terms.quotes, terms.trades}:
            channels[number].symbols += (added,)
        carriers.append(terms.quotes)
        contexts.add(terms.spec)
    elif spec.qty_decimals != decision.specs[index].qty_decimals:
        raise InvariantBroken(f"{spec.symbol}: the step of its quantities has changed to {spec.step}")
    else:
        decision.on_cold([index])  # what is armed lies on the old price grid; the next result makes it warm again
    contexts.know(terms.spec, terms.brackets, terms.fees)
    decision.scribe.append("state", {"symbol": spec.symbol, "terms": "joined" if index is None else "changed"}, now_ns)
    return added if index is None else None
