"""The made-up market of the bench: through the engine, through the fold, every line accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aegis.core.errors import ConfigError
from aegis.engine.summary import Summary
from aegis.exchange import lines as lines_module
from aegis.research import replay as replays
from aegis.research.fold import Folder
from aegis.research.generated import write_generated
from aegis.research.replay import ReplayOptions
from tests.support.recorded_lines import market_lines, quick_config, write


@pytest.fixture(autouse=True)
def _nothing_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def warm(progress: Any) -> None:
        return None

    monkeypatch.setattr(replays, "warm", warm)
    monkeypatch.setattr(replays, "settle_garbage", lambda: None)


def run(path: Path, config: str) -> Summary:
    return replays.replay([str(path)], ReplayOptions(config_name=config), say=lambda text: None)


def decoded(path: Path) -> list[dict[str, Any]]:
    events = [msgspec.json.decode(text.partition(b" ")[2])["data"] for text in path.read_bytes().splitlines()]
    return [event for event in events if isinstance(event, dict)]


def test_a_generated_market_goes_through_the_engine_to_the_last_line(tmp_path: Path) -> None:
    path = write_generated(tmp_path / "market", symbols=12, seconds=3, rate=2_000)
    told = run(path, quick_config(tmp_path))
    kinds = Counter(event["e"] for event in decoded(path))
    assert dict(told.sections["lines"]) == {"total": 6_003, "markPriceUpdate": 3, **kinds}
    assert told.sections["volume"]["bars_equal_trades"] == "12/12 symbols"
    assert told.sections["market"]["ticks_received"] == 6_000 + 3 * 12
    assert told.sections["market"]["lost"] == told.sections["market"]["malformed"] == 0
    assert told.ledger == "agrees"


def test_ids_of_a_generated_market_have_no_holes_and_times_rise(tmp_path: Path) -> None:
    path = write_generated(tmp_path / "market", symbols=5, seconds=2, rate=500)
    trades = [event for event in decoded(path) if event["e"] == "aggTrade"]
    for symbol in {event["s"] for event in trades}:
        ids = [event["a"] for event in trades if event["s"] == symbol]
        assert ids == list(range(1, len(ids) + 1))
    stamps = [int(text.partition(b" ")[0]) for text in path.read_bytes().splitlines()]
    assert stamps == sorted(stamps)
    again = write_generated(tmp_path / "again", symbols=5, seconds=2, rate=500)
    assert again.read_bytes() == path.read_bytes()


def test_the_size_of_a_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "market", market_lines())
    config = quick_config(tmp_path)
    digests = set()
    for block in (lines_module.BLOCK, 40_000):
        monkeypatch.setattr(lines_module, "BLOCK", block)
        digests.add(run(path, config).sections["digest"]["sha256"])
    assert len(digests) == 1


@pytest.mark.parametrize("make", [
    lambda path: write_generated(path, symbols=6, seconds=4, rate=800), lambda path: write(path, market_lines()),
])  # fmt: skip
def test_folded_bars_hold_every_trade_in_each_pass(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "market")
    folder = Folder([path])
    decimals = {one.symbol: one.qty_decimals for one in folder.listings}
    lines = path.read_bytes().splitlines()
    events = [msgspec.json.decode(text.partition(b" ")[2]).get("data", {}) for text in lines]
    trades = [event for event in events if isinstance(event, dict) and event.get("e") == "aggTrade"]
    lots = sum(int(Decimal(event["q"]).scaleb(decimals[event["s"]])) for event in trades)
    told = folder.run(2 * len(lines) + 1)
    assert told.lots == (lots,) * 3
    assert told.frames == 3 * len(lines)
    assert told.not_ticks == 3 * sum(b'"lastUpdateId"' in text for text in lines)
    assert told.bars > 0


def test_nothing_to_fold_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    path.write_bytes(b"1 {}\n")
    with pytest.raises(ConfigError, match="no bookTicker"):
        Folder([path])
