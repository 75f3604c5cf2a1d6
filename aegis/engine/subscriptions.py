"""Which streams one connection has been asked for, and which of them the venue has agreed to."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from aegis.venue.market_events import Control
from aegis.venue.market_socket import subscribe, unsubscribe

__all__ = ["Subscriptions"]


@attrs.define(eq=False)
class Subscriptions:
    """Of one connection. What was refused counts as asked for: asking again would be refused again."""

    agreed: set[str] = attrs.field(factory=set, init=False)
    _asked: dict[str, None] = attrs.field(factory=dict, init=False)
    _waiting: dict[int, tuple[str, ...]] = attrs.field(factory=dict, init=False)
    _messages: int = attrs.field(default=0, init=False)

    def towards(self, wanted: Iterable[str]) -> list[bytes]:
        """The control messages, at most one of each kind, that lead from what was asked for to what is wanted."""
        target = dict.fromkeys(wanted)
        more = tuple(stream for stream in target if stream not in self._asked)
        less = tuple(stream for stream in self._asked if stream not in target)
        self._asked = target
        self.agreed.difference_update(less)
        messages = []
        if less:
            messages.append(unsubscribe(less, self._next_id()))
        if more:
            number = self._next_id()
            self._waiting[number] = more
            messages.append(subscribe(more, number))
        return messages

    def answered(self, answer: Control) -> tuple[str, ...]:
        """The venue's answer; returns the streams that it is about."""
        streams = () if answer.id is None else self._waiting.pop(answer.id, ())
        if answer.code is None:
            self.agreed.update(stream for stream in streams if stream in self._asked)
        return streams

    def _next_id(self) -> int:
        self._messages += 1
        return self._messages
