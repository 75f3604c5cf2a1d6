"""Bars one by one: what the walk shows is what the whole shows, and a strategy that knows more is found out."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import tomli_w

from aegis import config as configs
from aegis.config import Config, FvgRetestConfig, MeanReversionConfig, OrderBlockConfig
from aegis.core.errors import ConfigError
from aegis.kernels.smc import detect
from aegis.research.candles import Candles
from aegis.research.lookahead import lookahead
from aegis.research.named_strategy import with_strategy
from aegis.research.walk import made_up_bars, walk
from aegis.signals.choose import make_strategy
from aegis.surface.signals import changed

CONFIG = Config(strategy=FvgRetestConfig(min_gap_atr=0.1, trigger_swing=3))
BARS = made_up_bars(400, seed=3)
#: Wide pools and old sweeps: 400 bars are few.
LOOSE_BLOCKS = OrderBlockConfig(swing=2, pool_atr=1.0, max_sweep_age_bars=60)

CHEAT = """
import attrs
from aegis.core.values import Side
from aegis.signals.strategy import Setup, Strategy

MEMORY = {}

@attrs.frozen(kw_only=True)
class Params:
    fail_at: int = 0
    forget: bool = True

class Cheat(Strategy):
    name = "cheat"
    Params = Params

    def __init__(self, params):
        self.params = params

    def on_events(self, view, events, now_ms):
        bar = view.bars(view.timeframes[0], 1)[-1]
        minute = now_ms // 60_000
        if self.params.fail_at and view.count(view.timeframes[0]) > self.params.fail_at:
            raise ValueError("had enough")
        better = MEMORY.get(minute + 5, float(bar["close"]))  # the close in five minutes, if an earlier run saw it
        if not self.params.forget:
            MEMORY[minute] = float(bar["close"])
        entry = round(better, 6)
        return [Setup(strategy=self.name, symbol=view.symbol, name=view.name, side=Side.BUY, zone=minute,
                      timeframe="1m", entry=entry, stop=entry * 0.9, target=entry * 1.1, known_at_ms=now_ms,
                      expires_ms=now_ms + 60_000, time_limit_ms=60_000)]
