"""Several accounts: a key each, made from the seed, told in the ready line."""

from __future__ import annotations

import pytest

from aegis.core.errors import ConfigError
from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings


def test_every_account_has_a_key_of_its_own_that_follows_from_the_seed():
    settings = ExchangeSettings(accounts=4, seed=3)
    keys = settings.keys()
    assert len({key for key, _ in keys} | {secret for _, secret in keys}) == 8
    assert keys[0] == (settings.api_key, settings.api_secret)
    assert ExchangeSettings.from_json(settings.to_json()).keys() == keys
    assert ExchangeSettings(accounts=2, seed=3).keys() == keys[:2]
    assert ExchangeSettings(accounts=4, seed=4).keys()[3] != keys[3]


def test_a_number_of_accounts_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="accounts must be between 1 and 100, not 0"):
        ExchangeSettings(accounts=0)


def test_the_ready_line_tells_the_keys_of_the_others():
    settings = ExchangeSettings(accounts=3)
    addresses = ExchangeAddresses(
        rest="http://h:1", stream="ws://h:2", trade="ws://h:2/t", api_key=settings.api_key,
        api_secret=settings.api_secret, seed=1, symbols=5, more_keys=tuple(settings.keys()[1:]),
    )  # fmt: skip
    assert ExchangeAddresses.from_json(addresses.to_json()) == addresses
    assert settings.keys()[2][1] not in repr(addresses)
