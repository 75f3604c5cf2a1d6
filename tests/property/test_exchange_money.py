"""The simulated exchange neither makes nor loses money, whatever several accounts do, to the last digit."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

from aegis.exchange.security import AccountSetup
from tests.conftest import EXAMPLES
from tests.support.exchange_crowd import TRADED, Crowd

D = Decimal
#: 100,000 in all where 1,000 examples are asked for; each crowd until it has lost most of its money.
EVENTS = 100 * EXAMPLES
CROWD_EVENTS = 2_500
LOOK_EVERY = 250
CENT = D("1e-8")
BRACKETS = ((D(50_000), D("0.004"), D(0)), (D(10**30), D("0.01"), D(300)))


def test_wallets_fees_funding_and_insurance_sum_up_to_what_there_was() -> None:
    happened: Counter[str] = Counter()
    for seed in range(-(-EVENTS // CROWD_EVENTS)):
        try:
            happened += live(Crowd.gather(seed), min(EVENTS, CROWD_EVENTS))
        except Exception as error:
            error.add_note(f"the crowd of seed {seed}")
            raise
    if EVENTS >= CROWD_EVENTS:  # nothing of this is rare
        wanted = {"autoclose", "adl_autoclose", "o", "a", "funding", "insurance", *(one.symbol for one in TRADED)}
        assert {name for name in wanted if happened[name] < 3} == set()


def live(crowd: Crowd, events: int) -> Counter[str]:
    """So many events, with a restart of the exchange in the middle; what happened how often."""
    start = total(crowd)
    for number in range(events):
        crowd.act()
        assert total(crowd) == start
        assert crowd.rig.simulator.house()["INSURANCE_CLEAR"] >= 0
        if number % LOOK_EVERY == 0:
            crowd.rig.wait(1_000)
            fund = crowd.rig.simulator.house()["INSURANCE_CLEAR"]
            assert fund == 0 or min(crowd.rig.simulator.wallets().values()) >= 0
            for setup in crowd.setups:
                check_account(crowd, setup)
        if number == events // 2:
            crowd.reopen()
    return check_ledger(crowd, start)


def total(crowd: Crowd) -> Decimal:
    simulator = crowd.rig.simulator
    return sum(simulator.wallets().values(), D(0)) + sum(simulator.house().values(), D(0))


# -- what the API tells follows from positions, prices and open orders -------------------------------------------------
def check_account(crowd: Crowd, setup: AccountSetup) -> None:
    account, risk = crowd.call(setup, "GET", "v3/account"), crowd.call(setup, "GET", "v3/positionRisk")
    config = {row["symbol"]: row for row in crowd.call(setup, "GET", "v1/symbolConfig")}
    orders = crowd.call(setup, "GET", "v1/openOrders")
    sums: Counter[str] = Counter()
    for row in risk:
        isolated = config[row["symbol"]]["marginType"] == "ISOLATED"
        mine = expected_row(row, config[row["symbol"]]["leverage"], tied_up(row, orders))
        assert {name: D(row[name]) for name in mine} == mine
        for name, value in mine.items():
            sums[name] += value
            if not isolated:
                sums[f"cross {name}"] += value
        sums["isolated"] += D(row["isolatedWallet"])
        assert isolated or not D(row["isolatedWallet"])
        assert row["positionSide"] != "LONG" or D(row["positionAmt"]) >= 0
        assert row["positionSide"] != "SHORT" or D(row["positionAmt"]) <= 0
    cross = D(account["totalWalletBalance"]) - sums["isolated"]
    free = cross + sums["cross unRealizedProfit"] - sums["cross positionInitialMargin"] - sums["openOrderInitialMargin"]
    assert D(account["totalCrossWalletBalance"]) == cross
    assert D(account["totalUnrealizedProfit"]) == sums["unRealizedProfit"]
    assert D(account["totalMaintMargin"]) == sums["maintMargin"]
    assert D(account["availableBalance"]) == max(D(0), free)
    reduce_only_fits(risk, orders)


def tied_up(row: dict[str, Any], orders: list[dict[str, Any]]) -> dict[str, Decimal]:
    """Notional of open orders that may add to this position, by side."""
    found = {"BUY": D(0), "SELL": D(0)}
    for order in orders:
        if (order["symbol"], order["positionSide"]) == (row["symbol"], row["positionSide"]) and not order["reduceOnly"]:
            found[order["side"]] += D(order["price"]) * (D(order["origQty"]) - D(order["executedQty"]))
    return found


def expected_row(row: dict[str, Any], leverage: int, orders: dict[str, Decimal]) -> dict[str, Decimal]:
    amount, mark = D(row["positionAmt"]), D(row["markPrice"])
    notional = amount * mark
    initial = cents(abs(notional) / leverage)
    worst = max(abs(notional), abs(notional + orders["BUY"]), abs(notional - orders["SELL"]))
    _, rate, cum = next(bracket for bracket in BRACKETS if abs(notional) < bracket[0])
    return {
        "unRealizedProfit": cents((mark - D(row["entryPrice"])) * amount),
        "notional": notional,
        "positionInitialMargin": initial,
        "openOrderInitialMargin": cents(worst / leverage) - initial,
        "maintMargin": cents(abs(notional) * rate - cum),
        "bidNotional": orders["BUY"],
        "askNotional": orders["SELL"],
    }


def cents(value: Decimal) -> Decimal:
    return value.quantize(CENT, ROUND_HALF_EVEN)


def reduce_only_fits(risk: list[dict[str, Any]], orders: list[dict[str, Any]]) -> None:
    """Resting reduce-only orders never ask for more than there is to reduce."""
    held = {(row["symbol"], row["positionSide"]): D(row["positionAmt"]) for row in risk}
    asked: Counter[tuple[str, str]] = Counter()
    for order in orders:
        if order["reduceOnly"]:
            key = order["symbol"], order["positionSide"]
            assert (order["side"] == "SELL") == (held[key] > 0)
            asked[key] += D(order["origQty"]) - D(order["executedQty"])
    assert all(quantity <= abs(held[key]) for key, quantity in asked.items())


# -- the ledger, judged by cash alone ----------------------------------------------------------------------------------
def check_ledger(crowd: Crowd, start: Decimal) -> Counter[str]:
    """Cash paid for contracts, and what is held at its entry price, is what the ledger calls realised PnL."""
    view, house = crowd.rig.view, crowd.rig.simulator.house()
    accounts = view.accounts.values()
    assert {name: account.wallet for name, account in view.accounts.items()} == crowd.rig.simulator.wallets()
    assert sum(account.fees for account in accounts) == house["COMMISSION"]
    assert sum(account.funding for account in accounts) == -house["FUNDING_FEE"]
    assert sum(account.realized for account in accounts) == -house["REALIZED_PNL"]
    assert start == sum(account.start_wallet for account in accounts) + D(crowd.insurance)
    happened: Counter[str] = Counter()
    for setup in crowd.setups:
        account = view.accounts[setup.id]
        cash: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
        for fill in account.fills:
            sign = -1 if fill["side"] == "BUY" else 1
            cash[fill["symbol"], fill["position_side"]] += sign * Fraction(fill["price"]) * Fraction(fill["qty"])
            happened[fill["client_id"].split("-")[0].rstrip("0123456789")] += 1
            happened[fill["symbol"]] += 1
        held = {
            (row["symbol"], row["positionSide"]): Fraction(row["entryPrice"]) * Fraction(row["positionAmt"])
            for row in crowd.call(setup, "GET", "v3/positionRisk")
        }
        exact = sum(cash.values()) + sum(held.values())
        assert abs(Fraction(account.realized) - exact) <= Fraction(len(account.fills), 2 * 10**8)
        assert account.duplicates == []
    deleveraged(view.accounts.values())
    for entry in crowd.rig.ledger.entries:
        happened["funding"] += entry.get("reason") == "FUNDING_FEE"
        happened["insurance"] += entry.get("reason") == "INSURANCE_CLEAR"
    return happened


def deleveraged(accounts: Any) -> None:
    """Whoever was deleveraged had an opposite fill at the same price and size in an account that was liquidated."""
    adl: Counter[tuple[str, ...]] = Counter()
    liquidated: Counter[tuple[str, ...]] = Counter()
    for account in accounts:
        for fill in account.fills:
            terms = fill["symbol"], fill["price"], fill["qty"], str(fill["ns"])
            if fill["client_id"] == "adl_autoclose":
                adl[*terms, "BUY" if fill["side"] == "SELL" else "SELL"] += 1
                assert D(fill["commission"]) == 0
            elif fill["client_id"].startswith("autoclose-"):
                liquidated[*terms, fill["side"]] += 1
    assert adl <= liquidated
