"""From a raw request to its answer: routing, weights, who sends it, the handler, the ledger, headers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import localcontext
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from aegis.exchange import (
    api_account,
    api_account_v2,
    api_adl,
    api_algo,
    api_contracts,
    api_funding,
    api_margin,
    api_market,
    api_order_reads,
    api_orders,
    api_switches,
)
from aegis.exchange.account import Account
from aegis.exchange.api import ApiRequest, ApiResponse, Call, Params, Route, Security, record_request
from aegis.exchange.core import Core
from aegis.exchange.errors import Refusal
from aegis.exchange.limits import BAN_MS
from aegis.exchange.money import MONEY
from aegis.exchange.security import DEFAULT_RECV_WINDOW_MS, MAX_RECV_WINDOW_MS, KeyRing, check_timestamp, signed_payload

__all__ = ["LEDGER_ENDPOINTS", "ROUTES", "Dispatcher"]

ROUTES: dict[tuple[str, str], Route] = {
    **api_market.ROUTES,
    **api_orders.ROUTES,
    **api_order_reads.ROUTES,
    **api_algo.ROUTES,
    **api_account.ROUTES,
    **api_account_v2.ROUTES,
    **api_switches.ROUTES,
    **api_margin.ROUTES,
    **api_adl.ROUTES,
    **api_funding.ROUTES,
    **api_contracts.ROUTES,
}
#: Calls that answer at once but change something: they are in the ledger too.
LEDGER_ENDPOINTS = frozenset(
    f"POST /fapi/v1/{name}"
    for name in (
        "leverage",
        "marginType",
        "positionMargin",
        "positionSide/dual",
        "multiAssetsMargin",
        "feeBurn",
        "stock/contract",
    )
)
_JSON = ("Content-Type", "application/json;charset=utf-8")


class Dispatcher:
    """Answers requests; the only place where refusals become bodies."""

    def __init__(self, core: Core, keys: KeyRing) -> None:
        self._core = core
        self.keys = keys

    @staticmethod
    def route(request: ApiRequest) -> Route | None:
        return ROUTES.get((request.method, request.path))

    def answer(self, request: ApiRequest) -> ApiResponse:
        """Carry out an HTTP request at the exchange's present time."""
        core, now_ms = self._core, self._core.state.now_ms
        route, account = self.route(request), None
        try:
            if route is None:
                core.limits.spend_weight(request.ip, 1, now_ms)
                return self._refuse(request, Refusal(-5000, request.path, request.method))
            params = _params(request)
            core.limits.spend_weight(request.ip, route.cost(params), now_ms)
            if route.funding:
                core.limits.spend_funding_read(request.ip, now_ms)
            account = self._sender(route, request, params)
            result = self.invoke(route, params, account, f"{request.method} {request.path}")
        except Refusal as refusal:
            return self._refuse(request, refusal)
        return self._respond(request, 200, result, route, account)

    def _sender(self, route: Route, request: ApiRequest, params: Params) -> Account | None:
        """Who sends this. Raises Refusal when the route wants to know and it cannot be proven."""
        if route.security is Security.NONE:
            return None
        setup = self.keys.account(request.api_key)
        if route.security is Security.SIGNED:
            if "timestamp" not in params:
                raise Refusal(-1102, "timestamp")
            payload, signature = signed_payload(request.query, request.body)
            self.require_fresh(params)
            self.keys.verify(setup, payload, signature)
        return self._core.state.accounts[setup.id]

    def require_fresh(self, params: Params) -> None:
        """Raises Refusal -1021 by `timestamp` and `recvWindow`, -1130 for a window that cannot be."""
        window = params.optional_integer("recvWindow")
        window = DEFAULT_RECV_WINDOW_MS if window is None else window
        if not 0 < window <= MAX_RECV_WINDOW_MS:
            raise Refusal(-1130, "recvWindow")
        check_timestamp(params.integer("timestamp"), window, self._core.state.now_ms)

    def invoke(self, route: Route, params: Params, account: Account | None, endpoint: str) -> Any:
        """Run a handler and settle; a trading call leaves a `request` entry in the ledger, refused or not.

        Raises:
            Refusal: the handler's.
        """
        core = self._core
        call = Call(core=core, params=params, sender=account, now_ms=core.state.now_ms)
        with localcontext(MONEY):
            try:
                if any(route.counts) and account is not None:
                    core.limits.spend_order(account.id, call.now_ms, *route.counts)
                result = route.handler(call)
            except Refusal as refusal:
                if account is not None and (route.trading or endpoint in LEDGER_ENDPOINTS):
                    record_request(core.state, account, endpoint, params, refusal.code, None)
                    core.state.ledger.commit()
                raise
            if account is not None and (route.trading or endpoint in LEDGER_ENDPOINTS):
                record_request(core.state, account, endpoint, params, 0, result)
            core.settle()
        return result

    def _refuse(self, request: ApiRequest, refusal: Refusal) -> ApiResponse:
        body = {"code": refusal.code, "msg": refusal.message}
        return self._respond(request, refusal.status, body, None, None, wait_s=refusal.wait_s)

    def _respond(
        self,
        request: ApiRequest,
        status: int,
        body: Any,
        route: Route | None,
        account: Account | None,
        *,
        wait_s: int | None = None,
    ) -> ApiResponse:
        limits, now_ms = self._core.limits, self._core.state.now_ms
        headers = [_JSON, ("X-MBX-USED-WEIGHT-1M", str(limits.weight_used(request.ip, now_ms)))]
        if route is not None and any(route.counts) and account is not None:
            ten, minute = limits.orders_used(account.id, now_ms)
            headers += [("X-MBX-ORDER-COUNT-10S", str(ten)), ("X-MBX-ORDER-COUNT-1M", str(minute))]
        if status in (418, 429):
            if wait_s is None:
                wait_s = BAN_MS // 1000 if status == 418 else 60 - now_ms // 1000 % 60
            headers.append(("Retry-After", str(wait_s)))
        return ApiResponse(status=status, headers=tuple(headers), body=msgspec.json.encode(body))


def _params(request: ApiRequest) -> Params:
    """Query over body. Raises Refusal -1101 for a name sent twice in one of them."""
    return Params([*_pairs(request.body), *_pairs(request.query)])


def _pairs(text: bytes) -> Iterable[tuple[str, str]]:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=64, errors="strict")
    except ValueError:  # also bytes that are not UTF-8 once decoded
        raise Refusal(-1100, "query", "percent-encoded UTF-8") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise Refusal(-1101)
    return pairs
