"""User data events, field by field as PROTOCOL.md §3, and the listen keys under which they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from aegis.core.values import OrderType
from aegis.exchange.account import Account, Position
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.money import plain
from aegis.exchange.orders import Order
from aegis.exchange.state import Fill

__all__ = [
    "LISTEN_KEY_LIFE_MS",
    "ListenKeys",
    "account_update",
    "algo_update",
    "average",
    "callback_text",
    "leverage_update",
    "listen_key_expired",
    "order_trade_update",
    "price",
    "quantity",
    "trade_lite",
]

LISTEN_KEY_LIFE_MS = 3_600_000
Event = dict[str, Any]


def order_trade_update(
    order: Order,
    now_ms: int,
    execution: str,
    *,
    fill: Fill | None = None,
    notional: tuple[str, str] = ("0", "0"),
    expiry_reason: int = 0,
) -> Event:
    """ORDER_TRADE_UPDATE.

    Args:
        execution: `x`: NEW, CANCELED, CALCULATED, EXPIRED, TRADE or AMENDMENT.
        notional: bid and ask notional of the open orders that may add to the position.
        expiry_reason: `er`.
    """
    detail: Event = {
        "s": order.listing.symbol,
        "c": order.client_id,
        "S": order.side.value,
        "o": order.type.value,
        "f": order.tif.value,
        "q": quantity(order.listing, order.steps),
        "p": price(order.listing, order.ticks),
        "ap": average(order),
        "sp": price(order.listing, order.trigger_ticks),
        "x": execution,
        "X": order.status.value,
        "i": order.order_id,
        "l": quantity(fill.listing, fill.steps) if fill else "0",
        "z": quantity(order.listing, order.filled),
        "L": price(fill.listing, fill.ticks) if fill else "0",
        "n": plain(fill.commission) if fill else "0",
        "N": "USDT",
        "T": now_ms,
        "t": fill.trade_id if fill else 0,
        "b": notional[0],
        "a": notional[1],
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
        "V": order.stp,
        "pm": order.price_match,
        "gtd": order.good_till_ms,
        "er": str(expiry_reason),
    }
    if execution == "AMENDMENT" and order.amendments[-1].modify_id is not None:
        detail["M"] = str(order.amendments[-1].modify_id)
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": detail}


def price(listing: Listing, ticks: int) -> str:
    """Shortest text of a price."""
    return plain(ticks * listing.tick_units, listing.price_decimals)


def quantity(listing: Listing, steps: int) -> str:
    """Shortest text of a quantity."""
    return plain(steps * listing.step_units, listing.qty_decimals)


def average(order: Order) -> str:
    """Shortest text of an order's average fill price."""
    return plain(order.average_price, order.average_price_digits)


def trade_lite(order: Order, fill: Fill, now_ms: int) -> Event:
    """TRADE_LITE: no commission, no status."""
    return {
        "e": "TRADE_LITE",
        "E": now_ms,
        "T": now_ms,
        "s": order.listing.symbol,
        "q": quantity(order.listing, order.steps),
        "p": price(order.listing, order.ticks) if order.type is OrderType.LIMIT else "0",
        "m": fill.maker,
        "c": order.client_id,
        "S": order.side.value,
        "L": price(fill.listing, fill.ticks),
        "l": quantity(fill.listing, fill.steps),
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
    balance = {"a": "USDT", "wb": plain(account.wallet), "cw": plain(account.cross_wallet), "bc": plain(change)}
    detail: Event = {"B": [balance], "P": [_position(position, mark) for position, mark in positions], "m": reason}
    if symbol is not None:
        detail["S"] = symbol
    return {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": detail}


def _position(position: Position, mark_e8: int) -> Event:
    return {
        "s": position.listing.symbol,
        "pa": quantity(position.listing, position.steps),
        "ep": plain(position.entry_e16, 16),
        "cr": plain(position.realized),
        "up": plain(position.unrealized(mark_e8)),
        "mt": "isolated" if position.setting.isolated else "cross",
        "iw": plain(position.isolated_wallet),
        "ps": position.side,
        "ma": "USDT",
        "bep": plain(position.entry_e16, 16),
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
