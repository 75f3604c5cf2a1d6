"""A market or user socket after its handshake: the control protocol over a Connection, subscriptions into a hub."""

from __future__ import annotations

from typing import Protocol

from aegis.exchange.connection import Connection, RateWindow
from aegis.exchange.settings import SocketLimits
from aegis.exchange.subscriptions import Control, Endpoint, ForcedClose
from aegis.exchange.websocket import CloseCode

__all__ = ["Hub", "Session"]


class Hub(Protocol):
    """Who pushes to sessions."""

    def add(self, session: Session, name: str) -> None: ...

    def discard(self, session: Session, name: str) -> None: ...


class Session:
    """One client of a hub. Everything but `run` is synchronous."""

    def __init__(self, connection: Connection, endpoint: Endpoint, hub: Hub, limits: SocketLimits) -> None:
        self.connection = connection
        self.endpoint = endpoint
        self.route = endpoint.route
        #: Payloads are wrapped in {"stream":..., "data":...}; a client may change it.
        self.combined = endpoint.combined
        self.names: dict[str, None] = {}
        self._hub = hub
        self._window = RateWindow(limits.messages_per_s)
        self._control = Control(self, limits.streams)

    def subscribe(self, name: str) -> None:
        if name not in self.names:
            self.names[name] = None
            self._hub.add(self, name)

    def unsubscribe(self, name: str) -> None:
        if name in self.names:
            del self.names[name]
            self._hub.discard(self, name)

    async def run(self) -> None:
        """Serve until the connection ends; nothing of it stays in the hub."""
        try:
            try:
                self._control.open(self.endpoint.names)
            except ForcedClose as rule:
                self.connection.close(CloseCode.POLICY, str(rule))
            await self.connection.run(self.on_message)
        finally:
            for name in list(self.names):
                self.unsubscribe(name)

    def on_message(self, message: bytes) -> None:
        if self._window.exceeded(self.connection.pace.time()):
            self.connection.close(CloseCode.POLICY, "Too many requests")
            return
        try:
            self.connection.send_text(self._control.answer(message))
        except ForcedClose as rule:
            self.connection.close(CloseCode.POLICY, str(rule))
