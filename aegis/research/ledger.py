"""Whether the engine's account equals the venue's ledger, to the last digit. The ledger is the judge."""

from __future__ import annotations

from decimal import Decimal

from aegis.core.filters import plain
from aegis.engine.machine import Machine
from aegis.exchange.ledger_view import AccountView

__all__ = ["compare_ledger"]

ZERO = Decimal(0)


def compare_ledger(machine: Machine, ledger: AccountView) -> tuple[str, ...]:
    """Every difference in fees, funding, profit, positions, open orders and ids, in words; () when they agree."""
    decision = machine.decision
    book = decision.portfolio
    found = [
        f"{name}: engine {plain(ours)}, ledger {plain(theirs)}"
        for name, ours, theirs in (
            ("fees", book.fees.get(book.margin_asset, ZERO), ledger.fees),
            ("funding", book.funding, ledger.funding),
            ("realised profit", book.realized, ledger.realized),
            ("wallet", book.wallet, ledger.wallet),
        )
        if ours != theirs
    ]
    venue = {symbol: position.amount for symbol, position in ledger.open_positions.items()}
    ours = {str(symbol): position.amount for symbol, position in book.positions.items()}
    found += [
        f"position {symbol}: engine {plain(ours.get(symbol, ZERO))}, ledger {plain(venue.get(symbol, ZERO))}"
        for symbol in sorted({*venue, *ours})
        if venue.get(symbol, ZERO) != ours.get(symbol, ZERO)
    ]
    store = decision.desk.store
    live = {order.cid for order in store.open() if not order.state.final}
    theirs = {str(entry["client_id"]) for entry in (*ledger.open_orders.values(), *ledger.open_algo_orders.values())}
    found += [f"open order {cid}: only the engine has it" for cid in sorted(live - theirs)]
    found += [f"open order {cid}: only the ledger has it" for cid in sorted(theirs - live)]
    found += [f"client id {cid}: accepted more than once" for cid in ledger.duplicates]
    return tuple(found)