"""


def cheat(folder: Path, **keys: object) -> Config:
    (folder / "cheat.py").write_text(CHEAT)
    table = {"name": "Cheat", "file": str(folder / "cheat.py"), **keys}
    return attrs.evolve(CONFIG, strategy=configs.loads(tomli_w.dumps({"strategy": table})).strategy)


def test_the_walk_shows_the_events_of_the_whole_series_when_they_are_known() -> None:
    _, params = make_strategy(CONFIG.strategy, ("1m", "5m"), warm_bars=20)
    steps = list(walk(BARS, CONFIG))
    assert [int(step.bar["open_time"]) for step in steps] == BARS.base["open_time"].tolist()
    found = np.concatenate([step.events for step in steps])
    found = found[found["timeframe"] == 0]
    whole = detect(BARS.base, 60_000, params)
    warm = whole[whole["known_at"] >= found["known_at"][0]]
    assert len(found) > 50
    for name in ("kind", "direction", "id", "origin", "formed_at", "known_at", "top", "bottom"):
        assert found[name].tolist() == warm[name].tolist()
    for step in steps:
        assert (step.events["known_at"] <= step.known_ms).all()
        assert all(zone.born_ms <= step.known_ms for zones in step.zones.values() for zone in zones)
        assert all(setup.known_at_ms <= step.known_ms for setup in step.setups)
    assert sum(len(step.setups) for step in steps) > 5


def test_no_bars_make_no_steps_and_impossible_ones_a_line() -> None:
    assert list(walk(BARS.until(0), CONFIG)) == []
    far = BARS.base[:2].copy()
    far["open_time"][1] += 10**15 // 60_000 * 60_000
    with pytest.raises(ConfigError, match="bar 1: watermark"):
        list(walk(Candles(far), CONFIG))


@pytest.mark.parametrize("strategy", [CONFIG.strategy, MeanReversionConfig(min_stop_bps=1.0), LOOSE_BLOCKS])
def test_the_strategies_that_ship_do_not_know_the_future(strategy: configs.StrategyConfig) -> None:
    verdict = lookahead(attrs.evolve(CONFIG, strategy=strategy), BARS, prefixes=5)
    assert (verdict.change, verdict.bars, verdict.prefixes) == (None, 400, 6)
    assert verdict.setups > 5
    assert changed(verdict, as_json=False).endswith("the same signals every time")


@pytest.mark.parametrize(
    "strategy",
    [
        FvgRetestConfig(min_gap_atr=0.1, trigger="3m", structure="15m", structure_swing=2),
        OrderBlockConfig(timeframe="3m", swing=2, pool_atr=1.0, max_sweep_age_bars=60),
        MeanReversionConfig(timeframe="5m", min_stop_bps=1.0),
    ],
)
def test_on_any_of_several_timeframes_they_do_not_either(strategy: configs.StrategyConfig) -> None:
    """What they say comes at the close of a bar of their timeframe, of bars that have closed."""
    bars = configs.BarsConfig(timeframes=("1m", "3m", "5m", "15m"))
    config, candles = Config(bars=bars, strategy=strategy), made_up_bars(2_000, seed=5)
    verdict = lookahead(config, candles, prefixes=4)
    assert verdict.change is None
    assert verdict.setups > 5
    name = configs.duration_ms(next(value for key in strategy.TIMEFRAMES if (value := getattr(strategy, key))))
    for step in walk(candles, config):
        for setup in step.setups:
            assert configs.duration_ms(setup.timeframe) == name
            assert setup.known_at_ms % name == 0


def test_a_strategy_that_remembers_what_came_later_is_named_with_its_first_bar(tmp_path: Path) -> None:
    assert lookahead(cheat(tmp_path), BARS, prefixes=5).change is None
    verdict = lookahead(cheat(tmp_path, forget=False), BARS, prefixes=5)
    assert verdict.change is not None
    first = next(k for k, step in enumerate(walk(BARS, cheat(tmp_path))) if step.setups)
    assert verdict.change.number == first
    told = changed(verdict, as_json=False)
    assert f"bar {first} (" in told
    assert told.count("Setup") == 2
    assert f'"bar": {first},' in changed(verdict, as_json=True)


def test_a_strategy_that_fails_is_one_line_with_its_bar(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"strategy Cheat failed at bar 150 \(.*Z\): ValueError: had enough"):
        list(walk(BARS, cheat(tmp_path, fail_at=150)))


def test_nothing_said_proves_nothing() -> None:
    verdict = lookahead(CONFIG, BARS.until(10), prefixes=3)
    assert (verdict.change, verdict.setups) == (None, 0)
    assert changed(verdict, as_json=False).endswith("no proof")
    assert lookahead(CONFIG, BARS.until(0)).prefixes == 0


def test_a_strategy_is_named_in_four_ways(tmp_path: Path) -> None:
    own = cheat(tmp_path)
    path = tmp_path / "own.toml"
    path.write_text(configs.dump(own))
    assert with_strategy("mean_reversion", CONFIG).strategy == MeanReversionConfig()
    assert with_strategy(f"{tmp_path / 'cheat.py'}:Cheat", CONFIG).strategy == own.strategy
    assert with_strategy(str(path), CONFIG).strategy == own.strategy
    assert with_strategy("sim", CONFIG).strategy == configs.load("sim").strategy
    for wrong in ("nope", "nope.py", ":", f"{tmp_path}/cheat.txt:Cheat"):
        with pytest.raises(ConfigError, match=r"STRATEGY: .* fvg_retest, order_block, mean_reversion, FILE\.py:Class"):
            with_strategy(wrong, CONFIG)
    with pytest.raises(ConfigError, match="No such file"):
        with_strategy("nowhere.py:Cheat", CONFIG)
