"""What the simulated exchange lists: contracts with their rules, and the character of their synthetic prices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from zlib import crc32

import attrs
import numpy as np

from aegis.exchange.brackets import E8, Bracket, Brackets, usual_brackets
from aegis.exchange.listing_names import KNOWN, made_up_names

__all__ = [
    "DAY_MS", "E8", "TRADFI", "Bracket", "Listing", "decimal_text", "listing_from_precision", "new_listing",
    "synthetic_listings",
]  # fmt: skip

DAY_MS = 86_400_000
#: Contract type of perpetuals on traditional assets.
TRADFI = "TRADIFI_PERPETUAL"
#: What exchangeInfo gives as delivery date of a contract that never delivers.
NO_DELIVERY_MS = 4_133_404_800_000


def decimal_text(value: int, decimals: int) -> str:
    """`value / 10**decimals` as plain decimal text, exactly `decimals` digits after the point."""
    if decimals == 0:
        return str(value)
    digits = str(abs(value)).rjust(decimals + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-decimals]}.{digits[-decimals:]}"


_CHANGES: Any = attrs.setters.NO_OP


def _derived(value: Callable[[Listing], int]) -> Any:
    """A field that follows from those before it.

    No `cached_property`: with one of those every field of a class with slots takes three times as long to read.
    """
    return attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(value, takes_self=True))


@attrs.define(kw_only=True, on_setattr=attrs.setters.frozen)
class Listing:
    """One contract. Prices on the order path are integers in ticks, quantities integers in steps.

    Everything is fixed but status, dates and brackets: `Contracts` changes them while the exchange runs, and everybody
    who holds the contract sees it. The fields from `start_ticks` to `trade_steps` describe only how the synthetic
    market behaves, and those behind them follow from the rest.
    """

    symbol: str
    index: int
    base: str
    quote: str = "USDT"
    margin: str = "USDT"
    tick: Decimal
    step: Decimal
    price_decimals: int  # of every price in messages (Binance's pricePrecision); may exceed the tick's own
    qty_decimals: int
    min_price: Decimal
    max_price: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    multiplier_up: Decimal = Decimal("1.05")
    multiplier_down: Decimal = Decimal("0.95")
    trigger_protect: Decimal = Decimal("0.05")
    liquidation_fee: Decimal = Decimal("0.0125")
    market_take_bound: Decimal = Decimal("0.05")
    status: str = attrs.field(default="TRADING", on_setattr=_CHANGES)
    contract_type: str = "PERPETUAL"
    underlying_type: str = "COIN"
    onboard_ms: int = attrs.field(default=0, on_setattr=_CHANGES)
    delivery_ms: int = attrs.field(default=NO_DELIVERY_MS, on_setattr=_CHANGES)
    brackets: Brackets = attrs.field(default=Brackets(), converter=Brackets, on_setattr=_CHANGES)
    start_ticks: int = 0  # last price at the start
    activity: float = 0.0  # aggressive orders a second, long-run mean
    annual_vol: float = 0.5  # of the symbol's own part
    beta: float = 1.0  # on the market factor
    spread_ticks: int = 1  # median
    touch_steps: int = 1  # median size displayed at the touch
    trade_steps: int = 1  # median size of one aggressive order

    tick_units: int = _derived(lambda listing: int(listing.tick.scaleb(listing.price_decimals)))
    """One tick in units of 10**-price_decimals."""
    step_units: int = _derived(lambda listing: int(listing.step.scaleb(listing.qty_decimals)))
    """One step in units of 10**-qty_decimals."""
    tick_e8: int = _derived(lambda listing: int(listing.tick * E8))
    """One tick in units of 1e-8."""
    step_e8: int = _derived(lambda listing: int(listing.step * E8))
    """One step in units of 1e-8."""
    unit_e16: int = _derived(lambda listing: listing.tick_e8 * listing.step_e8)
    """One step at a price of one tick, in 1e-16."""

    @property
    def pair(self) -> str:
        """What it is a contract on."""
        return self.base + self.quote if "_" in self.symbol else self.symbol

    def price(self, ticks: int) -> Decimal:
        """Exact price of a number of ticks."""
        return Decimal(int(ticks) * self.tick_units).scaleb(-self.price_decimals)

    def quantity(self, steps: int) -> Decimal:
        """Exact quantity of a number of steps."""
        return Decimal(int(steps) * self.step_units).scaleb(-self.qty_decimals)

    def price_text(self, ticks: int) -> str:
        """Price as in messages."""
        return decimal_text(int(ticks) * self.tick_units, self.price_decimals)

    def quantity_text(self, steps: int) -> str:
        """Quantity as in messages."""
        return decimal_text(int(steps) * self.step_units, self.qty_decimals)

    def ticks(self, price: Decimal) -> int:
        """Ticks of a price that lies on the grid.

        Raises:
            ValueError: the price is not a multiple of the tick.
        """
        return _whole(price, self.tick, "tick")

    def steps(self, quantity: Decimal) -> int:
        """Steps of a quantity that lies on the grid.

        Raises:
            ValueError: the quantity is not a multiple of the step.
        """
        return _whole(quantity, self.step, "step")


def _whole(value: Decimal, unit: Decimal, name: str) -> int:
    count = value / unit
    if count != count.to_integral_value():
        raise ValueError(f"{value} is not a multiple of the {name} {unit}")
    return int(count)


# ------------------------------------------------------------------------------------------------ synthetic listings


def synthetic_listings(n: int, seed: int, now_ms: int) -> tuple[Listing, ...]:
    """`n` tradable contracts, most active first, and on top of them a handful that a universe filter must judge.

    The first `k` of `n` listings are the same for every `n >= k`. On top come: a tradable contract whose symbol is not
    ASCII, and contracts that are halted, of traditional assets, quarterly, quoted in USDC, one day old, or an index.
    """
    names = tuple(name for name, _ in zip(_names(), range(n), strict=False))
    plain = [_listing(name, price, rank, rank, seed, now_ms) for rank, (name, price) in enumerate(names)]
    return tuple(plain + _odd_ones(n, seed, now_ms))


def _names() -> Iterator[tuple[str, float | None]]:
    yield from KNOWN
    for name in made_up_names():
        yield name, None


def _odd_ones(n: int, seed: int, now_ms: int) -> list[Listing]:
    quarter_ms = now_ms + 60 * DAY_MS
    changes: list[tuple[str, float | None, dict[str, Any]]] = [
        ("测试", None, {}),
        ("OLDCOIN", None, {"status": "SETTLING"}),
        ("XAU", 4_100.0, {"contract_type": TRADFI, "underlying_type": "COMMODITY"}),
        ("BTC", 98_500.0, {"symbol": "BTCUSDT_270326", "contract_type": "CURRENT_QUARTER", "delivery_ms": quarter_ms}),
        ("ETH", 3_400.0, {"symbol": "ETHUSDC", "quote": "USDC", "margin": "USDC"}),
        ("FRESH", None, {"onboard_ms": now_ms - DAY_MS}),
        ("DEFI", None, {"underlying_type": "INDEX"}),
    ]
    rank = max(n // 2, 40)
    return [
        attrs.evolve(_listing(name, price, n + k, rank + k, seed, now_ms), **change)
        for k, (name, price, change) in enumerate(changes)
    ]


def new_listing(symbol: str, index: int, seed: int, now_ms: int, price: float | None = None) -> Listing:
    """A contract that comes later, of middling activity; near `price`, or where its name's random numbers put it."""
    return _listing(symbol.removesuffix("USDT"), price, index, 60, seed, now_ms)


