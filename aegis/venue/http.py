"""HTTP behind a small port. Orders never depend on which library is under it (PITFALLS.md §0, §4)."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol, Self, cast

import attrs
import httpx
import trio

from aegis.core.errors import Ambiguous, ConfigError, VenueUnavailable

__all__ = ["HttpPort", "HttpReply", "HttpTimeouts", "HttpxPort", "verifying_context"]

REPLY_BYTES_MAX = 64 << 20  # exchangeInfo is some megabytes; beyond this the peer is broken
CLOSE_S = 1.0  # a TLS close can wait for a dead peer: leave it behind


@attrs.frozen(kw_only=True)
class HttpReply:
    """An answer. Header names are lower case; the body is not interpreted."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpPort(Protocol):
    """One origin. Implementations send `target` as it is: it was signed."""

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        """Send once, never again.

        Raises:
            VenueUnavailable: nothing was sent.
            Ambiguous: something may have been sent and no whole answer came.
        """
        ...

    async def aclose(self) -> None: ...


@attrs.frozen(kw_only=True)
class HttpTimeouts:
    """Seconds; their sum must stay below the caller's own budget."""

    connect_s: float = 3.0
    write_s: float = 3.0
    read_s: float = 10.0  # the venue itself gives up after 10 s
    pool_s: float = 1.0


class _Body(httpx.AsyncByteStream):
    """A request body that is no generator: httpx's own is left half-way, with a warning, when a write fails."""

    def __init__(self, body: bytes) -> None:
        self._left = [body] if body else []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@attrs.define
class _Generation:
    """One httpx client and the requests that use it; a retired one closes with its last request."""

    client: httpx.AsyncClient
    in_flight: int = 0
    retired: bool = False


def verifying_context() -> ssl.SSLContext:
    """TLS that checks certificate and host against the bundled authorities; the environment has no say."""
    return httpx.create_ssl_context(trust_env=False)


class HttpxPort:
    """`HttpPort` over httpx on Trio, HTTP/1.1.

    httpcore loses a pool slot when a request that waits *inside* the pool is cancelled, so nothing waits there: our own
    limiter is half the pool. Should the pool starve all the same (`PoolTimeout`), the client is replaced.
    """

    def __init__(
        self,
        base: str,
        *,
        timeouts: HttpTimeouts | None = None,
        concurrency: int = 4,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`base`: scheme, host and port. `ssl_context`: default verifies against the bundled authorities."""
        url = httpx.URL(base)
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"not an http(s) address: {base}")
        for name in ("httpx", "httpcore"):  # httpx logs whole URLs at INFO
            logging.getLogger(name).setLevel(logging.WARNING)
        self._base = url
        self._timeouts = timeouts or HttpTimeouts()
        self._limiter = trio.CapacityLimiter(concurrency)
        self._pool = 2 * concurrency
        self._ssl = ssl_context or verifying_context()
        self._generation = self._new_generation()

    def _new_generation(self) -> _Generation:
        t = self._timeouts
        client = httpx.AsyncClient(
            http1=True,
            http2=False,
            trust_env=False,
            follow_redirects=False,
            verify=self._ssl,
            timeout=httpx.Timeout(connect=t.connect_s, read=t.read_s, write=t.write_s, pool=t.pool_s),
            limits=httpx.Limits(
                max_connections=self._pool, max_keepalive_connections=self._pool, keepalive_expiry=30.0
            ),
            headers={"User-Agent": "aegis"},
        )
        return _Generation(client)

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        async with self._limiter:
            generation = self._generation
            generation.in_flight += 1
            where = f"{method} {target.partition('?')[0]}"  # the query of a GET may hold a signature
            try:
                return await self._exchange(generation.client, method, target, headers, body)
            except httpx.PoolTimeout:
                self._retire(generation)
                raise VenueUnavailable(f"{where}: connection pool exhausted, client replaced") from None
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
                raise VenueUnavailable(f"{where}: cannot connect ({type(error).__name__})") from None
            except (httpx.HTTPError, httpx.StreamError) as error:
                # A write error is no proof either: httpcore swallows some and reads on, and a server that went away
                # from a kept connection may have read the request first.
                raise Ambiguous(f"{where}: no whole answer ({type(error).__name__})") from None
            finally:
                generation.in_flight -= 1
                if generation.retired and generation.in_flight == 0:
                    await _close(generation.client)

    async def _exchange(
        self, client: httpx.AsyncClient, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> HttpReply:
        parts: list[bytes] = []
        size = 0
        # The `target` extension goes onto the wire as it is; the URL (which libraries log) is the bare origin.
        request = client.build_request(
            method,
            self._base,
            headers=dict(headers),
            content=body or None,
            extensions={"target": target.encode("ascii")},
        )
        request.stream = _Body(body)
        response = await client.send(request, stream=True)
        body_parts = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
        async with contextlib.aclosing(response), contextlib.aclosing(body_parts) as stream:
            async for part in stream:
                size += len(part)
                if size > REPLY_BYTES_MAX:
                    raise Ambiguous(f"{method}: answer larger than {REPLY_BYTES_MAX} bytes")
                parts.append(part)
            found = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(status=response.status_code, headers=found, body=b"".join(parts))

    def _retire(self, generation: _Generation) -> None:
        generation.retired = True
        if self._generation is generation:
            self._generation = self._new_generation()

    async def aclose(self) -> None:
        await _close(self._generation.client)


async def _close(client: httpx.AsyncClient) -> None:
    with trio.move_on_after(CLOSE_S, shield=True):
        await client.aclose()
