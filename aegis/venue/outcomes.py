"""Answers to orders and cancels -> `Accepted | Refused | Unknown` (PROTOCOL.md §6). When in doubt: `Unknown`."""

from __future__ import annotations

import msgspec

from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, Outcome, Refused, Request, Unknown
from aegis.venue.wire_types import DecodeError, Id, Text, parse

__all__ = ["NOT_SENT", "ErrorBody", "classify", "classify_error", "not_sent", "parse_error"]

#: `Refused.code` of a request that never left.
NOT_SENT = 0

#: The venue says itself that it does not know, or its code is documented as such.
_UNKNOWN_CODES = frozenset({-1000, -1006, -1007})
#: "An order with this id lives": ids are ours and never reused, so an earlier copy of this very request arrived.
_DUPLICATE_ID = -4116
#: Answers of a 5xx that prove failure.
_FAILED_CODES = frozenset({-1001, -1008})
_FAILED_TEXTS = ("Service Unavailable", "Internal error; unable to process your request")
_UNKNOWN_TEXT = "Unknown error, please check your request or try again later"


class ErrorBody(msgspec.Struct):
    """`{"code":-2019,"msg":"Margin is insufficient."}`"""

    code: int
    msg: Text = ""


class _Placed(
    msgspec.Struct, rename={"order_id": "orderId", "algo_id": "algoId", "cid": "clientOrderId", "caid": "clientAlgoId"}
):
    order_id: Id | None = None
    algo_id: Id | None = None
    cid: Text | None = None
    caid: Text | None = None


_ERROR = msgspec.json.Decoder(ErrorBody)
_PLACED = msgspec.json.Decoder(_Placed)


def parse_error(body: bytes) -> ErrorBody | None:
    """The error object of a body, or None where the body is something else."""
    try:
        return parse(_ERROR, body)
    except DecodeError:
        return None


def not_sent(request: Request, why: str) -> Refused:
    return Refused(request=request, code=NOT_SENT, message=f"not sent: {why}")


def classify(request: Request, status: int, body: bytes) -> Outcome:
    """What a REST answer says about `request`.

    Args:
        status: HTTP status.
        body: as received; anything may be in it.
    """
    if status == 200:
        return _placed(request, body)
    error = parse_error(body)
    text = error.msg if error else body[:200].decode("utf-8", "replace")
    return classify_error(request, status, error.code if error else None, text)


def classify_error(request: Request, status: int, code: int | None, text: str) -> Outcome:
    """The same for an error in parts, as the WebSocket API gives it. `code` None: the body was unparsable."""
    text = text[:200]
    shown = f"{status} {code if code is not None else 'unparsable'} {text}".strip()
    if status in (429, 418):
        return Refused(request=request, code=code if code is not None else -1003, message=text)
    if _UNKNOWN_TEXT in text or code in _UNKNOWN_CODES or status == 408:
        return Unknown(request=request, reason=shown)
    if code == _DUPLICATE_ID and not isinstance(request, CancelRequest):
        return Unknown(request=request, reason=shown)
    if status >= 500:
        if code in _FAILED_CODES or text.startswith(_FAILED_TEXTS):
            return Refused(request=request, code=code if code is not None else -status, message=text)
        return Unknown(request=request, reason=shown)
    if status == 403 and code is None:  # the web firewall stands before the exchange
        return Refused(request=request, code=-403, message="refused by the web firewall")
    if 400 <= status < 500 and code is not None and code < 0:
        return Refused(request=request, code=code, message=text)
    return Unknown(request=request, reason=shown)


def _placed(request: Request, body: bytes) -> Outcome:
    """A success must name the id and, where it names a client id, ours."""
    try:
        placed = parse(_PLACED, body)
    except DecodeError as error:
        return Unknown(request=request, reason=f"unparsable success: {error}")
    algo = isinstance(request, AlgoRequest) or (isinstance(request, CancelRequest) and request.algo)
    venue_id, cid = (placed.algo_id, placed.caid) if algo else (placed.order_id, placed.cid)
    if venue_id is None:
        return Unknown(request=request, reason="success without an id")
    if cid is not None and cid != request.cid:
        return Unknown(request=request, reason="success that names another order")
    return Accepted(request=request, venue_id=venue_id)
