"""Paper trading: the venue's market data, an account and its fills simulated in this process.

What can be asked of the venue without a key goes there; everything else (account, orders, private stream) ends at a
simulator on the engine's own clock. It takes its prices from the engine's market table, every few milliseconds, so no
frame is decoded twice.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import attrs
import numpy as np
import trio

from aegis.config import Config, ExchangeConfig
from aegis.core.errors import ConfigError, Restartable
from aegis.core.filters import SymbolSpec
from aegis.core.secret import Secret
from aegis.engine.session import Access, PrivateDelivery
from aegis.engine.universe import Choice
from aegis.exchange.books import Books
from aegis.exchange.history import History
from aegis.exchange.ledger import Ledger
from aegis.exchange.ledger_view import LedgerView, fold_ledger
from aegis.exchange.listing import Listing
from aegis.exchange.live import LiveSource
from aegis.exchange.recorded import listing_from_spec
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import Fees, Latency, Simulator
from aegis.kernels.market import Table
from aegis.research.memory_venue import MemoryPort, Mover
from aegis.runtime.clock import Clock
from aegis.venue.clock_sync import ClockEstimate, ClockSync
from aegis.venue.decode import decode_user_event
from aegis.venue.http import HttpPort, HttpReply, HttpxPort
from aegis.venue.replies import BookTicker, PremiumIndex
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner

__all__ = [
    "PAPER_FILLS", "MemoryStream", "Opening", "PaperPort", "PaperVenue", "Sampler", "open_paper", "opening_listing",
    "paper_signer",
]  # fmt: skip

_STEP_MS = 5
_STEP_NS = _STEP_MS * 1_000_000
#: The fill model in words.
PAPER_FILLS = f"simulated on live quotes sampled every {_STEP_MS} ms, depth behind the touch and funding modelled"
_NS_PER_MS = 1_000_000
_KEY, _SECRET = "paper" * 8, "secret" * 8
#: The simulated account is not what limits requests: the venue's own budget, which they are spent from too, is.
_NO_LIMIT = 1_000_000_000
_UNREAD_EVENTS = 10_000

#: Calls that need no key, which the venue answers. Anything else never leaves this process.
_PUBLIC = frozenset(
    f"/fapi/v1/{name}"
    for name in (
        "time", "exchangeInfo", "klines", "continuousKlines", "aggTrades", "depth", "ticker/bookTicker", "ticker/24hr",
        "premiumIndex",
    )
)  # fmt: skip


def paper_signer() -> HmacSigner:
    """The simulated account's key, which is no secret."""
    return HmacSigner(Secret(_KEY), Secret(_SECRET))


@asynccontextmanager
async def open_paper(
    config: Config, venue: Access, choices: Sequence[Choice], clock: Clock
) -> AsyncIterator[PaperVenue]:
    """The paper venue of the chosen symbols, and a connection to the real one while it is used.

    The clock is set first: simulated orders live on the venue's time, which must not jump under them.

    Raises VenueUnavailable, and ConfigError where a symbol has no price to begin with.
    """
    specs = [choice.spec for choice in choices if choice.included]

    def apply(estimate: ClockEstimate) -> None:
        clock.offset_ns = estimate.offset_ns

    await ClockSync(venue.rest.server_time, clock.wall_ns, apply).measure(4)
    opening = Opening(books=await venue.rest.book_tickers(), marks=await venue.rest.premium_index())
    port = HttpxPort(venue.endpoints.rest)
    try:
        yield PaperVenue(config, specs, opening, public=port, venue=venue, venue_ns=clock.venue_ns)
    finally:
        await port.aclose()


class PaperPort:
    """`HttpPort` of two origins: public calls go to the venue, all others to the simulator."""

    def __init__(self, public: HttpPort, account: HttpPort) -> None:
        self._public = public
        self._account = account

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        path = target.partition("?")[0]
        if method == "GET" and path in _PUBLIC:
            return await self._public.request(method, target, headers, body)
        reply = await self._account.request(method, target, headers, body)
        return attrs.evolve(reply, headers={})  # its counts of used weight say nothing about the venue's

    async def aclose(self) -> None:
        """Closes neither: both belong to who made them."""
        await trio.lowlevel.checkpoint()


