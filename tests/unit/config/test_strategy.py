"""The table [strategy]: which class it becomes, a file of the user's own, and every way in which that can be wrong."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from aegis import config as configs
from aegis.config import ConfigError, FvgRetestConfig, MeanReversionConfig, OrderBlockConfig, OwnStrategyConfig
from aegis.signals.choose import make_strategy
from aegis.signals.fvg_retest import FvgRetest
from aegis.signals.mean_reversion import MeanReversion
from aegis.signals.order_block import OrderBlock

GOOD = """
from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.config.checks import between
from aegis.signals.strategy import Strategy


@attrs.frozen(kw_only=True)
class Params:
    lookback: int = attrs.field(default=20, validator=between(2, 400))
    factor: float = 1.5
    side: str = "both"
    money: Decimal = Decimal("0.1")
    strict: bool = False
    names: tuple[str, ...] = ()
    maybe: int | None = None


class Mine(Strategy):
    name = "mine"
    Params = Params

    def __init__(self, params):
        self.params = params

    def on_events(self, view, events, now_ms):
        return []
"""


def own(folder: Path, text: str = GOOD, keys: str = "", name: str = "Mine") -> str:
    """A config that names a file beside it; its path."""
    (folder / "mine.py").write_text(text)
    path = folder / "mine.toml"
    path.write_text(f"[strategy]\nname = '{name}'\nfile = 'mine.py'\n{keys}\n")
    return str(path)


def complaint(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        configs.load(path)
    line = str(caught.value)
    assert line.isprintable()
    assert line.startswith(f"{path}: strategy")
    return line.removeprefix(f"{path}: ")


def test_a_name_chooses_the_class_and_its_parameters() -> None:
    assert configs.loads("").strategy == FvgRetestConfig()
    assert configs.loads("[strategy]\ntarget_r = 3.0").strategy == FvgRetestConfig(target_r=3.0)
    chosen = configs.loads("[strategy]\nname = 'mean_reversion'\nband_sigma = 2.5")
    assert chosen.strategy == MeanReversionConfig(band_sigma=2.5)
    assert configs.loads(configs.dump(chosen)) == chosen
    assert isinstance(make_strategy(FvgRetestConfig(), ("1m", "5m"))[0], FvgRetest)
    assert configs.loads("[strategy]\nname = 'order_block'\nswing = 4").strategy == OrderBlockConfig(swing=4)
    blocks, analysis = make_strategy(OrderBlockConfig(swing=4, sweep_bars=3), ("1m", "5m"))
    assert isinstance(blocks, OrderBlock)
    assert (analysis.swing_lengths, analysis.sweep_bars) == ((4,), 3)
    strategy, analysis = make_strategy(MeanReversionConfig(bollinger_period=30), ("1m", "5m"), warm_bars=77)
    assert isinstance(strategy, MeanReversion)
    assert (analysis.bollinger_period, analysis.warm_bars) == (30, 77)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = 'nope'", "strategy.name: must be one of fvg_retest, order_block, mean_reversion, not 'nope'"),
        ("name = 5", "strategy.name: must be text in quotes, not 5"),
        ("name = 'mean_reversion'\ntarget_r = 2.0", "strategy.target_r: unknown key"),
        ("partial_r = 2.0", "strategy.partial_r: must be below target_r, 2, not 2.0"),
        ("name = 'order_block'\npartial_share = 1", "strategy.partial_share: must be between 0.05 and 0.95, not 1.0"),
        ("name = 'order_block'\nsweep_bars = 0", "strategy.sweep_bars: must be between 1 and 20, not 0"),
        ("name = 'mean_reversion'\nrsi_lo = 2", "strategy.rsi_lo: unknown key (did you mean rsi_low?)"),
        ("name = 'mean_reversion'\nrsi_low = 50", "strategy.rsi_low: must be between 1 and 49, not 50.0"),
        ("file = 5", "strategy: must be text in quotes, not 5"),
        ("name = 'Mine'\nfile = ''", "strategy.file: ''"),
    ],
)
def test_what_is_wrong_with_the_table_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.loads(f"[strategy]\n{text}", "x")
    assert str(caught.value).startswith(f"x: {says}")


def test_a_file_of_the_users_own_is_found_beside_the_config_and_typed(tmp_path: Path) -> None:
    keys = "lookback = 30\nfactor = 2\nmoney = 0.25\nstrict = true\nnames = ['a', 'b']\nmaybe = 3"
    config = configs.load(own(tmp_path, keys=keys))
    assert isinstance(config.strategy, OwnStrategyConfig)
    told = attrs.asdict(config.strategy.params)
    assert {key: type(value) for key, value in told.items()} == {
        "lookback": int, "factor": float, "side": str, "money": Decimal, "strict": bool, "names": tuple,
        "maybe": int,
    }  # fmt: skip
    assert (told["lookback"], told["factor"], told["names"]) == (30, 2.0, ("a", "b"))
    strategy, _ = make_strategy(config.strategy, ("1m", "5m"))
    assert (strategy.name, strategy.every_bar) == ("mine", True)


def test_what_check_prints_of_it_loads_back_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configs.load(own(tmp_path, keys="lookback = 30"))
    monkeypatch.chdir("/")
    assert configs.loads(configs.dump(config)) == config
    assert "maybe" not in configs.dump(config)


def test_the_decision_hash_follows_the_code_and_not_the_place(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("a", "b", "c")]
    for place in places:
        place.mkdir()
    one, same, other = (configs.load(own(p, t)) for p, t in zip(places, (GOOD, GOOD, GOOD + "\n#"), strict=True))
    assert configs.decision_hash(one) == configs.decision_hash(same) != configs.decision_hash(other)


def test_nothing_is_written_beside_the_users_file(tmp_path: Path) -> None:
    path = own(tmp_path)
    configs.load(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine.py", "mine.toml"}


def test_a_changed_file_is_run_anew_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    before = configs.load(own(tmp_path)).strategy
    after = configs.load(own(tmp_path, GOOD.replace("default=20", "default=21"))).strategy
    assert (before.params.lookback, after.params.lookback) == (20, 21)  # type: ignore[attr-defined]
    modules = set(sys.modules)
    complaint(own(tmp_path, "raise KeyError(5)"))
    assert {name for name in set(sys.modules) - modules if name.startswith("aegis_strategy")} == set()


WRONG: list[tuple[str, dict[str, Any]]] = [
    (r"strategy.file: .*mine.py: line 2: SyntaxError: ", {"text": "x = 1\ndef :"}),
    (r"strategy.file: .*mine.py: line 3: ZeroDivisionError: division by zero", {"text": "\n\nx = 1 / 0"}),
    (r"strategy.file: .*mine.py: line 1: ModuleNotFoundError: No module named 'nix'", {"text": "import nix"}),
    (r"strategy.file: .*mine.py: line 2: SystemExit: 3", {"text": "import sys\nsys.exit(3)"}),
    (r"strategy.file: .*mine.py: (SyntaxError|ValueError): source code .*null bytes", {"text": "x = 1\0"}),
    (r"strategy.name: must name a class of .*mine.py, not 'Other': it has Mine$", {"name": "Other"}),
    (r"strategy.name: .*it has no class with on_events$", {"text": "x = 1"}),
    (r"strategy.name: must name a class of .*, not 'Params'|class Params of .* has no", {"name": "Params"}),
    (r"strategy.name: class Mine of .* has no Params, on_events, name", {"text": "class Mine: pass"}),
    (r"strategy.name: Mine.Params of .* is no attrs class", {"text": GOOD + "    Params = 5"}),
    (r"strategy.lookbak: unknown key \(did you mean lookback\?\)", {"keys": "lookbak = 3"}),
    (r"strategy.lookback: must be between 2 and 400, not 1", {"keys": "lookback = 1"}),
    (r"strategy.lookback: must be a whole number, not 2.5", {"keys": "lookback = 2.5"}),
    (r"strategy.side: must be text in quotes, not 5", {"keys": "side = 5"}),
    (r"strategy.name: the parameters of Mine cannot be read: NameError", {"text": GOOD.replace(": bool", ": Boolean")}),
    (r"strategy.name: Mine.Params.side: a parameter is", {"text": GOOD.replace('str = "both"', "list[str] = []")}),
    (r"strategy.name: Mine.Params.file: a parameter is", {"text": GOOD.replace("side: str", "file: str")}),
]


@pytest.mark.parametrize(("says", "what"), WRONG)
def test_every_fault_of_a_users_file_is_one_line(says: str, what: dict[str, Any], tmp_path: Path) -> None:
    assert re.search(says, complaint(own(tmp_path, **what)))


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    path = own(tmp_path)
    (tmp_path / "mine.py").unlink()
    assert "No such file" in complaint(path)
    (tmp_path / "mine.py").mkdir()
    assert "Is a directory" in complaint(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("self.params = params", "raise RuntimeError('no')"), "RuntimeError: no"),
        (
            ("def on_events", "def analysis(self, warm_bars):\n        return 5\n\n    def on_events"),
            "no AnalysisParams",
        ),
        (('name = "mine"', 'name = "mine"\n    hears = ("FVG",)'), "Mine.hears of .* no collection of kinds of event"),
        (('name = "mine"', 'name = "mine"\n    hears = 3'), "Mine.hears of .* no collection of kinds of event"),
        (('name = "mine"', 'name = "mine"\n    hears = {99}'), "Mine.hears of .* no collection of kinds of event"),
    ],
)
def test_a_class_that_cannot_be_made_is_one_line(change: tuple[str, str], says: str, tmp_path: Path) -> None:
    config = configs.load(own(tmp_path, GOOD.replace(*change)))
    with pytest.raises(ConfigError, match=says):
        make_strategy(config.strategy, ("1m", "5m"))
