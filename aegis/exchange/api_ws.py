"""The WebSocket API: one JSON frame a request, the same handlers as REST. PROTOCOL.md §1.5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import attrs
import msgspec

from aegis.exchange.account import Account
from aegis.exchange.api import Params, Route, Security
from aegis.exchange.api_dispatch import ROUTES, Dispatcher
from aegis.exchange.core import Core
from aegis.exchange.errors import Refusal

__all__ = ["METHODS", "WsApi", "WsCall"]

#: Method -> the REST endpoint whose handler answers it.
METHODS: dict[str, tuple[str, str]] = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.status": ("GET", "/fapi/v3/account"),
    "account.balance": ("GET", "/fapi/v3/balance"),
    "account.position": ("GET", "/fapi/v3/positionRisk"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "depth": ("GET", "/fapi/v1/depth"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}
_SESSION = {"session.logon", "session.status", "session.logout"}
_SESSION_WEIGHT = 2
_SESSIONS_KEPT = 1024
_IP = "websocket-api"  # its weight budget is separate from REST's
_DECODER = msgspec.json.Decoder(float_hook=str)  # a signature is over the number as it was written


@attrs.frozen
class WsCall:
    """A decoded frame, or (`problem`) why it is none."""

    id: int | str | None
    method: str = ""
    params: dict[str, str] = attrs.field(factory=dict)
    problem: Refusal | None = None

    @property
    def route(self) -> Route | None:
        return ROUTES.get(METHODS.get(self.method, ("", "")))

    @property
    def trading(self) -> bool:
        """Whether it travels with latency."""
        return self.route is not None and self.route.trading


class WsApi:
    """Decodes frames and answers them; remembers which connections logged on."""

    def __init__(self, core: Core, dispatcher: Dispatcher) -> None:
        self._core = core
        self._dispatcher = dispatcher
        self._sessions: OrderedDict[Hashable, tuple[Account, int]] = OrderedDict()

    @staticmethod
    def decode(message: bytes) -> WsCall:
        """Any bytes; what is wrong with them is in the result."""
        try:
            frame = _DECODER.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return WsCall(None, problem=Refusal(-1000, message="Invalid JSON."))
        if not isinstance(frame, dict):
            return WsCall(None, problem=Refusal(-1000, message="A request must be a JSON object."))
        id_, method, params = frame.get("id"), frame.get("method"), frame.get("params") or {}
        if isinstance(id_, bool) or not isinstance(id_, int | str | None):
            return WsCall(None, problem=Refusal(-1102, "id"))
        if not isinstance(method, str):
            return WsCall(id_, problem=Refusal(-1102, "method"))
        if not isinstance(params, dict):
            return WsCall(id_, method, problem=Refusal(-1102, "params"))
        texts: dict[str, str] = {}
        for name, value in params.items():
            if isinstance(value, dict | list):
                return WsCall(id_, method, problem=Refusal(-1130, name))
            if value is not None:
                texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
        return WsCall(id_, method, texts)

    def answer(self, call: WsCall, connection: Hashable) -> bytes:
        """Carry a frame out at the exchange's present time."""
        with_limits = call.params.get("returnRateLimits") != "false"
        account: Account | None = None
        answer: dict[str, Any]
        try:
            if call.problem is not None:
                raise call.problem
            if call.method in _SESSION:
                result = self._session(call, connection)
            else:
                account, result = self._invoke(call, connection)
        except Refusal as refusal:
            status = refusal.status
            answer = {"id": call.id, "status": status, "error": {"code": refusal.code, "msg": refusal.message}}
        else:
            answer = {"id": call.id, "status": 200, "result": result}
        if with_limits:
            answer["rateLimits"] = self._rate_limits(account)
        return msgspec.json.encode(answer)

    def _invoke(self, call: WsCall, connection: Hashable) -> tuple[Account | None, Any]:
        route = call.route
        if route is None:
            raise Refusal(-1020)
        params = Params(call.params.items())
        self._core.limits.spend_weight(_IP, route.cost(params), self._core.state.now_ms)
        account = self._sender(route, call, params, connection)
        method, path = METHODS[call.method]
        return account, self._dispatcher.invoke(route, params, account, f"{method} {path}")

    def _sender(self, route: Route, call: WsCall, params: Params, connection: Hashable) -> Account | None:
        if route.security is Security.NONE:
            return None
        session = self._sessions.get(connection)
        if session is not None and "apiKey" not in params:
            if route.security is Security.SIGNED:
                self._dispatcher.require_fresh(params)
            return session[0]
        if route.security is Security.SIGNED:
            return self._signed(call, params)
        return self._core.state.accounts[self._dispatcher.keys.account(params.optional("apiKey")).id]

    def _signed(self, call: WsCall, params: Params) -> Account:
        setup = self._dispatcher.keys.account(params.optional("apiKey"))
        self._dispatcher.require_fresh(params)
        signature = params.text("signature")
        signed = sorted((name, value) for name, value in call.params.items() if name != "signature")
        payload = "&".join(f"{name}={value}" for name, value in signed).encode()
        self._dispatcher.keys.verify(setup, payload, signature)
        return self._core.state.accounts[setup.id]

    def _session(self, call: WsCall, connection: Hashable) -> dict[str, Any]:
        """session.logon (Ed25519 keys only), session.status, session.logout."""
        now_ms = self._core.state.now_ms
        self._core.limits.spend_weight(_IP, _SESSION_WEIGHT, now_ms)
        if call.method == "session.logon":
            account = self._signed(call, Params(call.params.items()))
            if account.setup.public_key is None:
                raise Refusal(-2015)
            self._sessions[connection] = account, now_ms
            while len(self._sessions) > _SESSIONS_KEPT:
                self._sessions.popitem(last=False)
        elif call.method == "session.logout":
            self._sessions.pop(connection, None)
        account_since = self._sessions.get(connection)
        return {
            "apiKey": None if account_since is None else account_since[0].setup.api_key,
            "authorizedSince": None if account_since is None else account_since[1],
            "connectedSince": now_ms if account_since is None else account_since[1],
            "returnRateLimits": True,
            "serverTime": now_ms,
        }

    def _rate_limits(self, account: Account | None) -> list[dict[str, Any]]:
        limits, now_ms = self._core.limits, self._core.state.now_ms
        weight = {"interval": "MINUTE", "intervalNum": 1, "limit": limits.weight_limit}
        rows = [{"rateLimitType": "REQUEST_WEIGHT", **weight, "count": limits.weight_used(_IP, now_ms)}]
        if account is not None:
            ten, minute = limits.orders_used(account.id, now_ms)
            for interval, number, limit, count in (
                ("SECOND", 10, limits.orders_10s, ten),
                ("MINUTE", 1, limits.orders_minute, minute),
            ):
                row = {"interval": interval, "intervalNum": number, "limit": limit, "count": count}
                rows.append({"rateLimitType": "ORDERS", **row})
        return rows
