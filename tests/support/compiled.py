"""A way in from Python for kernels that only kernels call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(inner: F) -> F:
    """The kernel, as a test can call it."""

    @numba.njit(error_model="numpy")
    def call(*arguments):  # type: ignore[no-untyped-def]
        return inner(*arguments)

    return cast(F, call)
