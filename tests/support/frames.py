"""Reading a server's frames back with another implementation."""

from __future__ import annotations

from wsproto.frame_protocol import FrameProtocol, Opcode

__all__ = ["texts"]


def texts(data: bytes | memoryview) -> list[bytes]:
    """The text messages of whole frames, as wsproto reads them."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(bytes(data))
    out = [b""]
    for frame in protocol.received_frames():
        assert frame.opcode is Opcode.TEXT
        out[-1] += frame.payload.encode() if isinstance(frame.payload, str) else bytes(frame.payload)
        if frame.message_finished:
            out.append(b"")
    assert out.pop() == b"", "the last frame is not whole"
    return out
