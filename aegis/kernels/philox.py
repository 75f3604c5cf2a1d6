"""Counter-based random numbers (Philox4x32-10): a draw is a pure function of a key and a counter.

So a stream needs no state, can be entered anywhere, and no stream disturbs another.
Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

from math import cos, exp, log, pi, sqrt

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel

__all__ = ["gamma", "normal", "philox", "poisson", "student4", "uniforms"]

# Everything stays uint64 below 2**32: no product overflows, and numba never mixes signed with unsigned.
_MULTIPLY_0 = np.uint64(0xD2511F53)
_MULTIPLY_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_SCALE = 2.0**-32

Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
Keys = npt.NDArray[np.uint64]


@kernel(example=lambda: (np.uint64(0),) * 6)
def philox(c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64) -> Words:
    """Four random 32-bit words of a 128-bit counter under a 64-bit key."""
    for _ in range(10):
        p0 = _MULTIPLY_0 * c0
        p1 = _MULTIPLY_1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


@inner()
def uniforms(key: Keys, place: int, index: int) -> tuple[float, float, float, float]:
    """Four uniform numbers inside (0, 1): number `index` of the draws that belong to `place` (a time bin)."""
    where = np.uint64(place)
    a, b, c, d = philox(where & _MASK, where >> _HALF, np.uint64(index), np.uint64(0), key[0], key[1])
    return (
        (float(a) + 0.5) * _SCALE,
        (float(b) + 0.5) * _SCALE,
        (float(c) + 0.5) * _SCALE,
        (float(d) + 0.5) * _SCALE,
    )


@inner()
def normal(u: float, v: float) -> float:
    """A standard normal number of two uniform ones (Box-Muller)."""
    return sqrt(-2.0 * log(u)) * cos(2.0 * pi * v)


@inner()
def student4(u: float, v: float, w: float, x: float) -> float:
    """A number of Student's t distribution with four degrees of freedom, of four uniform ones."""
    return normal(u, v) / sqrt(-0.5 * log(w * x))


@inner()
def gamma(shape: float, key: Keys, place: int, index: int) -> float:
    """A Gamma(shape, 1) number, shape below 1 (Ahrens and Dieter's GS); uses draws from `index` on."""
    b = 1.0 + shape / exp(1.0)
    for attempt in range(32):  # each is accepted with probability above 0.6
        u, v, w, x = uniforms(key, place, index + attempt)
        for p, q in ((b * u, v), (b * w, x)):
            if p <= 1.0:
                value = p ** (1.0 / shape)
                if q <= exp(-value):
                    return float(value)
            else:
                value = -log((b - p) / shape)
                if q <= value ** (shape - 1.0):
                    return float(value)
    return shape


@inner()
def poisson(mean: float, u: float) -> int:
    """A Poisson number by inversion of one uniform number; `mean` at most a few dozen."""
    k = 0
    probability = exp(-mean)
    total = probability
    while u > total and k < 400:
        k += 1
        probability *= mean / k
        total += probability
    return k