class MemoryStream:
    """The private stream of a simulator in this process; as on a socket, nobody hears what comes while it is down."""

    def __init__(self, deliver: PrivateDelivery, *, unread: int = _UNREAD_EVENTS) -> None:
        self.connected = False
        self._deliver = deliver
        self._unread = unread
        self._push, self._pull = trio.open_memory_channel[bytes](0)

    def push(self, payload: bytes) -> None:
        """One user event. A reader that is too far behind loses the stream, which makes it read the account."""
        if not self.connected:
            return
        try:
            self._push.send_nowait(payload)
        except trio.WouldBlock:
            self.connected = False
            self._push.close()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One life: `started()` at once; raises Restartable when the reader has fallen behind."""
        self._push, self._pull = trio.open_memory_channel[bytes](self._unread)
        self.connected = True
        task_status.started()
        try:
            async for payload in self._pull:
                await self._deliver(payload, decode_user_event(payload))
        finally:
            self.connected = False
        raise Restartable("private stream: its reader fell behind")


class Sampler:
    """Shows a source what has changed in the engine's market table since it last looked.

    Symbols of table and source have the same order.
    """

    def __init__(self, table: Table, source: LiveSource) -> None:
        self._rows = table.symbols
        self._source = source
        self._update_id = np.full(len(self._rows), -1, np.int64)
        self._last_id = np.full(len(self._rows), -1, np.int64)
        self._mark_ms = np.full(len(self._rows), -1, np.int64)

    def take(self, now_ns: int) -> None:
        """One sample: prints first, because the quotes of the same moment show what they left."""
        rows, source = self._rows, self._source
        symbols = np.flatnonzero(rows["last_id"] != self._last_id)
        if len(symbols):
            source.trades(now_ns, symbols, price=rows["last"][symbols])
            self._last_id[symbols] = rows["last_id"][symbols]
        symbols = np.flatnonzero(rows["update_id"] != self._update_id)
        if len(symbols):
            row = rows[symbols]
            source.quotes(
                now_ns, symbols, bid=row["bid"], bid_qty=row["bid_qty"], ask=row["ask"], ask_qty=row["ask_qty"]
            )
            self._update_id[symbols] = row["update_id"]
        symbols = np.flatnonzero(rows["mark_ms"] != self._mark_ms)
        if len(symbols):
            row = rows[symbols]
            source.marks(now_ns, symbols, mark=row["mark"], index=row["index"])
            self._mark_ms[symbols] = row["mark_ms"]


def opening_listing(spec: SymbolSpec, index: int, book: BookTicker) -> Listing:
    """A contract of the venue with its leverage brackets guessed (they need a key) and depth like its opening touch."""
    if book.bid <= 0 or book.ask <= 0:
        raise ConfigError(f"{spec.symbol}: the venue quotes no price, so no fill can be simulated")
    plain = listing_from_spec(spec, index, book.bid)
    touch = int((book.bid_qty + book.ask_qty) / 2 / spec.step)
    return attrs.evolve(plain, touch_steps=max(1, min(plain.touch_steps, touch)))


class PaperVenue:
    """The simulated account beside a venue's live market.

    Attributes:
        access: what a session needs: public calls and market sockets are the venue's, all else is the simulator.
    """

    def __init__(
        self,
        config: Config,
        specs: Sequence[SymbolSpec],
        opening: Opening,
        *,
        public: HttpPort,
        venue: Access,
        venue_ns: Callable[[], int],
    ) -> None:
        """`specs` are the symbols that the engine trades, in its order; `public` reaches `venue`, whose limits hold.

        Raises ConfigError where a symbol has no price to begin with.
        """
        self._venue_ns = venue_ns
        books = {book.symbol: book for book in opening.books}
        missing = [spec.symbol for spec in specs if spec.symbol not in books]
        if missing:
            raise ConfigError(f"the venue quotes no price for {', '.join(missing[:5])}")
        listings = tuple(opening_listing(spec, index, books[spec.symbol]) for index, spec in enumerate(specs))
        self.source = LiveSource(listings)
        start_ns = venue_ns()
        opening.push(self.source, specs, start_ns)
        self.books = Books(listings, self.source, start_ns=start_ns)
        self._ledger = Ledger()
        self._sampler: Sampler | None = None
        self._streams: list[MemoryStream] = []
        simulator = _simulator(config, self.books, listings, self._ledger)
        simulator.user_events = self._on_event
        self._mover = Mover(simulator, venue_ns)
        port = PaperPort(public, MemoryPort(self._mover, venue_ns))
        self.access = Access(
            endpoints=attrs.evolve(venue.endpoints, trade=None),  # orders go by the REST port
            signer=paper_signer(),
            rest=RestClient(port, paper_signer(), venue_ns, venue.rest.limits, config.execution.recv_window_ms),
            ssl_context=venue.ssl_context,
            private_stream=self._private_stream,
        )

    def _private_stream(self, deliver: PrivateDelivery) -> MemoryStream:
        """The account's private stream, one for each who asks."""
        self._streams.append(MemoryStream(deliver))
        return self._streams[-1]

    def _on_event(self, _: str, payload: bytes) -> None:
        for stream in self._streams:
            stream.push(payload)

    def watch(self, table: Table) -> None:
        """From now on prices come from this table."""
        self._sampler = Sampler(table, self.source)

    async def run(self) -> None:
        """Sample the market, move the simulator; for ever."""
        while True:
            now_ns = self._venue_ns()
            if self._sampler is not None:
                self._sampler.take(now_ns)
            await self._mover.until(now_ns + _STEP_NS)
            self.books.published()  # nobody reads the simulator's own publications, and nothing drops them

    def ledger(self) -> LedgerView:
        """What the simulated account's ledger says now; may be called on a thread."""
        return fold_ledger(self._ledger.entries.copy())


