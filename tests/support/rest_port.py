"""A scripted `HttpPort`, and a REST client on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import trio

from aegis.core.secret import Secret
from aegis.venue.http import HttpReply
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner

T0 = 1_790_000_040_000_000_000


class Port:
    """Answers every request with the next of `replies`; an exception is raised instead."""

    def __init__(self, *replies: HttpReply | Exception) -> None:
        self.replies = list(replies)
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        self.sent.append((method, target, dict(headers), body))
        await trio.lowlevel.checkpoint()
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self) -> None:
        return None


def ok(value: object, status: int = 200, **headers: str) -> HttpReply:
    found = {name.replace("_", "-"): text for name, text in headers.items()}
    return HttpReply(status=status, headers=found, body=json.dumps(value).encode())


def refusal(code: int, status: int = 400, text: str = "text") -> HttpReply:
    return ok({"code": code, "msg": text}, status)


def client(*replies: HttpReply | Exception, limits: Limits | None = None) -> tuple[RestClient, Port]:
    port = Port(*replies)
    signer = HmacSigner(Secret("KEY"), Secret("SECRET"))
    clock: Callable[[], int] = lambda: T0 + round(trio.current_time() * 1e9)  # noqa: E731
    return RestClient(port, signer, clock, limits or Limits()), port
