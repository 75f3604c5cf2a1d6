from __future__ import annotations

from aegis.kernels import smc
from aegis.kernels.sane import check_bars
from aegis.research import signal_timings


def test_every_figure_is_measured_on_bars_that_may_be_taken() -> None:
    bars = signal_timings.walk(2_000)
    assert check_bars(bars, 60_000) is bars
    assert {int(kind) for kind in smc.detect(bars, 60_000)["kind"]} >= {smc.FVG, smc.BOS, smc.BLOCK, smc.POOL}
    times = signal_timings.cycle_times(series=3, bars=40)
    assert min(times.bar_ns, times.close_ms, times.peek_ms) > 0
    assert signal_timings.batch_s(500) > 0
    assert signal_timings.detect_s(500) > 0
