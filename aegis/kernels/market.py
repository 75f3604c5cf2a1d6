"""The table of the market: what every symbol last said, the conflated rows of the open batch, armed levels, counters.

One `Table` belongs to one engine and is written on the loop thread only. It is a named tuple of arrays so that compiled
code takes it whole; everything in it is preallocated and nothing grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.fields import byte_at
from aegis.kernels.layout import HIT, LEVELS_PER_SYMBOL, ROW

__all__ = [
    "AGG_TRADE", "APPLIED", "CLOCK_MARKET", "CLOCK_PUBLIC", "COUNTERS", "COUNTER_NAMES", "DROPPED", "FIRED", "GAP_ALL",
    "GAP_LAST", "GAP_MARK", "GAP_QUOTE", "HITS_FULL", "LEVEL", "ROWS_FULL", "SYMBOL", "TRADE", "Table", "batch_buffer",
    "clear_hole", "close_before", "counts", "example_table", "find_symbol", "mark_gap", "new_table", "resume",
    "suspend", "symbol_index", "take_batch", "trade_clock_ms",
]  # fmt: skip

# Trade sources: exactly one of them feeds bars.
AGG_TRADE = 0
TRADE = 1

# What an apply kernel answers. On ROWS_FULL and HITS_FULL nothing was changed: make room, then apply again.
APPLIED = 0
FIRED = 1  # applied, and levels fired
ROWS_FULL = 2
HITS_FULL = 3
DROPPED = 4  # counted, and changed nothing that anybody trades on (stale, duplicate, late, other trade source)

# A source whose next tick is the first one after a gap.
GAP_QUOTE = 1
GAP_LAST = 2
GAP_MARK = 4
GAP_ALL = 7

COUNTER_NAMES = (
    "frames",  # complete WebSocket frames consumed
    "quotes", "agg_trades", "trades", "marks",  # ticks of our symbols by kind, whatever became of them
    "stale_quotes", "stale_marks",  # an older or equal update id, or event time
    "duplicate_trades",  # an id that is not above the last one: repeated or out of order
    "late_trades",  # of a bar that is already closed
    "other_source_trades",  # of the trade source that feeds no bars
    "not_market_trades",  # `X` is not MARKET
    "holes",  # times that trade ids were not contiguous
    "missed_ids",  # how many ids are missing in those holes
    "unknown_symbol",
    "coin_margined",  # st == 2
    "control_frames",  # control frames and fragments, handed back
    "slow_frames",  # text frames handed to the strict decoder
    "malformed",  # payloads that the strict decoder refused
    "ignored",  # well-formed payloads of kinds that nobody asked for
    "levels_fired", "levels_expired", "stale_hits",
)  # fmt: skip
COUNTERS = {name: index for index, name in enumerate(COUNTER_NAMES)}

FRAMES = COUNTERS["frames"]
QUOTES = COUNTERS["quotes"]
AGG_TRADES = COUNTERS["agg_trades"]
TRADES = COUNTERS["trades"]
MARKS = COUNTERS["marks"]
STALE_QUOTES = COUNTERS["stale_quotes"]
STALE_MARKS = COUNTERS["stale_marks"]
DUPLICATE_TRADES = COUNTERS["duplicate_trades"]
LATE_TRADES = COUNTERS["late_trades"]
OTHER_SOURCE_TRADES = COUNTERS["other_source_trades"]
NOT_MARKET_TRADES = COUNTERS["not_market_trades"]
HOLES = COUNTERS["holes"]
MISSED_IDS = COUNTERS["missed_ids"]
UNKNOWN_SYMBOL = COUNTERS["unknown_symbol"]
COIN_MARGINED = COUNTERS["coin_margined"]
CONTROL_FRAMES = COUNTERS["control_frames"]
SLOW_FRAMES = COUNTERS["slow_frames"]
MALFORMED = COUNTERS["malformed"]
IGNORED = COUNTERS["ignored"]
LEVELS_FIRED = COUNTERS["levels_fired"]
LEVELS_EXPIRED = COUNTERS["levels_expired"]
STALE_HITS = COUNTERS["stale_hits"]

# Indexes of `Table.scalars`.
BASE_MS = 0
TRADE_SOURCE = 1
ROWS_USED = 2
DIRTY_COUNT = 3
HIT_HEAD = 4  # hits ever taken
HIT_TAIL = 5  # hits ever pushed
GENERATION = 6  # of the newest armed level
CLOSED_BEFORE = 7  # ms: bars that open earlier are closed for every symbol
CLOCK_PUBLIC = 8  # ms: highest event time of bookTicker and trade
CLOCK_MARKET = 9  # ms: highest event time of aggTrade and markPrice
_SCALARS = 10

#: Everything about one symbol, side by side in memory. Prices are NaN until the venue has said one.
SYMBOL = np.dtype(
    [
        ("bid", np.float64),
        ("bid_qty", np.float64),
        ("ask", np.float64),
        ("ask_qty", np.float64),
        ("update_id", np.int64),  # `u` of the quote, -1 before the first
        ("quote_ms", np.int64),  # E of the quote
        ("match_ms", np.int64),  # T of the quote
        ("mark", np.float64),
        ("index", np.float64),
        ("funding", np.float64),  # NaN where the venue sends none
        ("next_funding_ms", np.int64),
        ("mark_ms", np.int64),  # E of the mark, -1 before the first
        ("last", np.float64),
        ("last_id", np.int64),  # highest trade id of the selected source, -1 before the first
        ("last_ms", np.int64),  # T of that trade
        ("recv_ns", np.int64),  # of the newest frame of any kind
        ("quote_recv_ns", np.int64),
        ("mark_recv_ns", np.int64),
        ("closed_before", np.int64),  # ms: this symbol's bars that open earlier are closed
        ("hole_from", np.int64),  # first missing trade id, -1 where nothing is missing
        ("hole_to", np.int64),  # last missing trade id
        ("hole_ms", np.int64),  # T of the last trade before the hole
        ("key_start", np.int32),
        ("key_end", np.int32),
        ("qty_decimals", np.int32),
        ("dirty", np.int32),
        ("head", np.int32),  # first row of this batch, oldest bar first; -1: none
        ("gap", np.int32),  # GAP_* bits
        ("suspended", np.int32),
        ("armed_quote", np.int32),
        ("armed_last", np.int32),
        ("armed_mark", np.int32),
    ],
    align=True,
)

#: One armed level. A FIRED slot stays taken until its hit is read, so a pending hit cannot be mistaken for another's.
LEVEL = np.dtype(
    [
        ("price", np.float64),
        ("id", np.int64),
        ("generation", np.int64),
        ("expires_ns", np.int64),
        ("side", np.int32),
        ("source", np.int32),
        ("state", np.int32),
    ],
    align=True,
)


class Table(NamedTuple):
    """Arrays of one engine's market; see `SYMBOL`, `ROW`, `LEVEL`, `HIT` for the columns."""

    symbols: npt.NDArray[np.void]  # SYMBOL [n]
    keys: npt.NDArray[np.uint8]  # the symbols' UTF-8 bytes, one after another
    slots: npt.NDArray[np.int32]  # open hash table over the keys, a power of two, -1: free
    rows: npt.NDArray[np.void]  # ROW [rows]: pool of the open batch
    row_next: npt.NDArray[np.int32]  # [rows]
    dirty: npt.NDArray[np.int32]  # [n]: symbols touched since the last batch, in order
    levels: npt.NDArray[np.void]  # LEVEL [n, 8]
    hits: npt.NDArray[np.void]  # HIT [hits]: ring
    scalars: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]  # scratch of the scanner: the fields of one object


