from __future__ import annotations

import attrs
import pytest
import trio
from rich.console import Console

from aegis.engine.snapshot import PositionView, Snapshot
from aegis.surface import view
from aegis.surface.view import screen, show

EMPTY = Snapshot(
    run="1", mode="paper", phase="STARTING", trading="HALTED", at="2026-01-01T00:00:00.000Z", uptime_s=0.0, ticks=0,
    ticks_per_s=0.0, lag_ms=0.0, symbols=0, warm=0, levels=0, signals=0, taken=0, refused={}, working_orders=0,
    trades=0, equity="0.00", realized="0.00", fees="0.00", positions=(), latency_ms={},
)  # fmt: skip
POSITION = PositionView(
    symbol="1000PEPEUSDT", side="SELL", qty="1", entry="2", stop="3", target="1", unrealized="-0.10", age_s=12.4
)


def text_of(now: Snapshot, width: int = 110) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), color_system=None)  # noqa: SIM115
    with console.file:
        console.print(screen(now))
        return console.export_text()


def test_an_engine_that_has_nothing_yet_is_shown() -> None:
    shown = text_of(EMPTY)
    for part in ("AEGIS paper", "run 1", "HALTED", "starting", "warm 0/0", "refused: -", "0 positions"):
        assert part in shown
    assert "synthetic" not in shown


def test_a_full_engine_shows_its_positions_with_their_stops_and_the_most_frequent_refusals() -> None:
    rows = tuple(attrs.evolve(POSITION, symbol=f"S{k}USDT", stop="" if k == 1 else "3") for k in range(30))
    now = attrs.evolve(
        EMPTY, mode="sim", trading="ACTIVE", positions=rows, refused={"COST": 1, "SIZE": 9, "STALE": 5, "GAPPED": 2},
        latency_ms={name: (0.5, 12.25) for name in ("read", "analysis", "loop", "a", "b")}, ticks=1_234_567,
    )  # fmt: skip
    shown = text_of(now)
    assert "synthetic prices: profit means nothing" in shown
    assert "SIZE 9, STALE 5," in shown
    assert "COST" not in shown
    assert "1,234,567" in shown
    assert "30 positions" in shown
    assert shown.count("USDT") == 12
    assert shown.count("none yet") == 1
    assert "analysis 0.50/12.25 ms" in shown


@pytest.mark.parametrize("width", [20, 60, 200])
def test_a_terminal_of_any_width_is_served(width: int) -> None:
    shown = text_of(attrs.evolve(EMPTY, positions=(POSITION,)), width)
    assert max(len(line) for line in shown.splitlines()) <= width


def test_markup_in_a_name_is_only_text() -> None:
    assert "[bold]x[/nothing]" in text_of(attrs.evolve(EMPTY, run="[bold]x[/nothing]"))


class _Terminal:
    encoding = "utf-8"

    def __init__(self, is_one: bool) -> None:
        self.is_one, self.written = is_one, ""

    def isatty(self) -> bool:
        return self.is_one

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        return None


@pytest.mark.parametrize("is_one", [True, False])
async def test_the_view_refreshes_on_a_terminal_and_is_silent_off_it(
    is_one: bool, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    terminal, asked = _Terminal(is_one), 0

    def snapshot() -> Snapshot:
        nonlocal asked
        asked += 1
        return attrs.evolve(EMPTY, ticks=asked)

    monkeypatch.setattr(view.sys, "stderr", terminal)
    with trio.move_on_after(5.2):
        await show(snapshot)
    assert (asked, bool(terminal.written)) == ((11, True) if is_one else (0, False))
