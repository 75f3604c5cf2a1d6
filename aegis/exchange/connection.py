"""One accepted WebSocket: a bounded outbox, a reader, a heartbeat and an end of life, in a nursery of its own."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import trio

from aegis.exchange.pace import Pace, RealPace
from aegis.exchange.settings import SocketLimits
from aegis.exchange.websocket import (
    CloseCode,
    FrameDecoder,
    Opcode,
    ProtocolViolation,
    encode_close,
    encode_frame,
)
from aegis.runtime.clock import SystemClock

__all__ = ["Connection", "RateWindow"]

_READ_BYTES = 65_536


class RateWindow:
    """Counts events of the last second; `exceeded` is asked once an event."""

    def __init__(self, per_s: int) -> None:
        self._times: deque[float] = deque(maxlen=per_s)

    def exceeded(self, now_s: float) -> bool:
        times = self._times
        over = len(times) == times.maxlen and now_s - times[0] < 1.0
        times.append(now_s)
        return over


class Connection:
    """A WebSocket after its handshake. `send_text` and `close` are synchronous and never wait for the peer.

    Args:
        stream: the TCP stream; this object closes it. Whoever wants to see what passes may wrap it before `run`.
        limits: heartbeat, life and size limits.
        control_frames_per_s: pings and pongs that the peer may send in a second; None for no limit.
        pace: of the time in which heartbeat, limits and life are counted.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        limits: SocketLimits,
        *,
        control_frames_per_s: int | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.pace = RealPace(SystemClock().wall_ns) if pace is None else pace
        self.stream = stream
        self._limits = limits
        self._control = RateWindow(control_frames_per_s) if control_frames_per_s is not None else None
        self._pending: list[bytes] = []
        self._writer_parked = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()
        self._pings: dict[bytes, float] = {}
        self._scope = trio.CancelScope()
        self.backlog_bytes = 0
        #: No message is taken or sent any more; the close frame is the last thing in the outbox.
        self.closing = False
        self._breaking = self._mute = False
        self._bytes_per_s = 0
        #: The backlog went over its limit: the peer did not read.
        self.overflowed = False

    def send_text(self, payload: bytes) -> None:
        self.send_frame(encode_frame(Opcode.TEXT, payload))

    def send_frame(self, frame: bytes) -> None:
        """Queue ready-made frames; a peer that leaves more than `backlog_bytes` unread is cut off."""
        if self.closing or self._mute:
            return
        self._pending.append(frame)
        self.backlog_bytes += len(frame)
        if self.backlog_bytes > self._limits.backlog_bytes:
            self.overflowed = True
            self.abort("peer does not read")
        elif len(self._pending) == 1:
            self._writer_parked.unpark()

    def close(self, code: int, reason: str = "") -> None:
        """Queue a close frame; the connection ends when the peer answers it, at the latest after `linger_s`."""
        if self.closing:
            return
        self.send_frame(encode_close(code, reason))
        self.closing = True
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + self._limits.linger_s)

    def abort(self, reason: str) -> None:
        """End at once, without a close frame."""
        self.closing = True
        self._pending.clear()
        self._scope.cancel(reason=reason)

    # -- faults ------------------------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """Cut the connection in the middle of the next frame."""
        self._breaking = True

    def go_mute(self) -> None:
        """Half-open: the connection stays, nothing is sent or answered any more."""
        self._mute = True

    def slow_down(self, bytes_per_s: int) -> None:
        """Send no faster than this from now on."""
        self._bytes_per_s = bytes_per_s

    async def _trickle(self, batch: bytes) -> None:
        piece = max(1, self._bytes_per_s // 10)
        for start in range(0, len(batch), piece):
            await self.stream.send_all(batch[start : start + piece])
            await trio.sleep(0.1)

    async def run(self, on_message: Callable[[bytes], None]) -> None:
        """Serve until either side ends; `on_message` gets each text or binary message and must not wait.

        Network failures end it quietly: a lost client is no fault of ours.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._heartbeat)
                    await self._read(on_message)
                    await self._flush()
                    nursery.cancel_scope.cancel(reason="connection ended")
        finally:
            self.closing = True
            await trio.aclose_forcefully(self.stream)

    async def _write(self) -> None:
        while True:
            if not self._pending:
                await self._writer_parked.park()
                continue
            batch = b"".join(self._pending)
            self._pending.clear()
            try:
                if self._breaking:
                    await self.stream.send_all(batch[: len(batch) - 1])
                    self.abort("broken off")
                elif self._bytes_per_s:
                    await self._trickle(batch)
                else:
                    await self.stream.send_all(batch)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.abort("peer is gone")
            self.backlog_bytes -= len(batch)
            if self.backlog_bytes <= 0:
                self._drained.unpark_all()

    async def drained(self) -> None:
        """Wait until the kernel has taken everything that was queued; for ever where the connection is aborted."""
        await trio.lowlevel.checkpoint()
        while self.backlog_bytes > 0:
            await self._drained.park()

    async def _flush(self) -> None:
        with trio.move_on_after(self._limits.linger_s):
            await self.drained()

    async def _read(self, on_message: Callable[[bytes], None]) -> None:
        decoder = FrameDecoder(self._limits.message_bytes)
        while True:
            try:
                data = await self.stream.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            try:
                for opcode, payload in decoder.feed(bytes(data)):
                    if opcode is Opcode.CLOSE:
                        self._answer_close(payload)
                        return
                    self._dispatch(opcode, payload, on_message)
            except ProtocolViolation as violation:
                self.close(violation.code, violation.reason)
                await self._discard()
                return

    async def _discard(self) -> None:
        """Read on until the peer closes: unread bytes would turn our close into a reset that eats the close frame."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self.stream.receive_some(_READ_BYTES):
                pass

    def _dispatch(self, opcode: Opcode, payload: bytes, on_message: Callable[[bytes], None]) -> None:
        if self.closing or self._mute:
            return
        if opcode in (Opcode.PING, Opcode.PONG):
            if self._control is not None and self._control.exceeded(self.pace.time()):
                self.close(CloseCode.POLICY, "Too many requests")
            elif opcode is Opcode.PING:
                self.send_frame(encode_frame(Opcode.PONG, payload))
            else:
                self._on_pong(payload)
        else:
            on_message(payload)

    def _on_pong(self, payload: bytes) -> None:
        """An answer settles its ping and every earlier one; an unsolicited pong is allowed and means nothing."""
        if payload in self._pings:
            for earlier in list(self._pings):
                del self._pings[earlier]
                if earlier == payload:
                    return

    def _answer_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else CloseCode.NORMAL
        valid = len(payload) != 1 and (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999)
        self.close(code if valid else CloseCode.PROTOCOL_ERROR)

    async def _heartbeat(self) -> None:
        """Ping at the venue's pace; end on a missing pong (close frame) and at the end of life (a plain cut)."""
        started = self.pace.time()
        next_ping, end_of_life, number = started + self._limits.ping_interval_s, started + self._limits.life_s, 0
        while True:
            oldest = next(iter(self._pings.values()), None)
            pong_due = float("inf") if oldest is None else oldest + self._limits.pong_timeout_s
            await self.pace.sleep_until(min(next_ping, end_of_life, pong_due))
            now = self.pace.time()
            if now >= end_of_life:
                self.abort("end of life")
            elif now >= pong_due and next(iter(self._pings.values()), None) == oldest:
                self.close(CloseCode.POLICY, "Pong timeout")
                await trio.sleep_forever()
            elif now >= next_ping:
                number += 1
                payload = b"%d" % number
                self._pings[payload] = now
                self.send_frame(encode_frame(Opcode.PING, payload))
                next_ping += self._limits.ping_interval_s
