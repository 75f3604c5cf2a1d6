"""Configs as people write them: every preset loads, and every mistake is one line that names its place."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from aegis import config as configs
from aegis.config import BarsConfig, Config, ConfigError, FvgRetestConfig, LogConfig

ROOT = Path(__file__).parents[3]
PRESETS = ("live", "paper", "sim", "testnet")


def complaint(text: str) -> str:
    """What `loads` says about wrong text, after its origin; always a single printable line."""
    with pytest.raises(ConfigError) as caught:
        configs.loads(text, "my.toml")
    line = str(caught.value)
    assert line.isprintable()
    assert line.startswith("my.toml: ")
    return line.removeprefix("my.toml: ")


# -- what is right -----------------------------------------------------------------------------------------------------
def test_the_presets_are_the_files_of_the_config_directory() -> None:
    assert configs.preset_names() == PRESETS
    assert sorted(path.stem for path in (ROOT / "config").glob("*.toml")) == list(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_loads_by_bare_name_by_file_name_and_by_path(name: str) -> None:
    config = configs.load(name)
    assert config.mode == name
    assert configs.load(f"{name}.toml") == config
    assert configs.load(str(ROOT / "config" / f"{name}.toml")) == config


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_is_in_effect(name: str) -> None:
    """An independent reading of the file: no key of it may be lost on the way into the classes."""
    tree = tomllib.loads((ROOT / "config" / f"{name}.toml").read_text(encoding="utf-8"))
    effective = tomllib.loads(configs.dump(configs.load(name)))
    for key, value in tree.items():
        if isinstance(value, dict):
            assert effective[key] | value == effective[key]
        else:
            assert effective[key] == value


def test_a_dump_names_every_value_of_every_table() -> None:
    effective = tomllib.loads(configs.dump(Config()))
    for field in attrs.fields(Config):
        inner = getattr(Config(), field.name)
        if attrs.has(type(inner)):
            assert set(effective[field.name]) == set(attrs.fields_dict(type(inner)))
        else:
            assert effective[field.name] == inner


def test_no_text_at_all_means_the_defaults() -> None:
    assert configs.loads("") == Config()


def test_money_is_the_decimal_that_was_written() -> None:
    config = configs.loads("[risk]\nrisk_pct = 0.1\nmax_order_notional = 25000")
    assert (config.risk.risk_pct, config.risk.max_order_notional) == (Decimal("0.1"), Decimal(25000))


def test_a_whole_number_stands_for_a_float_and_not_the_other_way_round() -> None:
    assert configs.loads("[strategy]\ntarget_r = 3").strategy == FvgRetestConfig(target_r=3.0)
    assert "strategy.trigger_swing: must be a whole number, not 5.0" in complaint("[strategy]\ntrigger_swing = 5.0")


# -- what is wrong -----------------------------------------------------------------------------------------------------
WRONG = {
    # text: (path, something that helps)
    "nope = 1": ("nope", "unknown key"),
    "mod = 'sim'": ("mod", "unknown key (did you mean mode?)"),
    "[univers]\ntop = 1": ("univers", "unknown key (did you mean universe?)"),
    "[risk]\nrisk_percent = 1": ("risk.risk_percent", "unknown key (did you mean risk_pct?)"),
    "[risk]\n'a b\\n' = 1": ('risk."a b\\\\n"', "unknown key"),
    "mode = 'demo'": ("mode", "must be one of sim, paper, testnet, live, not 'demo'"),
    "mode = 1": ("mode", "must be text in quotes, not 1"),
    "seed = -1": ("seed", "must be between 0 and"),
    "seed = 7.0": ("seed", "must be a whole number, not 7.0"),
    "seed = true": ("seed", "must be a whole number, not True"),
    "seed = '7'": ("seed", "must be a whole number, not '7'"),
    "account = '../main'": ("account", "must be 1 to 32 of a-z, 0-9 and -"),
    "account = ''": ("account", "must be 1 to 32 of a-z, 0-9 and -"),
    "universe = 5": ("universe", "must be a table, not 5"),
    "universe = ''": ("universe", "must be a table, not ''"),
    "universe = []": ("universe", "must be a table, not []"),
    "[[universe]]\ntop = 5": ("universe", "must be a table, not [{"),
    "[universe]\ntop = 0": ("universe.top", "must be between 1 and 1000, not 0"),
    "[universe]\nmin_age_days = nan": ("universe.min_age_days", "must be between 0 and 10000, not nan"),
    "[universe]\nmin_volume_quote = inf": ("universe.min_volume_quote", "not inf"),
    "[universe]\nmin_volume_quote = 1e400": ("universe.min_volume_quote", "not inf"),
    "[universe]\ninclude = 'BTCUSDT'": ("universe.include", "must be a list of texts in quotes, not 'BTCUSDT'"),
    "[universe]\ninclude = {BTCUSDT = 1}": ("universe.include", "must be a list of texts in quotes"),
    "[universe]\ninclude = ['BTCUSDT', 5]": ("universe.include", "must be a list of texts in quotes"),
    "[universe]\nexclude = ['btcusdt']": ("universe.exclude", "must be names in capitals, such as BTCUSDT"),
    "[universe]\nquote = ''": ("universe.quote", "must be an asset, such as USDT"),
    "[feed]\ntrade_source = 'trades'": ("feed.trade_source", "must be one of aggTrade, trade"),
    "[bars]\ntimeframes = '1m'": ("bars.timeframes", "must be a list of texts in quotes, not '1m'"),
    "[bars]\ntimeframes = [60]": ("bars.timeframes", "must be a list of texts in quotes"),
    "[bars]\ntimeframes = ['60']": ("bars.timeframes", "'60' is no bar length"),
    "[bars]\ntimeframes = ['1min']": ("bars.timeframes", "'1min' is no bar length"),
    "[bars]\ntimeframes = ['100ms']": ("bars.timeframes", "'100ms' is no bar length"),
    "[bars]\ntimeframes = ['0s']": ("bars.timeframes", "'0s' is no bar length"),
    "[bars]\ntimeframes = ['7s']": ("bars.timeframes", "'7s' does not divide a day"),
    "[bars]\ntimeframes = []": ("bars.timeframes", "must be 1 to 8 bar lengths, not 0"),
    "[bars]\ntimeframes = ['1s', '2s', '3s', '4s', '5s', '6s', '8s', '9s', '10s']": ("bars.timeframes", "not 9"),
    "[bars]\ntimeframes = ['2m', '4m']": ("bars.timeframes", "as the first the venue serves 1s, 1m, 3m"),
    "[bars]\ntimeframes = ['1m', '90s']": ("bars.timeframes", "'90s' is no multiple of the first, '1m'"),
    "[bars]\ntimeframes = ['1m', '60s']": ("bars.timeframes", "'60s' is not longer than the one before it"),
    "[bars]\ntimeframes = ['1m', '15m', '5m']": ("bars.timeframes", "'5m' is not longer than the one before it"),
    "[bars]\ntimeframes = ['1m', '3600000000000000000000d']": ("bars.timeframes", "is no bar length"),
    "[bars]\nbase = '1m'": ("bars.base", "unknown key"),
    "[strategy]\nstructure = '15m'": ("strategy.structure", "must be one of 1m, 5m, not '15m'"),
    "[strategy]\ntrigger = 'base'": ("strategy.trigger", "must be one of 1m, 5m, not 'base'"),
    "[strategy]\nname = 'order_block'\ntimeframe = '1h'": ("strategy.timeframe", "must be one of 1m, 5m, not '1h'"),
    "[bars]\nlateness_ms = 0.25": ("bars.lateness_ms", "must be a whole number, not 0.25"),
    "[strategy]\nmax_zone_age_bars = 2": ("strategy.max_zone_age_bars", "must be between 3 and 500, not 2"),
    "[risk]\nrisk_pct = 99": ("risk.risk_pct", "99 is not in (0, 5]"),
    "[risk]\nrisk_pct = 0": ("risk.risk_pct", "0 is not in (0, 5]"),
    "[risk]\nrisk_pct = -0.1": ("risk.risk_pct", "-0.1 is not in (0, 5]"),
    "[risk]\nrisk_pct = nan": ("risk.risk_pct", "must be a finite number, not nan"),
    "[risk]\nrisk_pct = 1e400": ("risk.risk_pct", "must be a finite number, not inf"),
    "[risk]\nrisk_pct = '0.4'": ("risk.risk_pct", "must be a number, not '0.4'"),
    "[risk]\nrisk_pct = true": ("risk.risk_pct", "must be a number, not True"),
    "[risk]\nmax_order_notional = 1000000.01": ("risk.max_order_notional", "is not in (0, 1000000]"),
    "[risk]\nleverage = 21": ("risk.leverage", "21 is not in [1, 20]"),
    "[risk]\nmax_positions = -1": ("risk.max_positions", "-1 is not in [1, 100]"),
    "[risk]\nsocket_silence_ms = 0.5": ("risk.socket_silence_ms", "must be a whole number, not 0.5"),
    "[execution]\ntrade_socket = 1": ("execution.trade_socket", "must be true or false, not 1"),
    "[execution]\nrecv_window_ms = 3": ("execution.recv_window_ms", "must be between 500 and 5000, not 3"),
    "[journal]\ndurability = 'disk'": ("journal.durability", "must be one of process, power"),
    "[log]\nlevel = 'INFO'": ("log.level", "must be one of debug, info, warning, error"),
    "[credentials]\nkind = 'rsa'": ("credentials.kind", "must be one of hmac, ed25519"),
    "[credentials]\nfile = \"a\\u0000b\"": ("credentials.file", "must be a path"),
    "[exchange]\nrate = 1000001": ("exchange.rate", "must be between 10 and 1e+06, not 1000001"),
    "[exchange]\nlatency_p99_ms = 29": ("exchange.latency_p99_ms", "29.0 does not go with a latency_median_ms of 30.0"),
    "[exchange]\nlatency_median_ms = 0": ("exchange.latency_p99_ms", "does not go with a latency_median_ms of 0.0"),
    "[exchange]\nwallet = 2024-08-08": ("exchange.wallet", "must be a number, not datetime.date"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_told_with_its_path_and_what_would_be_right(text: str) -> None:
    path, help_ = WRONG[text]
    line = complaint(text)
    assert line.startswith(f"{path}: ")
    assert help_ in line


@pytest.mark.parametrize(
    ("text", "help_"),
    [
        ("seed = ", "Invalid value (at end of document)"),
        ("seed = 1\nseed = 2", "Cannot overwrite a value"),
        ("a\n\n= 1", "line 1"),
        ("seed = " + "9" * 5_000, "4300 digits"),  # Python's own limit, not a syntax error to its TOML parser
        ("seed = 0x" + "f" * 5_000, "seed: is a number of more than 128 bits"),
        ("[risk]\nrisk_pct = 0x" + "f" * 5_000, "risk.risk_pct: is a number of more than 128 bits"),
        ("[exchange]\nwallet = " + "9" * 400, "exchange.wallet: is a number of more than 128 bits"),
        ("seed = " + "[" * 50_000, "nested too deeply"),
        ("mode = '" + "x" * 9_000 + "'", "mode: must be one of"),
        ("x" * 9_000 + " = 1", "unknown key"),
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_no_config_is_one_short_line(text: str, help_: str) -> None:
    line = complaint(text)
    assert help_ in line
    assert len(line) < 400


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    line = complaint("mode = 5\n[risk]\nleverage = 0.5\nnope = 1\n[bars]\ntimeframes = true")
    assert line.split("; ") == [
        "mode: must be text in quotes, not 5",
        "bars.timeframes: must be a list of texts in quotes, not True",
        "risk.leverage: must be a whole number, not 0.5",
        "risk.nope: unknown key",
    ]


def test_a_secret_that_was_put_in_place_of_a_name_is_not_repeated() -> None:
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    for text in (f"key_env = '{secret}'", f"secret_env = '{secret.upper()}'", f"secret = '{secret}'"):
        line = complaint(f"[credentials]\n{text}")
        assert secret.lower() not in line.lower()
        assert line.startswith("credentials." + text.split()[0])


# -- files -------------------------------------------------------------------------------------------------------------
def test_a_file_that_cannot_be_read_says_why_and_what_there_is(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    for name, reason in {
        "nosuch": "No such file or directory",
        str(tmp_path): "Is a directory",
        str(binary): "not UTF-8 text",
        "x" * 5_000: "File name too long",
        "": "Is a directory",
        "a\0b": "not UTF-8 text",
        "a\nb": "No such file or directory",
    }.items():
        with pytest.raises(ConfigError) as caught:
            configs.load(name)
        line = str(caught.value)
        assert line.endswith(f": {reason}; shipped configs are live, paper, sim, testnet")
        assert line.isprintable()
        assert len(line) < 400


def test_a_file_of_the_name_comes_before_the_preset_and_a_directory_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim").mkdir()
    assert configs.load("sim").mode == "sim"
    (tmp_path / "sim.toml").write_text("seed = 99")
    assert configs.load("sim.toml").seed == 99


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[risk]\nleverage = 500")
    with pytest.raises(ConfigError, match=r"mine\.toml: risk\.leverage: 500 is not in \[1, 20\]$"):
        configs.load(str(path))


# -- derived values ----------------------------------------------------------------------------------------------------
def test_the_decision_hash_follows_what_can_change_a_decision() -> None:
    base = configs.load("sim")
    hash_ = configs.decision_hash(base)
    assert configs.decision_hash(configs.load("sim")) == hash_
    assert configs.decision_hash(attrs.evolve(base, log=LogConfig(level="debug"))) == hash_
    changed = [
        attrs.evolve(base, seed=8),
        attrs.evolve(base, strategy=attrs.evolve(base.strategy, target_r=2.5)),
        attrs.evolve(base, exchange=attrs.evolve(base.exchange, taker_fee_bps=5.5)),
        attrs.evolve(base, risk=attrs.evolve(base.risk, risk_pct=Decimal("0.2"))),
    ]
    assert len({hash_, *map(configs.decision_hash, changed)}) == 5


@pytest.mark.parametrize(
    ("key", "line"), [("scenario", "[edge]\nstrength_bps = 5"), ("faults", "[events]\nmissing = 0.1")]
)
def test_the_decision_hash_follows_what_a_named_file_says_and_not_where_it_is(
    tmp_path: Path, key: str, line: str
) -> None:
    def hashed(folder: str, text: str) -> str:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.toml").write_text(text)
        (tmp_path / folder / "c.toml").write_text(f'[exchange]\n{key} = "own.toml"')
        return configs.decision_hash(configs.load(str(tmp_path / folder / "c.toml")))

    assert hashed("a", line) == hashed("b", line) != hashed("c", f"{line}1")


@pytest.mark.parametrize(("text", "ms"), [("1s", 1_000), ("15m", 900_000), ("4h", 14_400_000), ("1d", 86_400_000)])
def test_bar_lengths_read_and_print(text: str, ms: int) -> None:
    assert configs.duration_ms(text) == ms
    assert configs.duration_text(ms) == text


@pytest.mark.parametrize("ms", [0, -1_000, 1_500])
def test_no_bar_has_a_fraction_of_a_second(ms: int) -> None:
    with pytest.raises(ValueError, match="no whole number of seconds"):
        configs.duration_text(ms)


def test_a_recording_may_warm_up_on_less_than_a_config_may_ask_for() -> None:
    short = BarsConfig(timeframes=("1s", "5s")).shortened(20)
    assert (short.warmup_bars, short.timeframes_ms) == (20, (1_000, 5_000))
    with pytest.raises(ValueError, match="warmup_bars: must be between 500 and 1400, not 20"):
        BarsConfig(warmup_bars=20)
