"""The judge: what the ledger's entries say, folded without a look at the simulator's live objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from pathlib import Path
from typing import Any

import attrs
import msgspec

from aegis.core.errors import ConfigError

__all__ = ["AccountView", "Entry", "LedgerView", "PositionView", "fold_ledger", "parse_entries", "read_ledger"]

Entry = dict[str, Any]

_CONTEXT = Context(prec=80)
_CENT = Decimal("1e-8")
_ENTRY_QUANTUM = Decimal("1e-16")
_FINAL_ORDER = {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"}
_FINAL_ALGO = {"FINISHED", "CANCELED", "EXPIRED", "REJECTED"}


@attrs.define
class PositionView:
    """One symbol's position: signed amount, average entry price, and the extremes of its life."""

    amount: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    max_abs_amount: Decimal = Decimal(0)
    max_abs_notional: Decimal = Decimal(0)
    """Of |amount| x the price of the fill that made it."""

    def fill(self, signed_qty: Decimal, price: Decimal) -> None:
        """Fold one fill: adds are averaged, reductions realise, a flip opens the rest at the fill's price."""
        before = self.amount
        self.amount = before + signed_qty
        if before * signed_qty >= 0:
            total = abs(before) * self.entry + abs(signed_qty) * price
            self.entry = (total / abs(self.amount)).quantize(_ENTRY_QUANTUM, ROUND_HALF_EVEN)
        else:
            closed = min(abs(before), abs(signed_qty))
            direction = 1 if before > 0 else -1
            self.realized += ((price - self.entry) * closed * direction).quantize(_CENT, ROUND_HALF_EVEN)
            if abs(signed_qty) > abs(before):
                self.entry = price
            elif self.amount == 0:
                self.entry = Decimal(0)
        self.max_abs_amount = max(self.max_abs_amount, abs(self.amount))
        self.max_abs_notional = max(self.max_abs_notional, abs(self.amount) * price)


@attrs.define
class AccountView:
    """One account as its entries tell it."""

    wallet: Decimal = Decimal(0)
    """Starting wallet plus every movement; each entry's own `wallet` was checked against it."""
    start_wallet: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    """Paid, positive."""
    funding: Decimal = Decimal(0)
    """Received positive, paid negative."""
    realized: Decimal = Decimal(0)
    insurance: Decimal = Decimal(0)
    """Insurance fund movements: losses it took over, less liquidation fees."""
    positions: dict[str, PositionView] = attrs.field(factory=dict)
    """Of symbols that were ever traded, a side of hedge mode as "BTCUSDT LONG"; see `open_positions`."""
    open_orders: dict[int, Entry] = attrs.field(factory=dict)
    """By order id: the latest entry of every order that is not final."""
    open_algo_orders: dict[int, Entry] = attrs.field(factory=dict)
    fills: list[Entry] = attrs.field(factory=list)
    accepted: Counter[str] = attrs.field(factory=Counter)
    """How often each client id was accepted as a new order or conditional order: more than once is a fault."""
    refused: Counter[int] = attrs.field(factory=Counter)
    """Refusals by error code."""
    max_open_positions: int = 0
    max_open_orders: int = 0

    @property
    def open_positions(self) -> dict[str, PositionView]:
        return {symbol: position for symbol, position in self.positions.items() if position.amount}

    @property
    def duplicates(self) -> list[str]:
        """Client ids that were accepted more than once."""
        return [cid for cid, times in self.accepted.items() if times > 1]


@attrs.define
class LedgerView:
    """Everything that a ledger says, by account id."""

    accounts: dict[str, AccountView] = attrs.field(factory=dict)
    entries: int = 0
    sessions: int = 0
    last_ns: int = 0

    @property
    def only(self) -> AccountView:
        """The account, where there is one."""
        (account,) = self.accounts.values()
        return account


def read_ledger(path: Path) -> LedgerView:
    """Read and fold a ledger file, also while the exchange goes on writing it.

    Raises:
        ConfigError: damaged, or its amounts contradict each other.
    """
    return fold_ledger(parse_entries(path.read_bytes(), path)[0])


