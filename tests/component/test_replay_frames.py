"""Bare frames through the engine's own tasks: every line accounted for, the same digest, bad input in one line."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aegis.core.errors import AegisError, ConfigError
from aegis.engine.summary import Summary
from aegis.exchange import lines as lines_module
from aegis.research import replay as replays
from aegis.research.replay import ReplayOptions
from aegis.surface.summary import render
from tests.support.recorded_lines import BEHIND_NS, changed, line, market_lines, quick_config, write

REAL = Path(__file__).parents[3] / "shared" / "data" / "binance-usdm-btcusdt-20240808.gz"


@pytest.fixture(autouse=True)
def _nothing_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests compile kernels after these, and collect garbage as usual."""

    async def warm(progress: Any) -> None:
        return None

    monkeypatch.setattr(replays, "warm", warm)
    monkeypatch.setattr(replays, "settle_garbage", lambda: None)


def run(path: Path | list[Path], config: str | None = None, **options: Any) -> Summary:
    files = [str(one) for one in (path if isinstance(path, list) else [path])]
    return replays.replay(files, ReplayOptions(config_name=config, **options), say=lambda text: None)


def digest(summary: Summary) -> str:
    return str(summary.sections["digest"]["sha256"])


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quick_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, quick: str) -> Iterator[Summary]:
    """The replay that the others are compared with."""
    with pytest.MonkeyPatch.context() as patch:
        _nothing_for_the_whole_process.__wrapped__(patch)  # type: ignore[attr-defined]
        yield run(write(tmp_path_factory.mktemp("frames") / "market", market_lines()), quick)


def test_every_line_is_accounted_for_bars_hold_every_trade_and_the_ledger_agrees(first: Summary) -> None:
    events = [json.loads(text.partition(b" ")[2]).get("data", {}) for text in market_lines()]
    kinds = Counter(event.get("e", "no_event") for event in events)
    lines = dict(first.sections["lines"])
    assert lines.pop("total") == len(market_lines())
    assert lines == kinds

    volume = dict(first.sections["volume"])
    assert volume.pop("bars_equal_trades") == "2/2 symbols"
    for symbol, told in volume.items():
        traded = sum(Decimal(event["q"]) for event in events if event.get("e") == "aggTrade" and event["s"] == symbol)
        assert told == f"bars {traded.normalize():f}, trades {traded.normalize():f}"

    assert first.sections["signals"]["taken"] >= 2
    assert first.sections["trades"]["closed"] >= 2
    assert (first.ledger, first.differences, first.ok) == ("agrees", (), True)
    assert "ledger agrees" in render(first)


def test_the_same_market_in_other_packing_and_with_another_log_level_gives_the_same_digest(
    first: Summary, tmp_path: Path
) -> None:
    lines = market_lines()
    half = len(lines) // 2
    packed = tmp_path / "half.gz"
    packed.write_bytes(gzip.compress(b"\r\n".join(lines[:half])))
    other = write(tmp_path / "half", lines[half:])
    assert digest(run([packed, other], quick_config(tmp_path, log={"level": "debug"}))) == digest(first)


def test_another_process_with_other_hashes_gives_the_same_digest_through_the_command(
    first: Summary, quick: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "market", market_lines())
    done = subprocess.run(
        [sys.executable, "-m", "aegis", "replay", str(path), "--config", quick, "--json"],
        env={**os.environ, "PYTHONHASHSEED": "4711"}, capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["digest"]["sha256"] == digest(first)
    assert (told["ledger"], told["ok"]) == ("agrees", True)


@pytest.mark.parametrize("number", [None, 0])
def test_one_changed_trade_price_changes_the_digest(
    first: Summary, quick: str, tmp_path: Path, number: int | None
) -> None:
    def dearer(event: dict[str, Any]) -> dict[str, Any]:
        price = Decimal(event["p"])
        return event | {"p": str(price + Decimal(1).scaleb(int(price.as_tuple().exponent)))}

    lines = changed(market_lines(), "aggTrade", dearer, number)
    assert digest(run(write(tmp_path / "market", lines), quick)) != digest(first)


@pytest.mark.parametrize("change", [{"strategy": {"target_r": 2.5}}, {"exchange": {"taker_fee_bps": 5.5}}])
def test_one_parameter_or_fee_changes_the_digest(first: Summary, tmp_path: Path, change: dict[str, Any]) -> None:
    told = run(write(tmp_path / "market", market_lines()), quick_config(tmp_path, **change))
    assert digest(told) != digest(first)
    assert told.ledger == "agrees"


# -- bad input ---------------------------------------------------------------------------------------------------------
def damaged(at: int) -> list[bytes]:
    """Lines that nobody can use, each of another kind, received at `at`."""
    event_ms = at // 1_000_000 - 100  # no sooner than the others, which would show another clock offset
    stamps = f'"E":{event_ms},"T":{event_ms}'
    trade = '{"e":"aggTrade",' + stamps + ',"a":1,"s":"%s","p":"%s","q":"%s","f":1,"l":1,"m":true}'
    absurd = [(p, q) for p in ("NaN", "1e400", "9" * 30, "-1", "") for q in ("1", "NaN")]
    return [
        b"", b"no stamp at all", b'{"e":"trade"}', b"12x4 {}", b"%d" % at, b"99999999999999999999 {}",
        line(9_000_000_000_000_000_000, b"{}"), line(at, b"{"), line(at, b'"text"'), line(at, b"[]"), line(at, b"null"),
        line(at, b"\xff\xfe"), line(at, b"[" * 5_000), line(at, b'{"e":5}'), line(at, b'{"e":"surprise"}'),
        line(at, b'{"stream":"x","data":7}'), line(at, b'{"pad":"' + b"x" * 300_000 + b'"}'),
        line(at, b'{"e":"bookTicker","u":1e400,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1","E":1e30}'),
        line(at, b'{"e":"bookTicker","u":-5,"s":"BTCUSDT","b":"9","B":"1","a":"2","A":"1","E":12345678901234567890}'),
        *(line(at, (trade % ("BTCUSDT", p, q)).encode()) for p, q in absurd),
    ]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1500])
