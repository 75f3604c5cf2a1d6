"""Paper trading: the venue's market data, an account and its fills simulated in this process.

What can be asked of the venue without a key goes there; everything else (account, orders, private stream) ends at a
simulator on the engine's own clock. It takes its prices from the engine's market table, every few milliseconds, so no
frame is decoded twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import attrs
import numpy as np
import trio

from aegis.config import Config, ExchangeConfig
from aegis.core.errors import ConfigError, Restartable
from aegis.core.filters import SymbolSpec
from aegis.core.secret import Secret
from aegis.engine.session import PrivateDelivery
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
from aegis.venue.decode import decode_user_event
from aegis.venue.endpoints import Endpoints
from aegis.venue.http import HttpPort, HttpReply
from aegis.venue.replies import BookTicker, PremiumIndex
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner

__all__ = ["STEP_MS", "MemoryStream", "PaperPort", "PaperVenue", "Sampler", "opening_listing", "paper_endpoints"]

#: How often the market is sampled.
STEP_MS = 5
_STEP_NS = STEP_MS * 1_000_000
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


def paper_endpoints(endpoints: Endpoints) -> Endpoints:
    """The venue without its trade socket: orders go to the simulator, by the REST port."""
    return attrs.evolve(endpoints, trade=None)


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
        rest: every call of the engine: public ones go through `public` to the venue, the rest to the simulator.
        signer: the simulated account's key.
    """

    def __init__(
        self,
        config: Config,
        specs: Sequence[SymbolSpec],
        public: HttpPort,
        opening: Opening,
        client: RestClient,
        venue_ns: Callable[[], int],
    ) -> None:
        """`specs` are the symbols that the engine trades, in its order; `client` is the venue's, whose limits hold."""
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
        self.signer = HmacSigner(Secret(_KEY), Secret(_SECRET))
        self.rest = RestClient(
            PaperPort(public, MemoryPort(self._mover, venue_ns)), self.signer, venue_ns, client.limits,
            config.execution.recv_window_ms,
        )  # fmt: skip

    @staticmethod
    async def opening(client: RestClient) -> Opening:
        """Prices to begin with. Raises VenueUnavailable."""
        return Opening(books=await client.book_tickers(), marks=await client.premium_index())

    def private_stream(self, deliver: PrivateDelivery) -> MemoryStream:
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
        mids = [(book.bid + book.ask) / 2 for book in quoted]
        pairs = [
            (float(known.mark), float(known.index)) if known is not None and known.mark > 0 else (float(mid), math.nan)
            for mid, known in zip(mids, (marks.get(spec.symbol) for spec in specs), strict=True)
        ]
        symbols = np.arange(len(specs))
        source.quotes(
            now_ns, symbols,
            bid=np.array([float(book.bid) for book in quoted]), bid_qty=np.array([float(book.bid_qty) for book in quoted]),
            ask=np.array([float(book.ask) for book in quoted]), ask_qty=np.array([float(book.ask_qty) for book in quoted]),
        )  # fmt: skip
        mark, index = np.array(pairs).T
        source.marks(now_ns, symbols, mark=mark, index=np.where(index > 0, index, np.nan))


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
