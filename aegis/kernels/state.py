"""What the analysis remembers: preallocated arrays for every symbol and timeframe, and nothing else.

Every dtype here has 8-byte fields and no padding, so two equal states have equal bytes. A bar's place in its ring is
`(open_time // timeframe) % ring`: it depends on the bar, not on where the stream began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from aegis.kernels.layout import BAR

__all__ = [
    "CLOCK_FIELDS",
    "COUNTERS",
    "AnalysisParams",
    "Records",
    "State",
    "blank_symbol",
    "copy_into",
    "copy_state",
    "counter",
    "new_state",
    "state_bytes",
]

Records = npt.NDArray[np.void]

_I, _F = np.int64, np.float64

#: Parameters of one timeframe, as kernels read them.
PARAMETERS = np.dtype(
    [
        ("timeframe_ms", _I),
        ("multiple", _I),
        ("atr_period", _I),
        ("rsi_period", _I),
        ("ema_period", _I),
        ("bollinger_period", _I),
        ("swing_length", _I),
        ("min_gap_atr", _F),
        ("max_age_bars", _I),
        ("warm_bars", _I),
        ("pool_atr", _F),
        ("sweep_bars", _I),
        ("room", _I),  # events that one bar may cause
    ]
)

#: Recurrences of the indicators. Before its seed bar an accumulator holds the running sum.
ACCUMULATORS = np.dtype([("count", _I), ("close", _F), ("range", _F), ("gain", _F), ("loss", _F), ("ema", _F)])

#: Indicator values at the last closed bar (or, from `peek`, at the forming one); NaN before the first output.
VALUES = np.dtype([("atr", _F), ("rsi", _F), ("rsi_valid", _I), ("ema", _F), ("mid", _F), ("sigma", _F)])

NO_VALUES: Final = np.array((np.nan, np.nan, 0, np.nan, np.nan, np.nan), VALUES)

#: Market structure of one series. `trend` is the direction of the last BOS or CHoCH, `swept_low` and `swept_high` the
#: bars at which a pool of that side was last swept; 0 when there is none young enough.
STRUCTURE = np.dtype(
    [
        ("last", _I),
        ("trend", _I),
        ("trend_index", _I),
        ("taint", _I),
        ("zones", _I),
        ("blocks", _I),
        ("pools", _I),
        ("swept_low", _I),
        ("swept_high", _I),
    ]
)

#: The last confirmed swing of one side (0 highs, 1 lows) with what its break needs: the deepest bar since
#: (its index, extreme, and other extreme) and the swing of the other side before; and the most extreme price of the
#: last 2 * swing length bars, with the last bar that has it: what the next swing must equal.
LEG = np.dtype(
    [
        ("extreme", _F),
        ("extreme_index", _I),
        ("id", _I),
        ("index", _I),
        ("level", _F),
        ("unbroken", _I),
        ("opposite", _F),
        ("has_opposite", _I),
        ("pullback", _F),
        ("pullback_index", _I),
        ("pullback_far", _F),
    ]
)

#: When a bar may change anything in a list of what is alive: its low is at or below `floor`, its high at or above
#: `ceiling`, its close at or below `under` or at or above `over`, or its index is `until` or later.
EDGES = np.dtype([("floor", _F), ("ceiling", _F), ("under", _F), ("over", _F), ("until", _I)])
NO_EDGES: Final = np.array((-np.inf, np.inf, -np.inf, np.inf, np.iinfo(np.int64).max), EDGES)

#: The lists of a series: rows packed in order of creation, of which the last in memory is blank.
ZONES, BLOCKS, POOLS = range(3)

#: A live fair value gap.
ZONE = np.dtype(
    [
        ("id", _I),
        ("direction", _I),
        ("origin", _I),
        ("known", _I),
        ("formed", _I),
        ("phase", _I),
        ("top", _F),
        ("bottom", _F),
        ("scale", _F),
    ]
)

#: A live order block.
#: `swept`: the last bar, until it was known, at which a pool on its side (lows under a bullish one) was swept, or 0.
BLOCK = np.dtype(
    [
        ("id", _I),
        ("direction", _I),
        ("origin", _I),
        ("known", _I),
        ("swept", _I),
        ("phase", _I),
        ("top", _F),
        ("bottom", _F),
    ]
)

#: Swings of one side at about one price. One member: no pool yet. `pierced`: first bar beyond it, -1 if there is none.
POOL = np.dtype(
    [
        ("id", _I),
        ("direction", _I),
        ("origin", _I),
        ("opened", _I),
        ("formed", _I),
        ("members", _I),
        ("pierced", _I),
        ("top", _F),
        ("bottom", _F),
        ("anchor", _F),
        ("tolerance", _F),
    ]
)

#: A base bar that still takes trades. `open_time` -1: the slot is free.
PENDING = np.dtype(
    [
        ("open_time", _I),
        ("incomplete", _I),
        ("trades", _I),
        ("first_id", _I),
        ("last_id", _I),
        ("open", _F),
        ("high", _F),
        ("low", _F),
        ("close", _F),
        ("volume", _I),
        ("taker_buy", _I),
    ]
)

#: A higher bar under construction from closed base bars. Base bars before `start` are already inside seeded history.
FORMING = np.dtype(
    [
        ("start", _I),
        ("have", _I),
        ("incomplete", _I),
        ("trades", _I),
        ("open", _F),
        ("high", _F),
        ("low", _F),
        ("close", _F),
        ("volume", _I),
        ("taker_buy", _I),
    ]
)

#: One symbol. `live_from` -1: not subscribed; `close` 0: no price seen yet.
SYMBOL = np.dtype([("live_from", _I), ("seeded", _I), ("close", _F), ("pending", _I), ("warm", _I)])

#: Columns of `State.clock`: next base bar to close, next symbol within it, whether any bar was closed, the watermark.
CLOCK_FIELDS: Final = ("next_open", "cursor", "started", "watermark")
NEXT_OPEN, CURSOR, STARTED, WATERMARK = range(4)

#: Columns of `State.counters`.
COUNTERS: Final = (
    "late_rows",
    "early_rows",
    "far_rows",
    "rejected_rows",
    "duplicate_bars",
    "empty_bars",
    "incomplete_bars",
    "partial_bars",
    "bars",
    "events",
    "corrected_bars",
)
LATE_ROWS, EARLY_ROWS, FAR_ROWS, REJECTED_ROWS, DUPLICATE_BARS, EMPTY_BARS, INCOMPLETE_BARS, PARTIAL_BARS = range(8)
BARS, EVENTS, CORRECTED_BARS = 8, 9, 10

#: Open base bars a symbol may have at once: the watermark may stall this many bars.
PENDING_BARS: Final = 64


class State(NamedTuple):
    """Arrays of the analysis: n symbols, T timeframes, R bars a ring. Only kernels write them."""

    parameters: Records  # PARAMETERS[T]
    clock: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]
    symbols: Records  # SYMBOL[n]
    pending: Records  # PENDING[n, PENDING_BARS]
    forming: Records  # FORMING[n, T]
    bars: Records  # BAR[n, T, R]
    accumulators: Records  # ACCUMULATORS[n, T]
    values: Records  # VALUES[n, T]
    structure: Records  # STRUCTURE[n, T]
    legs: Records  # LEG[n, T, 2]
    edges: Records  # EDGES[n, T, 3], by ZONES, BLOCKS, POOLS
    zones: Records  # ZONE[n, T, max_zones + 1]
    blocks: Records  # BLOCK[n, T, max_blocks + 1]
    pools: Records  # POOL[n, T, max_pools + 1]


def _periods(_: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    if not value or min(value) < 1 or max(value) > 100:
        raise ValueError(f"{attribute.name} must hold lengths from 1 to 100 bars, not {value}")


def _between(low: float, high: float) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    return attrs.validators.and_(attrs.validators.ge(low), attrs.validators.le(high))


@attrs.frozen(kw_only=True)
class AnalysisParams:
    """Lengths in bars, gap size in ATR. `swing_lengths` go with the timeframes; the last one repeats."""

    atr_period: int = attrs.field(default=14, validator=_between(2, 200))
    rsi_period: int = attrs.field(default=14, validator=_between(2, 200))
    ema_period: int = attrs.field(default=20, validator=_between(1, 200))
    bollinger_period: int = attrs.field(default=20, validator=_between(2, 200))
    swing_lengths: tuple[int, ...] = attrs.field(default=(5,), validator=_periods)
    min_gap_atr: float = attrs.field(default=0.1, validator=_between(0.0, 10.0))
    max_age_bars: int = attrs.field(default=200, validator=_between(3, 100_000))
    """Zones, unbroken swings and the trend are forgotten after this many bars: at most the warm-up, so that a restart
    finds the same ones again."""
    max_zones: int = attrs.field(default=32, validator=_between(1, 256))
    max_blocks: int = attrs.field(default=16, validator=_between(0, 256))
    """Order blocks kept of each series; 0: none are looked for."""
    max_pools: int = attrs.field(default=16, validator=_between(0, 256))
    """Swings kept of each series as pools or what may become one; 0: none are looked for."""
    pool_atr: float = attrs.field(default=0.25, validator=_between(0.0, 10.0))
    """Swings this near to each other, in mean true ranges, are one pool."""
    sweep_bars: int = attrs.field(default=1, validator=_between(1, 100))
    """Bars in which price must close back for a sweep, the piercing one included; else the pool is broken."""
    warm_bars: int = attrs.field(default=500, validator=_between(1, 100_000))
    """Bars of every timeframe before events are emitted; 36 periods of Wilder smoothing leave no trace of the start."""


def new_state(n_symbols: int, timeframes_ms: Sequence[int], params: AnalysisParams, ring: int = 512) -> State:
    """Empty state. `timeframes_ms[0]` is the base; the others are rising multiples of it; all divide a UTC day.

    Raises:
        ValueError: a timeframe or the ring does not fit (the ring is a power of two and holds every look-back).
    """
    if n_symbols < 1 or not timeframes_ms or timeframes_ms[0] < 1 or list(timeframes_ms) != sorted(set(timeframes_ms)):
        raise ValueError(f"symbols and rising timeframes are needed, not {n_symbols} and {list(timeframes_ms)}")
    base = timeframes_ms[0]
    if any(ms % base or 86_400_000 % ms for ms in timeframes_ms):
        raise ValueError(f"timeframes must be multiples of the base and divide a day, not {list(timeframes_ms)}")
    longest = max(params.atr_period + 1, params.bollinger_period, 2 * max(params.swing_lengths) + 1, 3)
    if ring & (ring - 1) or ring < longest:
        raise ValueError(f"the ring must be a power of two of at least {longest} bars, not {ring}")
    t = len(timeframes_ms)
    parameters = np.zeros(t, PARAMETERS)
    for k, ms in enumerate(timeframes_ms):
        swing = params.swing_lengths[min(k, len(params.swing_lengths) - 1)]
        parameters[k] = (
            ms,
            ms // base,
            params.atr_period,
            params.rsi_period,
            params.ema_period,
            params.bollinger_period,
            swing,
            params.min_gap_atr,
            params.max_age_bars,
            params.warm_bars,
            params.pool_atr,
            params.sweep_bars,
            4 * (params.max_zones + params.max_blocks) + params.max_pools + 11,
        )
    state = State(
        parameters=parameters,
        clock=np.zeros(len(CLOCK_FIELDS), np.int64),
        counters=np.zeros(len(COUNTERS), np.int64),
        symbols=np.zeros(n_symbols, SYMBOL),
        pending=np.zeros((n_symbols, PENDING_BARS), PENDING),
        forming=np.zeros((n_symbols, t), FORMING),
        bars=np.zeros((n_symbols, t, ring), BAR),
        accumulators=np.zeros((n_symbols, t), ACCUMULATORS),
        values=np.zeros((n_symbols, t), VALUES),
        structure=np.zeros((n_symbols, t), STRUCTURE),
        legs=np.zeros((n_symbols, t, 2), LEG),
        edges=np.zeros((n_symbols, t, 3), EDGES),
        zones=np.zeros((n_symbols, t, params.max_zones + 1), ZONE),
        blocks=np.zeros((n_symbols, t, params.max_blocks + 1), BLOCK),
        pools=np.zeros((n_symbols, t, params.max_pools + 1), POOL),
    )
    state.clock[NEXT_OPEN] = -1
    state.clock[WATERMARK] = -1
    state.pending["open_time"] = -1
    blank_symbol(state, slice(None))
    state.symbols["live_from"] = -1
    return state


def blank_symbol(state: State, symbol: int | slice) -> None:
    """Forget everything derived from bars of a symbol (or of many); its subscription and its open bars stay."""
    derived = (state.forming, state.accumulators, state.structure, state.legs, state.zones, state.blocks, state.pools)
    for records in (*derived, state.bars):
        records[symbol].view(np.int64)[...] = 0  # whole words of numbers: several times as fast as by records
    state.bars[symbol]["open_time"] = -1
    state.legs[symbol, :, 0]["extreme"] = -np.inf
    state.legs[symbol, :, 1]["extreme"] = np.inf
    state.edges[symbol] = NO_EDGES
    state.values[symbol] = NO_VALUES
    record = state.symbols[symbol]
    record["seeded"] = record["warm"] = 0
    record["close"] = 0.0


def copy_state(state: State) -> State:
    """A state of its own with the same contents."""
    return State._make(array.copy() for array in state)


def copy_into(target: State, source: State) -> None:
    """Overwrite `target` (of the same shape) without allocating."""
    for ours, theirs in zip(target, source, strict=True):
        np.copyto(ours, theirs)


def state_bytes(state: State) -> bytes:
    """Every byte of the state: two states are equal exactly when these are."""
    return b"".join(array.tobytes() for array in state)


def counter(state: State, name: str) -> int:
    """A counter by its name in COUNTERS."""
    return int(state.counters[COUNTERS.index(name)])
