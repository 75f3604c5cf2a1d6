"""Any config survives a dump, and no tree or text whatever brings anything but a ConfigError."""

from __future__ import annotations

import string
from typing import Any

import attrs
import pytest
import tomli_w
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aegis import config as configs
from aegis.config import Config, ConfigError
from aegis.exchange.settings import ExchangeSettings
from aegis.kernels.state import new_state
from aegis.signals.choose import make_strategy
from tests.conftest import EXAMPLES


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


symbols = st.lists(st.text(string.ascii_uppercase + string.digits + "人生", min_size=1, max_size=12), max_size=4)
bars = st.sampled_from([
    ["1s", "5s"], ["1m"], ["1m", "5m", "15m", "1h"], ["1m", "90m"], ["60s", "180s", "300s"],
    ["1h", "1d"], ["12h", "24h"],
])  # fmt: skip
latencies = st.tuples(number(0.1, 10_000), number(0, 50_000)).map(
    lambda pair: {"latency_median_ms": pair[0], "latency_p99_ms": pair[0] + pair[1]}
)

#: What may be written in each table: ranges by hand, not taken from the classes.
TABLES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "universe": {
        "quote": st.sampled_from(["USDT", "USDC"]),
        "underlying": symbols,
        "top": st.integers(1, 1000),
        "min_age_days": number(0, 10_000) | st.integers(0, 10_000),
        "min_volume_quote": number(0, 1e15) | st.integers(0, 10**15),
        "max_spread_bps": number(0.01, 10_000),
        "include": symbols,
        "exclude": symbols,
    },
    "feed": {"streams_per_socket": st.integers(1, 1024), "trade_source": st.sampled_from(["aggTrade", "trade"])},
    "conflation": {"interval_ms": st.integers(10, 10_000), "analysis_latency_ms": st.integers(0, 1_000)},
    "strategy": {
        "trigger_swing": st.integers(2, 50),
        "structure_swing": st.integers(2, 50),
        "min_gap_atr": number(0.1, 10),
        "stop_atr": number(0, 20),
        "min_stop_bps": number(1, 2_000),
        "target_r": number(0.1, 20),
        "time_limit_bars": st.integers(1, 10_000),
        "max_zone_age_bars": st.integers(3, 500),
    },
    "risk": {
        "risk_pct": number(1e-9, 5),
        "max_order_notional": number(0.01, 1e6) | st.integers(1, 1_000_000),
        "leverage": st.integers(1, 20),
        "max_unknown": st.integers(0, 20),
        "expected_slippage_bps": number(0, 100),
    },
    "execution": {"trade_socket": st.booleans(), "recv_window_ms": st.integers(500, 5_000)},
    "credentials": {"kind": st.sampled_from(["hmac", "ed25519"]), "file": st.text(string.printable[:90], max_size=20)},
    "exchange": {
        "symbols": st.integers(1, 1000),
        "rate": st.integers(10, 1_000_000),
        "volatility": number(0, 50),
        "maker_fee_bps": number(-5, 100),
        "taker_fee_bps": number(0, 100),
        "wallet": number(1, 1e12),
        "weight_limit": st.integers(100, 10_000_000),
    },
}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """A right config, in the shape that a TOML file has."""
    tree: dict[str, Any] = {"mode": draw(st.sampled_from(["sim", "paper", "testnet", "live"]))}
    tree["seed"] = draw(st.integers(0, 2**31 - 1))
    for name, fields in TABLES.items():
        tree[name] = draw(st.fixed_dictionaries({}, optional=fields))
    tree["exchange"] |= draw(st.just({}) | latencies)
    tree["bars"] = draw(st.just({}) | bars.map(lambda names: {"timeframes": names}))
    return tree


scalars = (
    st.none().map(lambda _: "")
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.sampled_from([0, -1, 10**30, "nan", "1m", float("inf"), float("nan")])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
PATHS = [(name,) for name in attrs.fields_dict(Config)] + [(t, f) for t, fields in TABLES.items() for f in fields]


def outcome(text: str) -> Config | str:
    """The config, or the one line that says what is wrong; anything else fails the test."""
    try:
        return configs.loads(text, "x.toml")
    except ConfigError as error:
        line = str(error)
        assert line.startswith("x.toml: ")
        assert line.isprintable()
        return line


@settings(max_examples=min(EXAMPLES, 40))
@given(trees())
def test_a_right_config_loads_and_its_dump_loads_back_to_it(tree: dict[str, Any]) -> None:
    config = configs.loads(tomli_w.dumps(tree))
    dumped = configs.dump(config)
    assert configs.loads(dumped) == config
    assert configs.dump(configs.loads(dumped)) == dumped
    assert configs.decision_hash(configs.loads(dumped)) == configs.decision_hash(config)


@given(trees())
def test_what_a_config_accepts_its_consumers_accept(tree: dict[str, Any]) -> None:
    """A value that `aegis check` lets pass must not blow up when the run starts."""
    config = configs.loads(tomli_w.dumps(tree))
    bars = config.bars
    _, analysis = make_strategy(config.strategy, bars.names, warm_bars=bars.warmup_bars)
    new_state(1, bars.timeframes_ms, analysis)
    told = attrs.asdict(config.exchange, filter=lambda field, _: not field.name.endswith("_bps"))
    assert ExchangeSettings(seed=config.seed, **told).symbols == config.exchange.symbols


@settings(max_examples=2 * EXAMPLES)
@given(trees(), st.sampled_from(PATHS), values)
def test_one_arbitrary_value_in_a_right_config_is_taken_or_named(
    tree: dict[str, Any], path: tuple[str, ...], value: Any
) -> None:
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    result = outcome(tomli_w.dumps(tree))
    if isinstance(result, str):
        assert path[0] in result
    else:
        assert configs.loads(configs.dump(result)) == result


@given(st.dictionaries(st.sampled_from(list(attrs.fields_dict(Config))) | st.text(max_size=8), values, max_size=5))
def test_an_arbitrary_tree_is_a_config_or_a_config_error(tree: dict[str, Any]) -> None:
    outcome(tomli_w.dumps(tree))


@given(st.text(alphabet="[]{}='\"\n\t .,#_-+0123456789abcdefmnoprstu\\\0\x1b\x85", max_size=60))
def test_arbitrary_text_is_a_config_or_a_config_error(text: str) -> None:
    outcome(text)


@given(trees(), st.text(string.ascii_lowercase + "_", min_size=1, max_size=12), st.sampled_from([None, *TABLES]))
def test_a_key_that_nobody_knows_is_refused_wherever_it_stands(
    tree: dict[str, Any], key: str, table: str | None
) -> None:
    place, known = (tree, Config) if table is None else (tree[table], type(getattr(Config(), table)))
    assume(key not in attrs.fields_dict(known))
    place[key] = 1
    path = key if table is None else f"{table}.{key}"
    with pytest.raises(ConfigError, match=rf": {path}: unknown key"):
        configs.loads(tomli_w.dumps(tree))


@given(st.integers(1, 10**5), st.sampled_from("smhd"))
def test_a_bar_length_prints_and_reads_back(count: int, unit: str) -> None:
    text = f"{count}{unit}"
    if count == 10**5:  # six digits: nobody means it
        with pytest.raises(ValueError, match="is no bar length"):
            configs.duration_ms(text)
        return
    ms = configs.duration_ms(text)
    assert ms == count * {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit]
    assert configs.duration_ms(configs.duration_text(ms)) == ms
