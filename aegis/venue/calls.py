"""One signed or public REST call: budget, timestamp, signature, and what an answer means for a *read*.

Orders have their own judge (`outcomes.py`); here an answer is a value or one of the errors of `core/errors.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeVar

import trio

from aegis.core.errors import Ambiguous, ConfigError, VenueRefusal, VenueUnavailable
from aegis.venue.http import HttpPort, HttpReply
from aegis.venue.limits import Limits, Priority
from aegis.venue.outcomes import ErrorBody, parse_error
from aegis.venue.signing import Params, Signer, encode_params, signed_query
from aegis.venue.wire_types import DecodeError

__all__ = ["Caller", "Security"]

T = TypeVar("T")

#: Refusals that pass by themselves: a read may be asked again.
_TRANSIENT = frozenset({-1000, -1001, -1003, -1006, -1007, -1008, -1015, -1016, -1021, -5028})
_CLOCK_CODES = frozenset({-1021, -5028})
#: A read waits this long for its budget (one bucket and a little); a longer ban is the caller's to handle.
_WAIT_MAX_NS = 65 * 1_000_000_000


class Security(enum.Enum):
    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Caller:
    """Sends requests through an `HttpPort` within the limits. `clock_ns` is venue time."""

    def __init__(
        self, port: HttpPort, signer: Signer | None, clock_ns: Callable[[], int], limits: Limits, recv_window_ms: int
    ) -> None:
        self.limits = limits
        self.clock_ns = clock_ns
        #: Called when the venue says that our timestamps are off; the clock task puts itself here.
        self.on_clock_error: Callable[[], None] = lambda: None
        self._port = port
        self._signer = signer
        self._recv_window_ms = recv_window_ms
        # Market data may queue, but never take more than half of the port's four connections from orders.
        self._bulk = trio.CapacityLimiter(2)

    async def send(self, method: str, path: str, params: Params, security: Security) -> HttpReply:
        """One request, now, without asking the budget; the reply has been noted in the limits.

        Raises:
            VenueUnavailable: nothing was sent.
            Ambiguous: no whole answer.
        """
        headers: dict[str, str] = {}
        if security is not Security.NONE:
            headers["X-MBX-APIKEY"] = self._need_signer().api_key.reveal()
        sent_ns = self.clock_ns()
        if security is Security.SIGNED:
            stamped = {**params, "recvWindow": self._recv_window_ms, "timestamp": sent_ns // 1_000_000}
            encoded = signed_query(stamped, self._need_signer())
        else:
            encoded = encode_params(params)
        target, body = path, b""
        if method == "GET":
            target = f"{path}?{encoded.decode()}" if encoded else path
        elif encoded:  # in the body, so that no URL that anything logs holds a signature
            body = encoded
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        reply = await self._port.request(method, target, headers, body)
        self._note(sent_ns, reply)
        return reply

    def _need_signer(self) -> Signer:
        if self._signer is None:
            raise ConfigError("this call needs an api key, and none is configured")
        return self._signer

    def _note(self, sent_ns: int, reply: HttpReply) -> None:
        error = parse_error(reply.body) if reply.status != 200 else None
        text = error.msg if error else reply.body[:200].decode("utf-8", "replace") if reply.status != 200 else ""
        self.limits.note_reply(sent_ns, self.clock_ns(), reply.status, reply.headers, text)
        if error is not None and error.code in _CLOCK_CODES:
            self.on_clock_error()

    async def read(
        self,
        path: str,
        params: Params,
        decode: Callable[[bytes], T],
        *,
        weight: int,
        security: Security = Security.NONE,
        priority: Priority = Priority.NORMAL,
        method: str = "GET",
    ) -> T:
        """A call that changes nothing (or is the same when repeated), decoded.

        Raises:
            VenueUnavailable: ask again later.
            VenueRefusal: the venue says no and will say no again.
        """
        if priority is Priority.BULK:
            async with self._bulk:
                return await self._read(method, path, params, decode, weight, security, priority)
        return await self._read(method, path, params, decode, weight, security, priority)

    async def _read(
        self,
        method: str,
        path: str,
        params: Params,
        decode: Callable[[bytes], T],
        weight: int,
        security: Security,
        priority: Priority,
    ) -> T:
        await self._budget(path, weight, priority)
        try:
            reply = await self.send(method, path, params, security)
        except Ambiguous as error:
            raise VenueUnavailable(str(error)) from None
        if reply.status != 200:
            raise _failure(path, reply, parse_error(reply.body))
        try:
            return decode(reply.body)
        except DecodeError as error:
            raise VenueUnavailable(f"{path}: unparsable answer: {error}") from None

    async def change(self, path: str, params: Params, decode: Callable[[bytes], T], *, weight: int) -> T:
        """A signed POST that changes a setting.

        Raises:
            VenueUnavailable: it did not happen.
            VenueRefusal: the venue says no.
            Ambiguous: it may have happened; read the setting.
        """
        await self._budget(path, weight, Priority.NORMAL)
        reply = await self.send("POST", path, params, Security.SIGNED)
        if reply.status != 200:
            error = parse_error(reply.body)
            if reply.status in (403, 418, 429) or (
                error and reply.status < 500 and error.code not in (-1000, -1006, -1007)
            ):
                raise _failure(path, reply, error)
            raise Ambiguous(f"{path}: status {reply.status}")
        try:
            return decode(reply.body)
        except DecodeError as error:
            raise Ambiguous(f"{path}: unparsable answer: {error}") from None

    async def _budget(self, path: str, weight: int, priority: Priority) -> None:
        """Wait for the budget, a bucket at most; a ban is not waited for."""
        while wait_ns := self.limits.try_spend(self.clock_ns(), weight=weight, priority=priority):
            if wait_ns > _WAIT_MAX_NS:
                raise VenueUnavailable(f"{path}: banned by the venue for {wait_ns / 1e9:.0f} s")
            await trio.sleep(wait_ns / 1e9)


def _failure(path: str, reply: HttpReply, error: ErrorBody | None) -> VenueUnavailable | VenueRefusal:
    if error is None:
        return VenueUnavailable(f"{path}: status {reply.status}")
    if reply.status >= 500 or reply.status in (403, 408, 418, 429) or error.code in _TRANSIENT:
        return VenueUnavailable(f"{path}: status {reply.status} {error.code} {error.msg[:200]}")
    return VenueRefusal(error.code, f"{path}: {error.msg[:200]}")
