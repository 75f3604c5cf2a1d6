"""The synthetic market: random numbers by counter, determinism, independence of symbols, plausible statistics."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from aegis.core.errors import ConfigError
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import MARK, QUOTE, TRADE
from aegis.kernels.philox import gamma, normal, philox, poisson, student4, uniforms

START_NS = 1_790_000_000_123_456_789
SECOND = 1_000_000_000
LISTINGS = synthetic_listings(30, 1, START_NS // 1_000_000)


def source(listings=LISTINGS[:6], seed=7, **options):
    return SyntheticSource(listings, seed=seed, start_ns=START_NS, **options)


def run(seconds, **options):
    return source(**options).events(START_NS + seconds * SECOND)


# ------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_authors_known_answers(counter, key, expected):
    words = philox(*(np.uint64(value) for value in (*counter, *key)))
    assert tuple(int(word) for word in words) == expected


@numba.njit
def derived_numbers(key, flat, derived):
    """Rows of four uniform numbers, and a normal, a Student's t, a gamma and a Poisson number of each."""
    for place in range(len(flat)):
        u, v, w, x = uniforms(key, place, 0)
        flat[place] = (u, v, w, x)
        derived[place] = (normal(u, v), student4(u, v, w, x), gamma(0.35, key, place, 5), float(poisson(3.0, u)))


def test_derived_numbers_have_the_moments_of_their_distributions():
    flat, derived = np.zeros((20_000, 4)), np.zeros((20_000, 4))
    derived_numbers(np.array([11, 22], np.uint64), flat, derived)
    normals, heavy, gammas, counts = derived.T
    assert flat.min() > 0 < 1 - flat.max()
    assert flat.mean(axis=0) == pytest.approx(0.5, abs=0.01)
    assert np.abs(np.corrcoef(flat.T) - np.eye(4)).max() < 0.03
    assert (normals.mean(), normals.var()) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.04))
    assert np.median(np.abs(heavy)) == pytest.approx(0.741, abs=0.03)  # Student's t, four degrees of freedom
    assert (gammas.mean(), gammas.var()) == (pytest.approx(0.35, abs=0.015), pytest.approx(0.35, abs=0.04))
    assert (counts.mean(), counts.var()) == (pytest.approx(3, abs=0.06), pytest.approx(3, abs=0.15))


# -------------------------------------------------------------------------------------------- determinism, independence


def test_one_seed_makes_one_market():
    np.testing.assert_array_equal(run(20, rate=100.0), run(20, rate=100.0))
    assert not np.array_equal(run(20), run(20, seed=8))


def test_how_the_time_is_cut_does_not_matter():
    whole = run(3, rate=500.0)
    cut = source(rate=500.0)
    times = [START_NS, START_NS, *(START_NS + k * 7_300_001 for k in range(1, 411)), START_NS + 3 * SECOND]
    np.testing.assert_array_equal(whole, np.concatenate([cut.events(until) for until in times]))
    assert len(cut.events(START_NS)) == 0


def only(events, symbol, *, sizes=True):
    """One symbol's events; without sizes only quotes that move a price and one print an order and price."""
    mine = events[events["symbol"] == symbol].copy()
    if sizes:
        return mine
    quotes = mine["kind"] == QUOTE
    moved = np.ones(len(mine), np.bool_)
    prices = np.stack((mine["bid"][quotes], mine["ask"][quotes]))
    moved[np.flatnonzero(quotes)[1:]] = (np.diff(prices) != 0).any(axis=0)
    trades = np.flatnonzero(mine["kind"] == TRADE)
    again = (np.diff(mine["order"][trades]) == 0) & (np.diff(mine["price"][trades]) == 0)
    moved[trades[1:][again]] = False
    return mine[moved]


def test_adding_a_symbol_changes_no_other():
    few, many = run(20, listings=LISTINGS[:3]), run(20, listings=LISTINGS[:30])
    for symbol in range(3):
        np.testing.assert_array_equal(only(few, symbol), only(many, symbol))


