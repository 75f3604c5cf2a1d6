"""Where a key comes from: two environment variables, or a file that nobody else can read. Never the config itself."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from collections.abc import Mapping

from aegis.config import CredentialsConfig
from aegis.core.errors import ConfigError
from aegis.core.secret import Secret
from aegis.venue.signing import Ed25519Signer, HmacSigner, Signer

__all__ = ["read_signer"]

_MOST_BYTES = 1 << 16


def read_signer(config: CredentialsConfig, environ: Mapping[str, str]) -> Signer:
    """The signer of the configured key. Raises ConfigError with what is missing or unsafe; never with a secret."""
    key, secret = _from_file(config.file) if config.file else _from_environment(config, environ)
    if not key.isascii() or not key.isprintable() or " " in key:  # it travels in a header
        raise ConfigError("credentials: the key holds characters that no key has")
    if config.kind == "ed25519":
        return Ed25519Signer(Secret(key), Secret(secret))
    return HmacSigner(Secret(key), Secret(secret))


def _from_environment(config: CredentialsConfig, environ: Mapping[str, str]) -> tuple[str, str]:
    key, secret = (environ.get(name, "").strip() for name in (config.key_env, config.secret_env))
    missing = [name for name, text in ((config.key_env, key), (config.secret_env, secret)) if not text]
    if missing:
        variables = "environment variable" if len(missing) == 1 else "environment variables"
        raise ConfigError(f"credentials: {variables} {' and '.join(missing)} not set")
    return key, secret


def _from_file(name: str) -> tuple[str, str]:
    path = os.path.expanduser(name)
    try:
        data = tomllib.loads(_read_private(path).decode("utf-8"))
    except OSError as error:
        reason = "a link, not a regular file" if error.errno == errno.ELOOP else error.strerror
        raise ConfigError(f"credentials.file: {path}: {reason}") from None
    except (ValueError, RecursionError):  # whatever is wrong with it: its text could hold the secret
        raise ConfigError(f"credentials.file: {path}: not TOML") from None
    key, secret = (_text(data.get(name)) for name in ("key", "secret"))
    if not key or not secret:
        raise ConfigError(f"credentials.file: {path}: key and secret must be given, in quotes")
    return key, secret


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _read_private(path: str) -> bytes:
    """The content of a file that is ours alone; what was checked is what is read. Raises OSError, ConfigError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"credentials.file: {path}: not a regular file")
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError(f"credentials.file: {path} must be yours alone: chmod 600")
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
