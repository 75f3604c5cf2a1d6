"""What a client may ask for on a market or user socket, and what it gets: paths, stream names, control messages.

Synchronous and without sockets. PROTOCOL 1.2 and 1.3: a subscription is always acknowledged; a stream on the wrong
route, of an unknown symbol or of an unknown name is simply silent for ever.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import attrs
import msgspec

from aegis.exchange.history import INTERVALS

__all__ = [
    "Control",
    "Endpoint",
    "ForcedClose",
    "Route",
    "Stream",
    "StreamKind",
    "Subscriber",
    "parse_endpoint",
    "parse_stream",
]


class Route(enum.Enum):
    """First path segment. UNROUTED is the retired form: it connects, acknowledges, and pushes /public streams only."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    UNROUTED = ""
    TRADE = "ws-fapi"

    def carries(self, stream: Stream) -> bool:
        """Whether a subscription to this stream on this route ever pushes."""
        return stream.kind.route is (Route.PUBLIC if self is Route.UNROUTED else self)


class StreamKind(enum.Enum):
    """Streams that this exchange pushes; the first half of the value is the route that carries them."""

    BOOK_TICKER = ("public", "bookTicker")
    ALL_BOOK_TICKERS = ("public", "!bookTicker")
    TRADE = ("public", "trade")
    DEPTH = ("public", "depth")
    DEPTH_DIFF = ("public", "depthUpdate")
    AGG_TRADE = ("market", "aggTrade")
    MARK_PRICE = ("market", "markPrice")
    ALL_MARK_PRICES = ("market", "!markPrice@arr")
    KLINE = ("market", "kline")
    CONTINUOUS_KLINE = ("market", "continuousKline")
    TICKER = ("market", "ticker")
    MINI_TICKER = ("market", "miniTicker")
    ALL_TICKERS = ("market", "!ticker@arr")
    ALL_MINI_TICKERS = ("market", "!miniTicker@arr")
    CONTRACT_INFO = ("market", "!contractInfo")
    FORCE_ORDER = ("market", "forceOrder")
    ALL_FORCE_ORDERS = ("market", "!forceOrder@arr")

    @property
    def route(self) -> Route:
        return Route(self.value[0])


@attrs.frozen
class Stream:
    """A stream name taken apart.

    `symbol` is lower case or empty, `period_ms` 0 for real time, `levels` of depth, `interval` of klines.
    """

    kind: StreamKind
    symbol: str = ""
    period_ms: int = 0
    levels: int = 0
    interval: str = ""


_DEPTH = re.compile(r"depth(5|10|20)?(?:@(100|500)ms)?")
_TEXT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_KLINE = re.compile(r"(kline|continuousKline)_(\w{2,3})")
_KLINE_MS = 250
_MARK_MS = {"": 3_000, "@1s": 1_000}
_PLAIN = {
    "bookTicker": (StreamKind.BOOK_TICKER, 0),
    "trade": (StreamKind.TRADE, 0),
    "aggTrade": (StreamKind.AGG_TRADE, 0),
    "ticker": (StreamKind.TICKER, 2_000),
    "miniTicker": (StreamKind.MINI_TICKER, 2_000),
    "forceOrder": (StreamKind.FORCE_ORDER, 0),
    "rpiDepth@500ms": (StreamKind.DEPTH_DIFF, 500),  # nothing is hidden here, so it is the same book
}
_ALL = {
    "!bookTicker": Stream(StreamKind.ALL_BOOK_TICKERS, period_ms=5_000),
    "!markPrice@arr": Stream(StreamKind.ALL_MARK_PRICES, period_ms=3_000),
    "!markPrice@arr@1s": Stream(StreamKind.ALL_MARK_PRICES, period_ms=1_000),
    "!ticker@arr": Stream(StreamKind.ALL_TICKERS, period_ms=1_000),
    "!miniTicker@arr": Stream(StreamKind.ALL_MINI_TICKERS, period_ms=1_000),
    "!contractInfo": Stream(StreamKind.CONTRACT_INFO),
    "!forceOrder@arr": Stream(StreamKind.ALL_FORCE_ORDERS),
}


def parse_stream(name: str) -> Stream | None:
    """The stream of this name, or None when it is none that is ever pushed (symbols must be lower case)."""
    if name in _ALL:
        return _ALL[name]
    symbol, _, what = name.partition("@")
    if not symbol or symbol != symbol.lower():
        return None
    if what in _PLAIN:
        kind, period_ms = _PLAIN[what]
        return Stream(kind, symbol, period_ms)
    if what.startswith("markPrice") and what[9:] in _MARK_MS:
        return Stream(StreamKind.MARK_PRICE, symbol, _MARK_MS[what[9:]])
    depth = _DEPTH.fullmatch(what)
    if depth is not None:
        kind = StreamKind.DEPTH if depth[1] else StreamKind.DEPTH_DIFF
        return Stream(kind, symbol, int(depth[2] or 250), int(depth[1] or 0))
    return _kline(symbol, what)


def _kline(symbol: str, what: str) -> Stream | None:
    """`<symbol>@kline_<i>`, from minutes on, and `<pair>_perpetual@continuousKline_<i>`, seconds too."""
    found = _KLINE.fullmatch(what)
    if found is None or found[2] not in INTERVALS:
        return None
    if found[1] == "kline":
        return None if found[2] == "1s" else Stream(StreamKind.KLINE, symbol, _KLINE_MS, interval=found[2])
    pair, _, contract = symbol.rpartition("_")
    if contract != "perpetual":
        return None
    return Stream(StreamKind.CONTINUOUS_KLINE, pair, _KLINE_MS, interval=found[2])


