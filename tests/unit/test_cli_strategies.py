"""The commands about strategies: what they hand on, what they print, how they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegis import config as configs
from aegis.research import lookahead as looks
from aegis.research import story
from aegis.research.walk import made_up_bars
from aegis.surface import chart

CONFIG = configs.loads("[strategy]\nname = 'mean_reversion'\nmin_stop_bps = 1.0")


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the commands ask of a recording; they get made-up bars."""
    seen: list[Any] = []
    bars = made_up_bars(200)

    def bars_of_file(symbol: str, file: str, options: Any, say: Any) -> Any:
        seen.append((symbol, file, options.config_name, options.base_bar))
        return CONFIG, bars

    def read_story(symbol: str, **options: Any) -> Any:
        seen.append((symbol, {name: value for name, value in options.items() if name != "say"}))
        return story.Story(
            symbol=symbol, source="x", config=CONFIG, bars=bars.base, steps=tuple(story.walk(bars, CONFIG)), records=()
        )

    monkeypatch.setattr(story, "bars_of_file", bars_of_file)
    monkeypatch.setattr(story, "read_story", read_story)
    return seen


def test_new_strategy_prints_the_files_it_wrote(command: Any, tmp_path: Path) -> None:
    code, out, err = command("new-strategy", "mine", "--out", str(tmp_path / "deep" / "er"))
    assert (code, err) == (0, "")
    written = [Path(line) for line in out.splitlines()]
    assert [path.name for path in written] == ["mine.py", "test_mine.py", "mine.toml"]
    assert all(path.is_file() for path in written)
    code, out, err = command("new-strategy", "mine", "--out", str(tmp_path / "deep" / "er"))
    assert (code, out) == (78, "")
    assert err.endswith("mine.py: exists, and nothing is overwritten\n")
    assert command("check", "--config", str(written[2]))[0] == 0


def test_signals_and_chart_hand_on_what_they_were_given(
    handed: list[Any], command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = command("signals", "FILE", "--symbol", "BTCUSDT", "--config", "sim", "--base-bar", "1s")
    assert (code, out.splitlines()[0]) == (0, "BTCUSDT, x: 200 bars of 1m")
    written: list[Path] = []
    monkeypatch.setattr(chart, "require", lambda: None)
    monkeypatch.setattr(chart, "write", lambda told, path: written.append(path))
    monkeypatch.chdir(tmp_path)
    home = {"home": tmp_path, "config_name": None, "base_bar": None}
    assert command("chart", "--symbol", "btcusdt", "--run", "4", "--home", str(tmp_path)) == (0, "BTCUSDT.html\n", "")
    assert written == [Path("BTCUSDT.html")]
    assert handed[0][1].items() >= {"file": "FILE", "run": None, "config_name": "sim", "base_bar": "1s"}.items()
    assert handed[1] == ("btcusdt", {"file": None, "run": "4", **home})
    Path("BTCUSDT.html").write_text("mine")
    code, _, err = command("chart", "--symbol", "btcusdt")
    assert (code, "nothing is overwritten" in err) == (78, True)


def test_lookahead_leaves_with_1_where_something_changed(
    handed: list[Any], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = command("lookahead", "mean_reversion", "FILE", "--prefixes", "3")
    assert (code, handed[0]) == (0, ("", "FILE", None, None))
    assert out.startswith("200 bars, 4 prefixes, ")
    assert command("lookahead", "nope", "FILE")[0] == 78
    assert len(handed) == 1, "the data is not read for nothing"
    change = looks.Change(number=3, known_ms=0, cut=9, whole=("a",), prefix=())
    verdict = looks.Verdict(bars=200, prefixes=4, setups=7, change=change)
    monkeypatch.setattr(looks, "lookahead", lambda *_, **__: verdict)
    code, out, _ = command("lookahead", "sim", "FILE", "--symbol", "X")
    assert code == 1
    assert "bar 3 (1970-01-01T00:00:00.000Z) is the first whose signals changed" in out
    assert "only the first 9         nothing" in out


def test_honesty_judges_on_the_made_up_market_and_says_what_it_was(command: Any) -> None:
    words = ("honesty", "mean_reversion", "--symbols", "1", "--hours", "0.5", "--random", "3", "--base-bar", "1s")
    code, out, _ = command(*words)
    assert code == 0
    assert out.startswith("mean_reversion on the simulated market of seed 7: 1 symbols, 0.02 days")
    code, _, err = command("honesty", "nope")
    assert code == 78
    assert "STRATEGY: must be one of fvg_retest, order_block, mean_reversion, FILE.py:Class, or a config" in err
