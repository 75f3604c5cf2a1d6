"""The control endpoint: faults, read and changed while the exchange runs. On a port of its own: no venue has such.

GET /faults tells which are on and how often each has happened. PUT /faults takes what a fault file says, as JSON, and
has it from now on. DELETE /faults ends all.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aegis.config.faults import Faults, read_faults
from aegis.core.errors import ConfigError
from aegis.exchange.fault_draws import FaultPlan

__all__ = ["ControlGateway"]

_BODY_BYTES = 1 << 16


class ControlGateway:
    """ASGI application of the control port."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(Request(scope, receive))
        except ClientDisconnect:
            return
        status, answer = self._answer(scope["method"], scope["path"], body)
        await Response(msgspec.json.encode(answer), status, media_type="application/json")(scope, receive, send)

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path != "/faults" or method not in ("GET", "PUT", "DELETE"):
            return 404, {"error": "there is GET, PUT and DELETE of /faults"}
        if method == "PUT":
            try:
                self._plan.set(read_faults(_table(body), "faults"))
            except ConfigError as error:
                return 400, {"error": str(error)}
        elif method == "DELETE":
            self._plan.set(Faults(seed=self._plan.faults.seed))
        return 200, {"faults": attrs.asdict(self._plan.faults), "counts": dict(self._plan.counts)}


async def _body(request: Request) -> bytes:
    """What was sent, cut where it is longer than any fault file."""
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= _BODY_BYTES:
            body += chunk
    return bytes(body[: _BODY_BYTES + 1])


def _table(body: bytes) -> dict[str, Any]:
    """Raises ConfigError."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"faults: {error}") from None
