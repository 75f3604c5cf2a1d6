"""A symbol that joins a market table that is in use already."""

from __future__ import annotations

import numpy as np

from aegis.kernels.market import KEY_BYTES, Table, hash_slot, symbol_index

__all__ = ["add_symbol"]


def add_symbol(table: Table, symbol: str, qty_decimals: int) -> int:
    """Give the first spare row to a symbol; returns its index.

    Raises:
        ValueError: there is none left, or the symbol is known, has no name or a name that is too long.
    """
    name = np.frombuffer(symbol.encode(), np.uint8)
    free = np.flatnonzero(table.symbols["key_end"] == 0)
    if not len(free) or not 0 < len(name) <= KEY_BYTES or symbol_index(table, symbol) >= 0:
        raise ValueError(f"no row for {symbol!r}: {len(free)} are spare")
    index, start = int(free[0]), int(table.symbols["key_end"].max())
    table.keys[start : start + len(name)] = name
    row = table.symbols[index]
    row["key_start"], row["key_end"], row["qty_decimals"] = start, start + len(name), qty_decimals
    hash_slot(table, index)
    return index
