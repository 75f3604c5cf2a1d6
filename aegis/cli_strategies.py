"""The commands about strategies and signals: thin, as those of `cli.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from aegis.cli_options import home_option, json_option, run_option, symbol_option

__all__ = ["COMMANDS"]

C = TypeVar("C", bound=Callable[..., Any])
_CHECK_FAILED = 1


def _say(text: str) -> None:
    click.echo(text, err=True)


def _data_options(command: C) -> C:
    """How a FILE is replayed."""
    config = click.option(
        "--config", "config_name", metavar="CONFIG", help="Of the replay: a path or a shipped one."
    )
    bars = click.option("--base-bar", metavar="LENGTH", help="Of the base bar: 1s or longer, such as 5s, 1m, 15m.")
    return config(bars(command))


@click.command("new-strategy")
@click.argument("name", metavar="NAME")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="Where to write it. Default: the current directory.",
)  # fmt: skip
def new_strategy(name: str, out: Path) -> None:
    """Write a strategy to start from: NAME.py, its tests, a config.

    NAME is made of a-z, 0-9 and _. Nothing is overwritten.
    """
    from aegis.surface.new_strategy import new_strategy as write

    for path in write(name, out):
        click.echo(path)


@click.command()
@symbol_option
@click.option("--at", metavar="T", help="Only the last decision at or before this time, ISO-8601, UTC.")
@run_option
@home_option
@json_option
def why(symbol: str, at: str | None, run_id: str | None, home: Path | None, as_json: bool) -> None:
    """The decisions on one symbol, in plain words.

    What was seen, each gate with its value and limit, what happened.
    """
    from aegis.surface import reports

    click.echo(reports.why(home, run_id, symbol, at=at, as_json=as_json))


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@symbol_option
@_data_options
@run_option
@home_option
@json_option
def signals(file: str | None, as_json: bool, run_id: str | None, **options: Any) -> None:
    """Patterns, setups, decisions and trades of one symbol.

    Of a recording, which is replayed, or of a past run.
    """
    from aegis.research.story import read_story
    from aegis.surface import signals as tables

    click.echo(tables.signals(read_story(file=file, run=run_id, say=_say, **options), as_json=as_json))


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@symbol_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The page. Default: SYMBOL.html; never overwritten."
)
@_data_options
@run_option
@home_option
def chart(file: str | None, out: Path | None, run_id: str | None, **options: Any) -> None:
    """One page with everything that was known at each bar.

    Of a recording, which is replayed, or of a past run. Needs the extra `charts`.
    """
    from aegis.surface import chart as charts

    charts.require()
    from aegis.research.story import read_story

    path = out or Path(f"{options['symbol'].upper()}.html")
    charts.refuse_existing(path)
    charts.write(read_story(file=file, run=run_id, say=_say, **options), path)
    click.echo(path)


@click.command()
@click.argument("strategy", metavar="STRATEGY")
@click.argument("file", metavar="FILE")
@click.option("--symbol", default="", metavar="SYMBOL", help="Whose bars; needed where the data has several.")
@click.option("--prefixes", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to walk.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=7, show_default=True, help="Of their lengths.")
@_data_options
@json_option
def lookahead(strategy: str, file: str, symbol: str, prefixes: int, seed: int, as_json: bool, **options: Any) -> None:
    """Does a strategy know the future, or forget the past?

    STRATEGY is one that ships, FILE.py:Class, or a config. It is run on random beginnings of the data: the first bar
    whose signals change is named, with exit code 1.
    """
    from aegis.config import Config
    from aegis.research import lookahead as looks
    from aegis.research.named_strategy import with_strategy
    from aegis.research.replay import ReplayOptions
    from aegis.research.story import bars_of_file
    from aegis.surface.signals import changed

    if strategy.endswith(".toml") and options["config_name"] is None:
        options["config_name"] = strategy
    with_strategy(strategy, Config())  # a mistake is told before the data is read
    config, bars = bars_of_file(symbol, file, ReplayOptions(**options), _say)
    verdict = looks.lookahead(with_strategy(strategy, config), bars, prefixes=prefixes, seed=seed)
    click.echo(changed(verdict, as_json=as_json))
    if verdict.change is not None:
        sys.exit(_CHECK_FAILED)


@click.command()
@click.argument("strategy", metavar="STRATEGY")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--random", "runs", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Random runs.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=7, show_default=True, help="Of market and chance.")
@click.option("--symbols", type=click.IntRange(1, 300), default=20, show_default=True, help="Of the made-up market.")
@click.option("--hours", type=click.FloatRange(0.5, 240), default=24.0, show_default=True, help="Of that market.")
@_data_options
@json_option
def honesty(strategy: str, file: str | None, runs: int, seed: int, as_json: bool, **options: Any) -> None:
    """Is a strategy any better than chance?

    Signals, refusals and expectancy in R net of fees, beside random entries with the same stops, targets, holding times
    and symbols: on a FILE of recorded frames, or on the simulator's seeded market. STRATEGY is one that ships,
    FILE.py:Class, or a config.
    """
    from aegis.config import Config
    from aegis.research import tape
    from aegis.research.honesty import judge
    from aegis.research.named_strategy import with_strategy
    from aegis.research.replay import ReplayOptions, replay_config
    from aegis.surface.honesty import honesty as told

    name = options["config_name"] or (strategy if strategy.endswith(".toml") else None)
    told_how = ReplayOptions(config_name=name, base_bar=options["base_bar"])
    config = with_strategy(strategy, replay_config(told_how, Config() if name is None else None))
    base_ms = config.bars.timeframes_ms[0]
    if file is not None:
        tapes, data = tape.recorded_tapes(file, base_ms), file
    else:
        tapes = tape.synthetic_tapes(
            options["symbols"], options["hours"], base_ms, seed=seed, volatility=config.exchange.volatility, say=_say
        )
        data = f"the simulated market of seed {seed}"
    report = judge(tapes, config, runs=runs, seed=seed, say=_say)
    click.echo(told(report, strategy=strategy, data=data, as_json=as_json))


#: Added to the group in `cli.py`.
COMMANDS = (chart, honesty, lookahead, new_strategy, signals, why)
