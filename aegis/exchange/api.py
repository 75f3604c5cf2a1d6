"""The words of the REST and WebSocket APIs: requests, answers, parameters, routes. PROTOCOL.md §4."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, get_args

import attrs
import msgspec

from aegis.exchange.account import Account, PositionSide
from aegis.exchange.core import Core
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import DAY_MS, Listing
from aegis.exchange.state import State

__all__ = [
    "CUT",
    "ApiRequest",
    "ApiResponse",
    "Call",
    "Params",
    "Route",
    "Security",
    "by_symbol",
    "position_side",
    "record_request",
]

E = TypeVar("E", bound=Enum)

_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_INTEGER = re.compile(r"[0-9]{1,19}")
_JSON_LIST = msgspec.json.Decoder(list[Any], float_hook=str)  # a number stays as it was written
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


@attrs.frozen(kw_only=True)
class ApiRequest:
    """One HTTP request as it was received: nothing decoded, because signatures are over these bytes."""

    method: str
    path: str
    query: bytes = b""
    body: bytes = b""
    api_key: str | None = None
    ip: str = "127.0.0.1"


#: Status of an answer that is none: it breaks off behind its body, and the connection with it.
CUT = 0


@attrs.frozen(kw_only=True)
class ApiResponse:
    """One HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Params:
    """Decoded parameters of a request. Every getter refuses what is missing or malformed with the venue's code."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values = dict(pairs)

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def optional(self, name: str) -> str | None:
        """Text, or None when it was not sent or is empty."""
        return self._values.get(name) or None

    def text(self, name: str) -> str:
        """Raises Refusal -1102 when it is missing."""
        value = self.optional(name)
        if value is None:
            raise Refusal(-1102, name)
        return value

    def optional_integer(self, name: str) -> int | None:
        """A whole number that is not negative. Raises Refusal -1100."""
        value = self.optional(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value):
            raise Refusal(-1100, name, "^[0-9]{1,20}$")
        return int(value)

    def integer(self, name: str) -> int:
        value = self.optional_integer(name)
        if value is None:
            raise Refusal(-1102, name)
        return value

    def decimal(self, name: str) -> Decimal:
        """Plain decimal text, no sign, no exponent. Raises Refusal -1102 or -1100."""
        value = self.text(name)
        if not _DECIMAL.fullmatch(value):
            raise Refusal(-1100, name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$")
        return Decimal(value)

    def flag(self, name: str) -> bool:
        """ "true" or "false", in any case; False when not sent. Raises Refusal -1130."""
        value = (self.optional(name) or "false").lower()
        if value not in ("true", "false"):
            raise Refusal(-1130, name)
        return value == "true"

    def choice(self, name: str, values: type[E], code: int, default: E | None = None) -> E:
        """A member of an enum by its value. Raises Refusal -1102 when missing without a default, else `code`."""
        value = self.optional(name)
        if value is None and default is not None:
            return default
        try:
            return values(self.text(name))
        except ValueError:
            raise Refusal(code, name) from None

    def limit(self, default: int, largest: int) -> int:
        """`limit`, between 1 and `largest`. Raises Refusal -1130."""
        value = self.optional_integer("limit")
        if value is None:
            return default
        if not 1 <= value <= largest:
            raise Refusal(-1130, "limit")
        return value

    def client_id(self, name: str) -> str | None:
        """A client's order id. Raises Refusal -4015."""
        value = self.optional(name)
        if value is not None and not _CLIENT_ID.fullmatch(value):
            raise Refusal(-4015)
        return value

    def week(self) -> tuple[int | None, int | None]:
        """`startTime` and `endTime`. Raises Refusal -1130 where they span more than seven days."""
        return self.span(7)

    def span(self, days: int) -> tuple[int | None, int | None]:
        """`startTime` and `endTime`. Raises Refusal -1130 where they span more than so many days, or less than none."""
        start, end = self.optional_integer("startTime"), self.optional_integer("endTime")
        if start is not None and end is not None and not 0 <= end - start <= days * DAY_MS:
            raise Refusal(-1130, "startTime")
        return start, end

    def values(self, name: str, most: int) -> list[str]:
        """A JSON list of numbers or texts, as texts. Raises Refusal -1102, -1130, or -4082 for none or too many."""
        try:
            values = _JSON_LIST.decode(self.text(name))
        except (msgspec.DecodeError, RecursionError):
            raise Refusal(-1130, name) from None
        if not 1 <= len(values) <= most:
            raise Refusal(-4082)
        if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
            raise Refusal(-1130, name)
        return [str(value) for value in values]

    def objects(self, name: str, most: int) -> list[Params]:
        """A JSON list of objects, each as parameters of its own. Raises Refusal as `values` does."""
        try:
            rows = _JSON_LIST.decode(self.text(name))
        except (msgspec.DecodeError, RecursionError):
            raise Refusal(-1130, name) from None
        if not 1 <= len(rows) <= most:
            raise Refusal(-4082)
        if not all(isinstance(row, dict) for row in rows):
            raise Refusal(-1130, name)
        return [Params((key, _text(value)) for key, value in row.items() if value is not None) for row in rows]

    def unexpected(self, names: Collection[str]) -> None:
        """Raises Refusal -1106 when one of these was sent."""
        for name in names:
            if name in self:
                raise Refusal(-1106, name)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Security(Enum):
    """What a route asks of the sender."""

    NONE = "NONE"
    KEY = "KEY"
    SIGNED = "SIGNED"


