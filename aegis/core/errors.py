"""The small tree of errors. Outcomes of orders are values (`core/messages.py`), never exceptions."""

from __future__ import annotations

__all__ = [
    "AegisError",
    "Ambiguous",
    "ConfigError",
    "Interrupted",
    "InvariantBroken",
    "Restartable",
    "VenueRefusal",
    "VenueUnavailable",
]


class AegisError(Exception):
    """Base of every error that this program raises on purpose; its text is one line that a user can act on."""


class ConfigError(AegisError):
    """A configuration or an input file is wrong; the program stops at start. Exit code 78."""


class Restartable(AegisError):
    """A fault of the outside world: a supervisor may start the task again."""


class VenueUnavailable(Restartable):
    """The venue could not be reached or failed for sure; nothing was executed."""


class VenueRefusal(AegisError):
    """The venue answered no: proof that nothing was executed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"venue refused: {code} {message}")
        self.code = code
        self.message = message


class Ambiguous(AegisError):
    """The venue may or may not have acted: ask, never resend."""


class Interrupted(AegisError):
    """A person ended the run before its account was settled. Exit code 1."""


class InvariantBroken(AegisError):
    """Something that cannot be is: trading halts."""