def parse_entries(data: bytes, path: Path) -> tuple[list[Entry], int]:
    """Every complete entry of a ledger, and how many bytes they take: what follows is a line that was cut off.

    Raises:
        ConfigError: a line is damaged, or the sequence has a gap.
    """
    end = data.rfind(b"\n") + 1
    entries: list[Entry] = []
    for number, line in enumerate(data[:end].split(b"\n")[:-1], start=1):
        try:
            entry = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}: line {number} is no ledger entry: {error}") from None
        if not isinstance(entry, dict) or entry.get("seq") != number:
            raise ConfigError(f"{path}: line {number} does not carry seq {number}")
        entries.append(entry)
    return entries, end


def fold_ledger(entries: Iterable[Entry]) -> LedgerView:
    """Fold entries in sequence.

    Raises:
        ConfigError: an entry's wallet or position differs from what the entries before it make.
    """
    view = LedgerView()
    with localcontext(_CONTEXT):
        for entry in entries:
            view.entries += 1
            view.last_ns = max(view.last_ns, int(entry["ns"]))
            if entry["kind"] == "session":
                view.sessions += 1
                continue
            account = view.accounts.setdefault(str(entry["account"]), AccountView())
            _FOLDS[entry["kind"]](account, entry)
    return view


def _open(account: AccountView, entry: Entry) -> None:
    account.wallet = account.start_wallet = Decimal(entry["wallet"])


def _request(account: AccountView, entry: Entry) -> None:
    if entry["code"]:
        account.refused[int(entry["code"])] += 1
    elif entry["endpoint"] in ("POST /fapi/v1/order", "POST /fapi/v1/algoOrder"):
        account.accepted[str(entry["client_id"])] += 1


def _order(account: AccountView, entry: Entry) -> None:
    if entry["status"] in _FINAL_ORDER:
        account.open_orders.pop(int(entry["order_id"]), None)
    else:
        account.open_orders[int(entry["order_id"])] = entry
        account.max_open_orders = max(account.max_open_orders, len(account.open_orders))


def _algo(account: AccountView, entry: Entry) -> None:
    if entry["status"] in _FINAL_ALGO:
        account.open_algo_orders.pop(int(entry["algo_id"]), None)
    else:
        account.open_algo_orders[int(entry["algo_id"])] = entry


def _match(account: AccountView, entry: Entry) -> None:
    sign = 1 if entry["side"] == "BUY" else -1
    side = entry.get("position_side", "BOTH")
    symbol = str(entry["symbol"]) if side == "BOTH" else f"{entry['symbol']} {side}"
    position = account.positions.setdefault(symbol, PositionView())
    position.fill(sign * Decimal(entry["qty"]), Decimal(entry["price"]))
    if position.amount != Decimal(entry["position"]):
        raise ConfigError(f"ledger entry {entry['seq']}: position {entry['position']}, fills make {position.amount}")
    account.fills.append(entry)
    account.max_open_positions = max(account.max_open_positions, len(account.open_positions))


def _balance(account: AccountView, entry: Entry) -> None:
    amount = Decimal(entry["amount"])
    account.wallet += amount
    if account.wallet != Decimal(entry["wallet"]):
        raise ConfigError(f"ledger entry {entry['seq']}: wallet {entry['wallet']}, its movements make {account.wallet}")
    match entry["reason"]:
        case "COMMISSION":
            account.fees -= amount
        case "FUNDING_FEE":
            account.funding += amount
        case "REALIZED_PNL":
            account.realized += amount
        case "INSURANCE_CLEAR":
            account.insurance += amount
        case other:
            raise ConfigError(f"ledger entry {entry['seq']}: unknown balance reason {other}")


def _setting(account: AccountView, entry: Entry) -> None:
    """Leverage and margin type move no money."""


_FOLDS = {
    "open": _open, "request": _request, "order": _order, "algo": _algo, "match": _match, "balance": _balance,
    "setting": _setting,
}  # fmt: skip
