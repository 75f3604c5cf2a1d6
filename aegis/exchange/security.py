"""Who sends a request: API keys, signatures over the raw received bytes, timestamps. PROTOCOL.md §5."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from decimal import Decimal
from urllib.parse import unquote_to_bytes

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aegis.exchange.errors import Refusal

__all__ = ["AccountSetup", "KeyRing", "check_timestamp", "signed_payload"]

DEFAULT_RECV_WINDOW_MS = 5000
MAX_RECV_WINDOW_MS = 60_000
MAX_AHEAD_MS = 1000
_KEY_FORM = re.compile(r"[A-Za-z0-9_-]{1,128}")


@attrs.frozen(kw_only=True)
class AccountSetup:
    """An account as it is opened. Exactly one of `secret` (HMAC) and `public_key` (Ed25519, 32 raw bytes) is set."""

    id: str
    api_key: str
    secret: str | None = attrs.field(default=None, repr=False)
    public_key: bytes | None = None
    wallet: Decimal = Decimal(10_000)
    """Starting USDT balance."""

    def __attrs_post_init__(self) -> None:
        if (self.secret is None) == (self.public_key is None):
            raise ValueError(f"account {self.id}: give either a secret or an Ed25519 public key")
        if not self.wallet.is_finite() or self.wallet < 0:
            raise ValueError(f"account {self.id}: a starting wallet of {self.wallet} cannot be")


class KeyRing:
    """The API keys of every account."""

    def __init__(self, accounts: tuple[AccountSetup, ...]) -> None:
        self._by_key = {account.api_key: account for account in accounts}
        if len(self._by_key) != len(accounts):
            raise ValueError("two accounts share an API key")

    def account(self, api_key: str | None) -> AccountSetup:
        """Raises Refusal -2014 for a key that cannot be one, -2015 for one that nobody has."""
        if api_key is None or not _KEY_FORM.fullmatch(api_key):
            raise Refusal(-2014)
        account = self._by_key.get(api_key)
        if account is None:
            raise Refusal(-2015)
        return account

    def verify(self, account: AccountSetup, payload: bytes, signature: str) -> None:
        """Raises Refusal -1022 unless `signature` (hex for HMAC, base64 for Ed25519) is of exactly these bytes."""
        if account.secret is not None:
            expected = hmac.new(account.secret.encode(), payload, hashlib.sha256).hexdigest()
            given = signature.lower().encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(expected.encode(), given):
                raise Refusal(-1022)
            return
        assert account.public_key is not None
        try:
            raw = base64.b64decode(signature, validate=True)
            Ed25519PublicKey.from_public_bytes(account.public_key).verify(raw, payload)
        except (binascii.Error, ValueError, InvalidSignature):
            raise Refusal(-1022) from None


def signed_payload(query: bytes, body: bytes) -> tuple[bytes, str]:
    """What was signed (query and body joined without `&`), and the signature.

    Raises:
        Refusal: -1102 without a signature, -1022 when it is not the last parameter.
    """
    for text, other_before in ((body, query), (query, b"")):
        head, found, tail = _cut(text)
        if not found:
            continue
        if text is query and body and _cut(body)[1]:
            raise Refusal(-1101)
        if b"&" in tail:
            raise Refusal(-1022)
        payload = other_before + head if text is body else head + body
        signature = unquote_to_bytes(tail).decode("utf-8", "replace")
        if not signature:
            raise Refusal(-1102, "signature")
        return payload, signature
    raise Refusal(-1102, "signature")


def _cut(text: bytes) -> tuple[bytes, bool, bytes]:
    """Split at the `signature` parameter: (what precedes it without its `&`, whether there is one, its value)."""
    if text.startswith(b"signature="):
        return b"", True, text[len(b"signature=") :]
    head, found, tail = text.partition(b"&signature=")
    return head, bool(found), tail


def check_timestamp(timestamp_ms: int, recv_window_ms: int, server_ms: int) -> None:
    """Raises Refusal -1021 unless the request is younger than its window and no second ahead of us."""
    if timestamp_ms >= server_ms + MAX_AHEAD_MS:
        raise Refusal(-1021, message="Timestamp for this request was 1000ms ahead of the server's time.")
    if server_ms - timestamp_ms > recv_window_ms:
        raise Refusal(-1021)
