"""bookTicker, aggTrade and trade the way the venue writes them, read by their fixed text at a third of the usual cost.

Nothing is decided here that `kernels/payload.py` would decide otherwise: text that differs in a single byte from the
known forms (another order, white space, escapes, a name that is not ASCII, an unknown field, an odd number) is
MISSED, changes nothing, and is read there. Known forms, each wrapped or bare: of a quote, `T` and `E` behind the prices
or in front of the symbol, with and without `st` and `ps`; of an aggTrade, `s` and `a` in either order, with and without
`nq` and `st`; of a trade, that of the market.
"""

from __future__ import annotations

from typing import NamedTuple

from aegis.kernels.compile import inner
from aegis.kernels.fields import Bytes, byte_at
from aegis.kernels.known_text import expect, read_identity, read_name, read_price, read_time, text
from aegis.kernels.market import AGG_TRADE, TRADE, Table, find_hashed
from aegis.kernels.number import decimal, lots
from aegis.kernels.payload import apply_payload
from aegis.kernels.ticks import apply_quote, apply_trade

__all__ = ["MISSED", "Quote", "Trade", "apply_text", "quick_quote", "quick_trade", "read_quote", "read_trade"]

#: What is answered where the text is not of a known form; nothing was changed.
MISSED = -2

_AT, _QUOTE, _COMMA, _LETTER_E, _LETTER_N, _LETTER_S, _LETTER_TRUE = 64, 34, 44, 69, 110, 115, 116

_WRAPPER, _DATA = text('{"stream":"'), text(',"data":')
_QUOTE_STREAM, _AGG_STREAM, _TRADE_STREAM = text('@bookTicker"'), text('@aggTrade"'), text('@trade"')
_EVENT, _EARLY, _EARLY_T, _SYMBOL = text('{"e":"bookTicker","u":'), text(',"E":'), text(',"T":'), text(',"s":"')
_B, _BQ, _A, _AQ = text(',"b":"'), text(',"B":"'), text(',"a":"'), text(',"A":"')
_STATE, _PAIR_NAME, _CLOSE = text(',"st":1'), text(',"ps":"'), text("}")
_AGG_EVENT, _TRADE_EVENT = text('{"e":"aggTrade","E":'), text('{"e":"trade","E":')
_AGG_ID, _ID = text(',"a":'), text(',"t":')
_P, _Q, _NQ, _FIRST, _LAST = text(',"p":"'), text(',"q":"'), text(',"nq":"'), text(',"f":'), text(',"l":')
_MARKET, _MAKER, _TRUE, _FALSE = text(',"X":"MARKET"'), text(',"m":'), text("true"), text("false")


class Quote(NamedTuple):
    """A bookTicker. Decimals as digits and how many of them stand behind the point."""

    end: int  # position behind it, or -1: not of a known form, and nothing else here means anything
    name: int  # position of the symbol
    close: int  # position behind the symbol
    hashed: int  # of the symbol
    update_id: int
    event_ms: int
    match_ms: int
    bid: int
    bid_decimals: int
    bid_qty: int
    bid_qty_decimals: int
    ask: int
    ask_decimals: int
    ask_qty: int
    ask_qty_decimals: int


class Trade(NamedTuple):
    """An aggTrade, or a trade of the market. Decimals as in `Quote`; the price is above 0."""

    end: int  # as in `Quote`
    name: int
    close: int
    hashed: int
    source: int  # AGG_TRADE or TRADE
    trade_id: int
    event_ms: int
    trade_ms: int
    price: int
    price_decimals: int
    qty: int
    qty_decimals: int
    buyer_is_maker: bool


@inner(inline=True)
def _same(data: Bytes, first: int, second: int, length: int) -> bool:
    difference = 0
    for offset in range(length):
        difference |= byte_at(data, first + offset) ^ byte_at(data, second + offset)
    return difference == 0


