"""Binance USDⓈ-M REST, typed (PROTOCOL.md §4). One method an endpoint; errors as `Caller.read` and `change` say.

The same client runs on sockets (`HttpxPort`) and in memory on the simulated exchange: only the port differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aegis.core.errors import Ambiguous, VenueRefusal, VenueUnavailable
from aegis.core.messages import Outcome, Request, Unknown
from aegis.core.secret import Secret
from aegis.core.values import ClientId, SymbolName
from aegis.venue import decode_replies as decode
from aegis.venue import replies
from aegis.venue.calls import Caller, Security
from aegis.venue.decode_exchange_info import exchange_info
from aegis.venue.encode import encode
from aegis.venue.http import HttpPort
from aegis.venue.limits import Limits, Priority
from aegis.venue.outcomes import classify, not_sent
from aegis.venue.signing import Signer

__all__ = ["RestClient"]

T = TypeVar("T")

_NO_NEED_TO_CHANGE_MARGIN_TYPE = -4046


class RestClient:
    """Every call we make. `clock_ns` is venue time; without a `signer` only market data can be asked for."""

    def __init__(
        self,
        port: HttpPort,
        signer: Signer | None,
        clock_ns: Callable[[], int],
        limits: Limits,
        recv_window_ms: int = 3000,
    ) -> None:
        self._caller = Caller(port, signer, clock_ns, limits, recv_window_ms)
        self._read = self._caller.read
        self.limits = limits

    def on_clock_error(self, callback: Callable[[], None]) -> None:
        """`callback` is called (synchronously) whenever the venue finds our timestamp outside its window."""
        self._caller.on_clock_error = callback

    # -- orders --------------------------------------------------------------------------------------------------------
    async def submit(self, request: Request) -> Outcome:
        """Send once. Venue and network never make it raise, and it never sends again.

        Over budget or banned it does not wait: the request comes back as not sent.
        """
        call = encode(request)
        wait_ns = self.limits.try_spend(
            self._caller.clock_ns(), weight=call.weight, orders=call.orders, priority=call.priority
        )
        if wait_ns:
            return not_sent(request, f"rate limit, {wait_ns / 1e9:.1f} s to wait")
        try:
            reply = await self._caller.send(call.method, call.path, call.params, Security.SIGNED)
        except VenueUnavailable as error:
            return not_sent(request, str(error))
        except Ambiguous as error:
            return Unknown(request=request, reason=str(error))
        return classify(request, reply.status, reply.body)

    async def order(
        self, symbol: SymbolName, cid: ClientId | None = None, *, order_id: int | None = None
    ) -> replies.OrderState:
        """By our id or by the venue's. VenueRefusal(-2013): not found, which right after a submit proves nothing."""
        params = _given(symbol=symbol, origClientOrderId=cid, orderId=order_id)
        return await self._account("/fapi/v1/order", params, decode.order_state, 1)

    async def algo_order(self, cid: ClientId) -> replies.AlgoState:
        """VenueRefusal(-2013) as with `order`."""
        return await self._account("/fapi/v1/algoOrder", {"clientAlgoId": cid}, decode.algo_state, 1)

    async def open_orders(self, symbol: SymbolName | None = None) -> tuple[replies.OrderState, ...]:
        weight = 1 if symbol else 40
        return await self._account("/fapi/v1/openOrders", _symbol(symbol), decode.order_states, weight)

    async def open_algo_orders(self, symbol: SymbolName | None = None) -> tuple[replies.AlgoState, ...]:
        weight = 1 if symbol else 40
        return await self._account("/fapi/v1/openAlgoOrders", _symbol(symbol), decode.algo_states, weight)

    async def user_trades(
        self,
        symbol: SymbolName,
        *,
        from_id: int | None = None,
        order_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 1000,
    ) -> tuple[replies.UserTrade, ...]:
        """One page of our fills, ascending. `from_id` and times exclude each other; a window is at most 7 days."""
        params = _given(
            symbol=symbol, fromId=from_id, orderId=order_id, startTime=start_ms, endTime=end_ms, limit=limit
        )
        return await self._account("/fapi/v1/userTrades", params, decode.user_trades, 5)

    # -- account -------------------------------------------------------------------------------------------------------
    async def account(self) -> replies.Account:
        return await self._account("/fapi/v3/account", {}, decode.account, 5)

    async def balances(self) -> tuple[replies.Balance, ...]:
        return await self._account("/fapi/v3/balance", {}, decode.balances, 5)

    async def positions(self, symbol: SymbolName | None = None) -> tuple[replies.Position, ...]:
        """Symbols with a position or open orders; a flat account gives ()."""
        return await self._account("/fapi/v3/positionRisk", _symbol(symbol), decode.positions, 5)

    async def symbol_configs(self, symbol: SymbolName | None = None) -> tuple[replies.SymbolConfig, ...]:
        return await self._account("/fapi/v1/symbolConfig", _symbol(symbol), decode.symbol_configs, 5)

    async def account_config(self) -> replies.AccountConfig:
        return await self._account("/fapi/v1/accountConfig", {}, decode.account_config, 5)

    async def leverage_brackets(self, symbol: SymbolName | None = None) -> tuple[replies.Brackets, ...]:
        return await self._account("/fapi/v1/leverageBracket", _symbol(symbol), decode.brackets, 1)

    async def commission_rate(self, symbol: SymbolName) -> replies.CommissionRate:
        return await self._account("/fapi/v1/commissionRate", {"symbol": symbol}, decode.commission_rate, 20)

    async def income(
        self,
        *,
        symbol: SymbolName | None = None,
        income_type: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 1000,
    ) -> tuple[replies.Income, ...]:
        params = _given(symbol=symbol, incomeType=income_type, startTime=start_ms, endTime=end_ms, limit=limit)
        return await self._account("/fapi/v1/income", params, decode.income, 30)

    async def set_leverage(self, symbol: SymbolName, leverage: int) -> replies.LeverageSetting:
        params: dict[str, str | int] = {"symbol": symbol, "leverage": leverage}
        return await self._caller.change("/fapi/v1/leverage", params, decode.leverage, weight=1)

    async def set_margin_type(self, symbol: SymbolName, *, isolated: bool) -> None:
        """-4046 (it is so already) is success. Read `symbol_configs` first: other refusals are not always honest."""
        params = {"symbol": symbol, "marginType": "ISOLATED" if isolated else "CROSSED"}
        try:
            await self._caller.change("/fapi/v1/marginType", params, lambda _: None, weight=1)
        except VenueRefusal as refusal:
            if refusal.code != _NO_NEED_TO_CHANGE_MARGIN_TYPE:
                raise

    # -- the key of the private stream ---------------------------------------------------------------------------------
    async def start_listen_key(self) -> Secret:
        """A new key, or the account's active one prolonged by 60 minutes."""
        return Secret(await self._listen_key("POST"))

    async def keep_listen_key(self) -> Secret:
        """Prolong by 60 minutes; VenueRefusal(-1125) when there is none."""
        return Secret(await self._listen_key("PUT"))

    async def _listen_key(self, method: str) -> str:
        path = "/fapi/v1/listenKey"
        return await self._read(path, {}, decode.listen_key, weight=1, security=Security.KEY, method=method)

    # -- market --------------------------------------------------------------------------------------------------------
    async def server_time(self) -> int:
        """Venue milliseconds. Urgent: signatures depend on it."""
        return await self._read("/fapi/v1/time", {}, decode.server_time, weight=1, priority=Priority.URGENT)

    async def exchange_info(self) -> replies.ExchangeInfo:
        """Symbols and limits; the limits are put into force."""
        info = await self._read("/fapi/v1/exchangeInfo", {}, exchange_info, weight=1)
        self.limits.configure(info.limits)
        return info

    async def klines(
        self,
        symbol: SymbolName,
        interval: str,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        qty_decimals: int,
        symbol_index: int = 0,
        timeframe_index: int = 0,
    ) -> NDArray[np.void]:
        """Bars in ascending order, shape (n,), dtype `BAR`, the forming one included; times are open times.

        Args:
            interval: `1m`, `1h`, ...; `1s` too, which only continuous contracts have.
            limit: at most 1500.
            qty_decimals: volumes come as lots of 10**-qty_decimals.
            symbol_index: written into every row, as is `timeframe_index`.
        """
        params = _given(interval=interval, startTime=start_ms, endTime=end_ms, limit=limit)
        if interval.endswith("s"):
            path = "/fapi/v1/continuousKlines"
            params = {"pair": symbol, "contractType": "PERPETUAL", **params}
        else:
            path = "/fapi/v1/klines"
            params = {"symbol": symbol, **params}

        def bars(body: bytes) -> NDArray[np.void]:
            return decode.klines(body, qty_decimals=qty_decimals, symbol=symbol_index, timeframe=timeframe_index)

        weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        return await self._read(path, params, bars, weight=weight, priority=Priority.BULK)

    async def agg_trades(
        self,
        symbol: SymbolName,
        *,
        from_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 1000,
    ) -> tuple[replies.AggTrade, ...]:
        """Ascending by id, of the last 48 h. `from_id` and times exclude each other; a window is below one hour."""
        params = _given(symbol=symbol, fromId=from_id, startTime=start_ms, endTime=end_ms, limit=limit)
        return await self._read("/fapi/v1/aggTrades", params, decode.agg_trades, weight=20, priority=Priority.BULK)

    async def depth(self, symbol: SymbolName, limit: int = 20) -> replies.Depth:
        weight = 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20
        params: dict[str, str | int] = {"symbol": symbol, "limit": limit}
        return await self._read("/fapi/v1/depth", params, lambda body: decode.depth(body, symbol), weight=weight)

    async def book_tickers(self) -> tuple[replies.BookTicker, ...]:
        return await self._read("/fapi/v1/ticker/bookTicker", {}, decode.book_tickers, weight=5)

    async def tickers_24h(self) -> tuple[replies.Ticker24h, ...]:
        return await self._read("/fapi/v1/ticker/24hr", {}, decode.tickers_24h, weight=40)

    async def premium_index(self) -> tuple[replies.PremiumIndex, ...]:
        return await self._read("/fapi/v1/premiumIndex", {}, decode.premium_index, weight=10)

    async def _account(
        self, path: str, params: Mapping[str, str | int], convert: Callable[[bytes], T], weight: int
    ) -> T:
        return await self._read(path, params, convert, weight=weight, security=Security.SIGNED)


def _symbol(symbol: SymbolName | None) -> dict[str, str | int]:
    return {"symbol": symbol} if symbol else {}


def _given(**params: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}
