"""Closed bars on disk, so that a start asks the venue only for what it has not got yet.

One file a series (a symbol's bars of one length), small enough to be replaced whole: written beside and renamed, so a
process may die at any byte. Its sum covers every byte behind it, and it names the venue and the scale that its numbers
are in. Whatever is not exactly what was written, for exactly this series, counts as nothing stored. It is a cache:
nothing here ever stops trading, and every failure is one line in the log.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple
from urllib.parse import quote

import attrs
import msgspec
import numpy as np
import trio

from aegis.core.errors import AegisError
from aegis.core.filters import SymbolSpec, plain
from aegis.kernels.layout import BAR
from aegis.kernels.sane import MAX_PRICE, MAX_VOLUME
from aegis.kernels.state import Records
from aegis.runtime.logs import get_logger

__all__ = ["BarStore", "Offload", "Series", "storable"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_MAGIC = b"aegis bars 1\n"
_SUM_SIZE = 4
_SUFFIX = ".bars"
_FRESH = ".new"
_FIELDS = ("open_time", "open", "high", "low", "close", "volume", "taker_buy", "trades")
#: A bar on disk, in the byte order of the file, not of the machine.
_ROW = np.dtype([(name, BAR.fields[name][0].newbyteorder("<")) for name in _FIELDS])  # type: ignore[index]
#: The quickest: it makes a quarter of the bytes, in a millisecond for a few thousand bars.
_LEVEL = 1
#: A disk that takes longer is left alone for the rest of the run.
_PATIENCE_S = 5.0


class _Unusable(AegisError):
    """What is stored is not what this series needs; the text says why."""


class Offload(Protocol):
    """Runs a blocking function without holding up the loop."""

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T: ...


class _DiskThread:
    """One thread of its own: a slow disk takes no worker from the analysis, and no two writes meet."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=self._limiter)


@attrs.frozen(kw_only=True)
class Series:
    """Bars of one symbol and one length. `interval` is the venue's name of the length `ms`."""

    spec: SymbolSpec
    interval: str
    ms: int

    @property
    def name(self) -> str:
        """Of its file: whatever characters the venue puts into a symbol."""
        return f"{quote(self.spec.symbol, safe='')}-{self.interval}{_SUFFIX}"

    def key(self, venue: str) -> bytes:
        """What the numbers depend on: other scales or another venue make other bars."""
        return msgspec.json.encode(
            [venue, self.spec.symbol, self.interval, self.ms, plain(self.spec.tick), plain(self.spec.step)]
        )


def storable(bars: Records, ms: int, settled_ms: int | None = None) -> Records:
    """The longest tail of `bars` that is contiguous, possible, and (where given) closed by `settled_ms`."""
    opens = bars["open_time"]
    if settled_ms is not None:
        bars = bars[opens + ms <= settled_ms]
        opens = bars["open_time"]
    low, high, least, most = (bars["low"], bars["high"], np.minimum(bars["open"], bars["close"]),
                              np.maximum(bars["open"], bars["close"]))  # fmt: skip
    good = (opens >= 0) & (opens % ms == 0) & (low > 0.0) & (low <= least) & (most <= high) & (high <= MAX_PRICE)
    good &= (bars["taker_buy"] >= 0) & (bars["taker_buy"] <= bars["volume"]) & (bars["volume"] <= MAX_VOLUME)
    good &= bars["trades"] >= 0
    bad = np.flatnonzero(~good)
    cuts = np.flatnonzero(np.diff(opens) != ms)
    first = max(int(bad[-1]) + 1 if len(bad) else 0, int(cuts[-1]) + 1 if len(cuts) else 0)
    return bars[first:]


# -- the file: synchronous, on the disk's thread -----------------------------------------------------------------------
def _encode(key: bytes, bars: Records) -> bytes:
    rows = np.zeros(len(bars), _ROW)
    for name in _FIELDS:
        rows[name] = bars[name]
    body = key + b"\n" + zlib.compress(rows.tobytes(), _LEVEL)
    return _MAGIC + zlib.crc32(body).to_bytes(_SUM_SIZE, "little") + body