def test_the_rate_changes_sizes_but_no_price_side_or_mark():
    quiet, busy = run(20, rate=0.0), run(20, rate=3000.0)
    assert len(busy) > 10 * len(quiet)
    for symbol in range(6):
        a, b = only(quiet, symbol, sizes=False), only(busy, symbol, sizes=False)
        for column in ("time_ns", "kind", "side", "bid", "ask", "price", "order", "mark_e8", "index_e8"):
            np.testing.assert_array_equal(a[column], b[column])


def test_a_restored_source_goes_on_as_if_it_had_never_stopped():
    whole = source(rate=300.0)
    whole.events(START_NS + 2 * SECOND + 33)
    state = whole.snapshot()
    rest = whole.events(START_NS + 5 * SECOND)
    resumed = SyntheticSource(LISTINGS[:6], seed=7, start_ns=START_NS + 99 * SECOND, rate=300.0)
    resumed.restore(state)
    np.testing.assert_array_equal(rest, resumed.events(START_NS + 5 * SECOND))


def test_a_state_of_another_market_is_refused():
    with pytest.raises(ConfigError, match="another seed"):
        source().restore(source(seed=8).snapshot())
    with pytest.raises(ConfigError, match="other symbols"):
        source().restore(source(listings=LISTINGS[:5]).snapshot())


# --------------------------------------------------------------------------------------------------------------- shape


def test_events_are_ordered_and_make_sense_one_by_one():
    events = run(60, listings=LISTINGS, rate=1000.0)
    assert (np.diff(events["time_ns"]) >= 0).all()
    quotes, trades, marks = (events[events["kind"] == kind] for kind in (QUOTE, TRADE, MARK))
    assert (quotes["bid"] < quotes["ask"]).all()
    assert min(quotes["bid"].min(), quotes["bid_qty"].min(), quotes["ask_qty"].min()) > 0
    assert min(trades["price"].min(), trades["qty"].min()) > 0
    assert set(np.unique(trades["side"])) == {-1, 1}
    assert (marks["mark_e8"] != marks["index_e8"]).mean() > 0.9
    live = marks[marks["time_ns"] > START_NS]
    assert (live["time_ns"] % SECOND == 0).all()
    assert len(live) == 60 * len(LISTINGS)
    for symbol in range(len(LISTINGS)):
        mine = trades[trades["symbol"] == symbol]
        assert (np.diff(mine["order"]) >= 0).all()


def test_the_market_opens_at_the_listed_price():
    opening = run(0)
    quotes, marks = opening[opening["kind"] == QUOTE], opening[opening["kind"] == MARK]
    assert quotes["bid"].tolist() == [listing.start_ticks for listing in LISTINGS[:6]]
    assert marks["mark_e8"].tolist() == [listing.start_ticks * listing.tick_e8 for listing in LISTINGS[:6]]


def test_every_order_prints_at_the_touch_first_and_never_inside_the_spread():
    events = run(120, listings=LISTINGS[:3])
    for symbol in range(3):
        bid = ask = order = 0
        for row in only(events, symbol):
            if row["kind"] == QUOTE:
                bid, ask = row["bid"], row["ask"]
            elif row["kind"] == TRADE:
                if row["order"] != order:
                    assert row["price"] == (ask if row["side"] > 0 else bid)
                    order = row["order"]
                assert row["price"] >= ask if row["side"] > 0 else row["price"] <= bid


def test_a_halted_contract_has_marks_but_no_trading():
    halted = next(listing for listing in LISTINGS if listing.status != "TRADING")
    events = run(30, listings=LISTINGS)
    mine = only(events, halted.index)
    assert set(mine["kind"][mine["time_ns"] > START_NS]) == {MARK}


def test_volatility_scales_the_moves():
    def swing(volatility):
        events = only(run(300, volatility=volatility), 0)
        quotes = events[events["kind"] == QUOTE]
        return np.log(quotes["bid"] / quotes["bid"][0]).std()

    assert swing(0.0) < 1e-6  # single ticks that sweeps take
    assert swing(4.0) == pytest.approx(4 * swing(1.0), rel=0.3)


