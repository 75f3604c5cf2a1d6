"""`Approved` is a type: what reaches a venue is wrapped in it, and only the risk gate holds the key to make one."""

from __future__ import annotations

from typing import Generic, TypeVar, final

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Request
from aegis.core.sizing import Size

__all__ = ["Approved"]

T_co = TypeVar("T_co", bound=Request, covariant=True)
_KEY = object()


@final
class Approved(Generic[T_co]):
    """A request that the risk gate has let through; immutable. Constructing one without the gate's key raises."""

    __slots__ = ("_request", "_size")
    _request: T_co
    _size: Size | None

    def __init__(self, request: T_co, size: Size | None, *, key: object) -> None:
        if key is not _KEY:
            raise InvariantBroken(f"{request.cid}: only the risk gate approves")
        object.__setattr__(self, "_request", request)
        object.__setattr__(self, "_size", size)

    def __setattr__(self, name: str, value: object) -> None:
        raise InvariantBroken(f"an approval is not changed ({name})")

    @property
    def request(self) -> T_co:
        return self._request

    @property
    def size(self) -> Size | None:
        """How an entry's quantity came about; None for exits and cancels."""
        return self._size

    def __repr__(self) -> str:
        return f"Approved({self._request!r})"
