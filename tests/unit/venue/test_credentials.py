"""Keys from the environment and from a private file: every refusal, and that no secret is ever repeated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from aegis.config import CredentialsConfig
from aegis.core.errors import ConfigError
from aegis.core.secret import Secret
from aegis.venue.credentials import read_signer
from aegis.venue.signing import Ed25519Signer, HmacSigner

KEY, SECRET = "public4711", "hush0815"
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
NAMES = CredentialsConfig(key_env="A_KEY", secret_env="A_SECRET")


def private(path: Path, text: str | bytes, mode: int = 0o600) -> CredentialsConfig:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return CredentialsConfig(file=str(path))


def refusal(config: CredentialsConfig, environ: Mapping[str, str] | None = None) -> str:
    """Why there is no signer, on one line without what could be secret; no cause or context carries it either."""
    with pytest.raises(ConfigError) as caught:
        read_signer(config, environ or {})
    seen = str(caught.value)
    assert seen.isprintable()
    assert seen.startswith("credentials")
    error: BaseException | None = caught.value
    assert error is not None
    assert error.__suppress_context__ or error.__context__ is None
    for secret in (KEY, SECRET):
        assert secret not in seen
    return seen


# -- the environment ---------------------------------------------------------------------------------------------------
def test_two_variables_make_a_signer() -> None:
    signer = read_signer(NAMES, {"A_KEY": KEY, "A_SECRET": SECRET})
    assert isinstance(signer, HmacSigner)
    assert signer.api_key.reveal() == KEY
    assert signer.sign(b"x") == HmacSigner(Secret(KEY), Secret(SECRET)).sign(b"x")


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "variables A_KEY and A_SECRET not set"),
        ({"A_KEY": KEY}, "variable A_SECRET not set"),
        ({"A_SECRET": SECRET}, "variable A_KEY not set"),
        ({"A_KEY": KEY, "A_SECRET": ""}, "variable A_SECRET not set"),
        ({"A_KEY": " \n", "A_SECRET": SECRET}, "variable A_KEY not set"),
        ({"AEGIS_API_KEY": KEY, "AEGIS_API_SECRET": SECRET}, "variables A_KEY and A_SECRET not set"),
    ],
)
def test_a_missing_variable_is_named(environ: dict[str, str], missing: str) -> None:
    assert refusal(NAMES, environ) == f"credentials: environment {missing}"


def test_the_newline_of_a_pasted_key_is_not_part_of_it() -> None:
    assert read_signer(NAMES, {"A_KEY": f" {KEY}\n", "A_SECRET": f"{SECRET}\r\n"}).api_key.reveal() == KEY


@pytest.mark.parametrize("bad", [f"{KEY} {KEY}", f"{KEY}\r\nX-Other: 1", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_refused(bad: str) -> None:
    assert "characters that no key has" in refusal(NAMES, {"A_KEY": bad, "A_SECRET": SECRET})


def test_an_ed25519_key_is_read_as_one() -> None:
    names = CredentialsConfig(kind="ed25519", key_env="A_KEY", secret_env="A_SECRET")
    assert isinstance(read_signer(names, {"A_KEY": KEY, "A_SECRET": SEED}), Ed25519Signer)
    with pytest.raises(ConfigError, match="not an Ed25519 key") as caught:
        read_signer(names, {"A_KEY": KEY, "A_SECRET": SECRET})
    assert SECRET not in str(caught.value)


# -- the file ----------------------------------------------------------------------------------------------------------
CONTENT = f'key = "{KEY}"\nsecret = "{SECRET}"\n'


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_makes_a_signer_whatever_the_environment_holds(tmp_path: Path, mode: int) -> None:
    config = private(tmp_path / "keys.toml", CONTENT, mode)
    assert read_signer(config, {"AEGIS_API_KEY": "other", "AEGIS_API_SECRET": "other"}).api_key.reveal() == KEY


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    private(tmp_path / "keys.toml", CONTENT)
    assert read_signer(CredentialsConfig(file="~/keys.toml"), {}).api_key.reveal() == KEY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o620])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.toml"
    assert refusal(private(path, CONTENT, mode)) == f"credentials.file: {path} must be yours alone: chmod 600"


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = private(tmp_path / "keys.toml", CONTENT)
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    assert "must be yours alone" in refusal(config)


def test_a_link_is_refused_even_to_a_good_file(tmp_path: Path) -> None:
    private(tmp_path / "keys.toml", CONTENT)
    (tmp_path / "link.toml").symlink_to(tmp_path / "keys.toml")
    line = refusal(CredentialsConfig(file=str(tmp_path / "link.toml")))
    assert line.endswith("link.toml: a link, not a regular file")


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)  # opening one for reading waits for a writer
    for path in (tmp_path, tmp_path / "pipe"):
        assert refusal(CredentialsConfig(file=str(path))) == f"credentials.file: {path}: not a regular file"


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    line = refusal(CredentialsConfig(file=str(tmp_path / "none")))
    assert line.endswith("none: No such file or directory")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "key and secret must be given, in quotes"),
        (f'key = "{KEY}"', "key and secret must be given, in quotes"),
        (f'secret = "{SECRET}"', "key and secret must be given, in quotes"),
        (f'key = "{KEY}"\nsecret = 815', "key and secret must be given, in quotes"),
        (f'key = ["{KEY}"]\nsecret = "{SECRET}"', "key and secret must be given, in quotes"),
        (f'key = "{KEY}"\nsecret = " "', "key and secret must be given, in quotes"),
        (f"key = {KEY}\nsecret = {SECRET}", "not TOML"),
        (f"{SECRET}\n", "not TOML"),
        (b"\xff\xfe\x00", "not TOML"),
        ("key = " + "9" * 5_000, "not TOML"),
        ("key = " + "[" * 50_000, "not TOML"),
    ],
    ids=range(11),
)
def test_a_file_with_something_else_in_it_is_refused(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = tmp_path / "keys.toml"
    assert refusal(private(path, content)) == f"credentials.file: {path}: {reason}"


def test_a_signer_does_not_show_its_secret(tmp_path: Path) -> None:
    signer = read_signer(private(tmp_path / "keys.toml", CONTENT), {})
    assert SECRET not in repr(signer) + str(vars(signer))
    assert KEY not in repr(signer) + str(vars(signer))
