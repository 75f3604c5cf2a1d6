"""Listings: the universe that a filter must judge, exact conversions, and the shape of exchangeInfo."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.exchange.exchange_info import exchange_info
from aegis.exchange.listing import decimal_text, synthetic_listings

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000


def tradable(listing):
    """What issue 2's universe filter lets through, minimum age 30 days."""
    return (
        listing.status == "TRADING"
        and listing.contract_type == "PERPETUAL"
        and listing.underlying_type == "COIN"
        and listing.margin == "USDT"
        and listing.onboard_ms < NOW_MS - 30 * DAY_MS
    )


def test_n_listings_are_tradable_and_a_handful_on_top_is_not():
    listings = synthetic_listings(300, 1, NOW_MS)
    assert all(tradable(listing) for listing in listings[:300])
    assert [listing.symbol for listing in listings[300:] if tradable(listing)] == ["测试USDT"]
    assert len(listings) == 307
    assert len({listing.symbol for listing in listings}) == len(listings)
    assert [listing.index for listing in listings] == list(range(len(listings)))


def test_every_reason_to_refuse_a_contract_is_there():
    odd = synthetic_listings(10, 1, NOW_MS)[10:]
    assert any(listing.status != "TRADING" for listing in odd)
    assert any(listing.contract_type == "TRADIFI_PERPETUAL" for listing in odd)
    assert any(
        listing.contract_type == "CURRENT_QUARTER" and listing.delivery_ms < NOW_MS + 365 * DAY_MS for listing in odd
    )
    assert any(listing.margin == "USDC" for listing in odd)
    assert any(listing.onboard_ms == NOW_MS - DAY_MS for listing in odd)
    assert any(listing.underlying_type == "INDEX" for listing in odd)
    assert any(not listing.symbol.isascii() for listing in odd)


def test_fewer_listings_are_the_same_listings():
    assert synthetic_listings(40, 5, NOW_MS)[:40] == synthetic_listings(300, 5, NOW_MS)[:40]


def test_the_seed_changes_prices_but_not_names():
    one, two = synthetic_listings(50, 1, NOW_MS), synthetic_listings(50, 2, NOW_MS)
    assert [listing.symbol for listing in one] == [listing.symbol for listing in two]
    assert sum(a.start_ticks != b.start_ticks for a, b in zip(one, two, strict=True)) > 40


def test_prices_span_the_market_and_sizes_are_sane():
    listings = synthetic_listings(300, 1, NOW_MS)
    prices = [float(listing.price(listing.start_ticks)) for listing in listings]
    assert max(prices) > 50_000
    assert min(prices) < 0.0001
    for listing, price in zip(listings, prices, strict=True):
        assert listing.tick_e8 >= 1
        assert Decimal(listing.tick_e8).scaleb(-8) == listing.tick
        assert 1e-8 < float(listing.tick) / price < 11e-4  # 0.0001 bp to 11 bp
        assert float(listing.step) * price <= float(listing.min_notional)  # the smallest order is reachable
        assert listing.min_notional <= Decimal(listing.touch_steps) * listing.step * listing.price(listing.start_ticks)


def test_maintenance_margin_is_continuous_over_brackets():
    for listing in synthetic_listings(100, 1, NOW_MS):
        for low, high in zip(listing.brackets, listing.brackets[1:], strict=False):
            assert low.cap == high.floor
            assert low.cap * low.mmr - low.cum == high.floor * high.mmr - high.cum
            assert low.leverage > high.leverage


@given(st.integers(-(10**18), 10**18), st.integers(0, 10))
def test_decimal_text_is_exact(value, decimals):
    text = decimal_text(value, decimals)
    assert Decimal(text) == Decimal(value).scaleb(-decimals)
    assert len(text.partition(".")[2]) == decimals


@given(st.sampled_from(synthetic_listings(80, 3, NOW_MS)), st.integers(0, 10**12))
def test_ticks_and_steps_go_to_decimals_and_back(listing, count):
    assert listing.ticks(listing.price(count)) == count == listing.steps(listing.quantity(count))
    assert Decimal(listing.price_text(count)) == listing.price(count) == count * listing.tick
    assert Decimal(listing.quantity_text(count)) == listing.quantity(count) == count * listing.step


def test_a_price_off_the_grid_is_refused():
    listing = synthetic_listings(1, 1, NOW_MS)[0]
    with pytest.raises(ValueError, match="multiple of the tick"):
        listing.ticks(listing.tick / 2)
    with pytest.raises(ValueError, match="multiple of the step"):
        listing.steps(listing.step * Decimal("1.5"))


def test_exchange_info_states_each_listing_in_binances_words():
    listings = synthetic_listings(20, 1, NOW_MS)
    info = exchange_info(listings, NOW_MS, 2400)
    assert info["serverTime"] == NOW_MS
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400,
    }  # fmt: skip
    assert len(info["symbols"]) == len(listings)
    for row, listing in zip(info["symbols"], listings, strict=True):
        filters = {item["filterType"]: item for item in row["filters"]}
        assert Decimal(filters["PRICE_FILTER"]["tickSize"]) == listing.tick
        assert Decimal(filters["LOT_SIZE"]["stepSize"]) == listing.step
        assert Decimal(filters["MARKET_LOT_SIZE"]["maxQty"]) == listing.market_max_qty
        assert Decimal(filters["MIN_NOTIONAL"]["notional"]) == listing.min_notional
        assert filters["MAX_NUM_ORDERS"]["limit"] == 200
        assert filters["POSITION_RISK_CONTROL"] == {
            "filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE",
        }  # fmt: skip
        assert (
            Decimal(filters["PERCENT_PRICE"]["multiplierUp"]) > 1 > Decimal(filters["PERCENT_PRICE"]["multiplierDown"])
        )
        assert row["symbol"] == listing.symbol
        assert row["permissionSets"]
        assert "tomorrowsField" in row
        assert "E" not in filters["PRICE_FILTER"]["tickSize"]
    quarter = next(row for row in info["symbols"] if row["contractType"] == "CURRENT_QUARTER")
    assert quarter["symbol"].startswith(quarter["pair"] + "_")
