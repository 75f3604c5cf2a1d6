"""User data sockets: events of an account to every session that named a listen key of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aegis.exchange.session import Session
from aegis.exchange.subscriptions import Route
from aegis.exchange.websocket import Opcode, encode_frame

__all__ = ["PrivateHub"]


_STRANGE_NS = 600_000_000_000


class _Head(msgspec.Struct):
    e: str = ""
    listenKey: str = ""


class PrivateHub:
    """Who listens to which account.

    A key that does not exist is accepted and silent (PROTOCOL 1.2); so is one that has expired, after the
    `listenKeyExpired` event that names it.

    Args:
        account_of: the account id of a valid listen key, else None; asked at every event, because keys expire.
    """

    def __init__(self, account_of: Callable[[str], str | None]) -> None:
        self._account_of = account_of
        self._sessions: dict[str, dict[Session, None]] = {}
        self._slot = 0
        self._head = msgspec.json.Decoder(_Head)

    def add(self, session: Session, name: str) -> None:
        if session.route is Route.PRIVATE:
            self._sessions.setdefault(name, {})[session] = None

    def discard(self, session: Session, name: str) -> None:
        listeners = self._sessions.get(name)
        if listeners is not None:
            listeners.pop(session, None)
            if not listeners:
                del self._sessions[name]

    def step(self, now_ns: int) -> None:
        """Every ten minutes an event of a type that no page knows: clients must pass it over."""
        slot, before = now_ns // _STRANGE_NS, self._slot
        self._slot = slot
        if before and slot != before:
            event = b'{"e":"TOMORROWS_UPDATE","E":%d,"tomorrowsField":{"known":false}}' % (now_ns // 1_000_000)
            for account in {self._account_of(key) for key in self._sessions} - {None}:
                self.publish(str(account), event)

    def publish(self, account_id: str, payload: bytes) -> None:
        """Hand one event of an account to its sessions, wrapped where they asked for it."""
        head = self._head.decode(payload)
        for key, listeners in list(self._sessions.items()):
            expired = head.e == "listenKeyExpired" and head.listenKey == key
            if not expired and self._account_of(key) != account_id:
                continue
            wrapped = b'{"stream":%s,"data":%s}' % (msgspec.json.encode(key), payload)
            for session in listeners:
                wanted = session.endpoint.events.get(key)
                if not wanted or head.e in wanted:
                    session.connection.send_frame(encode_frame(Opcode.TEXT, wrapped if session.combined else payload))
