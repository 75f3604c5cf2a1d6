"""Recorded Binance frames as the simulated exchange's prices: lines of `<receive time, ns> <json>`.

The market's time is the frame's receive time moved by one constant onto the venue's clock, so that the order of the
recording stays and a recorder's wrong clock does not matter. A symbol whose recording holds no mark price gets one:
index = mark = its mid, smoothed over ten seconds, once a second.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import attrs
import msgspec
import numpy as np

from aegis.core.errors import ConfigError
from aegis.core.filters import SymbolSpec
from aegis.exchange.listing import Listing, listing_from_precision
from aegis.exchange.market import Arrays, EventArray
from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE

__all__ = ["RecordedSource", "listing_from_frames", "listing_from_spec"]

_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000
#: How many frames are looked at to find the recorder's clock offset and the kind of trades.
_SAMPLE = 2_000
_SMOOTHING = 10
#: A silence longer than this brings no marks of its own.
_LONGEST_SILENCE_S = 60
#: The furthest that a recorder's clock may be from the exchange's.
_FARTHEST_NS = 24 * 3_600_000_000_000
_LARGEST = 2**53
_LARGEST_TICKS = 2**31


@attrs.frozen
class _Frame:
    received_ns: int
    data: dict[str, Any] | list[Any]


def _parse(line: bytes) -> _Frame | None:
    """A line's receive time and payload (unwrapped); None when it is neither."""
    stamp, _, text = line.strip().partition(b" ")
    if not stamp.isdigit() or len(stamp) > 19:
        return None
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(data, dict) and "stream" in data:
        data = data.get("data")
    return _Frame(int(stamp), data) if isinstance(data, dict | list) else None


@lru_cache(maxsize=1 << 16)  # prices and sizes repeat
def _scaled(value: object, decimals: int, unit: int) -> int:
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


def _event_ms(frame: _Frame) -> int | None:
    """The event time, where it can be one: a recorder's clock is wrong by seconds, not by days."""
    stamp = frame.data.get("E") if isinstance(frame.data, dict) else None
    if not isinstance(stamp, int) or abs(stamp * _NS_PER_MS - frame.received_ns) > _FARTHEST_NS:
        return None
    return stamp


