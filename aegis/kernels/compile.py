"""How kernels are declared, cached and registered for warm-up.

numba's own cache does not notice that a callee in *another* file has changed, so the cache directory is keyed by a hash
of every kernel source and of all that shapes machine code. It must be set before the first kernel is decorated, which
`aegis.kernels.__init__` does; nothing is ever written beside the sources.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
import numpy as np
import platformdirs

from aegis.kernels.linking import Entry, Inner

__all__ = ["REGISTRY", "cache_key", "configure_cache", "inner", "kernel"]

F = TypeVar("F", bound=Callable[..., Any])

#: Of every kernel. Nobody asks for the address of one (`no_cfunc_wrapper`).
_OPTIONS: dict[str, Any] = {
    "nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": None, "no_cfunc_wrapper": True,
}  # fmt: skip

#: (dispatcher, maker of example arguments) of every kernel that Python code calls; `runtime/warm.py` compiles them.
REGISTRY: list[tuple[Any, Callable[[], tuple[Any, ...]]]] = []


def cache_key() -> str:
    """Hash of every kernel source, of the numba, numpy, llvmlite and Python versions, the CPU and bounds checking."""
    h = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        h.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    from llvmlite import binding

    parts = (
        numba.__version__,
        np.__version__,
        llvmlite.__version__,
        sys.version,
        platform.machine(),
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
        str(numba.config.BOUNDSCHECK),  # NUMBA_BOUNDSCHECK=1 shapes machine code too, and numba's own cache ignores it
    )
    h.update("\0".join(parts).encode())
    return h.hexdigest()[:16]


def configure_cache() -> None:
    """Point numba's cache at `<user cache>/aegis/numba/<key>`."""
    directory = platformdirs.user_cache_path("aegis") / "numba" / cache_key()
    numba.config.CACHE_DIR = str(directory)


def kernel(
    example: Callable[[], tuple[Any, ...]] | None = None, *, bare: bool = False, inline: bool = False
) -> Callable[[F], F]:
    """Declare a compiled function that Python calls: no GIL, cached, IEEE arithmetic, no parallel reductions.

    Args:
        example: makes arguments of the types that the engine, the exchange or a replay pass; those of a library, which
            are compiled when they are first called, need none.
        bare: compiled without reference counting. Such a kernel makes no array and calls bare kernels only; what it
            saves is an atomic increment for each array at each call, which is most of the cost of a small kernel.
        inline: as of `inner`.
    """

    def declare(function: F) -> F:
        if numba.config.DISABLE_JIT:
            return function
        options = {"forceinline": inline} | ({"_nrt": False} if bare else {})
        dispatcher = Entry(function, targetoptions=_OPTIONS | options)
        dispatcher.enable_caching()
        if example is not None:
            REGISTRY.append((dispatcher, example))
        return cast(F, dispatcher)

    return declare


def inner(*, inline: bool = False) -> Callable[[F], F]:
    """Declare a compiled function that only kernels call, Python never. It makes no array, and is always bare.

    Args:
        inline: its machine code is copied into its callers. For the few small kernels that run for each byte or field.
    """

    def declare(function: F) -> F:
        if numba.config.DISABLE_JIT:
            return function
        options = {"_nrt": False, "forceinline": inline, "no_cpython_wrapper": True}
        return cast(F, Inner(function, targetoptions=_OPTIONS | options))

    return declare