def _listing(base: str, price: float | None, index: int, rank: int, seed: int, now_ms: int) -> Listing:
    """One contract from the stream of random numbers of its own name, so that no listing depends on another."""
    symbol = f"{base}USDT"
    key = np.random.SeedSequence([seed, crc32(symbol.encode()), crc32(b"listing")])
    draw = np.random.Generator(np.random.Philox(key)).random(8)
    if price is None:
        price = 10.0 ** (-4.9 + 6.4 * float(draw[0]) ** 1.3)
    price *= 1 + 0.04 * (float(draw[1]) - 0.5)
    tick = _tick(price, rank)
    start_ticks = round(price / float(tick))
    activity = 15.0 * (rank + 1) ** -0.7 * float(np.exp(-rank / 170.0))
    trade_notional = 150.0 + 1_400.0 * (activity / 15.0) ** 0.7
    touch_notional = 2_500.0 + 150_000.0 * (activity / 15.0) ** 0.9
    step = _step(price, rank)
    steps_of = price * float(step)
    majors = rank < 2
    return Listing(
        symbol=symbol,
        index=index,
        base=base,
        tick=tick,
        step=step,
        price_decimals=max(0, -_exponent(tick)),
        qty_decimals=max(0, -_exponent(step)),
        min_price=tick,
        max_price=tick * (start_ticks * 20),
        min_qty=step,
        max_qty=step * max(1, round(100_000_000 / steps_of)),
        market_max_qty=step * max(1, round(12_000_000 / steps_of)),
        min_notional=Decimal({0: 100, 1: 20}.get(rank, 5)),
        multiplier_up=Decimal("1.05" if rank < 20 else "1.1"),
        multiplier_down=Decimal("0.95" if rank < 20 else "0.9"),
        onboard_ms=now_ms - (400 + int(2_000 * draw[2]) - min(rank, 300)) * DAY_MS,
        brackets=usual_brackets(rank),
        start_ticks=start_ticks,
        activity=activity,
        annual_vol=0.35 + (0.03 if rank == 1 else 0.0)
        if majors
        else 0.45 + 1.05 * float(draw[3]) * min(1.0, rank / 60),
        beta=1.0 if rank == 0 else 0.8 + 0.7 * float(draw[4]),
        spread_ticks=1 if rank < 12 else 1 + int(4 * float(draw[5]) ** 2 + 5 * float(draw[6]) * (rank > 120)),
        touch_steps=max(4, round(touch_notional / steps_of)),
        trade_steps=max(1, round(trade_notional / steps_of)),
    )


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # only "NaN" and "Infinity" have another
    return exponent


