"""Is a strategy any better than chance? Its trades on a market's ticks, beside random entries with the same plans.

Both are filled by the same model: an order meets the quote `latency` after its trigger; entries and exits pay the
spread and the taker fee; an entry beyond its limit price does not fill; a stop fills wherever the quote is by then.
Setups pass the engine's own risk gate. A random entry takes, of a real trade, the symbol, stop and targets (in price,
relative to the entry) and the time limit; its moment and its side are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from aegis.config import Config
from aegis.research.candles import candles
from aegis.research.honest_gate import HonestGate
from aegis.research.tape import Tape
from aegis.research.walk import WARM_BARS, walk
from aegis.signals.strategy import Setup

__all__ = ["Plan", "Report", "Wish", "judge", "trade_r", "wishes"]

_NS_PER_MS = 1_000_000
_DAY_NS = 86_400_000_000_000
_RESAMPLES = 10_000
Floats = npt.NDArray[np.float64]


@attrs.frozen(kw_only=True)
class Wish:
    """A setup that waits for its price on one tape, while it stands."""

    tape: Tape
    setup: Setup
    from_ns: int
    until_ns: int

    def hit(self) -> int | None:
        """The quote that reaches its level; -1 where price is there already when it is armed."""
        first, last = self.tape.at(self.from_ns), self.tape.at(self.until_ns - 1)
        if first < 0 or last < first:
            return None
        d, entry = self.setup.side.sign, self.setup.entry
        prices = (self.tape.ask if d > 0 else self.tape.bid)[first : last + 1]
        reached = d * (prices - entry) <= 0.0
        found = int(np.argmax(reached))
        if not reached[found]:
            return None
        return -1 if found == 0 else first + found


@attrs.frozen(kw_only=True)
class Plan:
    """A trade to be: distances are fractions of the touch at `start`, targets come with the share that leaves there."""

    tape: Tape
    start: int
    side: int
    stop: float
    targets: tuple[tuple[float, float], ...]
    limit_ns: int


@attrs.frozen
class Result:
    """R of a trade, net and before fees, and when it was over."""

    net: float
    gross: float
    closed_ns: int


@attrs.frozen(kw_only=True)
class Report:
    """All that is told. R is net of fees but where it says gross; None where there was no trade."""

    symbols: int
    days: float
    setups: int
    signals: int
    not_armed: int
    refused: dict[str, int]
    unfilled: int
    trades: int
    mean_r: float | None
    gross_r: float | None
    low: float | None
    high: float | None
    runs: int
    random_mean: float | None
    random_low: float | None
    random_high: float | None
    at_least_as_good: float | None
    """Share of the random runs whose mean R is no worse."""


def wishes(tape: Tape, config: Config) -> Iterator[Wish]:
    """What the strategy says of a tape's bars, from the moment at which the engine would know it."""
    frames = config.bars.timeframes_ms
    delay_ms = config.bars.lateness_ms + config.conflation.interval_ms + config.conflation.analysis_latency_ms
    standing: dict[int, tuple[Setup, int]] = {}

    def ended(zone: int, now_ms: int) -> Iterator[Wish]:
        old = standing.pop(zone, None)
        if old is not None:
            from_ns, until_ms = (old[1] + delay_ms) * _NS_PER_MS, min(old[0].expires_ms, now_ms + delay_ms)
            yield Wish(tape=tape, setup=old[0], from_ns=from_ns, until_ns=until_ms * _NS_PER_MS)

    for step in walk(candles(tape.bars, frames), config, symbol=tape.listing.symbol, warm_bars=WARM_BARS):
        for word in step.advice:
            yield from ended(word.zone, step.known_ms)
            if isinstance(word, Setup):
                standing[word.zone] = word, step.known_ms
    for zone in tuple(standing):
        yield from ended(zone, 2**41)


def trade_r(plan: Plan, *, latency_ns: int, limit: float, taker: float) -> Result | None:
    """What comes of one trade; None where its entry does not fill, or the data ends before it can."""
    tape, d = plan.tape, plan.side
    touch, against = (tape.ask, tape.bid) if d > 0 else (tape.bid, tape.ask)
    reference = touch[plan.start]
    i = tape.at(int(tape.time_ns[plan.start]) + latency_ns)
    entry = touch[i]
    if d * (entry - reference * (1.0 + d * limit)) > 0.0 or i + 1 >= len(touch):
        return None
    stop = reference * (1.0 - d * plan.stop)
    end = max(tape.at(int(tape.time_ns[i]) + plan.limit_ns), i + 1)
    path = d * against[i : end + 1]
    stopped = _first(path <= d * stop)
    left, value, last = 1.0, 0.0, 0
    for distance, share in plan.targets:
        reached = _first(path >= d * reference * (1.0 + d * distance))
        if reached < stopped and reached < len(path):
            value += share * _exit(tape, against, i + reached, latency_ns)
            left -= share
            last = reached
    if left > 1e-9:
        last = min(stopped, len(path) - 1)
        value += left * _exit(tape, against, i + last, latency_ns)
    gross = d * (value - entry) / (reference * plan.stop)
    cost = taker * (entry + value) / (reference * plan.stop)
    return Result(float(gross - cost), float(gross), int(tape.time_ns[i + last]) + latency_ns)


