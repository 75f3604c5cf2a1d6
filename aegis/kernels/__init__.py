"""Compiled arithmetic over arrays (numba). Importing this package fixes where compiled code is cached."""

from aegis.kernels import compile as _compile

_compile.configure_cache()
