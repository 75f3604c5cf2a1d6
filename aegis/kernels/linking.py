"""How numba is told that a kernel is called by kernels alone: its code is handed on unfinished.

numba finishes each function by itself: it links in whatever the function calls, optimises the whole, makes machine code
of it and a way in for Python, and writes all that into the cache; and the same again a level up. For what only other
kernels call this is for nothing, and it is most of what a first start has to wait for. Here such code goes to its
callers as it is, and is optimised once with each kernel that Python calls.

The classes are numba's own with a few methods of their inside replaced, so they are the first to look at when a new
numba fails; `tests/unit/kernels/test_linking.py` tells whether they still do what is said here.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher

__all__ = ["Entry", "Inner"]


class Entry(CPUDispatcher):  # type: ignore[misc]
    """A kernel that Python calls. Calls with constants share one machine code: numba would compile anew for each."""

    def get_call_template(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        unliteral = numba.types.unliteral
        return super().get_call_template(
            tuple(unliteral(kind) for kind in args), {name: unliteral(kind) for name, kind in kws.items()}
        )


class Inner(Entry):
    """A kernel that only kernels call."""

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class=_InnerCompiler)

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{self.py_func.__module__}.{self.py_func.__qualname__} is called by kernels alone")


class _InnerCompiler(Compiler):  # type: ignore[misc]
    def define_pipelines(self) -> Any:
        state = self.state
        state.library = _Unfinished(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class _Unfinished(JITCodeLibrary):  # type: ignore[misc]
    """Code to be linked into others, with what it calls."""

    def _optimize_final_module(self) -> None:
        """Its callers do."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """Asked for to tell machine code where the Python objects are that it needs: there is none, of either."""
        return self

    def set_env(self, env_name: str, env: object) -> None:
        pass