@attrs.frozen(kw_only=True)
class Call:
    """A request on its way to a handler."""

    core: Core
    params: Params
    sender: Account | None
    now_ms: int

    @property
    def account(self) -> Account:
        assert self.sender is not None  # routes with a key or a signature have one
        return self.sender

    def listing(self, name: str = "symbol") -> Listing:
        """The contract that was named. Raises Refusal -1102 or -1121."""
        found = self.core.state.by_symbol.get(self.params.text(name))
        if found is None:
            raise Refusal(-1121)
        return found

    def optional_listing(self) -> Listing | None:
        return self.listing() if "symbol" in self.params else None


@attrs.frozen(kw_only=True)
class Route:
    """One endpoint.

    `weight` may depend on parameters. `trading` calls travel with latency and enter the ledger; `counts` is what they
    count on the account's order limits, of ten seconds and of a minute. `funding` reads count on a limit of their own.
    """

    handler: Callable[[Call], Any]
    security: Security = Security.NONE
    weight: int | Callable[[Params], int] = 1
    trading: bool = False
    counts: tuple[int, int] = (0, 0)
    funding: bool = False

    def cost(self, params: Params) -> int:
        return self.weight(params) if callable(self.weight) else self.weight


def by_symbol(one: int, all_: int) -> Callable[[Params], int]:
    """Weight of reads that tell of one symbol, or of all where none is named."""
    return lambda params: one if "symbol" in params else all_


def position_side(params: Params) -> PositionSide:
    """`positionSide`, BOTH where it was not sent. Raises Refusal -4060."""
    side = params.optional("positionSide") or "BOTH"
    for known in get_args(PositionSide):
        if side == known:
            return known  # type: ignore[no-any-return]
    raise Refusal(-4060)


def record_request(state: State, account: Account, endpoint: str, params: Params, code: int, result: Any) -> None:
    """A `request` entry in the ledger; `code` is 0 where it was carried out."""
    names = ("newClientOrderId", "clientAlgoId", "origClientOrderId")
    sent = next((params.optional(name) for name in names if name in params), None)
    made = result if isinstance(result, dict) else {}
    fields = {
        "account": account.id,
        "endpoint": endpoint,
        "symbol": params.optional("symbol") or "",
        "client_id": sent or made.get("clientOrderId") or made.get("clientAlgoId") or "",
        "code": code,
    }
    state.ledger.note(state.now_ns, "request", dict, fields)
