"""The order core's state as plain JSON values, and back."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

import cattrs
import msgspec

from aegis.core.errors import ConfigError
from aegis.exchange.account import Account, Position, PositionSide, SymbolSetting
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.core import Core
from aegis.exchange.listing import Listing
from aegis.exchange.orders import Order
from aegis.exchange.state import Due, Fill, FundingRate, Income, MarginMove, TriggerDue, UserPush

__all__ = ["load", "save"]

VERSION = 3
_PLAIN = (int, str, bool, PositionSide, Position)


def save(core: Core) -> dict[str, Any]:
    """Everything that outlives the process. Calls still on their way, and answers, do not: their sockets are gone."""
    state = core.state
    convert = _converter(core)
    return {
        "version": VERSION,
        "ledger_seq": state.ledger.seq,
        "symbols": [listing.symbol for listing in state.listings],
        "accounts": {
            account.id: {
                "wallet": account.wallet,
                "hedge": account.hedge,
                "fee_burn": account.fee_burn,
                "tradfi_signed": account.tradfi_signed,
                "updated_ms": account.updated_ms,
                "settings": [[symbol, row.leverage, row.isolated] for symbol, row in account.settings.items()],
                "positions": convert.unstructure(list(account.positions.values())),
            }
            for account in state.accounts.values()
        },
        "house": dict(state.house),
        "orders": convert.unstructure(state.orders.all()),
        "resting": [order.order_id for i in range(len(state.listings)) for order in state.orders.resting(i)],
        "issued": {str(symbol): count for symbol, count in state.orders.issued.items()},
        "algo_orders": convert.unstructure(core.conditional.all()),
        "fills": convert.unstructure(list(state.fills)),
        "incomes": convert.unstructure(list(state.incomes)),
        "margin_moves": convert.unstructure(list(state.margin_moves)),
        "funding_rates": convert.unstructure(list(state.funding_rates)),
        "counters": dict(state.counters),
        "countdowns": [[account, symbol, ms] for (account, symbol), ms in state.countdowns.items()],
        "last_push_ns": dict(state.last_push_ns),
        "timetable": [[ns, *_due_out(due)] for ns, due in state.timetable.durable()],
        "draws": state.draws.snapshot(),
        "keys": core.keys.snapshot(),
        "scenario_steps": core.contracts.done,
    }


def load(core: Core, saved: dict[str, Any]) -> None:
    """Take over what `save` gave, into a fresh core over the same listings and accounts.

    Raises:
        ConfigError: it belongs to another exchange, or the ledger knows more than it does.
    """
    state = core.state
    if saved.get("version") != VERSION:
        raise ConfigError(f"the saved exchange state has version {saved.get('version')}, not {VERSION}")
    if saved["symbols"] != [listing.symbol for listing in state.listings]:
        raise ConfigError("the saved exchange state was made with other symbols")
    if set(saved["accounts"]) != set(state.accounts):
        raise ConfigError("the saved exchange state was made with other accounts")
    if saved["ledger_seq"] != state.ledger.seq:
        raise ConfigError(
            f"the saved exchange state ends at ledger entry {saved['ledger_seq']}, the ledger at {state.ledger.seq}"
        )
    convert = _converter(core)
    for account_id, row in saved["accounts"].items():
        _load_account(state.accounts[account_id], row, convert)
    state.house.update(saved["house"])
    resting = set(saved["resting"])
    by_id = {order.order_id: order for order in convert.structure(saved["orders"], list[Order])}
    for order in by_id.values():
        state.orders.add(order)
        if order.order_id not in resting:
            state.orders.settle(order)
    for order_id in saved["resting"]:
        core.matching.restore(by_id[order_id])
    state.orders.issued.update({int(symbol): count for symbol, count in saved["issued"].items()})
    core.conditional.restore(convert.structure(saved["algo_orders"], list[AlgoOrder]))
    state.fills = deque(convert.structure(saved["fills"], list[Fill]), state.fills.maxlen)
    state.incomes = deque(convert.structure(saved["incomes"], list[Income]), state.incomes.maxlen)
    # States that were saved before these were kept have none.
    state.margin_moves.extend(convert.structure(saved.get("margin_moves", []), list[MarginMove]))
    state.funding_rates.extend(convert.structure(saved.get("funding_rates", []), list[FundingRate]))
    state.counters = dict(saved["counters"])
    state.countdowns = {(str(account), int(symbol)): int(ms) for account, symbol, ms in saved["countdowns"]}
    state.last_push_ns = dict(saved["last_push_ns"])
    state.timetable.clear()
    for ns, kind, *values in saved["timetable"]:
        state.timetable.add(ns, _due_in(kind, values))
    state.draws.restore(saved["draws"])
    core.keys.restore(saved["keys"])
    core.contracts.restore(saved["scenario_steps"])
    core.upkeep.resume()
    state.dirty.update(range(len(state.listings)))


def _load_account(account: Account, row: dict[str, Any], convert: cattrs.Converter) -> None:
    account.wallet, account.hedge, account.updated_ms = row["wallet"], row["hedge"], row["updated_ms"]
    account.fee_burn, account.tradfi_signed = row.get("fee_burn", False), row.get("tradfi_signed", False)
    account.settings = {symbol: SymbolSetting(leverage, isolated) for symbol, leverage, isolated in row["settings"]}
    for position in convert.structure(row["positions"], list[Position]):
        position.setting = account.setting(position.listing)
        position.bids = position.asks = 0  # the open orders are put into the book anew
        account.positions[position.listing.index, position.side] = position
        account.isolated += position.isolated_wallet
        account.changed[position] = True


def _due_out(due: UserPush | TriggerDue | str) -> list[Any]:
    if isinstance(due, UserPush):
        return ["push", due.account, *(payload.decode() for payload in due.payloads())]
    if isinstance(due, TriggerDue):
        return ["trigger", due.algo_id]
    return ["timer", due]


def _due_in(kind: str, values: list[Any]) -> Due:
    match kind:
        case "push":
            account = str(values[0])
            return UserPush(account, [(account, "", msgspec.json.decode, payload) for payload in values[1:]])
        case "trigger":
            return TriggerDue(int(values[0]))
        case "timer":
            return str(values[0])
        case other:
            raise ConfigError(f"the saved exchange state has an unknown timetable entry {other!r}")


def _converter(core: Core) -> cattrs.Converter:
    """Records to JSON values and back; a listing is its index. An order's position is found anew."""
    convert = cattrs.Converter()
    listings = core.state.listings
    convert.register_unstructure_hook(Listing, lambda listing: listing.index)
    convert.register_structure_hook(Listing, lambda index, _: listings[index])

    def out(record: msgspec.Struct) -> dict[str, Any]:
        row = msgspec.structs.asdict(record)
        row.pop("position", None)
        return row | {name: convert.unstructure(row[name]) for name in _worded(type(record))}

    def back(row: dict[str, Any], kind: type[msgspec.Struct]) -> msgspec.Struct:
        return kind(**row | {name: convert.structure(row[name], type_) for name, type_ in _worded(kind).items()})

    for kind in (Order, Fill, Income):
        convert.register_unstructure_hook(kind, out)
        convert.register_structure_hook(kind, back)
    return convert


@cache
def _worded(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Names and types of the fields whose values JSON does not have."""
    return {field.name: field.type for field in msgspec.structs.fields(kind) if field.type not in _PLAIN}
