"""Feeding frames to the table as the engine will, an independent model of what must come out, and generated frames."""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st

from aegis.kernels import market, wire
from aegis.venue import strict
from aegis.venue.inbox import Closed, Inbox, Message, Text
from aegis.venue.market_events import Full, Outcome

SYMBOLS = ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "测试USDT", "BTCUSDTX")
QTY_DECIMALS = (3, 2, 0, 1, 5)
BASE_MS = 1000
NOW_NS = 1_700_000_000_000_000_000


def make_quote(u: int, /, **changes: object) -> bytes:
    """A bookTicker payload of BTCUSDT."""
    event = {
        "e": "bookTicker",
        "u": u,
        "E": 1000,
        "T": 1000,
        "s": "BTCUSDT",
        "b": "1.5",
        "B": "1",
        "a": "1.6",
        "A": "2",
    }
    return json.dumps(event | changes).encode()


def make_table(trade_source: int = market.AGG_TRADE, rows: int = 4096) -> market.Table:
    return market.new_table(SYMBOLS, QTY_DECIMALS, BASE_MS, trade_source, rows=rows)


@attrs.define
class Feed:
    """One connection into one table; collects what comes out."""

    table: market.Table
    inbox: Inbox = attrs.Factory(lambda: Inbox(1 << 18))
    rows: list[Any] = attrs.Factory(list)
    outcomes: list[Outcome] = attrs.Factory(list)
    messages: list[Message] = attrs.Factory(list)
    statuses: Counter[int] = attrs.Factory(Counter)

    def take(self) -> None:
        out = market.batch_buffer(self.table)
        self.rows += [row.copy() for row in out[: market.take_batch(self.table, out)]]

    def strict(self, payload: bytes, now_ns: int) -> None:
        while True:
            outcomes = strict.decode(payload, self.table, now_ns)
            if not any(isinstance(outcome, Full) for outcome in outcomes):
                break
            self.take()
        self.outcomes += outcomes

    def read(self, data: bytes, now_ns: int = NOW_NS) -> None:
        self.inbox.extend(data)
        while True:
            status = self.inbox.scan(self.table, now_ns)
            self.statuses[status] += 1
            if status == wire.NEED_MORE:
                return
            if status == wire.ROWS_FULL:
                self.take()
            elif status == wire.SLOW:
                message = self.inbox.slow()
                if isinstance(message, Text):
                    self.strict(message.payload, now_ns)
                elif message is not None:
                    self.messages.append(message)
                    if isinstance(message, Closed):
                        return

    def counts(self) -> dict[str, int]:
        return {name: count for name, count in market.counts(self.table).items() if count}


# -- the model: plain Python over json.loads ---------------------------------------------------------------------------
@attrs.define
class PlainSymbol:
    quote: dict[str, Any] | None = None
    mark: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    last_id: int = -1