@attrs.frozen(kw_only=True)
class Endpoint:
    """Where a client connected: route, wrapped payloads or bare, streams or listen keys named by the URL.

    `events` holds for each listen key the event types it asked for; an empty set means all.
    """

    route: Route
    combined: bool
    names: tuple[str, ...] = ()
    events: dict[str, frozenset[str]] = attrs.field(factory=dict)
    rate_limits: bool = True


def parse_endpoint(path: str, query: str) -> Endpoint | None:
    """The endpoint of a percent-decoded path and a raw query, or None for a path that does not exist."""
    parts = [part for part in path.split("/") if part]
    fields = parse_qsl(query, keep_blank_values=True)
    if parts == ["ws-fapi", "v1"]:
        return Endpoint(route=Route.TRADE, combined=False, rate_limits=dict(fields).get("returnRateLimits") != "false")
    route = Route.UNROUTED
    if parts and parts[0] in ("public", "market", "private"):
        route = Route(parts.pop(0))
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    names, events = parts[1:], dict[str, frozenset[str]]()
    for field, value in fields:
        if field == "streams":
            names += [name for name in value.split("/") if name]
        elif field == "listenKey":
            names.append(value)
        elif field == "events" and names:
            events[names[-1]] = frozenset(event for event in value.split("/") if event)
    return Endpoint(route=route, combined=parts[0] == "stream", names=tuple(dict.fromkeys(names)), events=events)


class Subscriber(Protocol):
    """The connection's side of a control message."""

    combined: bool

    @property
    def names(self) -> dict[str, None]:
        """Everything that was subscribed, silent or not, in order."""

    def subscribe(self, name: str) -> None: ...

    def unsubscribe(self, name: str) -> None: ...


class ForcedClose(Exception):
    """A rule was broken: the connection closes with 1008 and this text."""


class _Invalid(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Control:
    """Answers the control messages of one connection; `max_streams` counts silent subscriptions too."""

    def __init__(self, subscriber: Subscriber, max_streams: int) -> None:
        self._subscriber = subscriber
        self._max_streams = max_streams
        self._methods: dict[str, Callable[[list[Any]], Any]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": self._list,
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }

    def open(self, names: tuple[str, ...]) -> None:
        """Subscribe what the URL named. Raises ForcedClose."""
        self._subscribe(list(names))

    def answer(self, message: bytes) -> bytes:
        """The reply to one control message. Raises ForcedClose."""
        request_id: int | str | None = None
        try:
            request = self._decode(message)
            request_id = self._request_id(request)
            return msgspec.json.encode({"result": self._perform(request), "id": request_id})
        except _Invalid as invalid:
            reply: dict[str, Any] = {"error": {"code": invalid.code, "msg": str(invalid)}}
            if request_id is not None:
                reply["id"] = request_id
            return msgspec.json.encode(reply)

    def _perform(self, request: dict[str, Any]) -> Any:
        method, params = request.get("method"), request.get("params", [])
        if method is None:
            raise _Invalid(2, "Invalid request: missing field `method`")
        if not isinstance(method, str) or method not in self._methods:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            raise _Invalid(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}")
        if not isinstance(params, list):
            raise _Invalid(2, "Invalid request: params must be an array")
        return self._methods[method](params)

    @staticmethod
    def _decode(message: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Invalid(3, f"Invalid JSON: {error}") from None
        if not isinstance(request, dict):
            raise _Invalid(2, "Invalid request: expected an object")
        return request

    @staticmethod
    def _request_id(request: dict[str, Any]) -> int | str:
        """A number; or a short text, which no page mentions and the venue's own SDK sends."""
        value = request.get("id")
        if isinstance(value, str) and _TEXT_ID.fullmatch(value):
            return value
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
            raise _Invalid(2, "Invalid request: request ID must be an unsigned integer")
        return value

    @staticmethod
    def _texts(params: list[Any], what: str) -> list[str]:
        if not all(isinstance(param, str) for param in params):
            raise _Invalid(2, f"Invalid request: {what} must be a string")
        return params

    def _subscribe(self, params: list[Any]) -> None:
        names = self._texts(params, "stream name")
        known = self._subscriber.names
        if len(known) + sum(name not in known for name in dict.fromkeys(names)) > self._max_streams:
            raise ForcedClose("Too many streams")
        for name in names:
            self._subscriber.subscribe(name)

    def _unsubscribe(self, params: list[Any]) -> None:
        for name in self._texts(params, "stream name"):
            self._subscriber.unsubscribe(name)

    def _list(self, params: list[Any]) -> list[str]:
        if params:
            raise _Invalid(2, "Invalid request: too many parameters")
        return list(self._subscriber.names)

    def _set_property(self, params: list[Any]) -> None:
        self._property(params, 2)
        if not isinstance(params[1], bool):
            raise _Invalid(1, "Invalid value type: expected Boolean")
        self._subscriber.combined = params[1]

    def _get_property(self, params: list[Any]) -> bool:
        self._property(params, 1)
        return self._subscriber.combined

    @staticmethod
    def _property(params: list[Any], count: int) -> None:
        if len(params) > count:
            raise _Invalid(2, "Invalid request: too many parameters")
        if not params or not isinstance(params[0], str):
            raise _Invalid(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise _Invalid(0, "Unknown property")
        if len(params) < count:
            raise _Invalid(1, "Invalid value type: expected Boolean")
