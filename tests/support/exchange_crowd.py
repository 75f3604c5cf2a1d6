"""Several accounts that do whatever comes into their heads, in a market that does the same: from one seed."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import attrs

from aegis.exchange.security import AccountSetup
from aegis.kernels.books import FUNDING_INTERVAL_MS
from tests.support.exchange_rig import LISTINGS, MS, Rig, make_rig

D = Decimal
TRADED = tuple(one for one in LISTINGS if one.status == "TRADING")
UNLIMITED = 10**9
TIFS = ("GTC", "GTC", "GTC", "IOC", "FOK", "GTX", "GTD")
STPS = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE")
MATCHES = ("OPPONENT", "OPPONENT_5", "QUEUE", "QUEUE_5")
ALGOS = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")


def setups(accounts: int, wallet: str) -> tuple[AccountSetup, ...]:
    return tuple(
        AccountSetup(id=f"account-{n}", api_key=f"{n}" * 64, secret=f"s{n}", wallet=D(wallet)) for n in range(accounts)
    )


@attrs.define
class Crowd:
    """The rig, its accounts, and where the prices are."""

    random: Random
    setups: tuple[AccountSetup, ...]
    insurance: str
    rig: Rig
    prices: dict[int, int] = attrs.field(factory=lambda: {one.index: 1000 for one in TRADED})
    sent: int = 0

    @classmethod
    def gather(cls, seed: int, *, accounts: int = 4, wallet: str = "300", insurance: str = "20") -> Crowd:
        people = setups(accounts, wallet)
        return cls(Random(seed), people, insurance, _rig(people, insurance, seed))

    def reopen(self) -> None:
        """The exchange's process ends and goes on from its saved state."""
        old = self.rig
        saved = json.loads(json.dumps(old.simulator.snapshot()))
        books = old.books.snapshot()
        new = _rig(self.setups, self.insurance, 0, ledger=old.ledger)
        new.books.restore(books)
        new.simulator.restore(saved)
        new.now_ns = old.now_ns
        self.rig = new

    def call(self, setup: AccountSetup, method: str, path: str, **params: Any) -> Any:
        assert setup.secret is not None
        return self.rig.call(method, f"/fapi/{path}", setup.api_key, setup.secret, **params)

    # -- one event ----------------------------------------------------------------------------------------------------
    def act(self) -> None:
        """Something happens: mostly in the market or to an order, now and then to settings or to time."""
        kind = self.random.random()
        someone, symbol = self.random.choice(self.setups), self.random.choice(TRADED).symbol
        if kind < 0.30:
            self._market()
        elif kind < 0.62:
            self._order(someone, symbol)
        elif kind < 0.74:
            self._algo(someone, symbol)
        elif kind < 0.90:
            self._change(someone, symbol)
        elif kind < 0.97:
            self._settings(someone, symbol)
        elif kind < 0.9997:
            self.rig.wait(self.random.choice((1, 300, 1_000, 2_500)))
        else:
            now_ms = self.rig.now_ns // MS
            self.rig.wait((now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS - now_ms)

    def _market(self) -> None:
        """A step of the price, sometimes a leap; the mark follows it, and somebody may trade."""
        symbol = self.random.choice(TRADED).index
        step = self.random.choice((-3, -2, -1, 0, 1, 2, 3))
        if self.random.random() < 0.04:
            step = self.random.choice((-60, -25, 25, 60))
        price = self.prices[symbol] = min(1_600, max(600, self.prices[symbol] + step))
        self.rig.quote(price - 1, price + 1, self.random.randint(1, 4_000), self.random.randint(1, 4_000), symbol)
        if self.random.random() < 0.7:
            self.rig.mark(price + self.random.choice((-2.5, -0.3, 0.0, 0.1, 1.9)), symbol)
        if self.random.random() < 0.5:
            side = self.random.choice((-1, 1))
            self.rig.trade(side, price + side, self.random.randint(1, 3_000), symbol)
        if step not in range(-3, 4):
            self.rig.wait(1_000)

    def _sided(self, setup: AccountSetup) -> dict[str, str]:
        """A side of the position that fits the account's mode, nearly always."""
        hedge = self.call(setup, "GET", "v1/positionSide/dual")["dualSidePosition"]
        if self.random.random() < 0.02:
            hedge = not hedge
        more = {"positionSide": self.random.choice(("LONG", "SHORT"))} if hedge else {}
        return more | ({"reduceOnly": "true"} if self.random.random() < (0.02 if hedge else 0.25) else {})

    def _price(self, symbol: str, reach: int) -> str:
        index = next(one.index for one in TRADED if one.symbol == symbol)
        return f"{D(self.prices[index] + self.random.randint(-reach, reach)) / 10:.1f}"

    def _quantity(self) -> str:
        return f"{D(self.random.choice((60, 100, 250, 1_000, 3_000, 12_000)) + self.random.randint(0, 9)) / 1000:.3f}"

    def _limit(self, symbol: str) -> dict[str, Any]:
        tif = self.random.choice(TIFS)
        params: dict[str, Any] = {"type": "LIMIT", "timeInForce": tif, "price": self._price(symbol, 12)}
        if self.random.random() < 0.15:
            params["priceMatch"] = self.random.choice(MATCHES)
            del params["price"]
        if tif == "GTD":
            params["goodTillDate"] = self.rig.now_ns // MS + 600_001 + self.random.randint(0, 5_000)
        return params

    def _order(self, setup: AccountSetup, symbol: str) -> None:
        orders = [self._one_order(setup, symbol) for _ in range(self.random.choice((1, 1, 1, 1, 3)))]
        if len(orders) == 1:
            self.call(setup, "POST", "v1/order", **orders[0])
        else:
            batch = json.dumps([{name: str(value) for name, value in order.items()} for order in orders])
            self.call(setup, "POST", "v1/batchOrders", batchOrders=batch)

    def _one_order(self, setup: AccountSetup, symbol: str) -> dict[str, Any]:
        self.sent += 1
        kind = {"type": "MARKET"} if self.random.random() < 0.35 else self._limit(symbol)
        return {
            "symbol": symbol, "side": self.random.choice(("BUY", "SELL")), "quantity": self._quantity(),
            "newClientOrderId": f"o{self.sent}", "selfTradePreventionMode": self.random.choice(STPS),
            **kind, **self._sided(setup),
        }  # fmt: skip

    def _algo(self, setup: AccountSetup, symbol: str) -> None:
        self.sent += 1
        kind = self.random.choice(ALGOS)
        params: dict[str, Any] = {
            "algoType": "CONDITIONAL", "symbol": symbol, "side": self.random.choice(("BUY", "SELL")), "type": kind,
            "clientAlgoId": f"a{self.sent}", "workingType": self.random.choice(("MARK_PRICE", "CONTRACT_PRICE")),
            **self._sided(setup),
        }  # fmt: skip
        if kind == "TRAILING_STOP_MARKET":
            params["callbackRate"] = self.random.choice(("0.1", "0.5", "2"))
        else:
            params["triggerPrice"] = self._price(symbol, 20)
        if kind in ("STOP", "TAKE_PROFIT"):
            params |= {"price": self._price(symbol, 20), "timeInForce": "GTC"}
        if kind.endswith("_MARKET") and not kind.startswith("TRAILING") and self.random.random() < 0.5:
            params["closePosition"] = "true"
            params.pop("reduceOnly", None)
        else:
            params["quantity"] = self._quantity()
        self.call(setup, "POST", "v1/algoOrder", **params)

    def _change(self, setup: AccountSetup, symbol: str) -> None:
        """Modify or cancel something that is open."""
        kind = self.random.random()
        if kind < 0.05:
            self.call(setup, "DELETE", "v1/allOpenOrders", symbol=symbol)
        elif kind < 0.10:
            self.call(setup, "POST", "v1/countdownCancelAll", symbol=symbol, countdownTime=self.random.choice((0, 900)))
        elif kind < 0.15:
            self.call(setup, "DELETE", "v1/algoOpenOrders", symbol=symbol)
        elif kind < 0.25:
            if found := self.call(setup, "GET", "v1/openAlgoOrders"):
                self.call(setup, "DELETE", "v1/algoOrder", algoId=self.random.choice(found)["algoId"])
        elif found := self.call(setup, "GET", "v1/openOrders"):
            order = self.random.choice(found)
            known = {"symbol": order["symbol"], "orderId": order["orderId"]}
            if kind < 0.6:
                self.call(setup, "DELETE", "v1/order", **known)
            else:
                more = {"quantity": self._quantity(), "price": self._price(order["symbol"], 12)}
                self.call(setup, "PUT", "v1/order", **known, side=order["side"], **more)

    def _settings(self, setup: AccountSetup, symbol: str) -> None:
        kind = self.random.random()
        if kind < 0.5:
            self.call(setup, "POST", "v1/leverage", symbol=symbol, leverage=self.random.choice((3, 10, 20, 50, 50)))
        elif kind < 0.7:
            kinds = ("ISOLATED", "CROSSED")
            self.call(setup, "POST", "v1/marginType", symbol=symbol, marginType=self.random.choice(kinds))
        elif kind < 0.8:
            self._flatten(setup)
            hedge = self.random.choice(("true", "false"))
            self.call(setup, "POST", "v1/positionSide/dual", dualSidePosition=hedge)
        else:
            side = {name: value for name, value in self._sided(setup).items() if name == "positionSide"}
            amount = f"{self.random.uniform(0.01, 9):.8f}"
            kind = self.random.choice((1, 2))
            self.call(setup, "POST", "v1/positionMargin", symbol=symbol, amount=amount, type=kind, **side)

    def _flatten(self, setup: AccountSetup) -> None:
        """Cancel and close everything, as far as the book allows."""
        for one in TRADED:
            self.call(setup, "DELETE", "v1/allOpenOrders", symbol=one.symbol)
            self.call(setup, "DELETE", "v1/algoOpenOrders", symbol=one.symbol)
        for row in self.call(setup, "GET", "v3/positionRisk"):
            self.sent += 1
            amount = D(row["positionAmt"])
            hedge = row["positionSide"] != "BOTH"
            self.call(
                setup, "POST", "v1/order", symbol=row["symbol"], side="SELL" if amount > 0 else "BUY", type="MARKET",
                quantity=abs(amount), newClientOrderId=f"f{self.sent}",
                **({"positionSide": row["positionSide"]} if hedge else {"reduceOnly": "true"}),
            )  # fmt: skip


def _rig(people: tuple[AccountSetup, ...], insurance: str, seed: int, **more: Any) -> Rig:
    rig = make_rig(
        accounts=people, seed=seed, insurance=D(insurance), weight_limit=UNLIMITED, orders_10s=UNLIMITED,
        orders_minute=UNLIMITED, **more,
    )  # fmt: skip
    rig.simulator.user_events = lambda account, payload: None
    return rig
