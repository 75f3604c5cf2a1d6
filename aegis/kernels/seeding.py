"""How a symbol enters the analysis: subscription, history, holes.

`set_live_from` when its stream begins (its first whole bar), `seed` with history that ends at or after that bar; from
then on live bars continue the history without a seam. Until it is seeded its base bars close and are kept, silently.
Everything here is deterministic: the same calls in the same order on two copies of a state give equal bytes. A refused
call leaves the state as it was.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aegis.kernels.bars import closed_until, commit_bar, free_pending, take_pending
from aegis.kernels.compile import kernel
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.sane import sane
from aegis.kernels.state import (
    CORRECTED_BARS,
    CURSOR,
    DUPLICATE_BARS,
    NEXT_OPEN,
    STARTED,
    AnalysisParams,
    Records,
    State,
    blank_symbol,
    new_state,
)

__all__ = ["SeedCode", "SeedResult", "drop_symbol", "mark_incomplete", "replace_bar", "seed", "set_live_from"]


class SeedCode(enum.IntEnum):
    OK = 0
    GAP = 1  # a bar is missing between history and live bars, or within history
    BAD_BAR = 2  # misaligned, out of order, or with impossible numbers
    NOT_LIVE = 3  # `set_live_from` comes first


class SeedResult(NamedTuple):
    """`open_time` and `timeframe` (index) name the first missing or bad bar; -1 where all is well."""

    code: SeedCode
    open_time: int = -1
    timeframe: int = -1


def _example_state() -> State:
    return new_state(1, (60_000, 300_000), AnalysisParams())


# -- subscription ------------------------------------------------------------------------------------------------------
def set_live_from(state: State, symbol: int, open_time_ms: int) -> int:
    """The symbol's trades are whole from this base bar on; everything known of it before is forgotten.

    Returns the first bar that will be closed: later than asked for if that bar has been closed for all symbols.

    Raises:
        ValueError: not the open time of a base bar.
    """
    base = int(state.parameters[0]["timeframe_ms"])
    if open_time_ms < 0 or open_time_ms % base:
        raise ValueError(f"{open_time_ms} is not the open time of a bar of {base} ms")
    drop_symbol(state, symbol)
    clock = state.clock
    if clock[NEXT_OPEN] < 0:
        clock[NEXT_OPEN] = open_time_ms
    elif not clock[STARTED] and clock[CURSOR] == 0:
        clock[NEXT_OPEN] = min(clock[NEXT_OPEN], open_time_ms)
    first = max(open_time_ms, _first_open(state, symbol))
    state.symbols[symbol]["live_from"] = first
    return first


def drop_symbol(state: State, symbol: int) -> None:
    """The symbol's stream has ended: nothing of it is closed or kept any more."""
    blank_symbol(state, symbol)
    state.pending[symbol] = np.zeros((), state.pending.dtype)
    state.pending[symbol]["open_time"] = -1
    state.symbols[symbol]["pending"] = 0
    state.symbols[symbol]["live_from"] = -1


@kernel(example=lambda: (_example_state(), 0, 0), bare=True)
def _mark(state: State, symbol: int, open_time: int) -> bool:
    live_from = state.symbols[symbol]["live_from"]
    if live_from < 0 or open_time < max(live_from, closed_until(state, symbol)):
        return False
    slot = take_pending(state, symbol, open_time)
    if slot < 0:
        return False
    state.pending[symbol, slot]["incomplete"] = 1
    return True


def mark_incomplete(state: State, symbol: int, open_time_ms: int) -> bool:
    """Trades of this base bar were missed: it, and the higher bars around it, yield no events.

    Returns False if the bar is closed already (then `replace_bar` it) or cannot be held open.
    """
    return bool(_mark(state, symbol, open_time_ms))


def _first_open(state: State, symbol: int) -> int:
    """`closed_until` for Python callers."""
    opened = int(state.clock[NEXT_OPEN])
    return opened + int(state.parameters[0]["timeframe_ms"]) if symbol < state.clock[CURSOR] else opened