@inner(inline=True)
def _tail(data: Bytes, position: int, end: int, name: int, length: int) -> int:
    """The optional `st` and `ps` behind the quote; the position of the closing brace, or -1."""
    if not 0 <= position < end or byte_at(data, position) != _COMMA:
        return position
    position = expect(data, position, end, _STATE)
    if not 0 <= position < end or byte_at(data, position) != _COMMA:
        return position
    position = expect(data, position, end, _PAIR_NAME)
    if position < 0 or end - position <= length or not _same(data, name, position, length):
        return -1
    return position + length + 1 if byte_at(data, position + length) == _QUOTE else -1


@inner(inline=True)
def _unwrap(data: Bytes, position: int, end: int, stream: Bytes) -> tuple[int, bool]:
    """(position of the event, whether a wrapper of this stream is around it); the position -1 in a strange one."""
    inner = expect(data, position, end, _WRAPPER)
    if inner < 0:
        return position, False
    return expect(data, expect(data, read_name(data, inner, end, _AT)[0], end, stream), end, _DATA), True


@inner(inline=True)
def _letter(data: Bytes, position: int, end: int) -> int:
    """Of the key that begins at the comma at `position`; 0 where there is none."""
    return int(byte_at(data, position + 2)) if 0 <= position < end - 2 else 0


@inner(inline=True)
def _close(data: Bytes, position: int, end: int, wrapped: bool) -> int:
    """The closing braces: position behind them, or -1."""
    position = expect(data, position, end, _CLOSE)
    return expect(data, position, end, _CLOSE) if wrapped else position


