"""The tape's memory: bars of one second and one minute a symbol, and the latest aggregated trades."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from aegis.core.errors import ConfigError
from aegis.exchange.listing import Listing, decimal_text
from aegis.exchange.market import Arrays
from aegis.kernels import history as kernels
from aegis.kernels.books import TRADE

__all__ = ["INTERVALS", "History", "Past", "aggregates", "bar_open"]

_NS_PER_MS = 1_000_000
_SECOND_MS = 1_000
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
#: Bars of one second that a saved state holds: 500 of five seconds and room.
_SECONDS_SAVED = 3_100

#: Length of every served interval, ms, of a month about. All are multiples of the minute and aligned to the epoch, the
#: week to Monday, the month to its first day (UTC).
INTERVALS: dict[str, int] = {
    "1s": _SECOND_MS, "1m": _MINUTE_MS, "3m": 3 * _MINUTE_MS, "5m": 5 * _MINUTE_MS, "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS, "1h": 60 * _MINUTE_MS, "2h": 120 * _MINUTE_MS, "4h": 240 * _MINUTE_MS,
    "6h": 360 * _MINUTE_MS, "8h": 480 * _MINUTE_MS, "12h": 720 * _MINUTE_MS, "1d": _DAY_MS, "3d": 3 * _DAY_MS,
    "1w": 7 * _DAY_MS, "1M": 30 * _DAY_MS,
}  # fmt: skip
_FIRST_MONDAY_MS = 4 * _DAY_MS


@attrs.frozen(kw_only=True, eq=False)
class Past:
    """What happened before the market opened, in `kernels.history.TAPE_BAR`.

    Attributes:
        start_ms: when the live market begins; no bar holds anything later.
        seconds: [symbol, second] bars that end with the last whole second before `start_ms`.
        minutes: [symbol, minute] bars that end where `seconds` begin, which is on a whole minute.
    """

    start_ms: int
    seconds: npt.NDArray[np.void]
    minutes: npt.NDArray[np.void]


def aggregates(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The aggregated trades (`kernels.history.AGGREGATE`) among published records, one per aggressive order and price.

    The venue's 100 ms window is not modelled: two orders at one price within it stay two aggregates.
    """
    out = np.zeros(len(records), kernels.AGGREGATE)
    return out[: kernels.aggregate(records, out)]