#: Longest name of a symbol that takes a spare row: 40 characters of three bytes, and room.
KEY_BYTES = 128
#: FNV-1a, 32 bits, of no bytes.
HASH_START = 2166136261


@inner(inline=True)
def hash_step(value: int, byte: int) -> int:
    """FNV-1a, 32 bits, of one byte more."""
    return ((value ^ byte) * 16777619) & 0xFFFFFFFF


@kernel(example=lambda: (np.zeros(1, np.uint8), 0, 1), bare=True, inline=True)
def hash_bytes(data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """FNV-1a, 32 bits."""
    value = HASH_START
    for position in range(start, end):
        value = hash_step(value, byte_at(data, position))
    return value


@inner(inline=True)
def find_hashed(table: Table, hashed: int, data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Index of the symbol whose bytes are `data[start:end]`, whose hash is known, or -1. The bytes decide."""
    mask = table.slots.shape[0] - 1
    slot = hashed & mask
    while True:
        symbol = int(table.slots[slot])
        if symbol < 0:
            return -1
        key = table.symbols[symbol]["key_start"]
        if table.symbols[symbol]["key_end"] - key == end - start:
            offset = 0
            while offset < end - start and table.keys[key + offset] == data[start + offset]:
                offset += 1
            if offset == end - start:
                return symbol
        slot = (slot + 1) & mask


@kernel(example=lambda: (example_table(), np.zeros(1, np.uint8), 0, 1), bare=True, inline=True)
def find_symbol(table: Table, data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Index of the symbol whose bytes are `data[start:end]`, or -1."""
    return find_hashed(table, hash_bytes(data, start, end), data, start, end)


def symbol_index(table: Table, symbol: str) -> int:
    """Index of `symbol` in the table, or -1."""
    data = np.frombuffer(symbol.encode(), dtype=np.uint8).copy()
    return int(find_symbol(table, data, 0, len(data)))


def hash_slot(table: Table, index: int) -> None:
    """Make the symbol of this row findable by its name."""
    start, end = int(table.symbols["key_start"][index]), int(table.symbols["key_end"][index])
    slot = int(hash_bytes(table.keys, start, end)) & (len(table.slots) - 1)
    while table.slots[slot] >= 0:
        slot = (slot + 1) & (len(table.slots) - 1)
    table.slots[slot] = index


def new_table(
    symbols: Sequence[str],
    qty_decimals: Sequence[int],
    base_ms: int,
    trade_source: int,
    rows: int = 4096,
    hits: int = 1024,
    spare: int = 0,
) -> Table:
    """An empty table.

    Args:
        symbols: uppercase names as the venue writes them in `s`; the index is the position.
        qty_decimals: of each symbol: trade quantities become integer lots of 10**-qty_decimals.
        base_ms: length of the base bar.
        trade_source: AGG_TRADE or TRADE.
        rows: conflated rows that one batch can hold.
        hits: least size of the hit ring; it is never smaller than the number of levels that can be armed.
        spare: rows behind those of `symbols`, without a name until `joining.add_symbol` gives them one.

    Raises:
        ValueError: an argument is out of range, or a symbol is repeated or empty.
    """
    count, room = len(symbols), len(symbols) + spare
    if count == 0 or len(set(symbols)) != count or not all(symbols):
        raise ValueError("symbols must be distinct, non-empty and at least one")
    if len(qty_decimals) != count or not all(0 <= decimals <= 15 for decimals in qty_decimals):
        raise ValueError("qty_decimals must give 0 to 15 for every symbol")
    if base_ms <= 0 or trade_source not in (AGG_TRADE, TRADE) or rows < 1 or hits < 1 or spare < 0:
        raise ValueError("base_ms, rows and hits must be positive and trade_source AGG_TRADE or TRADE")
    names = [symbol.encode() for symbol in symbols]
    ends = np.cumsum([len(name) for name in names])
    table = Table(
        symbols=np.zeros(room, SYMBOL),
        keys=np.frombuffer(b"".join(names) + bytes(spare * KEY_BYTES), np.uint8).copy(),
        slots=np.full(1 << (4 * room).bit_length(), -1, np.int32),
        rows=np.zeros(rows, ROW),
        row_next=np.full(rows, -1, np.int32),
        dirty=np.zeros(room, np.int32),
        levels=np.zeros((room, LEVELS_PER_SYMBOL), LEVEL),
        hits=np.zeros(max(hits, room * LEVELS_PER_SYMBOL), HIT),
        scalars=np.zeros(_SCALARS, np.int64),
        counters=np.zeros(len(COUNTER_NAMES), np.int64),
        cells=np.zeros((5, 64), np.int64),
    )
    states = table.symbols
    for name in ("bid", "bid_qty", "ask", "ask_qty", "mark", "index", "funding", "last"):
        states[name] = np.nan
    for name in ("update_id", "mark_ms", "last_id", "hole_from", "hole_to", "head"):
        states[name] = -1
    states["qty_decimals"][:count] = qty_decimals
    states["key_end"][:count] = ends
    states["key_start"][:count] = ends - [len(name) for name in names]
    table.scalars[BASE_MS] = base_ms
    table.scalars[TRADE_SOURCE] = trade_source
    for index in range(count):
        hash_slot(table, index)
    return table


def example_table() -> Table:
    """A table of the types that Python callers pass, for compiling kernels ahead."""
    return new_table(["BTCUSDT"], [3], 60_000, AGG_TRADE, rows=4, hits=8)


def batch_buffer(table: Table) -> npt.NDArray[np.void]:
    """A ROW array that holds the largest batch this table can yield."""
    return np.zeros(len(table.rows) + len(table.symbols), ROW)


def counts(table: Table) -> dict[str, int]:
    """The counters by name."""
    return {name: int(table.counters[index]) for name, index in COUNTERS.items()}


def trade_clock_ms(table: Table) -> int:
    """Highest event time of the route that carries the selected trades: the watermark before lateness."""
    clock = CLOCK_MARKET if table.scalars[TRADE_SOURCE] == AGG_TRADE else CLOCK_PUBLIC
    return int(table.scalars[clock])


@kernel(example=lambda: (example_table(), batch_buffer(example_table())), bare=True)
def take_batch(table: Table, out: npt.NDArray[np.void]) -> int:
    """Move the open batch into `out` and start the next one.

    Symbols come in the order they were first touched, a symbol's rows oldest bar first. A symbol without trades yields
    one row with `trades` 0. Every row carries the newest quote and mark.

    Returns:
        The number of rows written. `out` must hold `len(table.rows) + len(table.symbols)` rows.
    """
    written = 0
    for position in range(table.scalars[DIRTY_COUNT]):
        symbol = int(table.dirty[position])
        state = table.symbols[symbol]
        first = written
        row = int(state["head"])
        while row >= 0:
            out[written] = table.rows[row]
            written += 1
            row = int(table.row_next[row])
        if first == written:
            empty = out[written]
            empty["symbol"] = symbol
            empty["trades"] = 0
            empty["bar"] = 0
            empty["open"] = np.nan
            empty["high"] = np.nan
            empty["low"] = np.nan
            empty["close"] = np.nan
            empty["volume"] = 0
            empty["taker_buy"] = 0
            empty["first_id"] = -1
            empty["last_id"] = -1
            written += 1
        for index in range(first, written):
            target = out[index]
            target["bid"] = state["bid"]
            target["bid_qty"] = state["bid_qty"]
            target["ask"] = state["ask"]
            target["ask_qty"] = state["ask_qty"]
            target["mark"] = state["mark"]
        state["dirty"] = 0
        state["head"] = -1
    table.scalars[DIRTY_COUNT] = 0
    table.scalars[ROWS_USED] = 0
    return written


def close_before(table: Table, open_ms: int, symbol: int | None = None) -> None:
    """Declare the bars that open before `open_ms` closed, for one symbol or for all: later trades of them are late."""
    if symbol is None:
        table.scalars[CLOSED_BEFORE] = max(int(table.scalars[CLOSED_BEFORE]), open_ms)
    else:
        table.symbols["closed_before"][symbol] = max(int(table.symbols["closed_before"][symbol]), open_ms)


def mark_gap(table: Table, symbol: int) -> None:
    """Ticks of the symbol were lost: hits of the first next tick of each source carry `first_after_gap`."""
    table.symbols["gap"][symbol] = GAP_ALL


def suspend(table: Table, symbol: int) -> None:
    """Stop checking the symbol's levels. Not watching is a gap too, so the first checked tick will say so."""
    table.symbols["suspended"][symbol] = 1
    table.symbols["gap"][symbol] = GAP_ALL


def resume(table: Table, symbol: int) -> None:
    """Check the symbol's levels again, from its next tick on."""
    table.symbols["suspended"][symbol] = 0


def clear_hole(table: Table, symbol: int) -> None:
    """The missing trade ids of the symbol were filled or given up."""
    states = table.symbols
    states["hole_from"][symbol] = states["hole_to"][symbol] = -1
