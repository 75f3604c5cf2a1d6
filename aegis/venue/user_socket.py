"""The private stream (PROTOCOL.md §1.2, §3): a listen key kept alive, and typed events out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from aegis.core.errors import Restartable, VenueRefusal, VenueUnavailable
from aegis.core.messages import ListenKeyExpired, UserEvent
from aegis.core.secret import Secret
from aegis.venue.decode import Ignored, decode_user_event
from aegis.venue.endpoints import Endpoints
from aegis.venue.websocket import Dial, Socket, connection, heartbeat, live
from aegis.venue.wire_types import Malformed

__all__ = ["ListenKeys", "UserSocket"]

KEY_LIFE_S = 60 * 60
RETRY_S = 60.0


class ListenKeys(Protocol):
    """The part of `RestClient` that this needs."""

    async def start_listen_key(self) -> Secret: ...

    async def keep_listen_key(self) -> Secret: ...


class UserSocket:
    """One life of the private stream is one `run`; a supervisor starts the next.

    There is no replay on this stream: after every loss the account is read by REST.
    """

    def __init__(
        self,
        keys: ListenKeys,
        endpoints: Endpoints,
        deliver: Callable[[bytes, UserEvent | Ignored | Malformed], Awaitable[None]],
        *,
        dial: Dial,
        keep_s: float = 25 * 60,
        ping_s: float = 15.0,
        pong_s: float = 5.0,
        life_s: float = 23.5 * 3600,
    ) -> None:
        """
        Args:
            deliver: gets every message, raw (for the recorder; the listen key blotted out) and decoded, in the
                socket's own task; while it waits nothing is read, and the venue's pings go unanswered.
            keep_s: how often the key is prolonged; the venue forgets it after 60 minutes.
        """
        self._keys = keys
        self._endpoints = endpoints
        self._deliver = deliver
        self._dial = dial
        self._keep_s, self._ping_s, self._pong_s, self._life_s = keep_s, ping_s, pong_s, life_s
        self.connected = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """`started()` once the socket is open. Always ends with Restartable; a missing key right is VenueRefusal."""
        key = await self._keys.start_listen_key()

        async def serve(socket: Socket) -> Restartable:
            self.connected = True
            task_status.started()
            try:
                return await live(
                    [
                        lambda: self._read(socket, key),
                        lambda: self._keep(key),
                        lambda: heartbeat(socket, self._ping_s, self._pong_s),
                        self._retire,
                    ]
                )
            finally:
                self.connected = False  # at once: closing the socket can take a second

        why = await connection(self._dial, self._endpoints.user_stream(key.reveal()), serve)
        raise Restartable(f"private stream: {why}")

    async def _read(self, socket: Socket, key: Secret) -> None:
        hidden = key.reveal().encode()
        while True:
            message = await socket.get_message()
            payload = message.encode() if isinstance(message, str) else message
            event = decode_user_event(payload)
            if hidden in payload:
                payload = payload.replace(hidden, b"*" * len(hidden))
            await self._deliver(payload, event)
            if isinstance(event, ListenKeyExpired):
                raise Restartable("listen key expired")  # the socket stays open, but for ever mute

    async def _keep(self, key: Secret) -> None:
        """Prolong the key; while the venue cannot be asked, try each minute as long as the key can live."""
        prolonged = trio.current_time()
        wait_s = self._keep_s
        while True:
            await trio.sleep(wait_s)
            try:
                kept = await self._keys.keep_listen_key()
            except VenueRefusal as refusal:
                raise Restartable(f"listen key lost: {refusal}") from None
            except VenueUnavailable as error:
                if trio.current_time() - prolonged + RETRY_S >= KEY_LIFE_S:
                    raise Restartable(f"listen key not prolonged in time: {error}") from None
                wait_s = RETRY_S
                continue
            if kept != key:
                raise Restartable("the venue changed the listen key")
            prolonged, wait_s = trio.current_time(), self._keep_s

    async def _retire(self) -> None:
        await trio.sleep(self._life_s)
        raise Restartable("planned reconnect")
