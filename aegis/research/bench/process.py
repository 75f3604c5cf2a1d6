"""An engine as a user starts it: the command in a process of its own, with a home of its own, watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from aegis.core.errors import AegisError
from aegis.runtime.child import module_command

__all__ = ["EngineProcess", "Unmeasured", "cpu_s", "start_engine"]

_LINES_KEPT = 1_000
_CHUNK = 1 << 16
_GRACE_S = 30.0
_POLL_S = 0.01


class Unmeasured(AegisError):
    """What was to be measured did not come about; the text says why."""


def cpu_s(pid: int) -> float:
    """Processor time of a process so far. Raises Unmeasured once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError as error:
        raise Unmeasured(f"processor time of process {pid} cannot be read: {error}") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@attrs.define(eq=False)
class EngineProcess:
    """`aegis run` under way. `lines` are what it said on stderr, each with Trio's time of its arrival."""

    process: trio.Process
    home: Path
    lines: deque[tuple[float, str]] = attrs.field(factory=lambda: deque(maxlen=_LINES_KEPT))
    out: bytearray = attrs.field(factory=bytearray)
    begun_s: float = attrs.field(factory=trio.current_time)
    _drained: trio.Event = attrs.field(factory=trio.Event, init=False)
    _heard: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def said(self, text: str, within_s: float) -> float:
        """Seconds from the start to the first line that is `text`. Raises Unmeasured."""
        with trio.move_on_after(within_s):
            while self.process.returncode is None:
                for at_s, line in list(self.lines):
                    if line == text:
                        return at_s - self.begun_s
                await trio.sleep(_POLL_S)
        code = self.process.returncode
        if code is None:
            raise Unmeasured(f"the engine did not say {text!r} within {within_s:g} s; it last said: {self._last()}")
        with trio.move_on_after(_GRACE_S):
            await self._heard.wait()
        raise Unmeasured(f"the engine ended with {code} before it said {text!r}; it last said: {self._last()}")

    def rss_bytes(self) -> int:
        """Resident memory of the engine alone, without its exchange. Raises Unmeasured once it has ended."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_bytes().split()[1])
        except (OSError, IndexError) as error:
            raise Unmeasured(f"memory of process {self.process.pid} cannot be read: {error}") from None
        return pages * os.sysconf("SC_PAGESIZE")

    def status(self) -> Any:
        """The newest content of its status file; raises Unmeasured where there is none."""
        paths = sorted(self.home.glob("sim/*/status.json"))
        if not paths:
            raise Unmeasured("the engine has no status file")
        return json.loads(paths[-1].read_bytes())

    async def summary(self, within_s: float) -> Any:
        """Tell it to stop; its summary. Raises Unmeasured where it ends in any other way than by itself."""
        self.process.terminate()
        with trio.move_on_after(within_s):
            await self.process.wait()
        if self.process.returncode is None:
            raise Unmeasured(f"the engine did not stop within {within_s:g} s")
        await self._drained.wait()
        try:
            return json.loads(self.out)
        except ValueError:
            raise Unmeasured(f"no summary: exit code {self.process.returncode}, {self._last()}") from None

    def _last(self) -> str:
        return self.lines[-1][1] if self.lines else "nothing"

    async def _read_out(self, stream: trio.abc.ReceiveStream) -> None:
        async for data in stream:
            self.out += data
        self._drained.set()

    async def _read_lines(self, stream: trio.abc.ReceiveStream) -> None:
        rest = b""
        async for data in stream:
            *whole, rest = (rest + data).split(b"\n")
            self.lines.extend((trio.current_time(), line.decode("utf-8", "replace")) for line in whole)
        self._heard.set()


@asynccontextmanager
async def start_engine(
    home: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[EngineProcess]:
    """Run `aegis run --json` with more `arguments` for the length of the block; it is killed where it outlives it."""
    command = module_command("aegis", "run", "--json", "--home", str(home), *arguments)
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})}, start_new_session=True,
    )  # fmt: skip
    engine = EngineProcess(process, home)
    assert process.stdout is not None
    assert process.stderr is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine._read_out, process.stdout)
        nursery.start_soon(engine._read_lines, process.stderr)
        try:
            yield engine
        finally:
            if process.returncode is None:  # nothing of its home is wanted any more; its exchange ends by itself
                process.kill()
            with trio.move_on_after(_GRACE_S, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel(reason="the engine has ended")
