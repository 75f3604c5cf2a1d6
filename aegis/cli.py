"""Every command, thin: parse, call, print. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from aegis import __version__
from aegis import config as configs
from aegis.cli_options import home_option, json_option, run_option
from aegis.cli_strategies import COMMANDS
from aegis.core.errors import AegisError, ConfigError, Interrupted, VenueRefusal, VenueUnavailable
from aegis.research.bench import GROUPS

if TYPE_CHECKING:
    from aegis.config import Config

__all__ = ["main"]

EXIT_CHECK_FAILED, EXIT_USAGE, EXIT_VENUE, EXIT_INTERNAL, EXIT_CONFIG = 1, 2, 69, 70, 78
_EXIT_CODES = f"""\b
Exit codes: 0 done, or stopped on request; {EXIT_CHECK_FAILED} a check failed; {EXIT_USAGE} usage;
{EXIT_VENUE} venue unavailable; {EXIT_INTERNAL} internal; {EXIT_CONFIG} configuration or input."""

_INPUT = click.Path(path_type=Path, dir_okay=False, exists=True, readable=True)
_OUTPUT = click.Path(path_type=Path, dir_okay=False, writable=True)

C = TypeVar("C", bound=Callable[..., Any])


def _say(text: str) -> None:
    click.echo(text, err=True)


def _config_option(command: C) -> C:
    return click.option(
        "--config", "config_name", default="sim", show_default=True, metavar="FILE",
        help="A path, or the name of a shipped one: " + ", ".join(configs.preset_names()) + ".",
    )(command)  # fmt: skip


class _Seconds(click.FloatRange):
    """A duration: positive, and a number (which NaN is not, though no range refuses it)."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class _Speed(_Seconds):
    """A factor: positive, or `max`."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return 0.0 if value == "max" else super().convert(value, param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_EXIT_CODES)
@click.version_option(__version__, prog_name="aegis")
def cli() -> None:
    """AEGIS: a trading engine for Binance USDⓈ-M futures.

    `aegis run` with no argument trades on an embedded simulated exchange: no key, no network.
    """


@cli.command()
@_config_option
@click.option("--seconds", type=_Seconds(), help="Stop by itself after this long.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the simulated market.")
@click.option("--symbols", type=click.IntRange(1, 1000), help="How many symbols to simulate or to trade.")
@click.option("--rate", type=click.IntRange(10, 1_000_000), help="Market frames a second of the simulated exchange.")
@click.option(
    "--record", type=click.Path(path_type=Path, file_okay=False), help="Record every input into this directory."
)
@click.option(
    "--flatten", is_flag=True, help="Close all positions on the way out (default: keep them with their stops)."
)
@click.option("--resume", metavar="RUN", help="Go on with a simulated run: engine and exchange.")
@click.option("--live", is_flag=True, help='Together with mode = "live" and credentials: real money.')
@home_option
@json_option
def run(config_name: str, live: bool, as_json: bool, **options: Any) -> None:
    """Trade: by default on the embedded simulated exchange."""
    from aegis import app

    config = _overridden(configs.load(config_name), options["seed"], options["symbols"], options["rate"])
    app.refuse_unready(config, live=live)
    del options["seed"], options["symbols"], options["rate"]
    summary = app.run(config, app.RunOptions(**options), say=_say)
    if summary is not None:
        _finish(summary, as_json)


def _overridden(config: Config, seed: int | None, symbols: int | None, rate: int | None) -> Config:
    import attrs

    if seed is not None:
        config = attrs.evolve(config, seed=seed)
    if symbols is not None:
        config = attrs.evolve(
            config,
            exchange=attrs.evolve(config.exchange, symbols=symbols),
            universe=attrs.evolve(config.universe, top=symbols),
        )
    if rate is not None:
        if config.mode != "sim":
            raise ConfigError(f'--rate is of the simulated exchange, and this config says mode = "{config.mode}"')
        config = attrs.evolve(config, exchange=attrs.evolve(config.exchange, rate=rate))
    return config


def _finish(summary: Any, as_json: bool) -> None:
    from aegis.surface.summary import render

    click.echo(json.dumps(summary.data(), indent=2, sort_keys=True) if as_json else render(summary))
    if not summary.ok:
        sys.exit(EXIT_INTERNAL if summary.failure else EXIT_CHECK_FAILED)


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--config",
    "config_name",
    metavar="FILE",
    help="A path or a shipped one; default: what the recording names, or sim.",
)
@click.option("--base-bar", metavar="LENGTH", help="Of the base bar: 1s or longer, such as 5s, 1m, 15m.")
@click.option("--compare", metavar="RUN", help="Print the first difference to a live run's signals and decisions.")
@home_option
@json_option
def replay(files: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Recordings through the same engine, on the data's clock.

    FILE is a recording directory of `aegis run --record`, or lines `<ns> <json>`, plain or gzip, whose orders get
    simulated fills.
    """
    from aegis.research import replay as replays

    summary = replays.replay(files, replays.ReplayOptions(**options), say=_say)
    _finish(summary, as_json)


