"""TA-Lib over a whole array: ATR, RSI and Bollinger's bands. `FILE SECONDS`."""

from __future__ import annotations

import sys

import numpy as np
import talib
from meter import Meter

high, low, close = (np.ascontiguousarray(column) for column in np.load(sys.argv[1])[2:5])
meter = Meter(float(sys.argv[2]))
meter.start()
over = False
while not over:
    talib.ATR(high, low, close, 14)
    talib.RSI(close, 14)
    talib.BBANDS(close, 20, 2.0, 2.0)
    over = meter.over(len(close))
meter.report("TA-Lib", "numpy")
