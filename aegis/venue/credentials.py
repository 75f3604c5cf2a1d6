"""Where a key comes from: two environment variables, or a file that nobody else can read. Never the config itself."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

from aegis.config import CredentialsConfig
from aegis.core.errors import ConfigError
from aegis.core.secret import Secret
from aegis.venue.signing import Ed25519Signer, HmacSigner, Signer

__all__ = ["read_signer"]


def read_signer(config: CredentialsConfig, environ: Mapping[str, str]) -> Signer:
    """The signer of the configured key. Raises ConfigError with what is missing or unsafe; never with a secret."""
    key, secret = _from_file(Path(config.file)) if config.file else _from_environment(config, environ)
    if config.kind == "ed25519":
        return Ed25519Signer(Secret(key), Secret(secret))
    return HmacSigner(Secret(key), Secret(secret))


def _from_environment(config: CredentialsConfig, environ: Mapping[str, str]) -> tuple[str, str]:
    missing = [name for name in (config.key_env, config.secret_env) if not environ.get(name)]
    if missing:
        raise ConfigError(f"credentials: environment variable {' and '.join(missing)} not set")
    return environ[config.key_env], environ[config.secret_env]


def _from_file(path: Path) -> tuple[str, str]:
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"credentials.file: {path} is not a regular file")
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError(f"credentials.file: {path} must be yours alone: chmod 600")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"credentials.file: {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError(f"credentials.file: {path}: not TOML") from None  # its text could hold the secret
    key, secret = data.get("key"), data.get("secret")
    if not isinstance(key, str) or not isinstance(secret, str) or not key or not secret:
        raise ConfigError(f"credentials.file: {path}: key and secret must be given, in quotes")
    return key, secret
