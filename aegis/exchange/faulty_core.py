"""Requests that go wrong between a client and the exchange: answers that lie, orders that come late or never."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Any
from urllib.parse import parse_qsl

import attrs
import msgspec

from aegis.exchange.api import CUT, ApiRequest, ApiResponse
from aegis.exchange.api_dispatch import ROUTES
from aegis.exchange.api_ws import METHODS
from aegis.exchange.fault_draws import FaultPlan
from aegis.exchange.simulator import Simulator

__all__ = ["FaultyCore"]

_JSON = ("Content-Type", "application/json;charset=utf-8")
_UNKNOWN_TEXT = "Unknown error, please check your request or try again later."
_TIMEOUT_TEXT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_UNEXPECTED_TEXT = "An unexpected response was received from the message bus. Execution status unknown."
_INTERNAL_TEXT = "Internal error; unable to process your request. Please try again."
_THROTTLED_TEXT = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)
_USE_SOCKETS = "Please use the websocket for live updates to avoid bans."
_RECV_WINDOW_MS = 5_000
#: Of the recvWindow: what is on the wire before and behind it takes its time too.
_LATEST = 0.8
_ID_FIELDS = ("orderId", "origClientOrderId", "algoId", "clientAlgoId")
_LOOKED_FOR = {("GET", "/fapi/v1/order"), ("GET", "/fapi/v1/openOrder"), ("GET", "/fapi/v1/algoOrder"),
               ("DELETE", "/fapi/v1/order"), ("DELETE", "/fapi/v1/algoOrder")}  # fmt: skip
_PLACING = {("POST", "/fapi/v1/order"), ("POST", "/fapi/v1/algoOrder")}
_THROTTLED = {("POST", "/fapi/v1/order"), ("POST", "/fapi/v1/batchOrders"), ("POST", "/fapi/v1/order/test")}


@attrs.frozen
class _Canned:
    """A made-up answer."""

    status: int
    code: int | None
    text: str


_CANNED = {
    "unknown": _Canned(503, None, _UNKNOWN_TEXT),
    "timeout": _Canned(408, -1007, _TIMEOUT_TEXT),
    "unexpected": _Canned(500, -1006, _UNEXPECTED_TEXT),
    "reset": _Canned(CUT, None, ""),
    "silent": _Canned(CUT, None, ""),
    "garbled": _Canned(CUT, None, '{"clientOrderId":"'),
    "late": _Canned(503, None, _UNKNOWN_TEXT),
    "unavailable": _Canned(503, None, "Service Unavailable."),
    "internal": _Canned(503, -1001, _INTERNAL_TEXT),
    "throttled": _Canned(503, -1008, _THROTTLED_TEXT),
    "maintenance": _Canned(503, -1016, "Service is under maintenance."),
    "not_found": _Canned(400, -2013, "Order does not exist."),
    "not_open": _Canned(400, -2011, "Unknown order sent."),
}
_FAILED = ("unavailable", "internal", "throttled", "unknown", "timeout", "unexpected", "reset")


@attrs.frozen
class _Call:
    """What both kinds of request have in common.

    Attributes:
        carry_out: hands it to the exchange at a time; its argument gets the true answer.
        refuse: answers with something made up, and with how long to stay away.
        pass_on: answers with what the exchange said.
        body_of: the object that a true answer brings, empty where it brings none.
    """

    method: str
    path: str
    params: dict[str, str]
    trading: bool
    carry_out: Callable[[int, Callable[[Any], None]], None]
    refuse: Callable[[_Canned, int], None]
    pass_on: Callable[[Any], None]
    body_of: Callable[[Any], bytes]


class FaultyCore:
    """The simulator as clients meet it: stands where it would stand, for REST and for the trade socket."""

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        self._simulator = simulator
        self._plan = plan
        self._later: list[tuple[int, int, Callable[[int], None]]] = []
        self._number = 0
        self._hidden: dict[str, int] = {}
        self._banned_until_ns = 0

    # -- the two doors -------------------------------------------------------------------------------------------------

    def request(self, request: ApiRequest, now_ns: int, deliver: Callable[[ApiResponse], None]) -> None:
        """See `Simulator.request`."""
        route = ROUTES.get((request.method, request.path))
        call = _Call(
            method=request.method,
            path=request.path,
            params=_params(request.query) | _params(request.body),
            trading=route is not None and route.trading,
            carry_out=lambda at_ns, told: self._simulator.request(request, at_ns, told),
            refuse=lambda canned, retry_s: deliver(_response(canned, retry_s)),
            pass_on=deliver,
            body_of=lambda response: response.body if response.status == 200 else b"",
        )
        self._judge(call, now_ns)

    def ws_api(
        self, message: bytes, now_ns: int, deliver: Callable[[bytes | None], None], connection: Hashable
    ) -> None:
        """See `Simulator.ws_api`; `deliver` of None cuts the socket."""
        call = self._simulator.decode_ws(message)
        method, path = METHODS.get(call.method, ("", ""))

        def refuse(canned: _Canned, _: int) -> None:
            deliver(None if canned.status == CUT else _frame(call.id, canned))

        self._judge(
            _Call(
                method=method,
                path=path,
                params=call.params,
                trading=call.trading,
                carry_out=lambda at_ns, told: self._simulator.ws_api(message, at_ns, told, connection),
                refuse=refuse,
                pass_on=deliver,
                body_of=_result,
            ),
            now_ns,
        )

    # -- what becomes of a request -------------------------------------------------------------------------------------

    def _judge(self, call: _Call, now_ns: int) -> None:
        plan, shares = self._plan, self._plan.faults.requests
        if plan.in_maintenance(now_ns):
            plan.counts["maintenance"] += 1
            call.refuse(_CANNED["maintenance"], 0)
        elif now_ns < self._banned_until_ns or plan.happens("banned", shares.banned):
            self._ban(call, now_ns)
        elif plan.happens("too_many", shares.too_many):
            call.refuse(_Canned(429, -1003, "Too many requests; current limit is 2400 requests per minute."), 1)
        elif self._hides(call, now_ns):
            call.refuse(_CANNED["not_open" if call.method == "DELETE" else "not_found"], 0)
        elif call.trading:
            self._trade(call, plan.choose("trading", shares.shares), now_ns)
        elif plan.happens("reads", shares.reads):
            call.refuse(_CANNED["unavailable"], 0)
        else:
            call.carry_out(now_ns, call.pass_on)

    def _trade(self, call: _Call, fault: str | None, now_ns: int) -> None:
        seen = self._remembering(call)
        if fault == "throttled" and not _may_be_throttled(call):
            fault = None  # those are exempt from it
        if fault is None or fault == "slow":
            wait_ns = round(self._plan.faults.requests.slow_s * 1e9) if fault else 0

            def tell(answer: Any) -> None:
                seen(answer)
                if wait_ns:
                    self._after(wait_ns, lambda _: call.pass_on(answer))
                else:
                    call.pass_on(answer)

            call.carry_out(now_ns, tell)
        elif fault == "late":
            call.refuse(_CANNED["late"], 0)
            window_ms = min(60_000, int(call.params.get("recvWindow") or _RECV_WINDOW_MS))
            self._after(
                round(self._plan.uniform("late", _LATEST * window_ms) * 1e6), lambda at_ns: call.carry_out(at_ns, seen)
            )
        elif fault in _FAILED:
            call.refuse(_CANNED[fault], 0)
        else:
            canned = _CANNED[fault.removesuffix("_executed")]

            def lie(answer: Any) -> None:
                seen(answer)
                if fault != "silent":
                    call.refuse(canned, 0)

            call.carry_out(now_ns, lie)

    def _ban(self, call: _Call, now_ns: int) -> None:
        ban_ns = round(self._plan.faults.requests.banned_s * 1e9)
        if now_ns >= self._banned_until_ns:
            self._banned_until_ns = now_ns + ban_ns
        until_ms = self._banned_until_ns // 1_000_000
        text = f"Way too many requests; IP banned until {until_ms}. " + _USE_SOCKETS
        call.refuse(_Canned(418, -1003, text), max(1, round((self._banned_until_ns - now_ns) / 1e9)))

    # -- reads that lag behind -----------------------------------------------------------------------------------------

    def _remembering(self, call: _Call) -> Callable[[Any], None]:
        """Called with the true answer: a new order may not be found for a while."""

        def seen(answer: Any) -> None:
            shares = self._plan.faults.requests
            body = call.body_of(answer) if (call.method, call.path) in _PLACING else b""
            if body and self._plan.happens("read_lag", shares.read_lag):
                wait_ns = round(self._plan.uniform("read_lag_s", shares.read_lag_s) * 1e9)
                placed = msgspec.json.decode(body)
                for name in ("orderId", "clientOrderId", "algoId", "clientAlgoId"):
                    if name in placed:
                        self._hidden[f"{call.path} {placed[name]}"] = self._simulator.now_ns + wait_ns

        return seen

    def _hides(self, call: _Call, now_ns: int) -> bool:
        if not self._hidden or (call.method, call.path) not in _LOOKED_FOR:
            return False
        self._hidden = {key: until_ns for key, until_ns in self._hidden.items() if until_ns > now_ns}
        path = "/fapi/v1/order" if call.path == "/fapi/v1/openOrder" else call.path
        return any(f"{path} {call.params[name]}" in self._hidden for name in _ID_FIELDS if name in call.params)

    # -- later ---------------------------------------------------------------------------------------------------------

    def _after(self, wait_ns: int, what: Callable[[int], None]) -> None:
        self._number += 1
        heapq.heappush(self._later, (self._simulator.now_ns + wait_ns, self._number, what))

    def step(self, now_ns: int) -> None:
        """Do what was put off until now."""
        while self._later and self._later[0][0] <= now_ns:
            heapq.heappop(self._later)[2](now_ns)


def _may_be_throttled(call: _Call) -> bool:
    reducing = call.params.get("reduceOnly") == "true" or call.params.get("closePosition") == "true"
    sides = (call.params.get("positionSide"), call.params.get("side"))
    closing = sides in (("LONG", "SELL"), ("SHORT", "BUY"))
    return (call.method, call.path) in _THROTTLED and not reducing and not closing


def _params(text: bytes) -> dict[str, str]:
    return dict(parse_qsl(text.decode("latin-1"), max_num_fields=256)) if text.count(b"&") < 256 else {}


def _response(canned: _Canned, retry_s: int) -> ApiResponse:
    headers = (_JSON, ("Retry-After", str(retry_s))) if retry_s else (_JSON,)
    if canned.status == CUT:
        return ApiResponse(status=CUT, headers=headers, body=canned.text.encode())
    if canned.code is None:
        return ApiResponse(status=canned.status, headers=headers, body=canned.text.encode())
    body = msgspec.json.encode({"code": canned.code, "msg": canned.text})
    return ApiResponse(status=canned.status, headers=headers, body=body)


def _frame(request_id: int | str | None, canned: _Canned) -> bytes:
    code = -1000 if canned.code is None else canned.code
    error = {"code": code, "msg": canned.text}
    return msgspec.json.encode({"id": request_id, "status": canned.status, "error": error})


def _result(frame: bytes) -> bytes:
    answer = msgspec.json.decode(frame)
    return msgspec.json.encode(answer["result"]) if answer["status"] == 200 else b""