@inner(inline=True)
def read_quote(data: Bytes, position: int, end: int) -> Quote:
    """`data[position:end]` as a bookTicker that begins there."""
    position, wrapped = _unwrap(data, position, end, _QUOTE_STREAM)
    position, update_id = read_identity(data, expect(data, position, end, _EVENT), end)
    if position < 0:
        return Quote(-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    event_ms, match_ms = 0, 0
    early = _letter(data, position, end) == _LETTER_E
    if early:
        position, event_ms = read_time(data, expect(data, position, end, _EARLY), end)
        position, match_ms = read_time(data, expect(data, position, end, _EARLY_T), end)
    name = expect(data, position, end, _SYMBOL)
    close, hashed = read_name(data, name, end, _QUOTE)
    position = close + 1 if close >= 0 else -1
    position, bid, bid_decimals = read_price(data, expect(data, position, end, _B), end)
    position, bid_qty, bid_qty_decimals = read_price(data, expect(data, position, end, _BQ), end)
    position, ask, ask_decimals = read_price(data, expect(data, position, end, _A), end)
    position, ask_qty, ask_qty_decimals = read_price(data, expect(data, position, end, _AQ), end)
    if not early:
        position, match_ms = read_time(data, expect(data, position, end, _EARLY_T), end)
        position, event_ms = read_time(data, expect(data, position, end, _EARLY), end)
    position = _close(data, _tail(data, position, end, name, close - name), end, wrapped)
    return Quote(
        position, name, close, hashed, update_id, event_ms, match_ms, bid, bid_decimals, bid_qty, bid_qty_decimals, ask,
        ask_decimals, ask_qty, ask_qty_decimals,
    )  # fmt: skip


@inner(inline=True)
def _flag(data: Bytes, position: int, end: int) -> tuple[int, bool]:
    """`m` and its value: (position behind it or -1, value)."""
    position = expect(data, position, end, _MAKER)
    if not 0 <= position < end:
        return -1, False
    if byte_at(data, position) == _LETTER_TRUE:
        return expect(data, position, end, _TRUE), True
    return expect(data, position, end, _FALSE), False


@inner()
def read_trade(data: Bytes, position: int, end: int) -> Trade:
    """`data[position:end]` as an aggTrade or a trade that begins there."""
    start = position
    position, wrapped = _unwrap(data, start, end, _AGG_STREAM)
    inner = expect(data, position, end, _AGG_EVENT)
    source = AGG_TRADE if inner >= 0 else TRADE
    if source == TRADE:
        position, wrapped = _unwrap(data, start, end, _TRADE_STREAM)
        inner = expect(data, position, end, _TRADE_EVENT)
    position, event_ms = read_time(data, inner, end)
    trade_ms, trade_id = 0, 0
    if source == TRADE:
        position, trade_ms = read_time(data, expect(data, position, end, _EARLY_T), end)
    named = _letter(data, position, end) == _LETTER_S
    if not named:
        position, trade_id = read_identity(data, expect(data, position, end, _AGG_ID), end)
    name = expect(data, position, end, _SYMBOL)
    close, hashed = read_name(data, name, end, _QUOTE)
    position = close + 1 if close >= 0 else -1
    if named:
        key = _AGG_ID if source == AGG_TRADE else _ID
        position, trade_id = read_identity(data, expect(data, position, end, key), end)
    elif source == TRADE:
        position = -1
    position, price, price_decimals = read_price(data, expect(data, position, end, _P), end)
    position, qty, qty_decimals = read_price(data, expect(data, position, end, _Q), end)
    if source == AGG_TRADE:
        if _letter(data, position, end) == _LETTER_N:
            position, _, _ = read_price(data, expect(data, position, end, _NQ), end)
        position, _ = read_identity(data, expect(data, position, end, _FIRST), end)
        position, _ = read_identity(data, expect(data, position, end, _LAST), end)
        position, trade_ms = read_time(data, expect(data, position, end, _EARLY_T), end)
    else:
        position = expect(data, position, end, _MARKET)
    position, maker = _flag(data, position, end)
    if _letter(data, position, end) == _LETTER_S:
        position = expect(data, position, end, _STATE)
    position = _close(data, position, end, wrapped)
    return Trade(
        position if price > 0 else -1, name, close, hashed, source, trade_id, event_ms, trade_ms, price, price_decimals,
        qty, qty_decimals, maker,
    )  # fmt: skip


@inner(inline=True)
def quick_quote(table: Table, data: Bytes, position: int, end: int, recv_ns: int) -> int:
    """Read `data[position:end]` as a bookTicker of a known form and apply it; MISSED where it is none."""
    quote = read_quote(data, position, end)
    if quote.end != end:
        return MISSED
    symbol = find_hashed(table, quote.hashed, data, quote.name, quote.close)
    if symbol < 0:
        return MISSED
    return apply_quote(
        table, symbol, quote.update_id, quote.event_ms, quote.match_ms, decimal(quote.bid, quote.bid_decimals),
        decimal(quote.bid_qty, quote.bid_qty_decimals), decimal(quote.ask, quote.ask_decimals),
        decimal(quote.ask_qty, quote.ask_qty_decimals), recv_ns,
    )  # fmt: skip


@inner()
def quick_trade(table: Table, data: Bytes, position: int, end: int, recv_ns: int) -> int:
    """Read `data[position:end]` as an aggTrade or trade of a known form and apply it; MISSED where it is none."""
    trade = read_trade(data, position, end)
    if trade.end != end:
        return MISSED
    symbol = find_hashed(table, trade.hashed, data, trade.name, trade.close)
    if symbol < 0:
        return MISSED
    qty = lots(trade.qty, trade.qty_decimals, int(table.symbols[symbol]["qty_decimals"]))
    if qty < 0:
        return MISSED
    return apply_trade(
        table, symbol, trade.source, trade.trade_id, trade.event_ms, trade.trade_ms,
        decimal(trade.price, trade.price_decimals), qty, trade.buyer_is_maker, True, recv_ns,
    )  # fmt: skip


@inner()
def apply_text(table: Table, data: Bytes, start: int, end: int, recv_ns: int) -> int:
    """`payload.apply_payload`, with a short way for what comes most.

    Recordings are read so; the scan of a socket has the short way of quotes alone, for the sake of its compile time.
    """
    answer = quick_quote(table, data, start, end, recv_ns)
    if answer == MISSED:
        answer = quick_trade(table, data, start, end, recv_ns)
    if answer == MISSED:
        answer = apply_payload(table, data, start, end, recv_ns)
    return answer