def test_damaged_lines_are_counted_and_change_nothing_else(
    first: Summary, quick: str, tmp_path: Path, place: int
) -> None:
    good = market_lines()
    bad = damaged(int(good[place].partition(b" ")[0]) + BEHIND_NS)
    told = run(write(tmp_path / "market", (*good[:place], *bad, *good[place:])), quick)
    lines = dict(told.sections["lines"])
    assert lines.pop("total") == len(good) + len(bad) == sum(lines.values())
    assert lines["unreadable"] == 7  # six without a stamp, one that is too long
    assert lines["time_far_off"] == 1
    assert lines["malformed"] >= 2
    for section in ("trades", "money"):
        assert told.sections[section] == first.sections[section]
    assert told.sections["signals"]["taken"] == first.sections["signals"]["taken"]
    assert told.sections["market"]["malformed"] > 0
    assert told.ledger == "agrees"


def test_a_symbol_that_the_head_does_not_show_is_counted_and_not_traded(
    first: Summary, quick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "HEAD", 1_500)
    good = market_lines()
    strange = [text.replace(b"BTCUSDT", b"NEWUSDT") for text in good[1_900:2_000] if b"BTCUSDT" in text]
    told = run(write(tmp_path / "market", (*good[:2_000], *strange, *good[2_000:])), quick)
    assert told.sections["lines"]["total"] == len(good) + len(strange)
    assert told.sections["volume"] == first.sections["volume"]
    for section in ("trades", "money", "market"):
        assert told.sections[section] == first.sections[section]


def test_times_that_go_back_are_taken_in_the_order_of_the_lines(quick: str, tmp_path: Path) -> None:
    lines = list(market_lines()[:600])
    lines[100], lines[300] = lines[300], lines[100]
    told = run(write(tmp_path / "market", lines), quick)
    assert told.sections["lines"]["total"] == 600
    assert told.ledger == "agrees"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n\n", "line 1: not `<receive time, ns> <frame>`"),
        (b"%PDF-1.4 \x00\x01\x02", "line 1: not `<receive time, ns> <frame>`"),
        (b"\x1f\x8b\x08 no gzip", "line 1"),
        (gzip.compress(b"\n".join(market_lines()[:50]), mtime=0)[:-40], "line "),
        (gzip.compress(b"\n".join(market_lines()), mtime=0)[:-2000], "line "),
        (gzip.compress(market_lines()[0], mtime=0)[:-8] + b"\0" * 8, "CRC check failed"),
        (b"1790000000000000000 {}", "no bookTicker and no trade"),
        (b'1 {"e":"bookTicker","s":"BTCUSDT","b":"1.0","B":"1","a":"1.1","A":"1"}', "no frame with an event time"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_replayed_is_one_line_with_its_path(
    content: bytes, says: str, tmp_path: Path, quick: str
) -> None:
    path = tmp_path / "market.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        run(path, quick)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_two_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        run(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="by itself"):
        run([tmp_path, tmp_path])


@pytest.mark.parametrize("text", ["0s", "1ms", "-1s", "x", "1.5s"])
def test_a_base_bar_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(AegisError, match="base-bar"):
        run(write(tmp_path / "market", market_lines()[:10]), base_bar=text)


# -- the real market ---------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not REAL.exists(), reason="the recorded market data is not beside the project")
def test_the_recorded_evening_of_btcusdt_trades_and_adds_up() -> None:
    told = run(REAL, base_bar="1s")
    assert told.sections["lines"] == {
        "total": 93_954, "bookTicker": 66_089, "trade": 21_313, "depthUpdate": 6_551, "no_event": 1,
    }  # fmt: skip
    assert told.sections["volume"]["bars_equal_trades"] == "1/1 symbols"
    assert told.sections["signals"]["signals"] >= 20
    assert len(told.sections["signals"]["refused"]) >= 2
    assert told.sections["trades"]["closed"] >= 5
    assert (told.ledger, told.ok) == ("agrees", True)
