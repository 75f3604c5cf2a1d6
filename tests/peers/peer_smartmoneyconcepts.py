"""smartmoneyconcepts, as it is used live: every new bar, all patterns of the last 500 bars anew. `FILE SECONDS`.

Six of its eight functions: what a previous period and a session reached is told without them. A bar's swings are found
once and handed to the four that want them.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings

import numpy as np
import pandas as pd
from meter import Meter

with contextlib.redirect_stdout(io.StringIO()):  # it prints a banner
    from smartmoneyconcepts import smc

WINDOW = 500
LENGTH = 5


def refresh(frame: pd.DataFrame) -> None:
    swings = smc.swing_highs_lows(frame, swing_length=LENGTH)
    smc.fvg(frame)
    smc.bos_choch(frame, swings)
    smc.ob(frame, swings)
    smc.liquidity(frame, swings)
    smc.retracements(frame, swings)


warnings.simplefilter("ignore")
columns = np.load(sys.argv[1])
bars = pd.DataFrame(
    dict(zip(("open", "high", "low", "close", "volume"), columns[1:], strict=True)),
    index=pd.to_datetime(columns[0], unit="ms"),
)
meter = Meter(float(sys.argv[2]))
refresh(bars[:WINDOW])  # what it prepares at its first call does not count
end = WINDOW
meter.start()
over = False
while not over:
    end += 1
    refresh(bars[end - WINDOW : end])
    over = meter.over(1)
meter.report("smartmoneyconcepts", "pandas", "numpy")
