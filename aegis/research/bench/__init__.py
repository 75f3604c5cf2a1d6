"""`aegis bench`: what this machine reaches, row by row, beside what was promised."""

from __future__ import annotations

__all__ = ["GROUPS"]

#: Groups, in the order in which `all` measures them; each is a module of this package with `measure(bench)`.
GROUPS = ("start", "wire", "latency", "lanes", "analysis", "exchange", "memory", "replay", "signals")
