"""Words of the trade: sides, order types, states. Values are Binance's own spellings."""

from __future__ import annotations

import enum
from typing import NewType

__all__ = [
    "AlgoStatus",
    "AlgoType",
    "ClientId",
    "OrderStatus",
    "OrderType",
    "Side",
    "SymbolName",
    "TimeInForce",
    "Word",
    "WorkingType",
]

SymbolName = NewType("SymbolName", str)
#: `<run>-<seq>`, at most 36 characters, unique for ever within an account.
ClientId = NewType("ClientId", str)


class Word(enum.Enum):
    """`text` is the value as an attribute of its own: an enum's `value` is a call, which the way of an order makes
    often."""

    text: str

    def __init__(self, text: str) -> None:
        self.text = text


class Side(Word):
    BUY = "BUY"
    SELL = "SELL"

    sign: int
    """+1 for BUY, -1 for SELL."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.sign = 1 if text == "BUY" else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(Word):
    LIMIT = "LIMIT"
    MARKET = "MARKET"


class AlgoType(enum.Enum):
    """Conditional orders; they live at the Algo Service until triggered."""

    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"


class TimeInForce(Word):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"
    GTD = "GTD"


class OrderStatus(Word):
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"
    REJECTED = "REJECTED"

    final: bool
    """Whether nothing can happen to the order any more."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.final = text not in ("NEW", "PARTIALLY_FILLED")


class AlgoStatus(enum.Enum):
    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    @property
    def final(self) -> bool:
        return self in (AlgoStatus.FINISHED, AlgoStatus.CANCELED, AlgoStatus.EXPIRED, AlgoStatus.REJECTED)


class WorkingType(Word):
    """Which price triggers a conditional order."""

    CONTRACT_PRICE = "CONTRACT_PRICE"
    MARK_PRICE = "MARK_PRICE"
