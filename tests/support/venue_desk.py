"""A trade socket on a stage, with the requests that its tests send."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

from aegis.core.errors import Restartable
from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest, Outcome
from aegis.core.secret import Secret
from aegis.core.values import AlgoType, ClientId, OrderType, Side, SymbolName, WorkingType
from aegis.venue.limits import Limits
from aegis.venue.signing import HmacSigner
from aegis.venue.trade_socket import TradeSocket
from tests.support.socket_stage import Script, Stage

BTC = SymbolName("BTCUSDT")
T0 = 1_790_000_040_000_000_000
SIGNER = HmacSigner(Secret("APIKEY"), Secret("SECRET"))
STOP = AlgoRequest(
    cid=ClientId("1-2"), symbol=BTC, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=Decimal("9.5"),
    working_type=WorkingType.MARK_PRICE,
)  # fmt: skip
CANCEL = CancelRequest(cid=ClientId("1-1"), symbol=BTC)


def order(n: int) -> OrderRequest:
    return OrderRequest(cid=ClientId(f"1-{n}"), symbol=BTC, side=Side.BUY, type=OrderType.MARKET, qty=Decimal("0.1"))


class Desk:
    """A trade socket on a stage, and what it delivered."""

    def __init__(self, nursery: trio.Nursery, script: Script, **options: object) -> None:
        self.stage = Stage(nursery, script)
        self.outcomes: list[Outcome] = []
        self.limits = options.pop("limits", None) or Limits()
        self.complaints = 0
        self.why = ""
        self.socket = TradeSocket(
            "ws://exchange.test/ws-fapi/v1",
            options.pop("signer", SIGNER),
            lambda: T0 + round(trio.current_time() * 1e9),
            self.outcomes.append,
            limits=self.limits,
            dial=self.stage.dial,
            on_clock_error=self._complain,
            **options,
        )

    def _complain(self) -> None:
        self.complaints += 1

    async def life(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with pytest.raises(Restartable) as caught:
            await self.socket.run(task_status=task_status)
        self.why = str(caught.value)
