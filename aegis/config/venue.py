"""Where a config's venue is, when it is not at its mode's own hosts."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import attrs

__all__ = ["VenueConfig"]

#: No user, no query, no fragment: an address holds no secret, and calls and streams put their own paths behind it.
_PLAIN = re.compile(r"[!-~]+")
_FORBIDDEN = frozenset("@?#\\")


def _address(*schemes: str, path: bool) -> Any:
    """`scheme://host[:port]`, and a path behind it where that is allowed; empty for none."""

    def check(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
        if value and not _is_address(value, schemes, path=path):
            shape = " or ".join(f"{scheme}://host:port" for scheme in schemes)
            raise ValueError(f"{attribute.name}: must be {shape}{' with a path' if path else ''}, not {value!r}")

    return check


def _is_address(text: str, schemes: tuple[str, ...], *, path: bool) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is no number, brackets that do not match
        return False
    plain = _PLAIN.fullmatch(text) is not None and not _FORBIDDEN & set(text)
    return (
        plain and parts.scheme in schemes and bool(parts.hostname) and port != 0 and (path or parts.path in ("", "/"))
    )


@attrs.frozen(kw_only=True)
class VenueConfig:
    """Addresses of a simulated exchange, or of a proxy; all empty: the mode's own hosts.

    `rest` is an origin; under `stream` lie /public, /market and /private; `trade` is the whole address of the WebSocket
    API, and empty where there is none.
    """

    rest: str = attrs.field(default="", validator=_address("https", "http", path=False))
    stream: str = attrs.field(default="", validator=_address("wss", "ws", path=True))
    trade: str = attrs.field(default="", validator=_address("wss", "ws", path=True))

    def __attrs_post_init__(self) -> None:
        if bool(self.rest) != bool(self.stream) or (self.trade and not self.rest):
            raise ValueError("stream: goes with rest, and trade with both: a venue is named whole, or not at all")

    @property
    def named(self) -> bool:
        """Whether there are addresses at all."""
        return bool(self.rest)
