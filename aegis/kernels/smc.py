"""Smart-money concepts without look-ahead. No engine is needed.

    from aegis.kernels import smc
    bars = smc.bars_of(open_time, open, high, low, close)       # int64 milliseconds, float64
    events = smc.detect(bars, 60_000)                           # everything that ever became known, in order
    stream = smc.Stream(300, timeframe_ms=60_000)               # 300 series, bar by bar
    events = stream.commit(bars_of_one_minute)                  # equal to `detect`, bit for bit

Every pattern is decided at the close of a bar from that bar and earlier ones, and an event once emitted is never taken
back: the events of a prefix of the bars are a prefix of the events. A consumer acts no earlier than `known_at`.

An event (dtype EVENT) has kind, direction, id, origin (open time of the bar to draw it at), formed_at, known_at (close
times), top and bottom. Its direction is that of what it speaks of, through all its life. Definitions (t the bar that
closes, d = +1 bullish, -1 bearish; the bearish side is the mirror image; a mean true range is that of the last
`atr_period` bars):

SWING, SWING_EXTEND
    Bar i = t - L is a high if H_i = max(H_{i-L+1} .. H_{i+L}); of a bar that is both, the high counts. After a low it
    is a SWING; after a high a SWING_EXTEND if strictly more extreme, else nothing. `direction` +1 is a high, -1 a low;
    `top` = `bottom` = its price.
BOS, CHOCH, BREAK
    C_t beyond the last confirmed swing high p, once a swing. With m the lowest low between p and t and l the swing low
    before p: BOS if m > l, CHOCH if m <= l, BREAK if there is no such low. `id` is the swing's, `top` = `bottom` = its
    price.
FVG, FVG_MERGE
    H_{t-2} < L_t and C_{t-1} > O_{t-1}, at least `min_gap_atr` mean true ranges wide. A gap right after a gap of the
    same direction is no new zone: FVG_MERGE widens that one and keeps its id.
FVG_TOUCHED, FVG_MID, FVG_FILLED, FVG_INVERTED
    From the bar after: the low reaches the near edge, the middle, the far edge; the close lies beyond the far edge.
    Each at most once and in this order, except that a merge which moves the near edge starts afresh. INVERTED ends it.
FVG_EXPIRED
    The zone is `max_age_bars` old, or the oldest when there is no room for a new one.
BLOCK
    Of every BOS, CHOCH and BREAK of a high p at t: the bar with the lowest low between p and t, the last of equal ones,
    is a bullish order block from its low to its high.
BLOCK_TOUCHED, BLOCK_MITIGATED, BLOCK_BREAKER, BLOCK_DEAD
    From the bar after: the low reaches the near edge; the low is below the far edge; the close is, and what was support
    is now resistance. Each once and in this order. DEAD: a breaker's close is above the near edge, or the block is
    `max_age_bars` old, or the oldest when there is no room for a new one.
POOL, POOL_JOINED
    A confirmed swing (or extension) within `pool_atr` mean true ranges, taken when the first of them was confirmed, of
    the first of a pool of its side belongs to the nearest such pool: POOL is its second member, POOL_JOINED each
    further one. `direction` +1 is a pool of highs, `top` and `bottom` its members' extremes, `origin` its first member.
POOL_SWEPT, POOL_BROKEN, POOL_EXPIRED
    A high beyond the pool's top pierces it: SWEPT if a close at or below the top comes within `sweep_bars` bars, the
    piercing one included, else BROKEN. Both end it, as does EXPIRED: `max_age_bars` since its first member, or no room.
RANGE, RANGE_BROKEN (of `previous_period` and `sessions`)
    A whole period or session has ended, with its high and low (`direction` 0); price is beyond its high (+1) or low
    (-1) for the first time while it is the last whole one.

Ids are `bar_index * 16 + code` with bar_index = open time // timeframe: equal whatever bar the stream began with. So
are zone widths and scales: they come from the mean true range of the last bars, not from Wilder's endless average. All
that is alive is forgotten after `max_age_bars`, and there is never more of it than `AnalysisParams` allows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.layout import BAR
from aegis.kernels.smc_events import (
    BLOCK,
    BLOCK_BREAKER,
    BLOCK_DEAD,
    BLOCK_IS_BREAKER,
    BLOCK_IS_FRESH,
    BLOCK_IS_MITIGATED,
    BLOCK_IS_TOUCHED,
    BLOCK_MITIGATED,
    BLOCK_TOUCHED,
    BOS,
    BREAK,
    CHOCH,
    FVG,
    FVG_EXPIRED,
    FVG_FILLED,
    FVG_INVERTED,
    FVG_MERGE,
    FVG_MID,
    FVG_TOUCHED,
    KIND_NAMES,
    PHASE_FILLED,
    PHASE_FRESH,
    PHASE_MID,
    PHASE_TOUCHED,
    POOL,
    POOL_BROKEN,
    POOL_EXPIRED,
    POOL_JOINED,
    POOL_SWEPT,
    RANGE,
    RANGE_BROKEN,
    SWING,
    SWING_EXTEND,
)
from aegis.kernels.smc_ranges import RANGES, WEEK_ANCHOR_MS, WEEK_MS, Ranges
from aegis.kernels.smc_stream import RETRACEMENT, Stream
from aegis.kernels.state import AnalysisParams, Records

__all__ = [
    "BLOCK",
    "BLOCK_BREAKER",
    "BLOCK_DEAD",
    "BLOCK_IS_BREAKER",
    "BLOCK_IS_FRESH",
    "BLOCK_IS_MITIGATED",
    "BLOCK_IS_TOUCHED",
    "BLOCK_MITIGATED",
    "BLOCK_TOUCHED",
    "BOS",
    "BREAK",
    "CHOCH",
    "FVG",
    "FVG_EXPIRED",
    "FVG_FILLED",
    "FVG_INVERTED",
    "FVG_MERGE",
    "FVG_MID",
    "FVG_TOUCHED",
    "KIND_NAMES",
    "PHASE_FILLED",
    "PHASE_FRESH",
    "PHASE_MID",
    "PHASE_TOUCHED",
    "POOL",
    "POOL_BROKEN",
    "POOL_EXPIRED",
    "POOL_JOINED",
    "POOL_SWEPT",
    "RANGE",
    "RANGES",
    "RANGE_BROKEN",
    "RETRACEMENT",
    "SWING",
    "SWING_EXTEND",
    "WEEK_ANCHOR_MS",
    "WEEK_MS",
    "AnalysisParams",
    "Ranges",
    "Stream",
    "bars_of",
    "detect",
    "previous_period",
    "retracements",
    "sessions",
]


def bars_of(
    open_time: npt.ArrayLike,
    open: npt.ArrayLike,
    high: npt.ArrayLike,
    low: npt.ArrayLike,
    close: npt.ArrayLike,
    volume: npt.ArrayLike = 0,
    taker_buy: npt.ArrayLike = 0,
) -> Records:
    """BAR rows of one series from columns: milliseconds UTC, prices, volumes in whole lots."""
    bars = np.zeros(len(np.atleast_1d(np.asarray(open_time))), BAR)
    columns = {"open_time": open_time, "open": open, "high": high, "low": low, "close": close}
    for name, values in (columns | {"volume": volume, "taker_buy": taker_buy}).items():
        bars[name] = values
    return bars


def detect(bars: Records, timeframe_ms: int, params: AnalysisParams | None = None) -> Records:
    """Every event of one series: contiguous closed bars (BAR rows) in, EVENT rows in order out.

    Raises:
        ValueError: a bar that must not be taken, with its index and the reason.
    """
    return Stream(timeframe_ms=timeframe_ms, params=params).events(bars)


def retracements(bars: Records, timeframe_ms: int, params: AnalysisParams | None = None) -> Records:
    """How far each close has come back into the leg between the last two confirmed swings: RETRACEMENT of each bar.

    `direction` of the leg (+1: from low to high), `valid`, its `top` and `bottom`, `current` retracement of the bar's
    extreme and the `deepest` since the leg's end, in percent of the leg (0: at its end, 100: at its origin, more:
    beyond), and `position` of the close in the leg in percent: above 50 is premium, below discount. The leg turns when
    its swing is confirmed, not when it is formed. NaN where not valid. Raises as `detect`.
    """
    return Stream(timeframe_ms=timeframe_ms, params=params).run(bars)[1]


def previous_period(bars: Records, timeframe_ms: int, period_ms: int, anchor_ms: int = 0) -> tuple[Records, Records]:
    """High and low of the last whole period, and whether price has been beyond them: RANGES of each bar, and events.

    Periods are counted from `anchor_ms` in UTC; for weeks that begin on Monday: `WEEK_MS`, `WEEK_ANCHOR_MS`. A period
    of which the first bars are missing is none. Raises as `detect`.
    """
    return Ranges(timeframe_ms=timeframe_ms, period_ms=period_ms, anchor_ms=anchor_ms).commit(bars)


def sessions(bars: Records, timeframe_ms: int, spans: npt.NDArray[np.int64]) -> tuple[Records, Records]:
    """As `previous_period`, for sessions [start, end): int64[k, 2] of milliseconds UTC, rising, without overlap.

    `aegis.signals.sessions.spans` makes them from local times, with daylight saving. Raises as `detect`.
    """
    return Ranges(timeframe_ms=timeframe_ms, spans=spans).commit(bars)
