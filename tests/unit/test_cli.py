"""The command line: what each command is given, and what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

import aegis
from aegis import app, cli
from aegis import config as configs
from aegis.engine.summary import Summary
from aegis.exchange.settings import ExchangeSettings
from aegis.research import replay as replays
from aegis.research.bench import GROUPS, groups, table
from aegis.research.bench.table import Row
from aegis.surface import reports

CONFIG, VENUE, INTERNAL, FAILED = 78, 69, 70, 1


def python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options)


# -- help --------------------------------------------------------------------------------------------------------------
def test_the_version_is_the_packages(command: Any) -> None:
    assert command("--version") == (0, f"aegis, version {aegis.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["run", "-h"], ["check", "--config", "live"]])
def test_help_and_check_import_nothing_heavy(arguments: list[str]) -> None:
    done = python(
        f"""
import sys
from aegis.cli import main
sys.argv = ["aegis", *{arguments!r}]
try:
    main()
finally:
    heavy = {{"numba", "llvmlite", "numpy", "trio", "httpx", "cryptography", "starlette", "rich"}}
    sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def commands(group: click.Group = cli.cli, name: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for word, one in group.commands.items():
        found |= commands(one, f"{word} ") if isinstance(one, click.Group) else {name + word: one}
    return found


def options(one: click.Command) -> set[str]:
    return {text for parameter in one.params for text in parameter.opts}


def test_the_commands_and_their_common_options() -> None:
    found = commands()
    assert set(found) == {
        "run", "replay", "exchange", "bench", "check", "universe", "status", "trades", "why", "journal export",
        "signals", "chart", "new-strategy", "lookahead", "honesty",
    }  # fmt: skip
    for name in ("run", "replay", "universe", "status", "trades", "why"):
        assert "--json" in options(found[name])
    for name in ("run", "replay", "status", "trades", "why", "journal export"):
        assert "--home" in options(found[name])
    for name in ("status", "trades", "why", "journal export"):
        assert "--run" in options(found[name])
    for name in ("run", "replay", "check", "universe"):
        assert "--config" in options(found[name])


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    one = commands()[name]
    short = one.get_short_help_str(limit=66)  # what fits beside the name on 80 columns
    assert short
    assert not short.endswith("...")
    for parameter in one.params:
        assert not isinstance(parameter, click.Option) or parameter.help


def test_the_help_tells_every_exit_code(command: Any) -> None:
    text = " ".join(command("--help")[1].split())
    for row in ("0 done", "1 a check failed", "2 usage", "69 venue unavailable", "70 internal", "78 configuration"):
        assert row in text


# -- check -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", configs.preset_names())
def test_check_prints_what_loads_back(name: str, command: Any, tmp_path: Path) -> None:
    code, out, err = command("check", "--config", name)
    assert (code, err) == (0, "")
    copy = tmp_path / "copy.toml"
    copy.write_text(out)
    assert configs.load(str(copy)) == configs.load(name)
    assert command("check", "--config", str(copy)) == (0, out, "")


def test_check_tells_a_mistake_in_one_line(command: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[risk]\nrisk_pct = 50")
    assert command("check", "--config", str(path)) == (
        CONFIG, "", f"aegis: {path}: risk.risk_pct: 50 is not in (0, 5]\n",
    )  # fmt: skip


# -- run ---------------------------------------------------------------------------------------------------------------
def summary(*, differences: tuple[str, ...] = (), failure: str = "") -> Summary:
    blank = {field.name: field.default for field in attrs.fields(Summary)}
    blank |= {"sections": {"money": {"equity": "1"}}, "differences": differences, "failure": failure}
    if "ledger" in blank:
        blank["ledger"] = "differs" if differences else "agrees"
    return Summary(**{name: () if value is attrs.NOTHING else value for name, value in blank.items()})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `app.run` was given; its answer is the third element, a good summary unless the test puts another there."""
    seen: list[Any] = [None, None, summary()]

    def run(config: configs.Config, given: app.RunOptions, *, say: Any) -> Any:
        say("on its way")
        seen[:2] = config, given
        return seen[2]

    monkeypatch.setattr(app, "run", run)
    return seen


def test_run_alone_is_the_simulator_with_its_defaults(command: Any, started: list[Any], tmp_path: Path) -> None:
    code, out, err = command("run", "--home", str(tmp_path))
    assert (code, err) == (0, "on its way\n")
    assert "equity" in out
    assert started[0] == configs.load("sim")
    assert started[1] == app.RunOptions(home=tmp_path)


def test_run_hands_its_options_on(command: Any, started: list[Any], tmp_path: Path) -> None:
    words = f"run --seconds 2.5 --seed 5 --symbols 40 --rate 900 --record {tmp_path}/r --flatten --resume 3 --json"
    code, out, _ = command(*words.split(), "--home", str(tmp_path))
    assert code == 0
    assert json.loads(out) == summary().data()
    config, given = started[:2]
    sim = configs.load("sim")
    assert config == attrs.evolve(
        sim,
        seed=5,
        universe=attrs.evolve(sim.universe, top=40),
        exchange=attrs.evolve(sim.exchange, symbols=40, rate=900),
    )
    assert given == app.RunOptions(seconds=2.5, record=tmp_path / "r", flatten=True, resume="3", home=tmp_path)


def test_the_state_directory_comes_from_the_environment(
    command: Any, started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    command("run")
    assert started[1].home == tmp_path


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (summary(), 0),
        (None, 0),
        (summary(differences=("fees: 1, the ledger says 2",)), FAILED),
        (summary(failure="a position without a stop"), INTERNAL),
        (summary(differences=("fees",), failure="a bug"), INTERNAL),
    ],
)
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_run_ends_with_what_its_summary_says(
    outcome: Summary | None, code: int, flags: tuple[str, ...], command: Any, started: list[Any]
) -> None:
    started[2] = outcome
    assert command("run", *flags)[0] == code


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--live", '--live goes with mode = "live", and this config says mode = "sim"'),
        ("--config testnet --live", '--live goes with mode = "live", and this config says mode = "testnet"'),
        ("--config paper --live", '--live goes with mode = "live"'),
        ("--config live", 'mode = "live" does not start yet'),
        ("--config live --live", 'mode = "live" does not start yet'),
        ("--config live.toml --live --seconds 5", 'mode = "live" does not start yet'),
        ("--config testnet --rate 50", '--rate is of the simulated exchange, and this config says mode = "testnet"'),
        ("--config nosuch", "nosuch: No such file or directory; shipped configs are live, paper, sim, testnet"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    words: str, reason: str, command: Any, started: list[Any]
) -> None:
    code, out, err = command("run", *words.split())
    assert (code, out) == (CONFIG, "")
    assert err.startswith(f"aegis: {reason}")
    assert started[0] is None


def test_resume_is_for_simulated_runs(command: Any) -> None:
    code, _, err = command("run", "--config", "testnet", "--resume", "1")
    assert code == CONFIG
    assert err.startswith("aegis: --resume is for simulated runs")


# -- the other commands ------------------------------------------------------------------------------------------------
def test_replay_hands_its_options_on(command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []

    def replay(files: Any, given: Any, *, say: Any) -> Summary:
        seen.extend((files, given))
        return summary(differences=("decisions differ",))

    monkeypatch.setattr(replays, "replay", replay)
    words = f"replay a.gz b.gz --config live --base-bar 5s --compare 7 --json --home {tmp_path}"
    code, out, _ = command(*words.split())
    assert code == FAILED
    assert json.loads(out)["differences"] == ["decisions differ"]
    given = replays.ReplayOptions(config_name="live", base_bar="5s", compare="7", home=tmp_path)
    assert seen == [("a.gz", "b.gz"), given]


def test_exchange_makes_settings_of_its_options(command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[ExchangeSettings] = []

    def run_child(settings: ExchangeSettings) -> int:
        seen.append(settings)
        return VENUE

    monkeypatch.setattr("aegis.exchange.process.run_child", run_child)
    words = f"exchange --symbols 5 --seed 2 --rate 50 --volatility 2 --rest-port 80 --socket-port 81 --state {tmp_path}"
    wanted = ExchangeSettings(
        symbols=5, seed=2, rate=50, volatility=2.0, rest_port=80, socket_port=81, state_dir=tmp_path
    )
    assert command(*words.split())[0] == VENUE
    assert command("exchange", "--settings", wanted.to_json())[0] == VENUE
    assert seen == [wanted, wanted]


@pytest.mark.parametrize("settings", ["{}]", '{"rate": "fast"}', '{"rate": 0}', "[]"])
def test_wrong_exchange_settings_are_one_line(settings: str, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.exchange.process.run_child", lambda _: pytest.fail("it must not start"))
    code, out, err = command("exchange", "--settings", settings)
    assert (code, out, err.count("\n")) == (CONFIG, "", 1)


@pytest.mark.parametrize("name", ["status", "trades", "why"])
def test_a_report_is_printed_as_it_comes(
    name: str, command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def report(*arguments: Any, as_json: bool, at: None = None) -> str:
        seen.append((*arguments, as_json))
        return "a report"

    monkeypatch.setattr(reports, name, report)
    symbol = ("--symbol", "BTCUSDT") if name == "why" else ()
    assert command(name, *symbol, "--run", "4", "--home", str(tmp_path), "--json") == (0, "a report\n", "")
    assert seen == [(tmp_path, "4", *symbol[1:], True)]


def test_a_journal_is_exported_byte_by_byte(command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reports, "export", lambda home, run: iter([b'{"a":"\xc3\xa9"}\n', f"{home} {run}\n".encode()]))
    assert command("journal", "export", "--home", str(tmp_path)) == (0, f'{{"a":"é"}}\n{tmp_path} None\n', "")


@pytest.mark.parametrize("words", ["status", "trades", "why --symbol X", "journal export", "status --run 9 --json"])
def test_a_report_on_nothing_says_that_there_are_no_runs(words: str, command: Any, tmp_path: Path) -> None:
    code, out, err = command(*words.split(), "--home", str(tmp_path))
    assert (code, out) == (CONFIG, "")
    assert err == f"aegis: {tmp_path}: no runs yet; `aegis run` makes one\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_universe_prints_the_verdict_on_every_symbol(
    flags: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[configs.Config] = []

    def universe(config: configs.Config, *, say: Any) -> tuple[Any, ...]:
        seen.append(config)
        return ()

    monkeypatch.setattr(app, "universe", universe)
    code, out, err = command("universe", "--config", "testnet", *flags)
    assert (code, err) == (0, "")
    assert json.loads(out) == [] if flags else "0 in, 0 out" in out
    assert seen == [configs.load("testnet")]


# -- bench -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def benched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the bench was asked for; its answer is the second element's rows."""
    seen: list[Any] = [None, [Row(group="wire", name="ticks", target=2.0, figure=1.0, unit="ticks/s")]]

    def measure(names: Any, bench: table.Bench, peers: Any) -> table.Report:
        seen[0] = tuple(names), bench, peers
        return table.Report(conditions=table.Conditions.read(0.0), rows=tuple(seen[1]), peers=peers)

    monkeypatch.setattr(groups, "measure", measure)
    monkeypatch.setattr(groups, "prepare", lambda names, say: seen.append(names))
    return seen


def test_bench_measures_everything_unless_told_what(command: Any, benched: list[Any]) -> None:
    code, out, _ = command("bench")
    assert (code, "MISSED" in out, benched[2:]) == (0, True, [GROUPS])
    assert benched[0] == (GROUPS, table.Bench(effort=table.FULL, say=cli._say), ())
    command("bench", "wire", "--quick")
    assert benched[0][:2] == (("wire",), table.Bench(effort=table.QUICK, say=cli._say))


def test_bench_writes_json_and_shows_peers(command: Any, benched: list[Any], tmp_path: Path) -> None:
    peers, recording, target = tmp_path / "peers.json", tmp_path / "rec.gz", tmp_path / "out.json"
    peers.write_text('[{"peer":"p","what":"w","unit":"ticks/s","median":0.25,"ours":"ticks"}]')
    recording.touch()
    words = ("--json", str(target), "--peers", str(peers), "--file", str(recording))
    code, out, _ = command("bench", "all", *words)
    assert (code, "4.00x" in out) == (0, True)
    assert benched[0][1].file == recording
    assert json.loads(target.read_bytes())["peers"][0]["ratio"] == 4.0


def test_bench_fails_where_a_row_means_nothing(command: Any, benched: list[Any]) -> None:
    benched[1] = [table.invalid("wire", "ticks", "the feeder died")]
    code, out, _ = command("bench", "wire")
    assert (code, "the feeder died" in out) == (FAILED, True)


@pytest.mark.parametrize("words", ["bench nothing", "bench --file nosuch.gz", "bench --peers nosuch.json"])
def test_a_bench_of_nothing_is_a_usage_error(words: str, command: Any, benched: list[Any]) -> None:
    assert command(*words.split())[0] == 2
    assert benched[0] is None