@attrs.define
class PlainMarket:
    """What the table must hold and the bars that every trade makes, from decoded events in order."""

    trade_source: int
    symbols: dict[str, PlainSymbol] = attrs.Factory(lambda: {name: PlainSymbol() for name in SYMBOLS})
    bars: dict[tuple[str, int], dict[str, Any]] = attrs.Factory(dict)

    def payload(self, text: str) -> None:
        value = json.loads(text)
        if isinstance(value, dict) and "data" in value:
            value = value["data"]
        for event in value if isinstance(value, list) else [value]:
            self.event(event)

    def event(self, event: dict[str, Any]) -> None:
        state = self.symbols.get(event.get("s", ""))
        if state is None or event.get("st", 1) != 1:
            return
        if event["e"] == "bookTicker" and (state.quote is None or event["u"] > state.quote["u"]):
            state.quote = event
        elif event["e"] == "markPriceUpdate" and (state.mark is None or event["E"] > state.mark["E"]):
            state.mark = event
        elif event["e"] == ("aggTrade", "trade")[self.trade_source]:
            self.trade(state, event)

    def trade(self, state: PlainSymbol, event: dict[str, Any]) -> None:
        identity = event["a"] if event["e"] == "aggTrade" else event["t"]
        if identity <= state.last_id:
            return
        state.last_id = identity
        if event.get("X", "MARKET") != "MARKET":
            return
        state.last = event
        price, qty = float(event["p"]), Decimal(event["q"])
        key = (event["s"], event["T"] // BASE_MS * BASE_MS)
        bar = self.bars.setdefault(
            key,
            {"open": price, "high": price, "low": price, "volume": Decimal(0), "taker_buy": Decimal(0), "trades": 0},
        )
        bar["high"], bar["low"], bar["close"] = max(bar["high"], price), min(bar["low"], price), price
        bar["volume"] += qty
        bar["taker_buy"] += 0 if event["m"] else qty
        bar["trades"] += 1


def same(left: float, right: float) -> bool:
    """Bit-equal, or both NaN."""
    return (math.isnan(left) and math.isnan(right)) or (
        left == right and math.copysign(1, left) == math.copysign(1, right)
    )


def assert_equal(table: market.Table, model: PlainMarket) -> None:
    """The table says of every symbol what the model says, to the last bit."""
    for index, name in enumerate(SYMBOLS):
        state, plain = table.symbols[index], model.symbols[name]
        quote, mark, last = plain.quote, plain.mark, plain.last
        for column, key in (("bid", "b"), ("bid_qty", "B"), ("ask", "a"), ("ask_qty", "A")):
            assert same(state[column], float(quote[key]) if quote else math.nan), (name, column)
        for column, key in (("update_id", "u"), ("quote_ms", "E"), ("match_ms", "T")):
            assert state[column] == (quote[key] if quote else {"update_id": -1}.get(column, 0)), (name, column)
        assert same(state["mark"], float(mark["p"]) if mark else math.nan), name
        assert same(state["index"], float(mark["i"]) if mark else math.nan), name
        assert same(state["funding"], float(mark["r"]) if mark and mark["r"] else math.nan), name
        assert state["next_funding_ms"] == (mark["T"] if mark else 0), name
        assert same(state["last"], float(last["p"]) if last else math.nan), name
        assert state["last_id"] == plain.last_id, name


def merge(rows: list[Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Bars from conflated rows, in the order they were taken."""
    bars: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        if row["trades"] == 0:
            continue
        unit = Decimal(1).scaleb(-QTY_DECIMALS[row["symbol"]])
        key = (SYMBOLS[row["symbol"]], int(row["bar"]))
        bar = bars.setdefault(
            key,
            {"open": row["open"], "high": row["high"], "low": row["low"], "volume": 0, "taker_buy": 0, "trades": 0},
        )
        bar["high"], bar["low"] = max(bar["high"], row["high"]), min(bar["low"], row["low"])
        bar["close"] = row["close"]
        bar["volume"] += int(row["volume"]) * unit
        bar["taker_buy"] += int(row["taker_buy"]) * unit
        bar["trades"] += int(row["trades"])
    return bars


# -- generated frames --------------------------------------------------------------------------------------------------
def decimals(max_decimals: int, min_value: int = 0, max_value: int = 10**15) -> st.SearchStrategy[str]:
    """Decimal strings, with the lengths and trailing zeros that a venue may send."""

    def text(mantissa: int, places: int, padding: int) -> str:
        digits = str(mantissa).rjust(places + 1, "0")
        body = digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
        return body + "0" * padding if places else body

    return st.builds(
        text,
        st.integers(min_value, 10**9) | st.integers(min_value, max_value),
        st.integers(0, max_decimals),
        st.sampled_from((0, 0, 0, 1, 5)),
    )


milliseconds = st.integers(NOW_NS // 10**6 - 5000, NOW_NS // 10**6 + 5000)
ids = st.integers(0, 60) | st.integers(2**53, 2**53 + 60)
extras = st.dictionaries(
    st.sampled_from(("ps", "nq", "ap", "P", "z", "W", "future", "é")),
    st.none()
    | st.booleans()
    | st.integers(0, 10**17)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just([1]),
    max_size=2,
)


KINDS = ("bookTicker", "aggTrade", "trade", "markPriceUpdate")


@st.composite
def ticks(
    draw: st.DrawFn, symbols: tuple[str, ...] = (*SYMBOLS, "OTHERUSDT", "TCUSDT"), kinds: tuple[str, ...] = KINDS
) -> dict[str, Any]:
    """One tick of one of the kinds."""
    name = draw(st.sampled_from(symbols))
    places = QTY_DECIMALS[SYMBOLS.index(name)] if name in SYMBOLS else 3
    kind = draw(st.sampled_from(kinds))
    event: dict[str, Any] = {"e": kind, "E": draw(milliseconds), "s": name, "T": draw(milliseconds)}
    price = decimals(12, 1)
    qty = decimals(places, max_value=10**10)
    if kind == "bookTicker":
        event |= {"u": draw(ids), "b": draw(price), "B": draw(qty), "a": draw(price), "A": draw(qty)}
    elif kind == "aggTrade":
        event |= {"a": draw(ids), "p": draw(price), "q": draw(qty), "f": 1, "l": 2, "m": draw(st.booleans())}
    elif kind == "trade":
        markets = st.sampled_from(("MARKET", "MARKET", "MARKET", "INSURANCE_FUND", "NA"))
        event |= {"t": draw(ids), "p": draw(price), "q": draw(qty), "X": draw(markets), "m": draw(st.booleans())}
    else:
        rate = st.just("") | st.builds(lambda sign, text: sign + text, st.sampled_from(("", "-")), decimals(8))
        event |= {"p": draw(price), "i": draw(price), "r": draw(rate)}
    if draw(st.booleans()):
        event["st"] = draw(st.sampled_from((1, 1, 1, 2)))
    return event


@st.composite
def payloads(draw: st.DrawFn, tick: st.SearchStrategy[dict[str, Any]] | None = None) -> str:
    """One payload as text: a tick or an array of marks, raw or combined, fields shuffled, white space anywhere."""
    event = draw(tick if tick is not None else ticks())
    shuffled = dict(draw(st.permutations(list((draw(extras) | event).items()))))
    value: Any = shuffled
    if event["e"] == "markPriceUpdate" and draw(st.booleans()):
        value = [shuffled, *draw(st.lists(ticks(kinds=("markPriceUpdate",)), max_size=3))]
    wrapping = draw(st.sampled_from(("raw", "combined", "reversed")))
    if wrapping == "combined":
        value = {"stream": "x@y测", "data": value}
    elif wrapping == "reversed":
        value = {"data": value, "stream": "x@y"}
    space = draw(st.sampled_from(("", "", " ", "\n\t ")))
    text = json.dumps(
        value,
        ensure_ascii=draw(st.sampled_from((False, False, True))),
        separators=(space + "," + space, space + ":" + space),
    )
    return space + text + space


@st.composite
def written_quotes(draw: st.DrawFn, symbols: tuple[str, ...] = SYMBOLS) -> str:
    """A bookTicker exactly as the venue writes it, in each of the forms that are known of it."""
    event = draw(ticks(symbols, ("bookTicker",)))
    times = {name: event[name] for name in "ET"}
    if draw(st.booleans()):
        order = ("e", "u", *draw(st.permutations("ET")), "s", "b", "B", "a", "A")
    else:
        order = ("e", "u", "s", "b", "B", "a", "A", *draw(st.permutations("TE")))
    value: Any = {name: times.get(name, event[name]) for name in order}
    if draw(st.booleans()):
        value["st"] = 1
        if draw(st.booleans()):
            value["ps"] = event["s"]
    if draw(st.booleans()):
        value = {"stream": f"{event['s'].lower()}@bookTicker", "data": value}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@st.composite
def written_trades(draw: st.DrawFn, symbols: tuple[str, ...] = SYMBOLS) -> str:
    """An aggTrade or a trade exactly as the venue writes it, in each of the forms that are known of it."""
    event = draw(ticks(symbols, ("aggTrade", "trade")))
    if event["e"] == "trade":
        order = ("e", "E", "T", "s", "t", "p", "q", "X", "m")
    else:
        named = draw(st.permutations("sa"))
        order = ("e", "E", *named, "p", "q", *(("nq",) if draw(st.booleans()) else ()), "f", "l", "T", "m")
    if "st" in event:
        order = (*order, "st")
    value: Any = {name: event["q"] if name == "nq" else event[name] for name in order}
    if draw(st.booleans()):
        value = {"stream": f"{event['s'].lower()}@{event['e']}", "data": value}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
