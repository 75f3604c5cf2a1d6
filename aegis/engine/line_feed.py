"""Lines of a bare recording into the machine, in place of the bytes of a market socket."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from aegis.engine.inputs import InputKind, NoTap
from aegis.engine.machine import Machine
from aegis.kernels import wire
from aegis.kernels.lines import DONE, HITS_FULL, ROWS_FULL, SLOW, Chunk, apply_lines

__all__ = ["LineFeed"]


class LineFeed:
    """Frames of a bare recording, each received at its own time, on one of the machine's channels.

    Args:
        number: of the channel.
        symbols: see `kernels.lines.apply_lines`.
        at: told the time (venue ns) of a line at which something is about to be decided.
    """

    def __init__(
        self, machine: Machine, number: int, symbols: npt.NDArray[np.int32], at: Callable[[int], None]
    ) -> None:
        self._machine = machine
        self._number = number
        self._symbols = symbols
        self._at = at

    def take(self, chunk: Chunk, start: int, until_ns: int, most: int | None = None) -> int:
        """From `start` on the lines before `until_ns`, at most `most`; it ends early, behind one that decided anything.

        Returns:
            The first line that was not taken.
        """
        machine = self._machine
        lines = chunk.lines if most is None else chunk.lines[: start + most]
        while start < len(lines):
            status, behind, depths = apply_lines(chunk.data, lines, start, until_ns, self._symbols, machine.table)
            if depths:
                machine.other_messages["Depth"] += depths
            if behind > start:
                machine.channels[self._number].recv_ns = int(lines["now_ns"][behind - 1])
            if type(machine.tap) is not NoTap:
                self._show(chunk.data, lines[start:behind])
            start = behind
            if status == DONE:
                break
            if status == ROWS_FULL:
                machine.take_batch()
                continue
            line = lines[start if status == HITS_FULL else start - 1]
            now_ns = int(line["now_ns"])
            self._at(now_ns)
            if status != SLOW or machine.strict(bytes(chunk.data[line["start"] : line["end"]]), now_ns):
                machine.on_hits(now_ns)
            break
        return start

    def _show(self, data: npt.NDArray[np.uint8], lines: npt.NDArray[np.void]) -> None:
        """Lines that were taken, to the tap, each as the read that it stands for."""
        for line in lines:
            read = wire.frame(bytes(data[line["start"] : line["end"]]))
            self._machine.tap.record(InputKind.READ, int(line["now_ns"]), self._number, read)
