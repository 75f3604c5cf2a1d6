"""What recorded frames say as text: their fields, and the listings of symbols that nothing else is known of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

import attrs
import msgspec

from aegis.core.errors import ConfigError
from aegis.core.filters import SymbolSpec
from aegis.exchange.listing import Listing, listing_from_precision

__all__ = ["event_ms", "listing_from_frames", "listing_from_spec", "parse", "scaled", "unwrapped"]

_NS_PER_MS = 1_000_000
#: The furthest that a recorder's clock may be from the exchange's.
_FARTHEST_NS = 24 * 3_600_000_000_000
_LARGEST = 2**53


@attrs.frozen
class _Frame:
    received_ns: int
    data: dict[str, Any] | list[Any]


def parse(line: bytes) -> _Frame | None:
    """A line's receive time and payload (unwrapped); None when it is neither."""
    stamp, _, text = line.strip().partition(b" ")
    if not stamp.isdigit() or len(stamp) > 19:
        return None
    data = unwrapped(text)
    return None if data is None else _Frame(int(stamp), data)


def unwrapped(text: bytes) -> dict[str, Any] | list[Any] | None:
    """A frame's event or events, without the wrapper of combined streams; None when it is no such thing."""
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(data, dict) and "stream" in data:
        data = data.get("data")
    return data if isinstance(data, dict | list) else None


class _Sight(msgspec.Struct):
    """What of a frame shows the precision of its symbol, and ids, which must be numbers for the frame to be sound."""

    e: Any = None
    s: Any = None
    b: Any = None
    B: Any = None
    p: Any = None
    q: Any = None
    E: Any = None
    T: Any = None
    u: Any = None
    a: Any = None
    t: Any = None


class _Wrapped(_Sight):
    stream: Any = None
    data: _Sight | None = None


_sight = msgspec.json.Decoder(_Wrapped).decode


@lru_cache(maxsize=1 << 16)  # prices and sizes repeat
def scaled(value: object, decimals: int, unit: int) -> int:
    """Decimal text as a whole number of `unit * 10**-decimals`, exactly.

    Raises:
        ValueError: no plain decimal text, not on the grid, or absurdly large.
    """
    if not isinstance(value, str) or len(value) > 32:
        raise ValueError("not decimal text")
    whole, _, fraction = value.partition(".")
    digits = whole + fraction[:decimals].ljust(decimals, "0")
    if not (digits.isascii() and digits.isdecimal()) or fraction[decimals:].strip("0"):
        raise ValueError("not decimal text of this precision")
    count, rest = divmod(int(digits), unit)
    if rest or count >= _LARGEST:
        raise ValueError("not on the grid")
    return count


def event_ms(frame: _Frame) -> int | None:
    """The event time, where it can be one: a recorder's clock is wrong by seconds, not by days."""
    stamp = frame.data.get("E") if isinstance(frame.data, dict) else None
    if not isinstance(stamp, int) or abs(stamp * _NS_PER_MS - frame.received_ns) > _FARTHEST_NS:
        return None
    return stamp


# ------------------------------------------------------------------------------------------------------------ listings


def listing_from_spec(spec: SymbolSpec, index: int, start: Decimal) -> Listing:
    """The listing of a contract whose trading rules are known; `start` is a price near the recording's first."""
    plain = listing_from_precision(spec.symbol, index, spec.tick, spec.step, start, spec.onboard_ms)
    return attrs.evolve(
        plain,
        base=spec.base,
        quote=spec.quote,
        margin=spec.margin,
        min_price=spec.min_price,
        max_price=spec.max_price,
        min_qty=spec.min_qty,
        max_qty=spec.max_qty,
        market_max_qty=spec.market_max_qty,
        min_notional=spec.min_notional,
        multiplier_up=spec.multiplier_up,
        multiplier_down=spec.multiplier_down,
        trigger_protect=spec.trigger_protect,
        liquidation_fee=spec.liquidation_fee,
        status=spec.status,
        contract_type=spec.contract_type,
        underlying_type=spec.underlying_type,
        onboard_ms=spec.onboard_ms,
        delivery_ms=spec.delivery_ms,
    )


def listing_from_frames(lines: Iterable[bytes], sample: int = 20_000) -> tuple[Listing, ...]:
    """Listings of the symbols in the first `sample` lines, with the precision that their texts show.

    The tick is the last decimal place of a price that is ever not zero, the step that of a quantity; messages keep the
    number of decimals that they were recorded with. Trading rules are plausible, not the venue's.

    Raises:
        ConfigError: no quote and no trade among these lines.
    """
    prices: dict[str, list[str]] = {}
    quantities: dict[str, list[str]] = {}
    now_ms = 0
    for line in islice(lines, sample):
        stamp, _, text = line.strip().partition(b" ")
        try:
            wrapped = _sight(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        sight = wrapped.data if wrapped.stream is not None else wrapped
        if sight is None or not stamp.isdigit() or not isinstance(sight.s, str):
            continue
        if sight.e == "bookTicker":
            price, quantity = sight.b, sight.B
        elif sight.e in ("trade", "aggTrade"):
            price, quantity = sight.p, sight.q
        else:
            continue
        if _plain(price) and _plain(quantity):
            prices.setdefault(sight.s, []).append(price)
            quantities.setdefault(sight.s, []).append(quantity)
            now_ms = now_ms or event_ms(_Frame(int(stamp), {"E": sight.E})) or 0
    if not prices:
        raise ConfigError("the recording holds no bookTicker and no trade")
    listings = []
    for index, symbol in enumerate(prices):
        listing = listing_from_precision(
            symbol, index, _grid(prices[symbol]), _grid(quantities[symbol]), _usual(prices[symbol]), now_ms
        )
        price_decimals, qty_decimals = _decimals(prices[symbol]), _decimals(quantities[symbol])
        listings.append(attrs.evolve(listing, price_decimals=price_decimals, qty_decimals=qty_decimals))
    return tuple(listings)


def _plain(text: object) -> bool:
    """Positive plain decimal text of at most eight decimals."""
    return isinstance(text, str) and _positive(text)


@lru_cache(maxsize=1 << 16)
def _positive(text: str) -> bool:
    try:
        return scaled(text, 8, 1) > 0
    except ValueError:
        return False


def _usual(texts: Sequence[str]) -> Decimal:
    """The middle one of the first prices: one that is damaged must not set the limits of all orders."""
    first = sorted(Decimal(text) for text in texts[:99])
    return first[len(first) // 2]


def _decimals(texts: Sequence[str]) -> int:
    return max(len(text.partition(".")[2]) for text in set(texts))


def _grid(texts: Sequence[str]) -> Decimal:
    return Decimal(1).scaleb(-max(len(text.partition(".")[2].rstrip("0")) for text in set(texts)))