def _tick(price: float, rank: int) -> Decimal:
    """A tick of 0.01 to 3 bp of the price, as listed contracts have it; the top ones have the finest."""
    if rank < 2:
        return Decimal("0.10") if price > 20_000 else Decimal("0.01")
    exponent = int(np.floor(np.log10(price))) - 4
    return Decimal(1).scaleb(max(-8, min(exponent, -1)))


def _step(price: float, rank: int) -> Decimal:
    """A step worth about a dollar (a tenth of the smallest notional), never above 1 unit."""
    if rank < 2:
        return Decimal("0.001")
    return Decimal(1).scaleb(min(0, -int(np.ceil(np.log10(price)))))


def listing_from_precision(
    symbol: str, index: int, tick: Decimal, step: Decimal, start: Decimal, now_ms: int
) -> Listing:
    """A tradable contract of which only tick, step and one price are known (recordings)."""
    base = symbol.removesuffix("USDT")
    return Listing(
        symbol=symbol,
        index=index,
        base=base,
        tick=tick,
        step=step,
        price_decimals=max(0, -_exponent(tick)),
        qty_decimals=max(0, -_exponent(step)),
        min_price=tick,
        max_price=start * 20,
        min_qty=step,
        max_qty=step * 1_000_000,
        market_max_qty=step * 120_000,
        min_notional=Decimal(5),
        onboard_ms=now_ms - 1_000 * DAY_MS,
        brackets=usual_brackets(0 if symbol in ("BTCUSDT", "ETHUSDT") else 100),
        start_ticks=int(start / tick),
        touch_steps=max(1, int(Decimal(50_000) / (start * step))),
        trade_steps=max(1, int(Decimal(500) / (start * step))),
    )


# ------------------------------------------------------------------------------------------------------ exchangeInfo
