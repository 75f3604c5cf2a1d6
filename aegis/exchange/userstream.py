"""User data events, field by field as PROTOCOL.md §3, and the listen keys under which they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from aegis.core.values import OrderStatus, OrderType
from aegis.exchange.account import Account, Position, unrealized
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.money import plain
from aegis.exchange.orders import Order, average_price
from aegis.exchange.state import Fill

__all__ = [
    "LISTEN_KEY_LIFE_MS",
    "ListenKeys",
    "MoneyShot",
    "OrderShot",
    "PositionShot",
    "account_update",
    "algo_update",
    "callback_text",
    "leverage_update",
    "listen_key_expired",
    "money_moved",
    "order_trade_update",
    "position_shot",
    "price",
    "quantity",
    "trade_lite",
]

LISTEN_KEY_LIFE_MS = 3_600_000
Event = dict[str, Any]


class OrderShot(msgspec.Struct, frozen=True, gc=False):
    """What an order is at a moment, for whoever writes it down later."""

    order: Order
    ms: int
    status: OrderStatus
    ticks: int
    steps: int
    filled: int
    quote_e16: int
    stp: str
    price_match: str
    bids: int
    """Ticks x steps of open buys that may add to the position; `asks` of open sells."""
    asks: int
    execution: str
    """`x`: NEW, CANCELED, CALCULATED, EXPIRED, TRADE or AMENDMENT."""
    reason: int
    """`er`."""
    fill: Fill | None
    modify_id: int | None


class PositionShot(msgspec.Struct, frozen=True, gc=False):
    """What a position is at a moment."""

    position: Position
    steps: int
    entry_e16: int
    realized: int
    isolated: bool
    isolated_wallet: int
    mark_e8: int


class MoneyShot(msgspec.Struct, frozen=True, gc=False):
    """What an account is at a moment, with its changed positions; amounts in 1e-8."""

    wallet: int
    cross_wallet: int
    ms: int
    reason: str
    positions: list[PositionShot]
    change: int = 0
    """`bc`: balance change other than PnL and commission."""


def position_shot(position: Position, mark_e8: int) -> PositionShot:
    return PositionShot(
        position, position.steps, position.entry_e16, position.realized, position.setting.isolated,
        position.isolated_wallet, mark_e8,
    )  # fmt: skip


def order_trade_update(shot: OrderShot) -> Event:
    """ORDER_TRADE_UPDATE."""
    order, listing, fill = shot.order, shot.order.listing, shot.fill
    detail: Event = {
        "s": listing.symbol,
        "c": order.client_id,
        "S": order.side.value,
        "o": order.type.value,
        "f": order.tif.value,
        "q": quantity(listing, shot.steps),
        "p": price(listing, shot.ticks),
        "ap": average_price(listing, shot.quote_e16, shot.filled),
        "sp": price(listing, order.trigger_ticks),
        "x": shot.execution,
        "X": shot.status.value,
        "i": order.order_id,
        "l": quantity(listing, fill.steps) if fill else "0",
        "z": quantity(listing, shot.filled),
        "L": price(listing, fill.ticks) if fill else "0",
        "n": plain(fill.commission) if fill else "0",
        "N": "USDT",
        "T": shot.ms,
        "t": fill.trade_id if fill else 0,
        "b": plain(shot.bids * listing.unit_e16, 16),
        "a": plain(shot.asks * listing.unit_e16, 16),
        "m": fill.maker if fill else False,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.original_type,
        "ps": order.position_side,
        "cp": order.close_position,
        "rp": plain(fill.realized) if fill else "0",
        "pP": order.price_protect,
        "si": 0,
        "ss": 0,
        "V": shot.stp,
        "pm": shot.price_match,
        "gtd": order.good_till_ms,
        "er": str(shot.reason),
    }
    if shot.modify_id is not None:
        detail["M"] = str(shot.modify_id)
    return {"e": "ORDER_TRADE_UPDATE", "T": shot.ms, "E": shot.ms, "o": detail}


def price(listing: Listing, ticks: int) -> str:
    """Shortest text of a price."""
    return plain(ticks * listing.tick_units, listing.price_decimals)


def quantity(listing: Listing, steps: int) -> str:
    """Shortest text of a quantity."""
    return plain(steps * listing.step_units, listing.qty_decimals)


def trade_lite(shot: OrderShot) -> Event:
    """TRADE_LITE of a fill: no commission, no status."""
    order, listing, fill = shot.order, shot.order.listing, shot.fill
    assert fill is not None
    return {
        "e": "TRADE_LITE",
        "E": shot.ms,
        "T": shot.ms,
        "s": listing.symbol,
        "q": quantity(listing, shot.steps),
        "p": price(listing, shot.ticks) if order.type is OrderType.LIMIT else "0",
        "m": fill.maker,
        "c": order.client_id,
        "S": order.side.value,
        "L": price(listing, fill.ticks),
        "l": quantity(listing, fill.steps),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def account_update(
    account: Account,
    now_ms: int,
    reason: str,
    positions: Sequence[tuple[Position, int]] = (),
    *,
    change: int = 0,
    symbol: str | None = None,
) -> Event:
    """ACCOUNT_UPDATE.

    Args:
        positions: changed positions, each with its mark price in 1e-8.
        change: `bc`: balance change other than PnL and commission.
        symbol: `S` of a FUNDING_FEE.
    """
    shots = [position_shot(position, mark_e8) for position, mark_e8 in positions]
    event = money_moved(MoneyShot(account.wallet, account.cross_wallet, now_ms, reason, shots, change))
    if symbol is not None:
        event["a"]["S"] = symbol
    return event


def money_moved(shot: MoneyShot) -> Event:
    """ACCOUNT_UPDATE of values that were taken down."""
    balance = {"a": "USDT", "wb": plain(shot.wallet), "cw": plain(shot.cross_wallet), "bc": plain(shot.change)}
    detail: Event = {"B": [balance], "P": [_position(row) for row in shot.positions], "m": shot.reason}
    return {"e": "ACCOUNT_UPDATE", "T": shot.ms, "E": shot.ms, "a": detail}


def _position(shot: PositionShot) -> Event:
    listing = shot.position.listing
    return {
        "s": listing.symbol,
        "pa": quantity(listing, shot.steps),
        "ep": plain(shot.entry_e16, 16),
        "cr": plain(shot.realized),
        "up": plain(unrealized(listing, shot.steps, shot.entry_e16, shot.mark_e8)),
        "mt": "isolated" if shot.isolated else "cross",
        "iw": plain(shot.isolated_wallet),
        "ps": shot.position.side,
        "ma": "USDT",
        "bep": plain(shot.entry_e16, 16),
    }


def leverage_update(listing: Listing, leverage: int, now_ms: int) -> Event:
    """ACCOUNT_CONFIG_UPDATE of a symbol's leverage."""
    detail = {"s": listing.symbol, "l": leverage}
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": detail}