@attrs.frozen(kw_only=True)
class Opening:
    """What the venue quotes at the start."""

    books: Sequence[BookTicker]
    marks: Sequence[PremiumIndex]

    def push(self, source: LiveSource, specs: Sequence[SymbolSpec], now_ns: int) -> None:
        """Open the market: a quote for every symbol that has one, and a mark; its mid where the venue names none."""
        books = {book.symbol: book for book in self.books}
        marks = {mark.symbol: mark for mark in self.marks}
        quoted = [books[spec.symbol] for spec in specs]
        touch = np.array([[book.bid, book.bid_qty, book.ask, book.ask_qty] for book in quoted], np.float64).T
        pairs = []
        for book in quoted:
            known = marks.get(book.symbol)
            if known is not None and known.mark > 0 and known.index > 0:
                pairs.append((float(known.mark), float(known.index)))
            else:
                pairs.append((float(book.bid + book.ask) / 2, math.nan))
        symbols = np.arange(len(specs))
        source.quotes(now_ns, symbols, bid=touch[0], bid_qty=touch[1], ask=touch[2], ask_qty=touch[3])
        mark, index = np.array(pairs).T
        source.marks(now_ns, symbols, mark=mark, index=index)


def _simulator(config: Config, books: Books, listings: Sequence[Listing], ledger: Ledger) -> Simulator:
    told: ExchangeConfig = config.exchange
    account = AccountSetup(id="paper", api_key=_KEY, secret=_SECRET, wallet=Decimal(str(told.wallet)))
    # Klines and trades are the venue's, so the tape of the simulator remembers next to nothing.
    history = History(listings, None, books.now_ns // _NS_PER_MS, seconds=64, minutes=64, trades=64)
    return Simulator(
        books, history, listings,
        accounts=[account],
        fees=Fees(maker=Decimal(str(told.maker_fee_bps)) / 10_000, taker=Decimal(str(told.taker_fee_bps)) / 10_000),
        latency=Latency(median_ms=told.latency_median_ms, p99_ms=told.latency_p99_ms),
        ledger=ledger,
        seed=config.seed,
        weight_limit=_NO_LIMIT,
    )  # fmt: skip
