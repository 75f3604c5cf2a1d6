"""Where the venue lives: hosts and path forms (PROTOCOL.md §1.1, §1.2). Only data."""

from __future__ import annotations

import attrs

__all__ = ["DEMO", "LIVE", "Endpoints", "simulated"]


@attrs.frozen(kw_only=True)
class Endpoints:
    """Base addresses without a trailing slash. Sockets of the three routes never mix their streams."""

    rest: str
    market_public: str
    """bookTicker, depth, trade"""
    market_market: str
    """aggTrade, markPrice, kline, forceOrder, contractInfo, tickers"""
    private: str
    trade: str | None
    """The WebSocket API; None where the venue has none: REST alone must suffice"""

    def user_stream(self, listen_key: str) -> str:
        """Raw form of the private stream; every event of the account."""
        return f"{self.private}/ws?listenKey={listen_key}"


def _routed(host: str) -> dict[str, str]:
    return {"market_public": f"{host}/public", "market_market": f"{host}/market", "private": f"{host}/private"}


LIVE = Endpoints(
    rest="https://fapi.binance.com",
    trade="wss://ws-fapi.binance.com/ws-fapi/v1",
    **_routed("wss://fstream.binance.com"),
)

#: Demo Trading. Its WebSocket API is not confirmed for demo accounts, so orders go by REST.
DEMO = Endpoints(rest="https://demo-fapi.binance.com", trade=None, **_routed("wss://demo-fstream.binance.com"))


def simulated(*, rest: str, stream: str, trade: str | None) -> Endpoints:
    """The simulated exchange, by the origins that it names when it is ready."""
    return Endpoints(rest=rest, trade=trade, **_routed(stream))
