"""Strategies in the simulator's replay: the template trades, a failing one fails alone; what is told of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from aegis.core.errors import ConfigError
from aegis.research import replay as replays
from aegis.research.replay import ReplayOptions
from aegis.research.story import Story, read_story
from aegis.surface import chart
from aegis.surface import signals as tables
from aegis.surface.new_strategy import new_strategy
from tests.support.recorded_lines import market_lines, write

TEMPLATE_BARS = ('"1s", "5s"', '"1s", "2s"')  # a minute of data is enough to warm up


@pytest.fixture(autouse=True)
def _nothing_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def warm(progress: Any) -> None:
        return None

    monkeypatch.setattr(replays, "warm", warm)
    monkeypatch.setattr(replays, "settle_garbage", lambda: None)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("market") / "market", market_lines()))


def written(folder: Path, *changes: tuple[str, str]) -> str:
    """The template, with short bars and changes to its code; the path of its config."""
    code, _, config = new_strategy("my_pullback", folder)
    config.write_text(config.read_text().replace(*TEMPLATE_BARS))
    for change in changes:
        text = code.read_text()
        assert change[0] in text
        code.write_text(text.replace(*change))
    return str(config)


def test_the_template_trades_in_the_replay_and_gives_the_same_digest_twice(market: str, tmp_path: Path) -> None:
    config = written(tmp_path / "a")
    told = [
        replays.replay([market], ReplayOptions(config_name=one), say=lambda _: None)
        for one in (config, written(tmp_path / "b"))
    ]
    assert told[0].sections["signals"]["taken"] >= 1
    assert told[0].sections["trades"]["entries_filled"] >= 1
    assert told[0].ledger == "agrees"
    assert told[0].sections["digest"] == told[1].sections["digest"], "where the file lies is no part of a run"


def test_a_strategy_that_fails_on_one_symbol_trades_on_in_the_others(market: str, tmp_path: Path) -> None:
    fails = ("        p, base, higher", "        if view.name == 'ETHUSDT':\n            raise KeyError('no eth')\n"
             "        p, base, higher")  # fmt: skip
    told = replays.replay([market], ReplayOptions(config_name=written(tmp_path, fails)), say=lambda _: None)
    assert told.sections["signals"]["strategy_failed_on"] == {"ETHUSDT": "KeyError: 'no eth'"}
    assert told.sections["signals"]["taken"] >= 1
    assert told.ledger == "agrees"


def test_mean_reversion_finds_signals_in_the_replay(market: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    table = '[strategy]\nname = "mean_reversion"\nmin_stop_bps = 10.0\n'
    bars = '[bars]\ntimeframes = ["1s", "2s"]\n[universe]\nmin_volume_quote = 10000.0\nmax_spread_bps = 100.0\n'
    path.write_text(table + bars)
    told = replays.replay([market], ReplayOptions(config_name=str(path)), say=lambda _: None)
    assert told.sections["signals"]["signals"] >= 1
    assert (told.sections["signals"]["strategy_failed_on"], told.ledger) == ({}, "agrees")


# -- the template ------------------------------------------------------------------------------------------------------
def test_the_templates_own_tests_pass(tmp_path: Path) -> None:
    paths = new_strategy("my_pullback", tmp_path)
    assert [path.name for path in paths] == ["my_pullback.py", "test_my_pullback.py", "my_pullback.toml"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("name", ["", "My", "1x", "a-b", "a b", "x" * 41, "class", "../x", "fvg_retest", "sim", "é"])
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^NAME: "):
        new_strategy(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", ["x.py", "test_x.py", "x.toml"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigError, match=f"{there}: exists, and nothing is overwritten"):
        new_strategy("x", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        new_strategy("y", tmp_path / "file")


# -- what is told ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def story(market: str, tmp_path_factory: pytest.TempPathFactory) -> Story:
    config = written(tmp_path_factory.mktemp("own"))
    with pytest.MonkeyPatch.context() as patch:
        _nothing_for_the_whole_process.__wrapped__(patch)  # type: ignore[attr-defined]
        return read_story(
            "btcusdt", file=market, run=None, home=None, config_name=config, base_bar=None, say=lambda _: None
        )


def test_a_story_has_every_bar_and_what_the_journal_says_of_the_symbol(story: Story) -> None:
    assert len(story.steps) == len(story.bars) > 55
    assert {row["symbol"] for row in story.records} == {"BTCUSDT"}
    assert {"decision", "fill"} <= {row["kind"] for row in story.records}


def test_signals_come_in_the_order_in_which_they_were_known(story: Story) -> None:
    rows = tables.rows(story)
    assert [row["known"] for row in rows] == sorted(row["known"] for row in rows)
    assert {"SWING", "FVG", "setup", "taken"} <= {row["what"] for row in rows}
    assert json.loads(tables.signals(story, as_json=True)) == rows
    text = tables.signals(story, as_json=False)
    assert text.startswith("BTCUSDT, ")
    assert len(text.splitlines()) == len(rows) + 2


def until(data: Any, number: int) -> Any:
    """What of a chart's contents was known with the close of bar `number`."""
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return [until(one, number) for one in data if one.get("known", one.get("born", 0)) <= number]
    if isinstance(data, dict):
        return {key: until(value, number) for key, value in data.items()}
    return data