def _decode(data: bytes, key: bytes, ms: int) -> Records:
    """The bars of a file. Raises _Unusable."""
    if not data.startswith(_MAGIC):
        raise _Unusable("not a file of this version" if data else "empty")
    begin = len(_MAGIC) + _SUM_SIZE
    body = data[begin:]
    if len(data) < begin or zlib.crc32(body) != int.from_bytes(data[len(_MAGIC) : begin], "little"):
        raise _Unusable("damaged: the bytes do not match their checksum")
    if not body.startswith(key + b"\n"):
        raise _Unusable("stored for another venue, symbol, bar length or scale")
    try:
        rows = np.frombuffer(zlib.decompress(body[len(key) + 1 :]), _ROW)
    except (zlib.error, ValueError):  # ValueError: no whole number of bars
        raise _Unusable("damaged: this is no table of bars") from None
    bars = np.zeros(len(rows), BAR)
    for name in _FIELDS:
        bars[name] = rows[name]
    if len(storable(bars, ms)) != len(bars):
        raise _Unusable("damaged: these are no contiguous bars")
    return bars


def _read(path: Path, key: bytes, ms: int) -> Records:
    """Raises _Unusable."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return np.zeros(0, BAR)
    except OSError as error:
        raise _Unusable(error.strerror or str(error)) from None
    return _decode(data, key, ms)


def _write(path: Path, key: bytes, bars: Records) -> None:
    """Raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_name(path.name + _FRESH)
    fresh.write_bytes(_encode(key, bars))
    fresh.replace(path)


def _prune(directory: Path, keep: frozenset[str]) -> None:
    """Delete the series that nobody wants, and what a death in the middle of a write has left. Raises OSError."""
    if directory.is_dir():
        for path in directory.iterdir():
            if path.name not in keep and path.name.endswith((_SUFFIX, _SUFFIX + _FRESH)):
                path.unlink(missing_ok=True)


# -- the store ---------------------------------------------------------------------------------------------------------
class BarStore:
    """Series by name in one directory, of which this process is the only user.

    Args:
        venue: whose bars these are; another venue's are never taken for them.
        offload: how the disk is reached: a thread of the store's own, or inline on a virtual clock.
    """

    def __init__(self, directory: Path, venue: str, offload: Offload | None = None) -> None:
        self._directory = directory
        self._venue = venue
        self._offload: Offload = _DiskThread() if offload is None else offload
        self._failing = False
        self._given_up = False

    async def load(self, series: Series) -> Records:
        """Contiguous closed BARs, oldest first, symbol and timeframe 0; none where nothing usable is stored."""
        try:
            bars = await self._disk(_read, self._directory / series.name, series.key(self._venue), series.ms)
        except _Unusable as error:
            self.refuse(series, str(error))
            bars = None
        return bars if bars is not None else np.zeros(0, BAR)

    def refuse(self, series: Series, reason: str) -> None:
        """Tell that what is stored is of no use; it is fetched again and overwritten."""
        get_logger().warning("bars.unusable", file=str(self._directory / series.name), reason=reason)

    async def save(self, series: Series, bars: Records) -> None:
        """Replace the series: `bars` is what `storable` gives."""
        await self._change(_write, self._directory / series.name, series.key(self._venue), bars)

    async def keep_only(self, wanted: Iterable[Series]) -> None:
        """Forget every other series, so that the directory does not grow with all that was ever listed."""
        await self._change(_prune, self._directory, frozenset(series.name for series in wanted))

    async def _change(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """A change of the directory; the first failure in a row is logged."""
        try:
            await self._disk(function, *args)
        except OSError as error:
            if not self._failing:
                reason = error.strerror or str(error)
                get_logger().warning("bars.unsaved", directory=str(self._directory), reason=reason)
            self._failing = True
        else:
            self._failing = False

    async def _disk(self, function: Callable[[*Ts], T], *args: *Ts) -> T | None:
        """None where the disk does not answer; from then on it is not asked any more."""
        if self._given_up:
            return None
        with trio.move_on_after(_PATIENCE_S):
            return await self._offload.run(function, *args)
        if not self._given_up:  # several may have waited
            get_logger().warning(
                "bars.unsaved", directory=str(self._directory), reason=f"no answer in {_PATIENCE_S:g} s"
            )
        self._given_up = True
        return None
