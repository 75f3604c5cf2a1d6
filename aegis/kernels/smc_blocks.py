"""Order blocks: how they are found and what becomes of them. Definitions are in `kernels/smc.py`."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
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
from aegis.kernels.smc_lists import drop, reached, unwatch, watch
from aegis.kernels.state import Records

__all__ = ["age_blocks", "open_block"]


@inner()
def _tell(events: Records, n: int, context: Context, kind: int, block: np.void) -> int:
    known = block["known"]
    return emit(
        events, n, context, kind, block["direction"], block["id"], block["origin"], known, block["top"], block["bottom"]
    )


@inner()
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


@inner(inline=True)
def _waits(block: np.void) -> tuple[int, float, bool]:
    """What happens to a block next, by its phase: price comes (d > 0: down) to a level, or closes there."""
    d, phase = block["direction"], block["phase"]
    near = block["top"] if d > 0 else block["bottom"]
    far = block["bottom"] if d > 0 else block["top"]
    level = far if BLOCK_IS_TOUCHED <= phase <= BLOCK_IS_MITIGATED else near
    return -d if phase == BLOCK_IS_BREAKER else d, level, phase >= BLOCK_IS_MITIGATED


@inner()
def _watch_all(edges: np.void, blocks: Records, count: int, max_age: int) -> None:
    unwatch(edges)
    for k in range(count):
        d, level, at_close = _waits(blocks[k])
        watch(edges, d, level, at_close, blocks[k]["known"] + max_age)


@inner()
def age_blocks(
    structure: np.void, edges: np.void, blocks: Records, bar: np.void, max_age: int, events: Records, n: int,
    context: Context,
) -> int:  # fmt: skip
    """Life cycle of every block known before this bar, which concerns one at least."""
    index = context[3]
    k = 0
    while k < structure["blocks"]:
        block = blocks[k]
        d, level, at_close = _waits(block)
        if not reached(bar, d, level, at_close) and index - block["known"] < max_age:
            k += 1
            continue
        n = _live(block, bar, events, n, context)
        d = block["direction"]
        near = block["top"] if d > 0 else block["bottom"]
        lost = block["phase"] == BLOCK_IS_BREAKER and d * (bar["close"] - near) > 0.0
        if lost or index - block["known"] >= max_age:
            n = _tell(events, n, context, BLOCK_DEAD, block)
            structure["blocks"] = drop(blocks, structure["blocks"], k)
        else:
            k += 1
    _watch_all(edges, blocks, structure["blocks"], max_age)
    return n


@inner()
def open_block(
    structure: np.void, edges: np.void, leg: np.void, blocks: Records, d: int, max_age: int, events: Records, n: int,
    context: Context,
) -> int:  # fmt: skip
    """The swing of this leg has just been broken: the deepest bar of the pullback before is an order block."""
    room, count = len(blocks) - 1, structure["blocks"]
    if room == 0:
        return n
    if count == room:
        n = _tell(events, n, context, BLOCK_DEAD, blocks[0])
        count = drop(blocks, count, 0)
        _watch_all(edges, blocks, count, max_age)
    block = blocks[count]
    block["id"] = identify(leg["index"], BLOCK_ID, d)
    block["direction"] = d
    block["origin"] = leg["pullback_index"]
    block["known"] = context[3]
    block["swept"] = structure["swept_low"] if d > 0 else structure["swept_high"]
    block["phase"] = BLOCK_IS_FRESH
    block["top"] = leg["pullback_far"] if d > 0 else leg["pullback"]
    block["bottom"] = leg["pullback"] if d > 0 else leg["pullback_far"]
    structure["blocks"] = count + 1
    watch(edges, d, block["top"] if d > 0 else block["bottom"], False, context[3] + max_age)
    return _tell(events, n, context, BLOCK, block)
