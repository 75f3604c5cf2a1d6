"""Frames of the WebSocket API, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any


def signed_frame(method: str, params: Mapping[str, Any], ms: int, key: str, secret: str) -> bytes:
    """One request with id "call"."""
    told: dict[str, Any] = {**params, "apiKey": key, "timestamp": ms}
    payload = "&".join(f"{name}={value}" for name, value in sorted(told.items()))
    told["signature"] = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return json.dumps({"id": "call", "method": method, "params": told}).encode()
