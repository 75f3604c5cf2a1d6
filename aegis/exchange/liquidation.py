"""Forced closing: the liquidation of positions, the insurance fund, and auto-deleveraging. PROTOCOL.md §9.

Where the margin has fallen to the maintenance margin: the open orders are cancelled, and each position is offered to
the book as a LIMIT IOC order at its bankruptcy price, the price at which nothing of its margin would be left. What is
not filled there the insurance fund closes at market, as long as it can bear the loss; else the positions on the other
side are closed at the bankruptcy price: those of our accounts by rank, then the public's. What is left of the margin
pays the liquidation fee to the fund. Unconfirmed and therefore ours: who comes first in the ranking (`adl`), and that a
deleveraged counterparty pays no commission.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from msgspec.structs import replace

from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import Account, Position
from aegis.exchange.adl import ranked
from aegis.exchange.booking import ExpiryReason
from aegis.exchange.matching import Matching
from aegis.exchange.money import E8, amount_of, divide
from aegis.exchange.orders import Order
from aegis.exchange.state import State
from aegis.exchange.userstream import account_update

__all__ = ["ADL_ID", "LIQUIDATION_ID", "Liquidation"]

LIQUIDATION_ID = "autoclose-"
ADL_ID = "adl_autoclose"


class Liquidation:
    """Closes what the margin no longer carries."""

    def __init__(self, state: State, matching: Matching) -> None:
        self._state = state
        self._matching = matching

    def due(self, account: Account) -> bool:
        """Whether there is anything that `check` could find."""
        owes = account.cross_wallet < 0 and self._state.house["INSURANCE_CLEAR"] > 0
        return owes or any(account.held())

    def check(self, account: Account) -> None:
        """Liquidate isolated positions, and cross positions as a whole, whose margin fell to the maintenance margin.

        Who closed at a loss beyond the wallet before anybody looked owes it to the insurance fund.
        """
        state = self._state
        margins = state.margins[account.id].now()
        for row in margins.rows:
            if row.isolated and row.position.steps and row.isolated_margin <= row.maintenance:
                self._liquidate(account, [row.position], row.isolated_margin, row.position.isolated_wallet)
        margins.now()
        balance, needed = account.cross_wallet + margins.cross_unrealized, margins.cross_maintenance
        if needed and balance <= needed:
            crossed = [row.position for row in margins.rows if row.position.steps and not row.isolated]
            self._liquidate(account, crossed, balance, account.cross_wallet)
        elif account.cross_wallet < 0 and not needed:
            self._clear(account, "", -account.cross_wallet)

    def _liquidate(self, account: Account, positions: list[Position], balance: int, wallet: int) -> None:
        """Close positions that share a margin balance and the wallet in it.

        Each may lose a part of the balance in proportion to its maintenance margin.
        """
        state = self._state
        marks = {position: state.mark_e8(position.listing) for position in positions}
        shares = {position: position.maintenance_margin(marks[position]) for position in positions}
        total = sum(shares.values())
        for position in positions:
            for order in state.orders.open_orders(account.id, position.listing.index):
                if order.position_side == position.side:
                    self._matching.finish(order, OrderStatus.EXPIRED, ExpiryReason.LIQUIDATED)
        before, fees, borne_e16 = account.wallet, 0, 0
        for position in positions:
            share = Fraction(balance * shares[position], total)
            ticks = self._bankruptcy_ticks(position, marks[position], share)
            notional_e16 = ticks * abs(position.steps) * position.listing.unit_e16
            fees += divide(notional_e16 * amount_of(position.listing.liquidation_fee), E8 * E8)
            borne_e16 += self._close(account, position, ticks, borne_e16)
        left = wallet + account.wallet - before
        self._clear(account, positions[0].listing.symbol, -min(fees, left) if left > 0 else -left)

    def _bankruptcy_ticks(self, position: Position, mark_e8: int, share: Fraction) -> int:
        """Where closing with the taker's commission costs exactly `share` (1e-8) at mark, rounded so that it is less.

        `sign * (price - mark) * size + share - rate * price * size = 0`
        """
        listing, sign = position.listing, position.sign
        size = abs(position.steps) * listing.step_e8  # 1e-8
        rate = Fraction(*self._state.fees.taker_ratio)
        price_e8 = (sign * mark_e8 - share * E8 / size) / (sign - rate)
        ticks = price_e8 / listing.tick_e8
        return max(1, ceil(ticks) if sign > 0 else floor(ticks))

    def _close(self, account: Account, position: Position, ticks: int, borne_e16: int) -> int:
        """The book, then the insurance fund, then other people's positions. What the fund is to bear, 1e-16.

        Args:
            borne_e16: what it is to bear already.
        """
        self._matching.place(self._order(account, position, ticks), liquidation=True)
        if not position.steps:
            return 0
        loss_e16 = self._loss_e16(position, ticks)
        if loss_e16 is not None and borne_e16 + loss_e16 <= self._state.house["INSURANCE_CLEAR"] * E8:
            self._matching.place(self._order(account, position, 0), liquidation=True)
            return loss_e16
        self._deleverage(account, position, ticks)
        return 0

    def _order(self, account: Account, position: Position, ticks: int) -> Order:
        """Closes all of a position; at market for 0 ticks."""
        state = self._state
        return Order(
            account=account.id,
            listing=position.listing,
            side=Side.SELL if position.steps > 0 else Side.BUY,
            type=OrderType.LIMIT if ticks else OrderType.MARKET,
            tif=TimeInForce.IOC,
            ticks=ticks,
            steps=abs(position.steps),
            client_id=f"{LIQUIDATION_ID}{state.now_ms}{state.count('autoclose')}",
            position_side=position.side,
            reduce_only=True,
            stp="NONE",
        )

    def _loss_e16(self, position: Position, ticks: int) -> int | None:
        """What closing at the displayed prices costs beyond the bankruptcy price; None where they show too little."""
        books, listing, sign = self._state.books, position.listing, position.sign
        part, whole = self._state.fees.taker_ratio
        symbol, left, loss_e16 = listing.index, abs(position.steps), 0
        sizes = (books.bid_qty if sign > 0 else books.ask_qty)[symbol].tolist()
        touch = int((books.bid if sign > 0 else books.ask)[symbol])
        for level, size in enumerate(sizes):
            steps, price = min(left, size), touch - sign * level
            left -= steps
            worse = (ticks - price) * sign * whole - (ticks - price) * part  # of one step, the commission included
            loss_e16 += max(0, -(-worse * steps * listing.unit_e16 // whole))
        return loss_e16 if left == 0 else None

    def _deleverage(self, account: Account, position: Position, ticks: int) -> None:
        """Close the rest against the positions on the other side, at the bankruptcy price."""
        for owner, other in ranked(self._state, position.listing, -position.sign, but=account):
            steps = min(abs(position.steps), abs(other.steps))
            if steps:
                self._matching.force(replace(self._order(account, position, ticks), steps=steps), ticks)
                opposite = self._order(owner, other, ticks)
                self._matching.force(replace(opposite, steps=steps, client_id=ADL_ID), ticks, free=True)
        if position.steps:
            self._matching.force(self._order(account, position, ticks), ticks)

    def _clear(self, account: Account, symbol: str, amount: int) -> None:
        """A payment of the insurance fund as far as it goes (a liquidation fee when negative)."""
        state = self._state
        amount = min(amount, state.house["INSURANCE_CLEAR"])
        if amount:
            state.pay(account, symbol, "INSURANCE_CLEAR", amount)
            state.tell(account.id, account_update(account, state.now_ms, "INSURANCE_CLEAR", change=amount))