# -- history -----------------------------------------------------------------------------------------------------------
@kernel(example=lambda: (np.zeros(1, BAR), 60_000), bare=True)
def _check(bars: Records, timeframe_ms: int) -> tuple[int, int]:
    """(SeedCode, open time) of the first fault in a series of closed bars."""
    for i in range(len(bars)):
        open_time = bars[i]["open_time"]
        if open_time < 0 or open_time % timeframe_ms != 0 or not sane(bars[i]):
            return 2, open_time
        if i > 0:
            expected = bars[i - 1]["open_time"] + timeframe_ms
            if open_time < expected:
                return 2, open_time
            if open_time > expected:
                return 1, expected
    return 0, -1


@kernel(example=lambda: (_example_state(), 0, 0, np.zeros(0, BAR), np.zeros(1, EVENT)), bare=True)
def _replay(state: State, symbol: int, timeframe: int, bars: Records, events: Records) -> None:
    """Commit closed bars of one timeframe, silently; base bars complete higher ones."""
    ms = state.parameters[timeframe]["timeframe_ms"]
    ring = state.bars[symbol, timeframe]
    for i in range(len(bars)):
        open_time = bars[i]["open_time"]
        slot = (open_time // ms) & (len(ring) - 1)
        ring[slot] = bars[i]
        ring[slot]["symbol"] = symbol
        ring[slot]["timeframe"] = timeframe
        if timeframe == 0:
            state.symbols[symbol]["close"] = bars[i]["close"]
        commit_bar(state, symbol, timeframe, open_time, 0, 1, bars, 0, events, 0)


@kernel(example=lambda: (_example_state(), 0, 0), bare=True)
def _forget_pending(state: State, symbol: int, before: int) -> None:
    """Free open bars that history has already brought."""
    for slot in range(state.pending.shape[1]):
        if 0 <= state.pending[symbol, slot]["open_time"] < before:
            free_pending(state, symbol, slot)


def _unique(bars: Records) -> Records:
    """Without repeated bars: the later of two with one open time counts."""
    if len(bars) < 2:
        return bars
    unique: Records = bars[np.append(bars["open_time"][1:] != bars["open_time"][:-1], True)]
    return unique


def _kept(state: State, symbol: int, timeframe: int, since: int) -> Records:
    """Closed bars in a ring that open at or after `since`, in order."""
    ring = state.bars[symbol, timeframe]
    kept: Records = ring[ring["open_time"] >= since]
    return np.take(kept, np.argsort(kept["open_time"]))


def _starts(state: State, base_bars: Records, higher: Sequence[Records], end: int) -> tuple[list[int], SeedResult]:
    """For each higher timeframe the open time from which base bars build it, or the gap that forbids it."""
    starts: list[int] = []
    first = int(base_bars["open_time"][0]) if len(base_bars) else end
    for k, bars in enumerate(higher, start=1):
        ms = int(state.parameters[k]["timeframe_ms"])
        start = int(bars["open_time"][-1]) + ms if len(bars) else -(-first // ms) * ms
        if len(bars) and start != end and first > start:
            return starts, SeedResult(SeedCode.GAP, start, k)
        starts.append(start)
    return starts, SeedResult(SeedCode.OK)


def seed(state: State, symbol: int, base_bars: Records, higher_bars: Sequence[Records] = ()) -> SeedResult:
    """Give a subscribed symbol its history; live base bars closed after it follow at once. No events come of it.

    Args:
        base_bars: BAR, closed and contiguous, any number. Where they overlap live bars, history is right. With none,
            the symbol starts from its live bars (a recording that has no history).
        higher_bars: one BAR array for each higher timeframe (or nothing); what they lack up to the end of the base
            bars is built from those. Bars that end after the base bars are ignored.

    Returns:
        OK; GAP with the first missing bar (fetch again, a little later); BAD_BAR; NOT_LIVE.
    """
    live_from = int(state.symbols[symbol]["live_from"])
    if live_from < 0:
        return SeedResult(SeedCode.NOT_LIVE)
    timeframes = [int(ms) for ms in state.parameters["timeframe_ms"]]
    until = _first_open(state, symbol)
    oldest = until - state.bars.shape[2] * timeframes[0]
    base = _unique(base_bars)
    end = int(base["open_time"][-1]) + timeframes[0] if len(base) else max(live_from, oldest)
    series = [base] + [np.zeros(0, BAR)] * (len(timeframes) - 1)
    for k, bars in enumerate(higher_bars, start=1):
        bars = _unique(bars)
        series[k] = bars[bars["open_time"] + timeframes[k] <= end]
    series = [np.ascontiguousarray(bars) for bars in series]
    for k, bars in enumerate(series):
        code, open_time = _check(bars, timeframes[k])
        if code:
            return SeedResult(SeedCode(code), open_time, k)
    if end < live_from or end < oldest:
        return SeedResult(SeedCode.GAP, end, 0)
    starts, gap = _starts(state, series[0], series[1:], end)
    if gap.code:
        return gap
    state.counters[DUPLICATE_BARS] += len(base_bars) - len(base) + sum(len(b) - len(_unique(b)) for b in higher_bars)
    _apply(state, symbol, series, starts, end, until)
    return SeedResult(SeedCode.OK)


def _continued(history: Records, tail: Records, first: int, until: int, base_ms: int) -> Records:
    """History and every bar from `first` to `until`: the kept one, or an empty one once there is a price."""
    more = np.zeros(max(0, (until - first) // base_ms), BAR)
    if not len(more):
        return history
    more["open_time"] = first + base_ms * np.arange(len(more))
    place = (tail["open_time"] - first) // base_ms
    more[place] = tail
    source = np.full(len(more), -1)
    source[place] = place
    source = np.maximum.accumulate(source)
    before = history["close"][-1] if len(history) else 0.0
    close = np.where(source >= 0, more["close"][source], before)
    empty = np.ones(len(more), np.bool_)
    empty[place] = False
    for name in ("open", "high", "low", "close"):
        more[name][empty] = close[empty]
    return np.concatenate([history, more[close > 0.0]])


def _apply(state: State, symbol: int, series: Sequence[Records], starts: Sequence[int], end: int, until: int) -> None:
    """Start the symbol anew from checked history and the live bars in its ring."""
    base = _continued(series[0], _kept(state, symbol, 0, end), end, until, int(state.parameters[0]["timeframe_ms"]))
    blank_symbol(state, symbol)
    record = state.symbols[symbol]
    record["seeded"] = 1
    nothing = np.zeros(0, EVENT)
    for k, start in enumerate(starts, start=1):
        state.forming[symbol, k]["start"] = start
        _replay(state, symbol, k, series[k], nothing)
    _replay(state, symbol, 0, base, nothing)
    if end > until:
        record["live_from"] = end
        _forget_pending(state, symbol, end)


def replace_bar(state: State, symbol: int, bar: np.void) -> SeedResult:
    """Correct a closed base bar (BAR) of a seeded symbol: everything is derived again from the bars in the rings.

    No events come of it. GAP: the bar, or the start of a higher bar around it, is no longer in the rings.
    """
    open_time = int(bar["open_time"])
    base = _kept(state, symbol, 0, 0)
    place = np.flatnonzero(base["open_time"] == open_time)
    if not state.symbols[symbol]["seeded"] or not len(place):
        return SeedResult(SeedCode.GAP, open_time, 0)
    base[place[0]] = bar
    higher = []
    for k in range(1, len(state.parameters)):
        bars = _kept(state, symbol, k, 0)
        untouched = bars["open_time"] + int(state.parameters[k]["timeframe_ms"]) <= open_time
        higher.append(bars[untouched])
    result = seed(state, symbol, base, higher)
    state.counters[CORRECTED_BARS] += result.code is SeedCode.OK
    return result
