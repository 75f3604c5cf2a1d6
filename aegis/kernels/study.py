"""All indicators of many series, bar by bar: `commit` closed bars, `peek` at forming ones."""

from __future__ import annotations

from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from aegis.kernels import readings
from aegis.kernels.layout import BAR
from aegis.kernels.readings import ANCHOR, ANCHORED, BLOCK, HELD, LENGTHS, PARAMETERS, READINGS, TIMES, WINDOWS, WORK
from aegis.kernels.sane import check_bars, fault_text
from aegis.kernels.state import Records

__all__ = ["READINGS", "Study", "StudyParams"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: An anchor that no bar reaches.
_NEVER: Final = int(np.iinfo(np.int64).max)


def _length(least: int, default: int) -> Any:
    return attrs.field(
        default=default, validator=attrs.validators.and_(attrs.validators.ge(least), attrs.validators.le(1_000))
    )


@attrs.frozen(kw_only=True)
class StudyParams:
    """Lengths in bars; `width` of Bollinger's bands in deviations; sessions as in `indicators.vwap`."""

    atr: int = _length(1, 14)
    rsi: int = _length(1, 14)
    sma: int = _length(1, 20)
    ema: int = _length(1, 20)
    macd_fast: int = _length(1, 12)
    macd_slow: int = _length(2, 26)
    macd_signal: int = _length(1, 9)
    bollinger: int = _length(2, 20)
    adx: int = _length(2, 14)
    stochastic: int = _length(1, 14)
    smooth_k: int = _length(1, 3)
    smooth_d: int = _length(1, 3)
    volatility: int = _length(1, 20)
    width: float = 2.0
    session_ms: int = attrs.field(default=86_400_000, validator=attrs.validators.ge(1))
    offset_ms: int = 0

    def __attrs_post_init__(self) -> None:
        if self.macd_fast >= self.macd_slow:
            raise ValueError(f"macd_fast must be shorter than macd_slow, not {self.macd_fast} and {self.macd_slow}")

    @property
    def warm_bars(self) -> int:
        """Bars after which no reading depends on where the series began: 36 periods of Wilder's averages.

        An exponential average of n values forgets as one of Wilder's of (n + 1) / 2; ADX is an average of an average.
        """
        wilder = max(self.atr, self.rsi, 2 * self.adx)
        return 36 * max(wilder, (self.ema + 2) // 2, (self.macd_slow + self.macd_signal + 2) // 2)


class Study:
    """Readings of n series, advanced by closed bars alone.

    Bars are BAR rows, one for each series in order; each must follow the last bar of its series. A call with a bar that
    must not be taken raises ValueError, names series and reason, and changes nothing. Readings are READINGS rows; the
    array that a method returns is overwritten by its next call.
    """

    def __init__(self, n: int = 1, *, timeframe_ms: int, params: StudyParams | None = None) -> None:
        if n < 1 or timeframe_ms < 1:
            raise ValueError(f"at least one series and a positive timeframe are needed, not {n} and {timeframe_ms}")
        self.params = StudyParams() if params is None else params
        self.timeframe_ms = timeframe_ms
        lengths = tuple(getattr(self.params, name) for name in LENGTHS)
        p = self.params
        shape = (p.session_ms, p.offset_ms, p.width, 2 * sum(lengths))
        self._parameters = np.array([(*shape, *lengths)], PARAMETERS)
        self._bars = np.zeros(1, np.int64)
        self._held, self._times = np.zeros((HELD, n)), np.zeros((TIMES, n), np.int64)
        self._times[ANCHOR] = _NEVER
        self._windows = np.zeros((WINDOWS, 1 << max(lengths).bit_length(), n))
        self._blank = np.zeros(1, READINGS)
        for name in READINGS.names or ():
            if READINGS[name] == np.float64:
                self._blank[name] = np.nan
        self._values = np.repeat(self._blank, n)
        self._seen = self._values.copy()
        self._work = np.zeros((WORK, BLOCK))
        self._spare = np.zeros((HELD, BLOCK)), np.zeros((TIMES, BLOCK), np.int64), np.zeros((WINDOWS, BLOCK))

    @property
    def values(self) -> Records:
        """READINGS[n] after the last closed bars."""
        return self._values

    @property
    def warm(self) -> bool:
        """Every series has enough bars that no reading depends on where it began."""
        return int(self._bars[0]) >= self.params.warm_bars

    def anchor(self, open_time_ms: int, series: int = 0) -> None:
        """Begin a series' anchored VWAP anew with the first bar, still to come, that opens at or after this time."""
        self._times[ANCHOR, series] = open_time_ms
        self._held[ANCHORED, series] = 0.0

    def commit(self, bars: Records) -> Records:
        """Advance every series by one closed bar; returns `values`."""
        self._check(bars)
        readings.commit(*self._series(), bars, self._parameters, *_as_rows(self._values), self._work)
        self._bars[0] += 1
        return self._values

    def peek(self, bars: Records) -> Records:
        """Readings as if these forming bars closed now. Nothing is stored."""
        self._check(bars)
        numbers, counts = _as_rows(self._seen)
        held, times, column = self._spare
        readings.peek(*self._series(), bars, self._parameters, numbers, counts, self._work, held, times, column)
        return self._seen

    def run(self, bars: Records) -> Records:
        """Commit many closed bars to the one series of this study; returns READINGS of each bar."""
        if len(self._values) != 1:
            raise ValueError(f"run is for a study of one series, not of {len(self._values)}")
        bars = check_bars(bars, self.timeframe_ms)
        out = np.empty(len(bars), READINGS)
        if len(bars):
            self._check(bars[:1])
            readings.run(*self._series(), bars, self._parameters, *_as_rows(out), self._work)
            self._bars[0] += len(bars)
            self._values[0] = out[-1]
        return out

    def snapshot(self) -> bytes:
        """Everything that later readings depend on."""
        return b"".join(array.tobytes() for array in self._arrays())

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of a study with the same series and parameters.

        Raises:
            ValueError: it has another size; nothing is changed.
        """
        arrays = self._arrays()
        if len(snapshot) != sum(array.nbytes for array in arrays):
            raise ValueError(f"this is no snapshot of such a study: {len(snapshot)} bytes")
        start = 0
        for array in arrays:
            np.copyto(array, np.frombuffer(snapshot, array.dtype, array.size, start).reshape(array.shape))
            start += array.nbytes

    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        return self._bars, self._held, self._times, self._windows, self._values

    def _series(self) -> tuple[FloatArray, IntArray, FloatArray, int]:
        """What every kernel takes first: the state, and the number of the bar that comes."""
        return self._held, self._times, self._windows, int(self._bars[0])

    def _check(self, bars: Records) -> None:
        n = len(self._values)
        if bars.dtype != BAR or bars.shape != (n,) or not bars.flags.c_contiguous:
            raise ValueError(f"{n} BAR rows are needed, one a series, not {bars.shape} of {bars.dtype}")
        series, code = readings.first_fault(self._times, int(self._bars[0]), bars, self.timeframe_ms)
        if series >= 0:
            raise ValueError(f"the bar of series {series} (open time {bars['open_time'][series]}) {fault_text(code)}")


def _as_rows(values: Records) -> tuple[FloatArray, IntArray]:
    """READINGS seen as numbers, and as counts: every field has eight bytes."""
    return values.view(np.float64).reshape(len(values), -1), values.view(np.int64).reshape(len(values), -1)
