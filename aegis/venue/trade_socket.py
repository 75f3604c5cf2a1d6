"""Orders over the WebSocket API (PROTOCOL.md §1.5): one outbound task, replies matched by id, no waiting for anyone.

    send() -> socket, at once            -> in flight -> reply -> deliver(Outcome)
           -> outbox -> outbound task ->

A request leaves within `send` where the socket takes it; one that finds others waiting waits behind them.

Every request that `send` accepted gets exactly one outcome. When the socket is lost, what was in flight becomes
`Unknown` and what had not left is `Refused` as not sent. Nothing is ever sent twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import trio

from aegis.core.errors import Restartable
from aegis.core.messages import Outcome, Request, Unknown
from aegis.runtime.metrics import Metrics
from aegis.venue.encode import Call, encode
from aegis.venue.limits import Limits
from aegis.venue.line import text_frame
from aegis.venue.outcomes import ErrorBody, classify, classify_error, not_sent
from aegis.venue.signing import Ed25519Signer, Params, Signer, signed_ws_params
from aegis.venue.websocket import Dial, DirectSocket, Socket, connection, heartbeat, live
from aegis.venue.wire_types import DecodeError, Id, Text, parse

__all__ = ["TradeSocket"]

OUTBOX = 256  # more than the venue takes in 10 s (300) is no use; full: the caller goes by REST
IN_FLIGHT_MAX = 1024
HANDSHAKE_WEIGHT = 5
#: A request with its call, and when it was taken (venue ns); None: flush what `send` could not write whole.
_Waiting = tuple[Request, Call, int] | None
DRAIN_S = 5.0


class _Count(msgspec.Struct, rename="camel"):
    rate_limit_type: Text
    interval: Text
    interval_num: int
    count: int


class _Reply(msgspec.Struct, rename="camel"):
    status: int
    id: Id | Text | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: ErrorBody | None = None
    rate_limits: list[_Count] = []


_REPLY = msgspec.json.Decoder(_Reply)


class TradeSocket:
    """One connection at a time; `run` is one life of it and ends with `Restartable`, a supervisor starts the next."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        clock_ns: Callable[[], int],
        deliver: Callable[[Outcome], None],
        *,
        limits: Limits,
        dial: Dial,
        recv_window_ms: int = 3000,
        logon: bool = False,
        ping_s: float = 15.0,
        pong_s: float = 5.0,
        life_s: float = 23.5 * 3600,
        on_clock_error: Callable[[], None] = lambda: None,
        metrics: Metrics | None = None,
    ) -> None:
        """
        Args:
            clock_ns: venue time.
            deliver: gets every outcome, synchronously, in the socket's own task; it must not block.
            limits: shared with REST for order counts; the weight of this API is counted there too, which errs safely.
            logon: authenticate the session once instead of each request; needs an Ed25519 key.
            metrics: told how long requests wait for the socket's task, are encoded and signed, and are written.
            life_s: the venue cuts at 24 h; before that we drain and reconnect by ourselves.
        """
        if logon and not isinstance(signer, Ed25519Signer):
            raise ValueError("session.logon needs an Ed25519 key")
        self._url = url
        self._signer = signer
        self._clock_ns = clock_ns
        self._deliver = deliver
        self._limits = limits
        self._dial = dial
        self._recv_window_ms = recv_window_ms
        self._logon = logon
        self._ping_s, self._pong_s, self._life_s = ping_s, pong_s, life_s
        self._on_clock_error = on_clock_error
        told = metrics or Metrics()
        self._wait_ns = told.histogram("order.wait_ns")
        self._encode_ns = told.histogram("order.encode_ns")
        self._send_ns = told.histogram("order.send_ns")
        self._ids = itertools.count(1)
        self._outbox: trio.MemorySendChannel[_Waiting] | None = None
        self._in_flight: dict[int, Request] = {}
        self._drained: trio.Event | None = None
        self._direct: DirectSocket | None = None
        self._waiting = 0
        self.malformed = 0
        self.unmatched = 0

    @property
    def ready(self) -> bool:
        """Whether `send` has a connection to send on."""
        return self._outbox is not None

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def send(self, request: Request) -> bool:
        """Take `request` for sending, now and without waiting.

        Returns False where nothing was or will be sent (no connection, queue full, over budget): go by REST.
        """
        if self._outbox is None or len(self._in_flight) >= IN_FLIGHT_MAX:
            return False
        if self._outbox.statistics().current_buffer_used >= OUTBOX:
            return False
        call, now_ns = encode(request), self._clock_ns()
        if self._limits.try_spend(now_ns, weight=call.weight, orders=call.orders, priority=call.priority):
            return False
        if not self._send_now(request, call):
            self._waiting += 1
            self._outbox.send_nowait((request, call, now_ns))
        return True

    def rehearse(self, request: Request) -> None:
        """All that `send` does but the sending."""
        text_frame(self._message(encode(request))[1])

    def _send_now(self, request: Request, call: Call) -> bool:
        """Write the request in the caller's own turn; False where that cannot be, and nothing has left."""
        assert self._outbox is not None
        if self._direct is None or self._waiting:
            return False
        begin_ns = self._clock_ns()
        request_id, message = self._message(call)
        ready_ns = self._clock_ns()
        if not self._direct.send_text_now(message):
            return False
        self._in_flight[request_id] = request
        if self._direct.unsent:
            self._waiting += 1
            self._outbox.send_nowait(None)
        self._wait_ns.record(0)
        self._encode_ns.record(ready_ns - begin_ns)
        self._send_ns.record(self._clock_ns() - ready_ns)
        return True

    def _message(self, call: Call) -> tuple[int, bytes]:
        """The next id, and the call under it, stamped and signed."""
        request_id = next(self._ids)
        stamped = self._stamp(call.params)
        params = dict(stamped) if self._logon else signed_ws_params(stamped, self._signer)
        return request_id, _message(request_id, call.ws_method, params)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, be ready (`started()`), serve until the connection is lost; always ends with Restartable."""
        wait_ns = self._limits.try_spend(self._clock_ns(), weight=HANDSHAKE_WEIGHT)
        if wait_ns:
            raise Restartable(f"trade socket: rate limit, {wait_ns / 1e9:.1f} s to wait")
        send, receive = trio.open_memory_channel[_Waiting](OUTBOX)

        async def serve(socket: Socket) -> Restartable:
            if self._logon:
                await self._log_on(socket)
            self._outbox = send
            self._direct = socket if isinstance(socket, DirectSocket) else None
            self._waiting = 0
            task_status.started()
            why = await live(
                [
                    lambda: self._read(socket),
                    lambda: self._write(socket, receive),
                    lambda: heartbeat(socket, self._ping_s, self._pong_s),
                    lambda: self._retire(receive),
                ]
            )
            self._settle(receive, str(why))  # at once: closing the socket can take a second
            return why

        try:
            why = await connection(self._dial, self._url, serve)
        finally:
            self._settle(receive, "stopped")  # whatever a cancellation left
        raise Restartable(f"trade socket: {why}")

    def _settle(self, receive: trio.MemoryReceiveChannel[_Waiting], why: str) -> None:
        """Nothing more goes out; every open request gets its outcome."""
        self._outbox = self._drained = self._direct = None
        in_flight, self._in_flight = self._in_flight, {}
        for request in in_flight.values():
            self._deliver(Unknown(request=request, reason=f"trade socket lost: {why}"))
        while receive.statistics().current_buffer_used:
            waiting = receive.receive_nowait()
            if waiting is not None:
                self._deliver(not_sent(waiting[0], f"trade socket lost: {why}"))

    async def _write(self, socket: Socket, receive: trio.MemoryReceiveChannel[_Waiting]) -> None:
        while True:
            waiting = await receive.receive()
            if waiting is None:  # the rest of a message that the kernel did not take whole
                assert self._direct is not None
                await self._direct.flush()
                self._waiting -= 1
                continue
            request, call, queued_ns = waiting
            begin_ns = self._clock_ns()
            request_id, message = self._message(call)
            self._in_flight[request_id] = request  # before the first byte can leave
            ready_ns = self._clock_ns()
            await socket.send_message(message.decode())
            self._waiting -= 1
            self._wait_ns.record(begin_ns - queued_ns)
            self._encode_ns.record(ready_ns - begin_ns)
            self._send_ns.record(self._clock_ns() - ready_ns)

    def _stamp(self, params: Params) -> Params:
        return {**params, "recvWindow": self._recv_window_ms, "timestamp": self._clock_ns() // 1_000_000}

    async def _read(self, socket: Socket) -> None:
        while True:
            message = await socket.get_message()
            payload = message.encode() if isinstance(message, str) else message
            try:
                reply = parse(_REPLY, payload)
            except DecodeError:
                self.malformed += 1  # whose it was is unknown: its deadline settles it
                continue
            self._take(reply)

    def _take(self, reply: _Reply) -> None:
        now_ns = self._clock_ns()
        for row in reply.rate_limits:
            if row.rate_limit_type == "ORDERS":  # the weight count is of another budget than REST's
                self._limits.note_used(now_ns, row.rate_limit_type, row.interval, row.interval_num, row.count)
        text = reply.error.msg if reply.error else ""
        if reply.status in (403, 418, 429):
            self._limits.note_reply(now_ns, now_ns, reply.status, {}, text)
        if reply.error is not None and reply.error.code in (-1021, -5028):
            self._on_clock_error()
        if reply.id is None and reply.error is not None:
            raise Restartable(f"session refused: {reply.error.code} {text[:100]}")
        request = self._in_flight.pop(reply.id, None) if isinstance(reply.id, int) else None
        if request is None:
            self.unmatched += 1
        elif reply.status == 200:
            self._deliver(classify(request, 200, bytes(reply.result)))
        else:
            code = reply.error.code if reply.error else None
            self._deliver(classify_error(request, reply.status, code, text))
        if self._drained is not None and not self._in_flight:
            self._drained.set()

    async def _log_on(self, socket: Socket) -> None:
        stamp = {"timestamp": self._clock_ns() // 1_000_000}
        request_id = next(self._ids)
        await socket.send_message(
            _message(request_id, "session.logon", signed_ws_params(stamp, self._signer)).decode()
        )
        message = await socket.get_message()
        try:
            reply = parse(_REPLY, message.encode() if isinstance(message, str) else message)
        except DecodeError as error:
            raise Restartable(f"unparsable answer to session.logon: {error}") from None
        if reply.status != 200 or reply.id != request_id:
            code = reply.error.code if reply.error else reply.status
            raise Restartable(f"session.logon refused: {code}")

    async def _retire(self, receive: trio.MemoryReceiveChannel[_Waiting]) -> None:
        """Before the venue's own cut: take no more, let the answers come, then reconnect."""
        await trio.sleep(self._life_s)
        self._outbox = None
        if self._in_flight or receive.statistics().current_buffer_used:
            self._drained = trio.Event()
            with trio.move_on_after(DRAIN_S):
                await self._drained.wait()
        raise Restartable("planned reconnect")


def _message(request_id: int, method: str, params: Params) -> bytes:
    return msgspec.json.encode({"id": request_id, "method": method, "params": params})
