"""Stands between engine and trade socket and notes when bytes arrived: stamped by a thread that does nothing but read.

It sits in the bench's own process, which does nothing else meanwhile, so that neither the engine's nor the exchange's
work delays a stamp. What was in the bytes is looked at afterwards.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

import msgspec

from aegis.core.values import ClientId
from aegis.runtime.clock import SystemClock

__all__ = ["Chunk", "Relay", "client_messages", "entries"]

_monotonic_ns = SystemClock().monotonic_ns

_READ_BYTES = 1 << 16
_CLOSE_S = 5.0

#: When some bytes were in hand (monotonic ns), and the bytes.
Chunk = tuple[int, bytes]


class Relay:
    """A TCP relay to `target`, with as many connections as come; `connections` holds what each client has sent."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[list[Chunk]] = []
        self._threads = [_start(self._accept)]

    def close(self) -> None:
        """Take no more connections, and wait a moment for those that are open: they end with their ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_CLOSE_S)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            chunks: list[Chunk] = []
            self.connections.append(chunks)
            self._threads.append(_start(_carry, client, server, chunks))


def _start(body: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=body, args=arguments, name="relay", daemon=True)
    thread.start()
    return thread


def _carry(client: socket.socket, server: socket.socket, chunks: list[Chunk]) -> None:
    with client, server:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        passed: SimpleQueue[bytes] = SimpleQueue()
        threads = [_start(_read, client, chunks, passed), _start(_pass, server, passed)]
        _copy(server, client)
        for thread in threads:
            thread.join()


def _read(client: socket.socket, chunks: list[Chunk], passed: SimpleQueue[bytes]) -> None:
    """Read, stamp, hand on; nothing else may come between."""
    while True:
        try:
            data = client.recv(_READ_BYTES)
        except OSError:
            data = b""
        chunks.append((_monotonic_ns(), data))
        passed.put(data)
        if not data:
            return


def _pass(server: socket.socket, passed: SimpleQueue[bytes]) -> None:
    while data := passed.get():
        try:
            server.sendall(data)
        except OSError:
            break
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def _copy(server: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(_READ_BYTES):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def client_messages(chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """(when its last byte was in hand, payload) of every text message behind the handshake; control frames are skipped.

    Raises ValueError on fragments or unmasked frames, which our client does not send.
    """
    data, stamps = bytearray(), []
    for stamp_ns, chunk in chunks:
        data += chunk
        stamps.append((len(data), stamp_ns))
    at = data.find(b"\r\n\r\n") + 4
    if at < 4:
        return
    where = 0
    while at + 2 <= len(data):
        opcode, size, start = data[at], data[at + 1] & 0x7F, at + 2
        if not data[at + 1] & 0x80 or not opcode & 0x80:
            raise ValueError("a client frame that is unmasked or a fragment")
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + wide], "big"), start + wide
        end = start + 4 + size
        if end > len(data):
            return
        while stamps[where][0] < end:
            where += 1
        if opcode & 0x0F == 1:
            mask = bytes(data[start : start + 4]) * (size // 4 + 1)
            masked = int.from_bytes(data[start + 4 : end], "big") ^ int.from_bytes(mask[:size], "big")
            yield stamps[where][1], masked.to_bytes(size, "big")
        at = end


class _Params(msgspec.Struct, rename="camel"):
    symbol: str = ""
    new_client_order_id: str = ""
    reduce_only: str = "false"


class _Call(msgspec.Struct):
    method: str
    params: _Params


def entries(connections: Sequence[Sequence[Chunk]]) -> dict[ClientId, int]:
    """Arrival of every entry order, monotonic ns, by its client id. Raises ValueError where one came twice."""
    decoder = msgspec.json.Decoder(_Call)
    found: dict[ClientId, int] = {}
    for chunks in connections:
        for stamp_ns, payload in client_messages(chunks):
            call = decoder.decode(payload)
            if call.method == "order.place" and call.params.reduce_only != "true":
                cid = ClientId(call.params.new_client_order_id)
                if cid in found:
                    raise ValueError(f"order {cid} was sent twice")
                found[cid] = stamp_ns
    return found
