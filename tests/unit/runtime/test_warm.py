from __future__ import annotations

import gc
import importlib
import pkgutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import trio

import aegis.kernels
from aegis.kernels.compile import REGISTRY
from aegis.runtime.garbage import GarbageWatch, freeze_when, settle, sweep
from aegis.runtime.metrics import Metrics
from aegis.runtime.warm import WarmProgress, warm

compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="numba is off")


def twice(values: Any) -> Any:
    return values * 2


@compiled
async def test_kernels_are_compiled_with_progress_and_then_closed() -> None:
    dispatchers = [numba.njit(nogil=True)(twice) for _ in range(2)]
    seen: list[WarmProgress] = []
    assert await warm(seen.append, [(dispatcher, lambda: (np.zeros(3),)) for dispatcher in dispatchers]) == 2
    assert [(step.done, step.total, step.name, step.cached) for step in seen] == [
        (1, 2, "twice", False), (2, 2, "twice", False),
    ]  # fmt: skip
    assert dispatchers[0](np.ones(2)).tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="No matching definition"):
        dispatchers[0](np.ones(2, dtype=np.int8))


@pytest.mark.parametrize(
    ("role", "foreign"),
    [
        ("aegis.trading", {"encode", "books", "synthetic", "past", "fold", "lines", "recorded"}),
        ("aegis.exchange.process", {"wire", "analysis", "seeding", "smc", "lines", "recorded"}),
    ],
)
def test_engine_and_exchange_do_not_compile_for_each_other(role: str, foreign: set[str]) -> None:
    """Each process compiles the kernels of the modules that it imports: on a first start that is most of the time."""
    source = f"import sys, {role}; print(*(m for m in sys.modules if m.startswith('aegis.kernels.')))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    loaded = {module.rpartition(".")[2] for module in done.stdout.split()}
    assert "compile" in loaded
    assert loaded & foreign == set()


async def test_without_the_compiler_there_is_nothing_to_do() -> None:
    seen: list[WarmProgress] = []
    assert await warm(seen.append, [(twice, lambda: (1,))]) == 0
    assert seen == []


def test_the_registry_is_whole_and_no_kernel_is_parallel() -> None:
    """numba's default threading layer aborts the process when two threads enter parallel kernels."""
    for module in pkgutil.iter_modules(aegis.kernels.__path__):
        importlib.import_module(f"aegis.kernels.{module.name}")
    for dispatcher, example in REGISTRY:
        assert isinstance(example(), tuple)
        if not numba.config.DISABLE_JIT:
            assert dispatcher.targetoptions.get("nogil") is True
            assert not dispatcher.targetoptions.get("parallel")
            assert not dispatcher.targetoptions.get("fastmath")


def test_compiled_code_is_cached_outside_the_package() -> None:
    assert "aegis" in Path(numba.config.CACHE_DIR).parts


def test_settling_freezes_the_heap_and_collects_rarely() -> None:
    before = gc.get_threshold()
    try:
        settle((40_000, 20, 50))
        assert gc.get_threshold()[0] == 40_000
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def test_full_collections_and_pauses_are_counted() -> None:
    metrics = Metrics()
    now_ns = iter(range(0, 10**9, 500))
    watch = GarbageWatch(metrics, lambda: next(now_ns))
    watch.install()
    try:
        gc.collect(0)
        gc.collect(2)
    finally:
        watch.remove()
    gc.collect()
    numbers = metrics.snapshot()
    assert numbers["gc.full_collections"] == 1
    assert numbers["gc.pause_ns.count"] >= 2
    assert numbers["gc.pause_ns.max"] == 500


async def test_what_start_up_makes_later_is_frozen_once_it_is_complete(autojump_clock: Any) -> None:
    before, complete = gc.get_freeze_count(), [False]
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(freeze_when, lambda: complete[0])
            await trio.sleep(5)
            assert gc.get_freeze_count() == before
            complete[0] = True
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


class _Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.me = self


async def test_a_sweep_frees_cycles_of_the_last_seconds_and_makes_no_full_collection(autojump_clock: Any) -> None:
    before, full = gc.get_threshold(), []
    gc.set_threshold(0)

    def look(phase: str, info: dict[str, int]) -> None:
        full.append(info["generation"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep)
        gc.callbacks.append(look)
        try:
            held = _Knot()
            young, survivor = weakref.ref(_Knot()), weakref.ref(held)
            await trio.sleep(3)
            assert young() is None
            del held  # it has survived a sweep of the young
            await trio.sleep(3)
            assert survivor() is not None
            await trio.sleep(30)
            assert survivor() is None
            assert set(full) == {0, 1}
        finally:
            gc.callbacks.remove(look)
            gc.set_threshold(*before)
            nursery.cancel_scope.cancel()
