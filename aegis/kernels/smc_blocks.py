"""Order blocks: how they are found and what becomes of them. Definitions are in `kernels/smc.py`."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import kernel
from aegis.kernels.smc_events import (
    BLOCK,
    BLOCK_BREAKER,
    BLOCK_DEAD,
    BLOCK_ID,
    BLOCK_IS_BREAKER,
    BLOCK_IS_FRESH,
    BLOCK_IS_MITIGATED,
    BLOCK_IS_TOUCHED,
    BLOCK_MITIGATED,
    BLOCK_TOUCHED,
    Context,
    emit,
    identify,
)
from aegis.kernels.state import Records

__all__ = ["age_blocks", "drop", "open_block"]


@kernel(bare=True)
def drop(rows: Records, count: int, k: int) -> None:
    """Remove row k of `count`; the others keep their order. The last row of the array is blank and stays so."""
    for j in range(k, count - 1):
        rows[j] = rows[j + 1]
    rows[count - 1] = rows[len(rows) - 1]


@kernel(bare=True)
def _tell(events: Records, n: int, context: Context, kind: int, block: np.void) -> int:
    known = block["known"]
    return emit(
        events, n, context, kind, block["direction"], block["id"], block["origin"], known, block["top"], block["bottom"]
    )


@kernel(bare=True)
def _live(block: np.void, bar: np.void, events: Records, n: int, context: Context) -> int:
    """Advance a block's phase with one more bar, its end excepted."""
    d = block["direction"]
    if d > 0:
        near, far, probe = block["top"], block["bottom"], bar["low"]
    else:
        near, far, probe = block["bottom"], block["top"], bar["high"]
    phase = block["phase"]
    if phase == BLOCK_IS_FRESH and d * (probe - near) <= 0.0:
        phase = BLOCK_IS_TOUCHED
        n = _tell(events, n, context, BLOCK_TOUCHED, block)
    if phase == BLOCK_IS_TOUCHED and d * (probe - far) < 0.0:
        phase = BLOCK_IS_MITIGATED
        n = _tell(events, n, context, BLOCK_MITIGATED, block)
    if phase == BLOCK_IS_MITIGATED and d * (bar["close"] - far) < 0.0:
        phase = BLOCK_IS_BREAKER
        n = _tell(events, n, context, BLOCK_BREAKER, block)
    block["phase"] = phase
    return n


@kernel(bare=True)
def age_blocks(
    structure: np.void, blocks: Records, bar: np.void, max_age: int, events: Records, n: int, context: Context
) -> int:
    """Life cycle of every block known before this bar."""
    k = 0
    while k < structure["blocks"]:
        block = blocks[k]
        n = _live(block, bar, events, n, context)
        d = block["direction"]
        near = block["top"] if d > 0 else block["bottom"]
        lost = block["phase"] == BLOCK_IS_BREAKER and d * (bar["close"] - near) > 0.0
        if lost or context[3] - block["known"] >= max_age:
            n = _tell(events, n, context, BLOCK_DEAD, block)
            drop(blocks, structure["blocks"], k)
            structure["blocks"] -= 1
        else:
            k += 1
    return n


@kernel(bare=True)
def open_block(
    structure: np.void, leg: np.void, blocks: Records, d: int, events: Records, n: int, context: Context
) -> int:
    """The swing of this leg has just been broken: the deepest bar of the pullback before is an order block."""
    room = len(blocks) - 1
    if room == 0:
        return n
    if structure["blocks"] == room:
        n = _tell(events, n, context, BLOCK_DEAD, blocks[0])
        drop(blocks, room, 0)
        structure["blocks"] -= 1
    block = blocks[structure["blocks"]]
    block["id"] = identify(leg["index"], BLOCK_ID, d)
    block["direction"] = d
    block["origin"] = leg["pullback_index"]
    block["known"] = context[3]
    block["swept"] = structure["swept_low"] if d > 0 else structure["swept_high"]
    block["phase"] = BLOCK_IS_FRESH
    block["top"] = leg["pullback_far"] if d > 0 else leg["pullback"]
    block["bottom"] = leg["pullback"] if d > 0 else leg["pullback_far"]
    structure["blocks"] += 1
    return _tell(events, n, context, BLOCK, block)