@cli.command()
@click.option("--symbols", type=click.IntRange(1, 1000), default=300, show_default=True, help="How many to list.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=7, show_default=True, help="Seed of the market.")
@click.option("--rate", type=click.IntRange(10, 1_000_000), default=4_000, show_default=True, help="Frames a second.")
@click.option("--volatility", type=click.FloatRange(0, 100), default=1.0, show_default=True, help="1: a real evening.")
@click.option("--accounts", type=click.IntRange(1, 100), default=1, show_default=True, help="With a key each.")
@click.option("--rest-port", type=click.IntRange(0, 65_535), default=0, help="0: any free one.")
@click.option("--socket-port", type=click.IntRange(0, 65_535), default=0, help="0: any free one.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Keep ledger and state here.")
@click.option("--scenario", "scenario_name", metavar="FILE", help="What happens: a path, or the name of a shipped one.")
@click.option("--recording", type=_INPUT, metavar="FILE", help="Prices from lines `<ns> <json>`, plain or gzip.")
@click.option("--faults", "faults_name", metavar="FILE", help="What goes wrong: a path, or the name of a shipped one.")
@click.option("--control-port", type=click.IntRange(0, 65_535), help="Faults can be changed here; 0: any free port.")
@click.option("--speed", type=_Speed(), default=1.0, metavar="X", help="Its time against ours, up to `max`.")
@click.option("--settings", "settings_json", hidden=True, help="Every setting as JSON; how a run starts its exchange.")
def exchange(
    settings_json: str | None, state: Path | None, scenario_name: str | None, faults_name: str | None, **options: Any
) -> None:
    """The simulated exchange alone, for other clients.

    Prints one JSON line with addresses and keys when it is ready; ends on SIGINT, SIGTERM, or when its stdin closes.
    """
    from aegis.config.faults import Faults, load_faults
    from aegis.config.scenario import Scenario, load_scenario
    from aegis.exchange.process import run_child
    from aegis.exchange.settings import ExchangeSettings

    if settings_json is not None:
        settings = ExchangeSettings.from_json(settings_json)
    else:
        scenario = Scenario() if scenario_name is None else load_scenario(scenario_name)
        faults = Faults() if faults_name is None else load_faults(faults_name)
        settings = ExchangeSettings(state_dir=state, scenario=scenario, faults=faults, **options)
    sys.exit(run_child(settings))


@cli.command()
@click.argument("group", type=click.Choice([*GROUPS, "all"]), default="all")
@click.option("--quick", is_flag=True, help="One sample a row and shorter windows: figures to look at, not to quote.")
@click.option("--json", "json_path", type=_OUTPUT, metavar="FILE", help="Write the report there as JSON too.")
@click.option("--file", type=_INPUT, metavar="FILE", help="The recording for `replay`; default: one made here.")
@click.option("--peers", "peers_path", type=_INPUT, metavar="FILE", help="Rows of `nox -s peers`, shown beside ours.")
def bench(group: str, quick: bool, json_path: Path | None, file: Path | None, peers_path: Path | None) -> None:
    """Measure this machine, row by row, against what is promised.

    Exits with 1 where a row could not be measured; a missed target is a fact, not an error.
    """
    from aegis.research.bench import groups, table
    from aegis.surface.bench import render

    peers = table.read_peers(peers_path) if peers_path else ()
    effort = table.QUICK if quick else table.FULL
    names = GROUPS if group == "all" else (group,)
    # ended by SIGTERM it ends as by Ctrl-C, and what it started with it: an engine in a hot loop takes a core for ever;
    # a shell that starts it in the background has it ignore SIGINT, which would leave nothing to end it with
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    groups.prepare(names, _say)
    report = groups.measure(names, table.Bench(effort=effort, say=_say, file=file), peers)
    click.echo(render(report))
    if json_path is not None:
        json_path.write_bytes(report.encode())
    if not report.ok:
        sys.exit(EXIT_CHECK_FAILED)


@cli.command()
@_config_option
def check(config_name: str) -> None:
    """Validate a config and print what is in effect.

    The output is TOML that loads back to the same config. Secrets are not in it: a config only names where they are.
    """
    click.echo(configs.dump(configs.load(config_name)), nl=False)


@cli.command()
@_config_option
@json_option
def universe(config_name: str, as_json: bool) -> None:
    """Which symbols are in, which are out, and why."""
    from aegis import app
    from aegis.surface import tables

    choices = app.universe(configs.load(config_name), say=_say)
    click.echo(tables.universe(choices, as_json=as_json))


@cli.command()
@run_option
@home_option
@json_option
def status(run_id: str | None, home: Path | None, as_json: bool) -> None:
    """A running engine, or how a past run ended."""
    from aegis.surface import reports

    click.echo(reports.status(home, run_id, as_json=as_json))


@cli.command()
@run_option
@home_option
@json_option
def trades(run_id: str | None, home: Path | None, as_json: bool) -> None:
    """Closed trades of a run."""
    from aegis.surface import reports

    click.echo(reports.trades(home, run_id, as_json=as_json))


for _command in COMMANDS:
    cli.add_command(_command)


@cli.group()
def journal() -> None:
    """The journal of a run."""


@journal.command("export")
@run_option
@home_option
def journal_export(run_id: str | None, home: Path | None) -> None:
    """Print a run's journal as JSON lines.

    Canonical and in sequence: their SHA-256 is the run's digest.
    """
    from aegis.surface import reports

    for line in reports.export(home, run_id):
        sys.stdout.buffer.write(line)


def _leave(code: int, reason: str) -> NoReturn:
    _say(f"aegis: {reason}")
    sys.exit(code)


def _code(error: BaseException) -> int:
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    if isinstance(error, VenueUnavailable | VenueRefusal):
        return EXIT_VENUE
    if isinstance(error, Interrupted):
        return EXIT_CHECK_FAILED
    return EXIT_INTERNAL


def _first(error: BaseException) -> BaseException:
    """The first bug out of a nest of groups, else the first error of ours: no message may hide a bug beside it."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = sorted((_first(sub) for sub in error.exceptions), key=_rank)
    return found[0]


def _rank(error: BaseException) -> int:
    """A bug, a reason of ours, Ctrl-C, and what a connection says when its task's sibling has failed."""
    import trio

    noise = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
    kinds: tuple[tuple[type[BaseException], ...], ...] = ((AegisError,), (KeyboardInterrupt,), noise)
    return next((rank for rank, kind in enumerate(kinds, start=1) if isinstance(error, kind)), 0)


def _interrupted(arguments: list[str]) -> NoReturn:
    """Ctrl-C before a run began is a stop on request; elsewhere it is a result that nobody got."""
    _leave(0 if arguments[:1] in (["run"], ["exchange"]) else EXIT_CHECK_FAILED, "interrupted")


def _call(arguments: list[str]) -> None:
    """Run one command. Click's own `main` is not used: it turns Ctrl-C and a closed pipe into exit code 1."""
    try:
        with cli.make_context("aegis", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output has left, and nothing is wrong; the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point of the command `aegis`. Errors of ours are one line and an exit code; bugs a traceback and 70."""
    arguments = sys.argv[1:]
    try:
        _call(arguments)
    except KeyboardInterrupt:
        _interrupted(arguments)
    except (Exception, BaseExceptionGroup) as error:
        first = _first(error)
        if isinstance(first, KeyboardInterrupt):
            _interrupted(arguments)
        if not isinstance(first, AegisError):  # Python's own exit code for it is 1, which would say "a check failed"
            traceback.print_exception(error)
            raise SystemExit(EXIT_INTERNAL) from error
        _leave(_code(first), " ".join(str(first).split()))