def callback_text(algo: AlgoOrder) -> str:
    """The callback rate of a trailing stop, in percent."""
    return plain(algo.callback, 2)


def algo_update(algo: AlgoOrder, now_ms: int) -> Event:
    """ALGO_UPDATE; `ai`, `ap`, `aq` and `act` tell of the child once there is one."""
    detail: Event = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type.value,
        "s": algo.listing.symbol,
        "S": algo.side.value,
        "ps": algo.position_side,
        "f": algo.tif,
        "q": quantity(algo.listing, algo.steps),
        "X": algo.status.value,
        "ai": "" if algo.child_id is None else str(algo.child_id),
        "tp": price(algo.listing, algo.trigger_ticks),
        "p": price(algo.listing, algo.ticks),
        "V": algo.stp,
        "wt": algo.working_type.value,
        "pm": algo.price_match,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only or algo.close_position,
        "tt": algo.trigger_ms,
        "gtd": algo.good_till_ms,
    }
    if algo.trailing:
        detail |= {"AP": price(algo.listing, algo.activate_ticks), "cr": callback_text(algo)}
        detail["ia"] = algo.extreme is not None
    if algo.child_id is not None:
        detail |= {
            "ap": algo.average,
            "aq": quantity(algo.listing, algo.filled),
            "act": algo.child_type.value,
        }
    if algo.reason:
        detail["rm"] = algo.reason
    return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": detail}


class ListenKeys:
    """At most one key an account, valid for 60 minutes from its last use of POST or PUT."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._issued = 0
        self._keys: dict[str, tuple[str, int]] = {}

    def start(self, account: str, now_ms: int) -> str:
        """POST: the active key, extended, or a new one."""
        key, expires_ms = self._keys.get(account, ("", 0))
        if expires_ms <= now_ms:
            self._issued += 1
            key = hashlib.sha256(f"{self._seed}:{account}:{self._issued}".encode()).hexdigest()
        self._keys[account] = key, now_ms + LISTEN_KEY_LIFE_MS
        return key

    def extend(self, account: str, now_ms: int) -> str:
        """PUT. Raises Refusal -1125 when none is active."""
        key, expires_ms = self._keys.get(account, ("", 0))
        if expires_ms <= now_ms:
            raise Refusal(-1125)
        self._keys[account] = key, now_ms + LISTEN_KEY_LIFE_MS
        return key

    def stop(self, account: str) -> str | None:
        """DELETE. The key that ended, if any."""
        key, _ = self._keys.pop(account, (None, 0))
        return key

    def account_of(self, key: str, now_ms: int) -> str | None:
        """Whose events an active key reads."""
        for account, (active, expires_ms) in self._keys.items():
            if active == key and expires_ms > now_ms:
                return account
        return None

    def expire(self, now_ms: int) -> list[tuple[str, str]]:
        """Drop keys that are over; returns (account, key) of each."""
        over = [(account, key) for account, (key, expires_ms) in self._keys.items() if expires_ms <= now_ms]
        for account, _ in over:
            del self._keys[account]
        return over

    def next_ms(self) -> int | None:
        """When the first key ends."""
        return min((expires_ms for _, expires_ms in self._keys.values()), default=None)

    def snapshot(self) -> dict[str, Any]:
        return {"issued": self._issued, "keys": {account: list(row) for account, row in self._keys.items()}}

    def restore(self, saved: dict[str, Any]) -> None:
        self._issued = saved["issued"]
        self._keys = {account: (str(row[0]), int(row[1])) for account, row in saved["keys"].items()}


def listen_key_expired(key: str, now_ms: int) -> Event:
    return {"e": "listenKeyExpired", "E": now_ms, "listenKey": key}
