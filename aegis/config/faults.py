"""Fault files: what goes wrong between the simulated exchange and its clients, how often, from a seed of its own.

A share is a probability, 0 to 1. Nothing here moves a price: the random numbers are a stream of their own.
"""

from __future__ import annotations

from typing import Any

import attrs

from aegis.config.checks import between
from aegis.config.files import load_toml, preset_files
from aegis.config.tree import TreeError, structure
from aegis.core.errors import ConfigError

__all__ = [
    "ClockFaults", "EventFaults", "Faults", "Maintenance", "MarketFaults", "RequestFaults", "SocketFaults",
    "fault_names", "load_faults", "read_faults",
]  # fmt: skip

_FOLDER = "faults"


def _share() -> Any:
    return attrs.field(default=0.0, validator=between(0, 1))


def _seconds(default: float, longest: float = 86_400) -> Any:
    return attrs.field(default=default, validator=between(0, longest))


@attrs.frozen(kw_only=True)
class RequestFaults:
    """Shares of trading requests, by REST or socket, that go wrong; at most one thing happens to each.

    `unknown`, `timeout` (-1007), `unexpected` (-1006) and `reset` are not carried out, those with `_executed` are, and
    look the same. `late` is carried out up to its recvWindow after the answer said that nobody knows. `garbled`
    (an answer that breaks off) and `silent` (no answer at all) are carried out. `unavailable`, `internal` (-1001) and
    `throttled` (-1008) have failed for sure. `slow` waits `slow_s`. The shares of `reads` (503), `too_many` (429) and
    `banned` (418, for `banned_s`) are of all requests. After a share `read_lag` of new orders, looking for them or
    cancelling them finds nothing for up to `read_lag_s`.
    """

    unknown: float = _share()
    unknown_executed: float = _share()
    timeout: float = _share()
    timeout_executed: float = _share()
    unexpected: float = _share()
    unexpected_executed: float = _share()
    reset: float = _share()
    reset_executed: float = _share()
    late: float = _share()
    garbled: float = _share()
    silent: float = _share()
    unavailable: float = _share()
    internal: float = _share()
    throttled: float = _share()
    slow: float = _share()
    slow_s: float = _seconds(1.0, 600)
    reads: float = _share()
    too_many: float = _share()
    banned: float = _share()
    banned_s: float = _seconds(120.0, 300_000)
    read_lag: float = _share()
    read_lag_s: float = _seconds(2.0, 600)

    def __attrs_post_init__(self) -> None:
        if sum(self.shares.values()) > 1.0:
            raise ValueError("unknown: this and the other shares of trading requests add up to more than 1")

    @property
    def shares(self) -> dict[str, float]:
        """Those of which one at most happens to a trading request."""
        others = ("slow_s", "reads", "too_many", "banned", "banned_s", "read_lag", "read_lag_s")
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.name not in others}


@attrs.frozen(kw_only=True)
class EventFaults:
    """Shares of user events that never come, come twice, or come up to `delay_s` late and so out of order."""

    missing: float = _share()
    duplicate: float = _share()
    reordered: float = _share()
    delay_s: float = _seconds(0.5, 60)


@attrs.frozen(kw_only=True)
class MarketFaults:
    """`depth_gap`: share of depth events that are lost, so that `pu` does not fit. About every `stale_every_s` seconds
    (0: never) the quotes of a symbol stand still for `stale_for_s`."""

    depth_gap: float = _share()
    stale_every_s: float = _seconds(0.0)
    stale_for_s: float = _seconds(2.0)


@attrs.frozen(kw_only=True)
class SocketFaults:
    """How long sockets live before something happens to them, seconds on average (0: it never happens).

    `reset`: cut in the middle of a frame. `half_open`: nothing comes any more, and nothing says so. `slow`: from then
    on no more than `slow_bytes_per_s`.
    """

    reset_every_s: float = _seconds(0.0)
    half_open_every_s: float = _seconds(0.0)
    slow_every_s: float = _seconds(0.0)
    slow_bytes_per_s: int = attrs.field(default=20_000, validator=between(100, 100_000_000))


@attrs.frozen(kw_only=True)
class ClockFaults:
    """The venue's clock against this machine's: ahead by `skew_ms`, and going wrong by `drift_ppm`."""

    skew_ms: float = attrs.field(default=0.0, validator=between(-3_600_000, 3_600_000))
    drift_ppm: float = attrs.field(default=0.0, validator=between(-10_000, 10_000))


@attrs.frozen(kw_only=True)
class Maintenance:
    """A window in which every request is answered with -1016; times count from the exchange's start."""

    at_s: float = attrs.field(validator=between(0, 1e8))
    for_s: float = attrs.field(validator=between(0.1, 1e6))


@attrs.frozen(kw_only=True)
class Faults:
    """Everything that a fault file says."""

    seed: int = attrs.field(default=1, validator=between(0, 2**31 - 1))
    requests: RequestFaults = RequestFaults()
    events: EventFaults = EventFaults()
    market: MarketFaults = MarketFaults()
    sockets: SocketFaults = SocketFaults()
    clock: ClockFaults = ClockFaults()
    maintenance: tuple[Maintenance, ...] = ()


def fault_names() -> tuple[str, ...]:
    """Bare names that `load_faults` accepts."""
    return preset_files(_FOLDER)


def load_faults(name: str) -> Faults:
    """Load a path, or the bare name of a shipped file. Raises ConfigError with one line."""
    tree, origin = load_toml(name, _FOLDER, "faults")
    return read_faults(tree, origin)


def read_faults(tree: dict[str, Any], origin: str) -> Faults:
    """Raises ConfigError with one line."""
    try:
        return structure(tree, Faults)
    except TreeError as error:
        raise ConfigError(f"{origin}: {error}") from None