def _first(reached: npt.NDArray[np.bool_]) -> int:
    """The first True; the length where there is none."""
    found = int(np.argmax(reached))
    return found if reached[found] else len(reached)


def _exit(tape: Tape, against: Floats, trigger: int, latency_ns: int) -> float:
    return float(against[tape.at(int(tape.time_ns[trigger]) + latency_ns)])


def judge(tapes: Sequence[Tape], config: Config, *, runs: int, seed: int, say: Callable[[str], None]) -> Report:
    """The strategy of `config` on `tapes`, `runs` random-entry runs beside it. Raises ConfigError as `walk`."""
    hits, not_armed, setups = [], 0, 0
    for number, tape in enumerate(tapes):
        for wish in wishes(tape, config):
            setups += 1
            at = wish.hit()
            if at is not None and at >= 0:
                hits.append((int(tape.time_ns[at]), number, at, wish))
            not_armed += at == -1
        say(f"{tape.listing.symbol}: {len(tape.bars)} bars")
    hits.sort(key=lambda hit: hit[:3])
    terms = _Terms.of(config)
    gate, refused = HonestGate(tapes, config), Counter[str]()
    plans, results, unfilled, decided = list[Plan](), list[Result](), 0, set[tuple[str, int]]()
    for _, number, at, wish in hits:
        key = (wish.setup.name, wish.setup.zone)
        if key in decided:
            continue
        decided.add(key)
        denied = gate.check(number, at, wish.setup)
        if denied is not None:
            refused[denied] += 1
            continue
        plan = _plan(wish, at)
        result = terms.trade(plan)
        if result is None:
            unfilled += 1
            continue
        gate.opened(number, result.closed_ns)
        plans.append(plan)
        results.append(result)
    chance = _random_runs(plans, terms, runs, seed)
    return _report(tapes, setups, len(decided), not_armed, refused, unfilled, results, chance, seed)


@attrs.frozen(kw_only=True)
class _Terms:
    latency_ns: int
    limit: float
    taker: float

    @classmethod
    def of(cls, config: Config) -> _Terms:
        told = config.exchange
        return cls(
            latency_ns=int(told.latency_median_ms * _NS_PER_MS), limit=float(config.risk.max_slippage_bps) * 1e-4,
            taker=told.taker_fee_bps * 1e-4,
        )  # fmt: skip

    def trade(self, plan: Plan) -> Result | None:
        return trade_r(plan, latency_ns=self.latency_ns, limit=self.limit, taker=self.taker)


def _plan(wish: Wish, at: int) -> Plan:
    setup, d = wish.setup, wish.setup.side.sign
    reference = float((wish.tape.ask if d > 0 else wish.tape.bid)[at])
    left = 1.0 - sum(share for _, share in setup.parts)
    targets = [*setup.parts, (setup.target, left)]
    return Plan(
        tape=wish.tape, start=at, side=d, stop=d * (reference - setup.stop) / reference,
        targets=tuple((d * (price - reference) / reference, share) for price, share in targets),
        limit_ns=setup.time_limit_ms * _NS_PER_MS,
    )  # fmt: skip


def _random_runs(plans: Sequence[Plan], terms: _Terms, runs: int, seed: int) -> Floats:
    """Mean net R of each run: as many trades, each with the plan of one, from a drawn moment to a drawn side."""
    means = []
    for run in range(runs if plans else 0):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, run])))
        found = []
        for plan in plans:
            first_ns, last_ns = int(plan.tape.time_ns[0]), int(plan.tape.time_ns[-1]) - plan.limit_ns
            start = max(0, plan.tape.at(int(rng.integers(first_ns, max(first_ns + 1, last_ns)))))
            result = terms.trade(attrs.evolve(plan, start=start, side=1 if rng.random() < 0.5 else -1))
            if result is not None:
                found.append(result.net)
        if found:
            means.append(float(np.mean(found)))
    return np.array(means)


def _report(
    tapes: Sequence[Tape], setups: int, signals: int, not_armed: int, refused: Counter[str], unfilled: int,
    results: Sequence[Result], chance: Floats, seed: int,
) -> Report:  # fmt: skip
    net = np.array([one.net for one in results])
    low, high = _interval(net, seed) if len(net) > 1 else (None, None)
    mean = float(net.mean()) if len(net) else None
    some = len(chance) > 0
    spans = [int(tape.time_ns[-1] - tape.time_ns[0]) / _DAY_NS for tape in tapes]
    return Report(
        symbols=len(tapes), days=max(spans), setups=setups, signals=signals, not_armed=not_armed,
        refused=dict(refused.most_common()), unfilled=unfilled, trades=len(net), mean_r=mean,
        gross_r=float(np.mean([one.gross for one in results])) if results else None, low=low, high=high,
        runs=len(chance), random_mean=float(chance.mean()) if some else None,
        random_low=float(np.percentile(chance, 2.5)) if some else None,
        random_high=float(np.percentile(chance, 97.5)) if some else None,
        at_least_as_good=float((chance >= mean).mean()) if some and mean is not None else None,
    )  # fmt: skip


def _interval(values: Floats, seed: int) -> tuple[float, float]:
    """95 % of the mean, by seeded resampling of the trades."""
    rng = np.random.Generator(np.random.Philox(seed))
    means = [float(rng.choice(values, len(values)).mean()) for _ in range(_RESAMPLES)]
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))