def test_the_frame_rate_is_near_the_one_asked_for():
    listings = synthetic_listings(300, 1, START_NS // 1_000_000)
    events = run(60, listings=listings, rate=6000.0)
    trades = events[events["kind"] == TRADE]
    aggregated = len(np.unique(trades[["symbol", "order", "price"]]))
    assert (len(events) - len(trades) + aggregated) / 60 == pytest.approx(6000, rel=0.1)
    assert len(np.unique(events["symbol"][events["kind"] == QUOTE])) > 300


# ---------------------------------------------------------------------------------------------------------- statistics

SECONDS = 3430


@pytest.fixture(scope="module")
def statistics():
    """Per symbol (BTC, ETH), averaged over three seeds; LEARNER.md 5's table."""
    collected = [_measure(seed) for seed in (7, 8, 10)]
    return {name: np.mean([values[name] for values in collected], axis=0) for name in collected[0]}


def _measure(seed):
    events = run(SECONDS, listings=LISTINGS[:2], seed=seed)
    edges = START_NS + (np.arange(SECONDS * 10) + 1) * SECOND // 10 - 1
    out = {name: [] for name in ("rate", "fano", "sd", "still", "tight", "swept", "same", "prints", "markout")}
    mids = []
    for symbol in (0, 1):
        mine = only(events, symbol)
        quotes, trades = mine[mine["kind"] == QUOTE], mine[mine["kind"] == TRADE]

        def mid_at(times, quotes=quotes):
            k = np.searchsorted(quotes["time_ns"], times, side="right") - 1
            return np.log((quotes["bid"][k] + quotes["ask"][k]) / 2)

        mid = mid_at(edges)
        mids.append(mid)
        orders, first, prints = np.unique(trades["order"], return_index=True, return_counts=True)
        times, sides = trades["time_ns"][first], trades["side"][first]
        last = first + prints - 1
        counts = [np.bincount((times - START_NS) // (w * SECOND // 10))[: SECONDS * 10 // w] for w in (1, 10, 100)]
        returns = [np.diff(mid[::w]) * 1e4 for w in (1, 10, 100)]
        held = np.diff(np.append(quotes["time_ns"], edges[-1]))
        out["rate"].append(len(orders) / SECONDS)
        out["fano"].append([count.var() / count.mean() for count in counts])
        out["sd"].append([change.std() for change in returns])
        out["still"].append([(change == 0).mean() for change in returns[:2]])
        out["tight"].append(held[quotes["ask"] - quotes["bid"] == 1].sum() / held.sum())
        out["swept"].append((trades["price"][first] != trades["price"][last]).mean())
        out["same"].append((sides[1:] == sides[:-1]).mean())
        out["prints"].append(prints.mean())
        out["markout"].append([-(sides * (mid_at(times + w) - mid_at(times - 1))).mean() * 1e4 for w in (10**8, 10**9)])
    out["corr"] = [np.corrcoef(*(np.diff(mid[::w]) for mid in mids))[0, 1] for w in (10, 50)]
    return out


def test_orders_arrive_as_often_and_as_bursty_as_recorded(statistics):
    recorded_rate, recorded_fano = [15.8, 10.2], np.array([[7.6, 24.7, 48.5], [3.7, 9.3, 14.0]])
    assert statistics["rate"] == pytest.approx(recorded_rate, rel=0.3)
    assert (statistics["fano"] > 0.5 * recorded_fano).all()
    assert (statistics["fano"] < 2.0 * recorded_fano).all()


def test_the_mid_moves_as_far_and_rests_as_often_as_recorded(statistics):
    assert statistics["sd"] == pytest.approx(np.array([[0.42, 1.40, 3.65], [0.34, 1.22, 3.39]]), rel=0.35)
    assert statistics["still"] == pytest.approx(np.array([[0.89, 0.46], [0.86, 0.36]]), abs=0.1)
    assert statistics["corr"] == pytest.approx([0.58, 0.68], abs=0.12)


def test_spread_sweeps_prints_and_sides_lie_in_their_bands(statistics):
    assert (statistics["tight"] > 0.97).all()
    assert (statistics["swept"] > 0.08).all()
    assert (statistics["swept"] < 0.16).all()
    assert (statistics["same"] > 0.60).all()
    assert (statistics["same"] < 0.66).all()
    assert statistics["prints"] == pytest.approx([3.9, 3.9], rel=0.25)


def test_passive_fills_lose_after_the_fill(statistics):
    assert (statistics["markout"] < -0.02).all()
    assert (statistics["markout"][:, 1] < statistics["markout"][:, 0]).all()
