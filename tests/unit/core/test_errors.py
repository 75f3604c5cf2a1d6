"""The tree of errors."""

from __future__ import annotations

from aegis.core.errors import AegisError, Restartable, VenueRefusal, VenueUnavailable


def test_a_refusal_keeps_the_venues_code_and_words() -> None:
    refusal = VenueRefusal(-2019, "Margin is insufficient.")
    assert (refusal.code, refusal.message) == (-2019, "Margin is insufficient.")
    assert str(refusal) == "venue refused: -2019 Margin is insufficient."


def test_only_faults_of_the_outside_world_are_restartable() -> None:
    assert issubclass(VenueUnavailable, Restartable)
    assert not issubclass(VenueRefusal, Restartable)
    assert issubclass(VenueRefusal, AegisError)
