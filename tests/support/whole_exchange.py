"""A whole exchange without sockets: its market, its trading side, and whoever listens to its public streams."""

from __future__ import annotations

import json
from typing import Any

import attrs

from aegis.exchange.api import ApiRequest, ApiResponse
from aegis.exchange.market_server import MarketHub
from aegis.exchange.server import Exchange
from aegis.exchange.settings import ExchangeSettings
from aegis.exchange.subscriptions import Route
from tests.support.exchange_rig import signed

START_NS = 1_790_000_010_000_000_000
_MS = 1_000_000
_STEP_NS = 20 * _MS


def quiet(**changes: Any) -> ExchangeSettings:
    """A small market without latency."""
    plain = {"symbols": 4, "seed": 7, "rate": 100.0, "latency_median_ms": 0.0, "latency_p99_ms": 0.0}
    return ExchangeSettings(**(plain | changes))


class Ear:
    """A session without a socket: what is pushed to it."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.combined = True
        self.connection = self
        self.wire = bytearray()

    def send_frame(self, frame: bytes) -> None:
        self.wire += frame

    def heard(self) -> list[tuple[str, Any]]:
        """(stream, data) of every message since the last call."""
        out, at = [], 0
        while at < len(self.wire):
            length, head = self.wire[at + 1], 2
            if length >= 126:
                head = 4 if length == 126 else 10
                length = int.from_bytes(self.wire[at + 2 : at + head], "big")
            message = json.loads(self.wire[at + head : at + head + length])
            out.append((message["stream"], message["data"]))
            at += head + length
        self.wire.clear()
        return out


@attrs.define
class Whole:
    """An exchange and its clock; `at_s` counts from its start."""

    exchange: Exchange
    hub: MarketHub
    now_ns: int
    user_events: list[dict[str, Any]] = attrs.field(factory=list)

    @classmethod
    def open(cls, settings: ExchangeSettings, now_ns: int = START_NS) -> Whole:
        exchange = Exchange.build(settings, now_ns)
        whole = cls(exchange, MarketHub(exchange.books, exchange.listings, exchange.history), exchange.books.now_ns)
        exchange.simulator.user_events = lambda _, payload: whole.user_events.append(json.loads(payload))
        return whole

    def listen(self, *names: str, route: Route = Route.MARKET) -> Ear:
        ear = Ear(route)
        for name in names:
            self.hub.add(ear, name)
        return ear

    def run_to(self, at_s: float) -> None:
        """Step the exchange as its driver does."""
        until_ns = self.exchange.born_ns + round(at_s * 1e9)
        while self.now_ns < until_ns:
            self.now_ns = min(until_ns, self.now_ns + _STEP_NS)
            self.exchange.simulator.advance(self.now_ns)
            records = self.exchange.books.published()
            self.exchange.history.apply(records, self.now_ns)
            self.hub.publish(records, self.now_ns, self.exchange.simulator.news())

    def call(self, method: str, path: str, **params: Any) -> Any:
        """A signed call; the decoded body, or ("refused", code)."""
        settings = self.exchange.settings
        request = signed(method, path, params, self.now_ns // _MS, settings.api_key, settings.api_secret)
        return self.send(request)

    def send(self, request: ApiRequest) -> Any:
        answers: list[ApiResponse] = []
        self.exchange.simulator.request(request, self.now_ns, answers.append)
        self.exchange.simulator.advance(self.now_ns)
        (answer,) = answers
        body = json.loads(answer.body)
        return body if answer.status == 200 else ("refused", body["code"])