class RecordedSource:
    """A `MarketSource` that reads lines as they are needed.

    Attributes:
        start_ns: venue time of the first frame.
        offset_ns: what is added to receive times: the largest (event time - receive time) of the first frames, so that
            the quickest of them took no time.
        counts: lines by what became of them: the event type for those used, and "ignored", "malformed", "unlisted",
            "old" (a quote older than one before it), "other" (a trade that is no market trade, or of the other kind).
    """

    def __init__(self, lines: Iterable[bytes], listings: Sequence[Listing], *, trades: str | None = None) -> None:
        """Args: trades: "trade" or "aggTrade", the one source of prints; None takes "trade" where there is any.

        Raises:
            ConfigError: among the first lines there is no frame with an event time.
        """
        rest = iter(lines)
        head = list(islice(rest, _SAMPLE))
        self._lines = chain(head, rest)
        frames = [frame for frame in map(_parse, head) if frame is not None]
        stamps = [(stamp, frame.received_ns) for frame in frames if (stamp := _event_ms(frame)) is not None]
        if not stamps:
            raise ConfigError("the recording holds no frame with an event time")
        self.offset_ns = max(stamp * _NS_PER_MS - received for stamp, received in stamps)
        self.start_ns = frames[0].received_ns + self.offset_ns
        kinds = {frame.data.get("e") for frame in frames if isinstance(frame.data, dict)}
        self._trades = trades or ("trade" if "trade" in kinds else "aggTrade")
        self.listings = tuple(listings)
        self.counts: Counter[str] = Counter()
        self._index = {listing.symbol: k for k, listing in enumerate(listings)}
        self._pending: deque[tuple[int, ...]] = deque()
        self._consumed = 0
        self._exhausted = False
        self._now_ns = self.start_ns
        n = len(self.listings)
        self._update = [0] * n
        self._order = [(0, 0, False)] * n  # (id, trade ms, buyer is maker) of the order that printed last
        self._smoothed = [0] * n  # e8; 0: no quote yet
        self._mid_e8 = [0] * n
        self._marked = [False] * n
        self._next_mark_ns = (self.start_ns // _NS_PER_SECOND + 1) * _NS_PER_SECOND

    @property
    def exhausted(self) -> bool:
        """Whether every line was read and every event returned."""
        return self._exhausted and not self._pending

    # --------------------------------------------------------------------------------------------------- MarketSource

    def events(self, until_ns: int) -> EventArray:
        """All events up to `until_ns` that were not returned before, in time order."""
        while not self._exhausted and self._now_ns <= until_ns:
            line = next(self._lines, None)
            if line is None:
                self._exhausted = True
            else:
                self._consumed += 1
                self._read(line)
        due = []
        while self._pending and self._pending[0][0] <= until_ns:
            due.append(self._pending.popleft())
        return np.array(due, EVENT)

    def snapshot(self) -> Arrays:
        """How far the lines were read and returned."""
        return {"scalars": np.array([self._consumed, len(self._pending)], np.int64)}

    def restore(self, state: Arrays) -> None:
        """Read a fresh source of the same lines up to where `snapshot` was taken.

        Raises:
            ConfigError: the recording is shorter than the one that the state was made of.
        """
        consumed, pending = (int(value) for value in state["scalars"])
        while self._consumed < consumed:
            line = next(self._lines, None)
            if line is None:
                raise ConfigError("the recording is shorter than the saved state")
            self._consumed += 1
            self._read(line)
        while len(self._pending) > pending:
            self._pending.popleft()

    # --------------------------------------------------------------------------------------------------------- frames

    def _read(self, line: bytes) -> None:
        """Turn one line into events; what cannot be used is counted."""
        frame = _parse(line)
        if frame is None:
            self.counts["malformed"] += 1
            return
        self._now_ns = max(self._now_ns, frame.received_ns + self.offset_ns)
        self._put_smoothed_marks()
        for data in frame.data if isinstance(frame.data, list) else (frame.data,):
            try:
                self.counts[self._use(data)] += 1
            except (KeyError, ValueError, TypeError):
                self.counts["malformed"] += 1

    def _use(self, data: Any) -> str:
        """Events of one payload; returns under which name to count it."""
        kind = data.get("e") if isinstance(data, dict) else None
        if kind not in ("bookTicker", "trade", "aggTrade", "markPriceUpdate"):
            return "ignored"
        symbol = self._index.get(data["s"])
        if symbol is None:
            return "unlisted"
        if kind == "bookTicker":
            return self._use_quote(symbol, data)
        if kind == "markPriceUpdate":
            mark, index = _scaled(data["p"], 8, 1), _scaled(data["i"], 8, 1)
            if mark <= 0 or index <= 0:
                raise ValueError("a mark price that is not positive")
            self._marked[symbol] = True
            self._put(symbol, MARK, mark_e8=mark, index_e8=index)
            return str(kind)
        if kind != self._trades or data.get("X", "MARKET") != "MARKET":
            return "other"
        return self._use_trade(symbol, data)

    def _price(self, symbol: int, text: object) -> int:
        listing = self.listings[symbol]
        ticks = _scaled(text, listing.price_decimals, listing.tick_units)
        if not 0 < ticks < _LARGEST_TICKS:
            raise ValueError("a price that cannot be")
        return ticks

    def _quantity(self, symbol: int, text: object) -> int:
        listing = self.listings[symbol]
        return _scaled(text, listing.qty_decimals, listing.step_units)

    def _use_quote(self, symbol: int, data: dict[str, Any]) -> str:
        update = int(data["u"])
        bid, ask = self._price(symbol, data["b"]), self._price(symbol, data["a"])
        bid_qty, ask_qty = self._quantity(symbol, data["B"]), self._quantity(symbol, data["A"])
        if bid >= ask or bid_qty <= 0 or ask_qty <= 0:
            raise ValueError("a quote that cannot be")
        if update <= self._update[symbol]:
            return "old"
        self._update[symbol] = update
        self._put(symbol, QUOTE, bid=bid, ask=ask, bid_qty=bid_qty, ask_qty=ask_qty)
        self._mid_e8[symbol] = (bid + ask) * self.listings[symbol].tick_e8 // 2
        if self._smoothed[symbol] == 0:
            self._smoothed[symbol] = self._mid_e8[symbol]
            if not self._marked[symbol]:
                self._put(symbol, MARK, mark_e8=self._mid_e8[symbol], index_e8=self._mid_e8[symbol])
        return "bookTicker"

    def _use_trade(self, symbol: int, data: dict[str, Any]) -> str:
        price, qty = self._price(symbol, data["p"]), self._quantity(symbol, data["q"])
        maker, stamp = data["m"], data["T"]
        if qty <= 0 or not isinstance(maker, bool) or not isinstance(stamp, int):
            raise ValueError("a trade that cannot be")
        number, last_stamp, last_maker = self._order[symbol]
        if (stamp, maker) != (last_stamp, last_maker):  # prints of one millisecond and side are taken as one order's
            number += 1
            self._order[symbol] = (number, stamp, maker)
        self._put(symbol, TRADE, side=-1 if maker else 1, price=price, qty=qty, order=number)
        return self._trades

    def _put_smoothed_marks(self) -> None:
        """Marks of whole seconds that have passed, for symbols without any of their own."""
        if self._next_mark_ns > self._now_ns:
            return
        last = self._now_ns // _NS_PER_SECOND * _NS_PER_SECOND
        time_ns = max(self._next_mark_ns, last - _LONGEST_SILENCE_S * _NS_PER_SECOND)
        while time_ns <= last:
            for symbol, smoothed in enumerate(self._smoothed):
                if smoothed > 0 and not self._marked[symbol]:
                    smoothed += (self._mid_e8[symbol] - smoothed) // _SMOOTHING
                    self._smoothed[symbol] = smoothed
                    self._put(symbol, MARK, time_ns=time_ns, mark_e8=smoothed, index_e8=smoothed)
            time_ns += _NS_PER_SECOND
        self._next_mark_ns = last + _NS_PER_SECOND

    def _put(
        self, symbol: int, kind: int, *, time_ns: int | None = None, side: int = 0, bid: int = 0, ask: int = 0,
        bid_qty: int = 0, ask_qty: int = 0, price: int = 0, qty: int = 0, order: int = 0, mark_e8: int = 0,
        index_e8: int = 0,
    ) -> None:  # fmt: skip
        when = self._now_ns if time_ns is None else time_ns
        self._pending.append(
            (when, symbol, kind, side, bid, ask, bid_qty, ask_qty, price, qty, order, mark_e8, index_e8)
        )


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
        frame = _parse(line)
        if frame is None or not isinstance(frame.data, dict):
            continue
        keys = {"bookTicker": ("b", "B"), "trade": ("p", "q"), "aggTrade": ("p", "q")}.get(str(frame.data.get("e")))
        symbol = frame.data.get("s")
        if keys is None or not isinstance(symbol, str):
            continue
        price, quantity = frame.data.get(keys[0]), frame.data.get(keys[1])
        if _plain(price) and _plain(quantity):
            prices.setdefault(symbol, []).append(str(price))
            quantities.setdefault(symbol, []).append(str(quantity))
            now_ms = now_ms or _event_ms(frame) or 0
    if not prices:
        raise ConfigError("the recording holds no bookTicker and no trade")
    listings = []
    for index, symbol in enumerate(prices):
        listing = listing_from_precision(
            symbol, index, _grid(prices[symbol]), _grid(quantities[symbol]), _usual(prices[symbol]), now_ms
        )
        listings.append(
            attrs.evolve(
                listing,
                price_decimals=max(len(text.partition(".")[2]) for text in prices[symbol]),
                qty_decimals=max(len(text.partition(".")[2]) for text in quantities[symbol]),
            )
        )
    return tuple(listings)


def _plain(text: object) -> bool:
    """Positive plain decimal text of at most eight decimals."""
    try:
        return isinstance(text, str) and _scaled(text, 8, 1) > 0
    except ValueError:
        return False


def _usual(texts: Sequence[str]) -> Decimal:
    """The middle one of the first prices: one that is damaged must not set the limits of all orders."""
    first = sorted(Decimal(text) for text in texts[:99])
    return first[len(first) // 2]


def _grid(texts: Sequence[str]) -> Decimal:
    return Decimal(1).scaleb(-max(len(text.partition(".")[2].rstrip("0")) for text in texts))