def bar_open(interval: str, ms: int) -> int:
    """When the bar that holds this moment begins."""
    if interval == "1M":
        day = datetime.fromtimestamp(ms // 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000
    shift = _FIRST_MONDAY_MS if interval == "1w" else 0
    return (ms - shift) // INTERVALS[interval] * INTERVALS[interval] + shift


def _bar_after(interval: str, opened_ms: int) -> int:
    """When the bar behind the one that begins here begins: no month has more than 31 days."""
    return bar_open(interval, opened_ms + (31 * _DAY_MS if interval == "1M" else INTERVALS[interval]))


class _Ring:
    """Bars of one length for all symbols: a ring [symbol, bar number % size]."""

    def __init__(self, listings: Sequence[Listing], bar_ms: int, size: int, start_ms: int) -> None:
        self.bar_ms = bar_ms
        self.bars = np.zeros((len(listings), size), kernels.TAPE_BAR)
        self.newest = np.full(len(listings), start_ms // bar_ms, np.int64)
        self.start = self.oldest = start_ms // bar_ms
        start = np.array([listing.start_ticks for listing in listings], np.int32)
        for name in ("open", "high", "low", "close"):
            self.bars[name][:, self.oldest % size] = start

    def prepend(self, past: npt.NDArray[np.void]) -> None:
        """Put bars before the oldest one, as many as there is room for."""
        size = self.bars.shape[1]
        count = min(past.shape[1], size - 1)
        if count > 0:
            self.oldest -= count
            place = self.oldest % size
            before_end = min(count, size - place)
            kept = past[:, -count:]
            self.bars[:, place : place + before_end] = kept[:, :before_end]
            self.bars[:, : count - before_end] = kept[:, before_end:]

    def latest(self, now_ms: int, count: int) -> tuple[int, npt.NDArray[np.void]]:
        """(number of the first, [symbol, bar]) of the newest `count` bars since the start, in progress included."""
        newest = max(now_ms // self.bar_ms, int(self.newest.max()))
        for symbol in range(len(self.bars)):
            kernels.roll(self.bars, self.newest, symbol, newest)
        size = self.bars.shape[1]
        first = max(self.start, newest - min(count, size) + 1)
        return first, self.bars[:, np.arange(first, newest + 1) % size]

    def put(self, first: int, bars: npt.NDArray[np.void]) -> None:
        """Take over what `latest` gave. Bars between the start and `first` are forgotten, and so are those before."""
        self.bars[:, np.arange(first, first + bars.shape[1]) % self.bars.shape[1]] = bars
        self.newest[:] = first + bars.shape[1] - 1
        if first > self.start:
            self.oldest = first

    def between(self, symbol: int, first: int, last: int, now_ms: int) -> tuple[int, npt.NDArray[np.void]]:
        """(number of the first bar, bars) of what is held of the bars `first` to `last`, up to the one in progress."""
        kernels.roll(self.bars, self.newest, symbol, max(now_ms // self.bar_ms, int(self.newest[symbol])))
        size = self.bars.shape[1]
        newest = int(self.newest[symbol])
        first = max(first, self.oldest, newest - size + 1)
        last = min(last, newest)
        return first, self.bars[symbol, np.arange(first, last + 1) % size]


class History:
    """Bars from the past and from the published trades, and the latest aggregated trades."""

    def __init__(
        self, listings: Sequence[Listing], past: Past | None, start_ms: int, *,
        seconds: int = 7_200, minutes: int = 3_200, trades: int = 65_536,
    ) -> None:  # fmt: skip
        """Args: past: None when there is none; seconds, minutes, trades: how many are kept (trades: of all symbols)."""
        self.listings = tuple(listings)
        self.start_ms = self.now_ms = start_ms
        self._seconds = _Ring(listings, _SECOND_MS, seconds, start_ms)
        self._minutes = _Ring(listings, _MINUTE_MS, minutes, start_ms)
        self._trades = np.zeros(trades, kernels.AGGREGATE)
        self._traded = 0
        self._prints = np.zeros(trades, kernels.AGGREGATE)
        self._printed = 0
        self._last_qty = np.zeros(len(self.listings), np.int64)
        if past is not None:
            self._seconds.prepend(past.seconds)
            self._load_minutes(past)

    def _load_minutes(self, past: Past) -> None:
        """Minutes of the detailed past are folded from its seconds; the last of them is in progress."""
        first = self._seconds.newest[0] - past.seconds.shape[1]
        folded = np.zeros((len(self.listings), past.seconds.shape[1] // 60 + 2), kernels.TAPE_BAR)
        for symbol in range(len(self.listings)):
            kernels.fold_bars(past.seconds[symbol], int(first), 60, folded[symbol])
        whole = self._minutes.oldest - int(first) // 60
        self._minutes.prepend(np.concatenate((past.minutes, folded[:, :whole]), axis=1))
        if past.seconds.shape[1] % 60:
            self._minutes.bars[:, int(self._minutes.newest[0]) % self._minutes.bars.shape[1]] = folded[:, whole]

    # -------------------------------------------------------------------------------------------------------- tape

    def apply(self, records: npt.NDArray[np.void], now_ns: int) -> None:
        """Take in what `Books.published()` returned at market time `now_ns`; the records come in time order."""
        self.now_ms = max(self.now_ms, now_ns // _NS_PER_MS)
        trades = records[records["kind"] == TRADE]
        if len(trades) == 0:
            return
        for ring in (self._seconds, self._minutes):
            kernels.fold_trades(trades, ring.bars, ring.newest, ring.bar_ms)
        self._last_qty[trades["symbol"]] = trades["qty"]
        self._traded = _keep(self._trades, self._traded, aggregates(trades))
        prints = np.zeros(len(trades), kernels.AGGREGATE)
        for name in ("symbol", "side", "time_ns", "id", "price", "qty"):
            prints[name] = trades[name]
        self._printed = _keep(self._prints, self._printed, prints)

    # ------------------------------------------------------------------------------------------------------ reading

    def klines(
        self, symbol: int, interval: str, start_ms: int | None = None, end_ms: int | None = None, limit: int = 500
    ) -> list[list[Any]]:
        """Rows as GET /fapi/v1/klines gives them; the last is the bar in progress unless `end_ms` excludes it.

        With `start_ms` the first `limit` bars from there, else the last `limit`; both bounds are on the open time and
        inclusive. A bar in which nothing traded repeats the close with volume 0.

        Raises:
            KeyError: the interval is not in `INTERVALS`.
        """
        if self.now_ms < self.listings[symbol].onboard_ms:
            return []
        if interval in ("1w", "1M"):
            return self._long_bars(symbol, interval, start_ms, end_ms)[-limit if start_ms is None else 0 :][:limit]
        length = INTERVALS[interval]
        ring = self._seconds if length < _MINUTE_MS else self._minutes
        per = length // ring.bar_ms
        listing = self.listings[symbol]
        first = listing.onboard_ms // length
        if start_ms is not None:
            first = max(first, -(-start_ms // length))
        last = self.now_ms // length if end_ms is None else min(end_ms, self.now_ms) // length
        if start_ms is None:
            first = max(first, last - limit + 1)
        else:
            last = min(last, first + limit - 1)
        born = listing.onboard_ms // ring.bar_ms  # what was before is nobody's business
        number, bars = ring.between(symbol, max(born, first * per), last * per + per - 1, self.now_ms)
        cut = 0 if number == born else -number % per
        if length < _DAY_MS and cut < len(bars):  # the oldest bar held may begin before what is remembered
            number, bars = number + cut, bars[cut:]
        if len(bars) == 0:
            return []
        out = np.zeros((number + len(bars) - 1) // per - number // per + 1, kernels.TAPE_BAR)
        kernels.fold_bars(bars, number, per, out)
        return [_row(listing, (number // per + k) * length, length, bar) for k, bar in enumerate(out.tolist())][:limit]

    def _long_bars(self, symbol: int, interval: str, start_ms: int | None, end_ms: int | None) -> list[list[Any]]:
        """Weeks and months, as far as minutes are held: the first may begin before them."""
        listing, now = self.listings[symbol], self.now_ms // _MINUTE_MS
        number, bars = self._minutes.between(symbol, listing.onboard_ms // _MINUTE_MS, now, self.now_ms)
        rows = []
        while len(bars):
            opened = bar_open(interval, number * _MINUTE_MS)
            after = _bar_after(interval, opened)
            count = after // _MINUTE_MS - number
            out = np.zeros(1, kernels.TAPE_BAR)
            kernels.fold_bars(bars[:count], 0, len(bars[:count]), out)
            if (start_ms is None or opened >= start_ms) and (end_ms is None or opened <= end_ms):
                rows.append(_row(listing, opened, after - opened, out[0].item()))
            number, bars = number + count, bars[count:]
        return rows

    def ticker_24hr(self, symbol: int, last_id: int) -> dict[str, Any]:
        """A row of GET /fapi/v1/ticker/24hr; `last_id` is the symbol's latest trade id (its ids are consecutive)."""
        now = self.now_ms // _MINUTE_MS
        born = self.listings[symbol].onboard_ms // _MINUTE_MS
        number, bars = self._minutes.between(symbol, max(born, now - 1439), now, self.now_ms)
        out = np.zeros(1, kernels.TAPE_BAR)
        kernels.fold_bars(bars, 0, len(bars), out)
        opened, high, low, close, volume, _, quote, _, trades = out[0].item()
        listing = self.listings[symbol]
        average = quote // volume if volume else close
        return {
            "symbol": listing.symbol,
            "priceChange": listing.price_text(close - opened),
            "priceChangePercent": decimal_text((close - opened) * 100_000 // opened, 3) if opened else "0.000",
            "weightedAvgPrice": listing.price_text(average),
            "lastPrice": listing.price_text(close),
            "lastQty": listing.quantity_text(int(self._last_qty[symbol])),
            "openPrice": listing.price_text(opened),
            "highPrice": listing.price_text(high),
            "lowPrice": listing.price_text(low),
            "volume": listing.quantity_text(volume),
            "quoteVolume": _quote_text(listing, quote),
            "openTime": number * _MINUTE_MS,
            "closeTime": self.now_ms,
            "firstId": last_id - trades + 1 if trades else -1,
            "lastId": last_id if trades else -1,
            "count": trades,
        }

    def agg_trades(
        self, symbol: int, *, from_id: int | None = None, start_ms: int | None = None, end_ms: int | None = None,
        limit: int = 500,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Rows as GET /fapi/v1/aggTrades gives them, oldest first, of the trades still remembered.

        With `from_id` or `start_ms` the first `limit` from there, else the last `limit`.
        """
        rows = _held(self._trades, self._traded, symbol)
        times = rows["time_ns"] // _NS_PER_MS
        keep = np.ones(len(rows), np.bool_)
        if from_id is not None:
            keep &= rows["id"] >= from_id
        if start_ms is not None:
            keep &= times >= start_ms
        if end_ms is not None:
            keep &= times <= end_ms
        rows = rows[keep]
        rows = rows[:limit] if from_id is not None or start_ms is not None else rows[max(0, len(rows) - limit) :]
        listing = self.listings[symbol]
        return [
            {"a": number, "p": listing.price_text(price), "q": listing.quantity_text(qty),
             "nq": listing.quantity_text(qty), "f": first, "l": last, "T": time_ns // _NS_PER_MS, "m": side < 0}
            for _, side, time_ns, number, price, qty, first, last in rows.tolist()
        ]  # fmt: skip

    def trades(self, symbol: int, *, from_id: int | None = None, limit: int = 500) -> list[dict[str, Any]]:
        """Rows as GET /fapi/v1/trades gives them, oldest first, of the prints since the start that are remembered."""
        rows = _held(self._prints, self._printed, symbol)
        rows = rows[max(0, len(rows) - limit) :] if from_id is None else rows[rows["id"] >= from_id][:limit]
        listing = self.listings[symbol]
        return [
            {"id": number, "price": listing.price_text(price), "qty": listing.quantity_text(qty),
             "quoteQty": _quote_text(listing, price * qty), "time": time_ns // _NS_PER_MS, "isBuyerMaker": side < 0,
             "isRPITrade": False}
            for _, side, time_ns, number, price, qty, _, _ in rows.tolist()
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------------------------- state

    def snapshot(self) -> Arrays:
        """What came after the start, as arrays for `numpy.savez`: `restore` gets the past from who made it.

        Of the bars of one second the newest `_SECONDS_SAVED` are kept, which is what a warm-up asks for.
        """
        held = np.arange(max(0, self._traded - len(self._trades)), self._traded) % len(self._trades)
        state: Arrays = {
            "history.scalars": np.array([self.start_ms, self.now_ms, self._traded], np.int64),
            "history.trades": self._trades[held],
        }
        for name, ring, count in self._rings():
            first, bars = ring.latest(self.now_ms, count)
            state[f"history.{name}.first"] = np.array([first], np.int64)
            for field in kernels.TAPE_BAR.names or ():  # columns compress better than rows
                state[f"history.{name}.{field}"] = np.ascontiguousarray(bars[field])
        return state

    def restore(self, state: Arrays) -> None:
        """Go on where `snapshot` was taken, in a history with the same past and start.

        Raises:
            ConfigError: the state was taken of other listings, another start or other sizes.
        """
        start_ms, now_ms, traded = (int(value) for value in state["history.scalars"])
        trades = state["history.trades"]
        if (
            start_ms != self.start_ms
            or len(state["history.seconds.open"]) != len(self.listings)
            or len(trades) != min(traded, len(self._trades))
        ):
            raise ConfigError("the saved exchange history was made with other symbols or sizes")
        self.now_ms, self._traded = now_ms, traded
        self._trades[np.arange(traded - len(trades), traded) % len(self._trades)] = trades
        self._last_qty[trades["symbol"]] = trades["qty"]
        for name, ring, _ in self._rings():
            bars = np.zeros(state[f"history.{name}.open"].shape, kernels.TAPE_BAR)
            for field in kernels.TAPE_BAR.names or ():
                bars[field] = state[f"history.{name}.{field}"]
            ring.put(int(state[f"history.{name}.first"][0]), bars)

    def _rings(self) -> tuple[tuple[str, _Ring, int], ...]:
        return ("seconds", self._seconds, _SECONDS_SAVED), ("minutes", self._minutes, self._minutes.bars.shape[1])


def _keep(ring: npt.NDArray[np.void], count: int, rows: npt.NDArray[np.void]) -> int:
    """Put rows into a ring that has had `count`; how many it has had then."""
    latest = rows[-len(ring) :]
    ring[(count + np.arange(len(latest))) % len(ring)] = latest
    return count + len(latest)


def _held(ring: npt.NDArray[np.void], count: int, symbol: int) -> npt.NDArray[np.void]:
    """A symbol's rows of a ring that has had `count`, oldest first."""
    rows: npt.NDArray[np.void] = ring[np.arange(max(0, count - len(ring)), count) % len(ring)]
    own: npt.NDArray[np.void] = rows[rows["symbol"] == symbol]
    return own


def _quote_text(listing: Listing, amount: int) -> str:
    """`ticks * steps` as an exact amount of the quote asset."""
    return decimal_text(amount * listing.tick_units * listing.step_units, listing.price_decimals + listing.qty_decimals)


def _row(listing: Listing, open_ms: int, length: int, bar: Any) -> list[Any]:
    opened, high, low, close, volume, taker_volume, quote, taker_quote, trades = bar
    return [
        open_ms,
        listing.price_text(opened),
        listing.price_text(high),
        listing.price_text(low),
        listing.price_text(close),
        listing.quantity_text(volume),
        open_ms + length - 1,
        _quote_text(listing, quote),
        trades,
        listing.quantity_text(taker_volume),
        _quote_text(listing, taker_quote),
        "0",
    ]
