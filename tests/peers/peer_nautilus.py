"""NautilusTrader's backtest of a strategy that does nothing, on quotes of a capture: `FILE SECONDS`.

Only `engine.run()` is measured: reading and decoding the file, building the quotes and sorting them is not, though ours
does all of that in its figure. SECONDS bounds nothing here: a backtest ends with its data.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

from meter import Meter
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from shape import Quote, decode

VENUE = Venue("BINANCE")


def instrument(quote: Quote) -> CryptoPerpetual:
    """A perpetual with the precision that the quote shows."""
    tick, lot = Price.from_str(quote.b), Quantity.from_str(quote.B)
    zero = Decimal(0)
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(quote.s), VENUE),
        raw_symbol=Symbol(quote.s),
        base_currency=Currency.from_str("BTC"),
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=tick.precision,
        size_precision=lot.precision,
        price_increment=Price(10**-tick.precision, tick.precision),
        size_increment=Quantity(10**-lot.precision, lot.precision),
        margin_init=zero,
        margin_maint=zero,
        maker_fee=zero,
        taker_fee=zero,
        ts_event=0,
        ts_init=0,
    )


class Nothing(Strategy):
    """Subscribes to every quote and counts them."""

    seen = 0

    def on_start(self) -> None:
        for known in self.cache.instruments():
            self.subscribe_quote_ticks(known.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.seen += 1


def main(path: Path, meter: Meter) -> None:
    config = BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    engine = BacktestEngine(config=config)
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USDT)], base_currency=USDT)
    known: dict[str, CryptoPerpetual] = {}
    ticks: list[QuoteTick] = []
    for line in path.read_bytes().splitlines():
        stamp, _, payload = line.partition(b" ")
        at_ns, quote = int(stamp), decode(payload).data
        if quote.s not in known:
            known[quote.s] = instrument(quote)
            engine.add_instrument(known[quote.s])
        size, price = Quantity.from_str, Price.from_str
        identity = known[quote.s].id
        ticks.append(
            QuoteTick(identity, price(quote.b), price(quote.a), size(quote.B), size(quote.A), quote.E * 10**6, at_ns)
        )
    engine.add_data(ticks)
    strategy = Nothing()
    engine.add_strategy(strategy)
    meter.start()
    engine.run()
    meter.over(strategy.seen)
    meter.report("nautilus_trader", "numpy", "pandas", offered=len(ticks), symbols=len(known))


main(Path(sys.argv[1]), Meter(float(sys.argv[2])))
