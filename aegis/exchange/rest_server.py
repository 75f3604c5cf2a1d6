"""The REST side: one catch-all route that hands the raw request to the simulator and waits for its answer.

Signatures are over the raw bytes, so nothing here parses a query or a body.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aegis.exchange.api import CUT, ApiRequest, ApiResponse

__all__ = ["RestCore", "RestGateway", "serve_rest"]

_BODY_BYTES = 1 << 20
_KEEP_ALIVE_S = 120


class RestCore(Protocol):
    """The simulator's side of REST."""

    def request(self, request: ApiRequest, now_ns: int, deliver: Callable[[ApiResponse], None]) -> None: ...


class RestGateway:
    """ASGI application of the one route.

    Args:
        submit: hands a call to the driver.
    """

    def __init__(self, core: RestCore, submit: Callable[[Callable[[int], None]], None]) -> None:
        self._core = core
        self._submit = submit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(Request(scope, receive))
        except ClientDisconnect:
            return
        if body is None:
            response = Response(
                b'{"code":-1102,"msg":"Request body is too large."}', 413, media_type="application/json"
            )
        else:
            answer = await self._answer(_api_request(scope, body), receive)
            if answer is None:
                return
            if answer.status == CUT:
                await _break_off(answer.body, send)
                return
            response = _response(answer)
        await response(scope, receive, send)

    async def _answer(self, request: ApiRequest, receive: Receive) -> ApiResponse | None:
        """The answer, or None where the client left before there was one. What it asked for is done all the same."""
        answers: list[ApiResponse] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await self._ask(request))
                nursery.cancel_scope.cancel(reason="answered")

            async def until_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel(reason="the client has left")

            nursery.start_soon(ask)
            nursery.start_soon(until_gone)
        return answers[0] if answers else None

    async def _ask(self, request: ApiRequest) -> ApiResponse:
        answered = trio.Event()
        answer: list[ApiResponse] = []

        def deliver(response: ApiResponse) -> None:
            answer.append(response)
            answered.set()

        self._submit(lambda now_ns: self._core.request(request, now_ns, deliver))
        await answered.wait()
        return answer[0]


async def _body(request: Request) -> bytes | None:
    """The raw body, or None when it is larger than any request of this API."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > _BODY_BYTES:
                return None
    return bytes(body)


def _api_request(scope: Scope, body: bytes) -> ApiRequest:
    key = next((value for name, value in scope["headers"] if name.lower() == b"x-mbx-apikey"), None)
    client = scope.get("client")
    return ApiRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"],
        body=body,
        api_key=None if key is None else key.decode("latin-1"),
        ip=client[0] if client else "127.0.0.1",
    )


async def _break_off(beginning: bytes, send: Send) -> None:
    """An answer that ends before its end: the server closes the connection when an application leaves it like that."""
    length = str(len(beginning) + 100).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": beginning, "more_body": True})


def _response(answer: ApiResponse) -> Response:
    return Response(answer.body, answer.status, {name.lower(): value for name, value in answer.headers})


async def serve_rest(
    gateway: ASGIApp, listener: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve on a bound socket, which this takes over; ready when it accepts."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("aegis.exchange.rest")
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.keep_alive_max_requests = 1 << 62  # a venue does not cut a connection for being busy
    config.h11_max_incomplete_size = 1 << 16
    config.graceful_timeout = 0.5
    # An endpoint that is an object, not a function, gets every HTTP method.
    app = Starlette(routes=[Route("/{path:path}", gateway)])
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, app, config)
        task_status.started()
