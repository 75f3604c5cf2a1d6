"""The live view: one screen that refreshes in place, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aegis.engine.snapshot import Snapshot

__all__ = ["screen", "show"]

_REFRESH_S = 0.5
_MOST_POSITIONS = 12


async def show(snapshot: Callable[[], Snapshot]) -> None:
    """Redraw until cancelled, on stderr: stdout is the result's. Off a terminal nothing is drawn."""
    if not sys.stderr.isatty():
        return
    console = Console(stderr=True)
    with Live(screen(snapshot()), console=console, auto_refresh=False, transient=True) as live:
        while True:
            await trio.sleep(_REFRESH_S)
            live.update(screen(snapshot()), refresh=True)


def screen(now: Snapshot) -> Group:
    """The whole view of one moment."""
    return Group(_headline(now), _numbers(now), _positions(now))


def _headline(now: Snapshot) -> Panel:
    state = "green" if now.trading == "ACTIVE" else "yellow"
    text = Text.assemble(
        ("AEGIS ", "bold"), (now.mode, "cyan"), f"  run {now.run}  ", (now.trading, state),
        f"  {now.phase.lower()}  up {now.uptime_s:,.0f} s",
    )  # fmt: skip
    if now.mode == "sim":
        text.append("   synthetic prices: profit means nothing", "dim")
    return Panel(text, expand=True)


def _numbers(now: Snapshot) -> Table:
    grid = Table.grid(padding=(0, 3), expand=True)
    for _ in range(4):
        grid.add_column()
    refused = ", ".join(f"{code} {count}" for code, count in sorted(now.refused.items(), key=lambda i: -i[1])[:3])
    grid.add_row(f"ticks/s {now.ticks_per_s:,.0f}", f"ticks {now.ticks:,}", f"lag {now.lag_ms:.0f} ms",
                 f"warm {now.warm}/{now.symbols}")  # fmt: skip
    grid.add_row(f"signals {now.signals}", f"taken {now.taken}", f"levels armed {now.levels}",
                 f"refused: {refused or '-'}")  # fmt: skip
    grid.add_row(f"orders {now.working_orders}", f"trades {now.trades}", f"equity {now.equity}",
                 f"realised {now.realized}  fees {now.fees}")  # fmt: skip
    grid.add_row(*[f"{name} {p50:.2f}/{p99:.2f} ms" for name, (p50, p99) in list(now.latency_ms.items())[:4]])
    return grid


def _positions(now: Snapshot) -> Table:
    table = Table(expand=True, title=f"{len(now.positions)} positions", title_justify="left", border_style="dim")
    for name in ("symbol", "side", "qty", "entry", "stop", "target", "unrealised", "age"):
        table.add_column(name, justify="left" if name in ("symbol", "side") else "right")
    for row in now.positions[:_MOST_POSITIONS]:
        stop = Text(row.stop) if row.stop else Text("none yet", "bold red")
        table.add_row(row.symbol, Text(row.side, "green" if row.side == "BUY" else "red"), row.qty, row.entry, stop,
                      row.target, row.unrealized, f"{row.age_s:.0f} s")  # fmt: skip
    return table
