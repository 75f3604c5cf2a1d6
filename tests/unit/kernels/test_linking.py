"""Kernels that only kernels call: linked into those, and nothing by themselves."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from aegis.kernels import steps
from aegis.kernels.compile import inner, kernel

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="numba is off")


@inner(inline=True)
def twice(value):  # type: ignore[no-untyped-def]
    return value + value


@inner()
def folded(values):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in values:
        total = twice(total) + value
    return total


@kernel()
def whole(values, weight):  # type: ignore[no-untyped-def]
    return folded(values) * weight + twice(weight)


def test_what_kernels_share_computes_what_python_computes() -> None:
    values = np.array([0.1, 0.7, -3.25, 1e9])
    total = 0.0
    for value in values:
        total = total + total + value
    assert whole(values, 3.0) == total * 3.0 + 6.0


def test_python_is_turned_away_before_and_after_it_is_compiled() -> None:
    whole(np.ones(2), 1.0)
    for part, arguments in ((folded, (np.ones(2),)), (twice, (2.0,)), (steps.true_range, (2.0, 1.0, 1.5))):
        with pytest.raises(TypeError, match=rf"{part.py_func.__name__} is called by kernels alone"):
            part(*arguments)


def test_no_machine_code_is_made_of_a_part() -> None:
    whole(np.ones(2), 1.0)
    for part in (folded, twice):
        for result in part.overloads.values():
            assert "define" in str(result.library._final_module)
            with pytest.raises(ValueError, match="object"):
                result.library._get_compiled_object()
    assert "folded" in next(iter(whole.overloads.values())).library.get_llvm_str()
