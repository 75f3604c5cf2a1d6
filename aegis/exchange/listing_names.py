"""Names of synthetic contracts: known coins with a plausible price first, then pronounceable made-up ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

__all__ = ["KNOWN", "made_up_names"]

#: (base asset, plausible price in USDT), most active first. Prices are made up.
KNOWN: tuple[tuple[str, float], ...] = (
    ("BTC", 98_000.0), ("ETH", 3_400.0), ("SOL", 190.0), ("XRP", 2.3), ("DOGE", 0.32), ("BNB", 690.0),
    ("ADA", 0.95), ("1000PEPE", 0.0185), ("SUI", 4.1), ("LINK", 22.5), ("AVAX", 38.0), ("LTC", 105.0),
    ("TRX", 0.25), ("DOT", 7.1), ("NEAR", 5.2), ("WIF", 1.9), ("1000SHIB", 0.0215), ("APT", 9.4),
    ("ARB", 0.78), ("OP", 1.85), ("FIL", 5.1), ("BCH", 455.0), ("ETC", 26.3), ("UNI", 13.4),
    ("ATOM", 6.6), ("INJ", 20.4), ("AAVE", 330.0), ("SEI", 0.41), ("TIA", 5.0), ("ENA", 0.95),
    ("FET", 1.35), ("ORDI", 24.0), ("WLD", 2.1), ("GALA", 0.035), ("RUNE", 4.7), ("HBAR", 0.28),
    ("ICP", 10.6), ("XLM", 0.37), ("ALGO", 0.35), ("SAND", 0.58), ("MANA", 0.49), ("CRV", 0.9),
    ("LDO", 1.7), ("MKR", 1_520.0), ("SNX", 1.95), ("COMP", 78.0), ("DYDX", 1.45), ("AXS", 6.2),
    ("1000BONK", 0.031), ("1000FLOKI", 0.17), ("JUP", 0.82), ("PYTH", 0.36), ("STX", 1.55), ("IMX", 1.32),
    ("GRT", 0.21), ("THETA", 2.1), ("VET", 0.046), ("EOS", 0.78), ("XTZ", 1.25), ("KAVA", 0.46),
    ("1000SATS", 0.0002), ("HOT", 0.0021), ("BOME", 0.0062), ("DENT", 0.0011), ("1000000MOG", 1.6), ("NOT", 0.0061),
)  # fmt: skip

_STARTS = ("VE", "KO", "LU", "ZA", "MI", "TO", "RE", "QUA", "NY", "FA", "BI", "HE", "OR", "XE", "PA", "DU", "SY", "GLO")
_MIDDLES = ("LO", "RA", "NE", "VI", "TA", "MU", "SE", "DI", "PO", "KA")
_ENDS = ("X", "N", "R", "S", "", "L", "M", "D", "FI", "T")


def made_up_names() -> Iterator[str]:
    """1,800 different base assets in a fixed order; neighbours share little."""
    known = {name for name, _ in KNOWN}
    for end, middle, start in product(_ENDS, _MIDDLES, _STARTS):
        name = start + middle + end
        if name not in known:
            yield name