@pytest.mark.parametrize("number", [10, 25, 40, 50])
def test_what_a_chart_shows_at_a_bar_is_what_a_chart_made_then_would_show(story: Story, number: int) -> None:
    close_ns = story.steps[number].known_ms * 1_000_000
    then = attrs.evolve(
        story, bars=story.bars[: number + 1], steps=story.steps[: number + 1],
        records=tuple(row for row in story.records if row["at"] <= close_ns and row["kind"] != "trade"),
    )  # fmt: skip
    now = attrs.evolve(story, records=tuple(row for row in story.records if row["kind"] != "trade"))
    past, whole = chart.contents(then), until(chart.contents(now), number)
    for data in (past, whole):
        for zone in data["zones"]:
            zone["end"] = min(zone["end"], number + 1)
    for name in ("open", "high", "low", "close", "time", "closed", "ema", "upper", "lower", "rsi"):
        assert past[name] == whole[name][: number + 1]
    for name in ("swings", "breaks", "setups", "zones", "refused", "entries"):
        assert past[name] == whole[name]


def test_a_trade_is_drawn_when_it_was_known(story: Story) -> None:
    times = [step.known_ms * 1_000_000 for step in story.steps]
    trade = {
        "kind": "trade", "at": times[12], "trade": "x", "side": "SELL", "qty": "1", "entry": "5", "exit": "4",
        "net": "1", "r": "1", "reason": "TARGET", "first_fill_ns": times[9] + 1, "decision_ns": times[9],
        "closed_ns": times[12],
    }  # fmt: skip
    data = chart.contents(attrs.evolve(story, records=(trade, trade | {"closed_ns": times[-1] + 1})))
    assert [(one["known"], one["way"], one["price"]) for one in data["entries"]] == [(10, -1, 5.0)] * 2
    assert [(one["known"], one["way"], one["price"]) for one in data["exits"]] == [(12, 1, 4.0)]


def test_a_page_holds_everything_itself_and_no_text_of_the_data_can_leave_its_place(story: Story) -> None:
    evil = attrs.evolve(story, source="</script><b>&")
    row = {"kind": "decision", "taken": False, "side": "BUY", "at": evil.steps[30].known_ms * 1_000_000, "level": "5",
           "code": "COST", "value": "</script><script>alert(1)", "limit": "0"}  # fmt: skip
    page = chart.page(attrs.evolve(evil, records=(row,)), "/* plotly's own $ource */")
    assert page.count("</script>") == 3
    assert "/* plotly's own $ource */" in page
    assert "&lt;/script>&lt;b>&amp;" in page
    assert "src=" not in page
    data = page.split('type="application/json">')[1].split("</script>")[0]
    assert json.loads(data)["refused"][0]["text"].startswith("refused COST: </script><script>alert(1)")
    with pytest.raises(ConfigError, match="has no closed bar"):
        chart.page(attrs.evolve(story, bars=story.bars[:0], steps=()), "")


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script")
def test_the_pages_script_draws_nothing_that_is_to_come(story: Story, tmp_path: Path) -> None:
    page = chart.page(story, "")
    script = page.split("<script>")[-1].split("</script>")[0]
    data = page.split('type="application/json">')[1].split("</script>")[0]
    stub = """
const elements = {};
const made = id => ({ textContent: id === "data" ? DATA : "", addEventListener() {} });
const document = { getElementById: id => elements[id] ??= made(id) };
const drawn = [];
const Plotly = { react: (id, traces, layout) => drawn.push([traces, layout]) };
"""
    calls = (
        "\ndrawn.length = 0; for (let k = 0; k < data.time.length; k++) show(k);\nconsole.log(JSON.stringify(drawn));"
    )
    path = tmp_path / "page.js"
    path.write_text(
        f"const DATA = {json.dumps(data)};{stub}{script.replace(chr(34) + 'use strict' + chr(34), '')}{calls}"
    )
    done = subprocess.run(["node", str(path)], capture_output=True, text=True, timeout=60, check=True)
    drawn = json.loads(done.stdout)
    told = json.loads(data)
    assert len(drawn) == len(story.steps)
    for k, (traces, layout) in enumerate(drawn):
        for trace in traces:
            assert all(time <= told["closed"][k] for time in trace["x"]), trace["name"]
        assert all(shape["x1"] <= told["time"][k] for shape in layout["shapes"])
    assert {len(traces[0]["x"]) for traces, _ in drawn} == set(range(1, len(drawn) + 1))
    last = drawn[-1]
    assert len(last[1]["shapes"]) == len(told["zones"]) + len(told["breaks"])


def test_without_the_extra_a_chart_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'selflearningtrader\[charts\]'"):
        chart.require()


def test_a_symbol_that_is_not_there_and_options_that_do_not_go_together_are_one_line(market: str) -> None:
    def read(symbol: str = "X", **options: Any) -> Any:
        given = {"file": None, "run": None, "home": None, "config_name": None, "base_bar": None} | options
        return read_story(symbol, **given, say=lambda _: None)

    with pytest.raises(ConfigError, match="--symbol: the data has no XUSDT; it has BTCUSDT, ETHUSDT"):
        read("xusdt", file=market)
    with pytest.raises(ConfigError, match="--run: give a FILE or a run, not both"):
        read(file=market, run="1")
    with pytest.raises(ConfigError, match="--config, --base-bar: a run has its own"):
        read(config_name="sim")
