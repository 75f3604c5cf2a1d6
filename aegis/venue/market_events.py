"""What the strict decoder makes of one market payload: typed outcomes, no half-parsed dict travels further."""

from __future__ import annotations

from decimal import Decimal

import attrs

__all__ = [
    "Applied", "ContractInfo", "Control", "Depth", "ForceOrder", "Full", "Ignored", "Malformed", "Outcome", "Snapshot",
]  # fmt: skip


@attrs.frozen(kw_only=True)
class Applied:
    """A tick went into the table, or was counted and `dropped` there. `fired`: read the hits."""

    kind: str
    fired: bool = False
    dropped: bool = False


@attrs.frozen(kw_only=True)
class Full:
    """No room: take the batch (`rows`) or the hits, then decode the payload again; nothing of it acts twice."""

    rows: bool


@attrs.frozen(kw_only=True)
class Control:
    """A reply to a SUBSCRIBE or another control message; `code` is None where it succeeded."""

    id: int | None
    code: int | None
    message: str


@attrs.frozen(kw_only=True)
class ContractInfo:
    """The venue changed a contract; `brackets` says that leverage brackets changed with it."""

    event_ms: int
    symbol: str
    pair: str
    contract_type: str
    status: str
    onboard_ms: int
    delivery_ms: int
    brackets: bool


@attrs.frozen(kw_only=True)
class ForceOrder:
    """The largest liquidation of a symbol in a second; `side` is BUY or SELL."""

    event_ms: int
    trade_ms: int
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    average_price: Decimal


@attrs.frozen(kw_only=True)
class Depth:
    """A depth update, levels as decimal strings (price, quantity). It chains by `previous_id`, not by `first_id`.

    `partial`: these levels are all there is, best first; only the name of its stream tells it from a difference.
    """

    event_ms: int
    match_ms: int
    symbol: str
    first_id: int
    final_id: int
    previous_id: int
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    partial: bool = False


@attrs.frozen(kw_only=True)
class Snapshot:
    """A REST depth snapshot, as recordings hold them between frames; it names no symbol."""

    last_id: int
    event_ms: int
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class Ignored:
    """Well-formed and not for us: another kind of event, another symbol, a coin-margined contract."""

    kind: str


@attrs.frozen(kw_only=True)
class Malformed:
    """Not what the venue promises; `reason` names the field, `size` is that of the payload in bytes."""

    reason: str
    size: int


Outcome = Applied | Full | Control | ContractInfo | ForceOrder | Depth | Snapshot | Ignored | Malformed
