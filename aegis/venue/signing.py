"""Signatures of requests (PROTOCOL.md §5): percent-encode first, sign those very bytes, send those very bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote, urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aegis.core.errors import ConfigError
from aegis.core.secret import Secret

__all__ = [
    "Ed25519Signer",
    "HmacSigner",
    "Params",
    "Signer",
    "encode_params",
    "signed_query",
    "signed_ws_params",
    "ws_payload",
]

Params = Mapping[str, str | int]

_SEED = re.compile(r"[0-9a-fA-F]{64}")


class Signer(Protocol):
    """Who we are to the venue: a public key to name us and a secret to sign with."""

    @property
    def api_key(self) -> Secret: ...

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must never appear in a log."""
        ...

    def sign(self, payload: bytes) -> str:
        """Signature text, not percent-encoded."""
        ...


class HmacSigner:
    """HMAC-SHA256, lower-case hex."""

    def __init__(self, api_key: Secret, secret: Secret) -> None:
        if not api_key or not secret:
            raise ConfigError("api key and secret must not be empty")
        self.api_key = api_key
        self.secrets = (api_key, secret)
        self._keyed = hmac.new(secret.reveal().encode(), digestmod=hashlib.sha256)

    def sign(self, payload: bytes) -> str:
        signing = self._keyed.copy()  # keyed once: that is half of the work of a short payload
        signing.update(payload)
        return signing.hexdigest()


class Ed25519Signer:
    """Ed25519, base64. Futures REST documents it only for the WebSocket API, but accepts it everywhere."""

    def __init__(self, api_key: Secret, private_key: Secret) -> None:
        """`private_key`: PEM (PKCS#8), the base64 body of one, or the raw seed as 64 hex digits.

        Raises:
            ConfigError: it is none of these; the text never holds the key.
        """
        if not api_key:
            raise ConfigError("api key must not be empty")
        self.api_key = api_key
        self.secrets = (api_key, private_key)
        key = _load_ed25519(private_key.reveal())
        if key is None:
            raise ConfigError(
                "private key is not an Ed25519 key (PEM PKCS#8, its base64 body, or a seed of 64 hex digits)"
            )
        self._key = key

    def sign(self, payload: bytes) -> str:
        return base64.b64encode(self._key.sign(payload)).decode()


def _load_ed25519(text: str) -> Ed25519PrivateKey | None:
    text = text.strip()
    try:
        if _SEED.fullmatch(text):  # a base64 body has 64 characters too, but starts with M
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
        if text.startswith("-----BEGIN"):
            key = serialization.load_pem_private_key(text.encode(), password=None)
        else:
            key = serialization.load_der_private_key(base64.b64decode(text, validate=True), password=None)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def encode_params(params: Params) -> bytes:
    """`k=v&...` in the given order, UTF-8 and percent-encoded (a space is `%20`, never `+`)."""
    return urlencode(params, quote_via=quote, safe="").encode("ascii")


def signed_query(params: Params, signer: Signer) -> bytes:
    """The bytes to send, `signature` last; nothing may encode them again."""
    payload = encode_params(params)
    separator = b"&" if payload else b""
    return payload + separator + b"signature=" + quote(signer.sign(payload), safe="").encode("ascii")


def ws_payload(params: Params) -> bytes:
    """What the WebSocket API signs: sorted by key, values raw UTF-8, not percent-encoded."""
    return "&".join([f"{key}={value}" for key, value in sorted(params.items())]).encode()


def signed_ws_params(params: Params, signer: Signer) -> dict[str, str | int]:
    """`params` with `apiKey` and `signature`, ready for a JSON request of the WebSocket API."""
    full: dict[str, str | int] = {**params, "apiKey": signer.api_key.reveal()}
    full["signature"] = signer.sign(ws_payload(full))
    return full
