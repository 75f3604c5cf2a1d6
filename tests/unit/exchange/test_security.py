"""Signatures over the raw bytes, keys, timestamps: the vectors of the protocol page, verified server-side."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aegis.exchange.errors import Refusal
from aegis.exchange.security import AccountSetup, KeyRing, check_timestamp, signed_payload

V1_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
V3_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
SPLIT = b"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
VECTORS = [
    (V1_SECRET, b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
     b"&timestamp=1591702613943", b"", "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"),
    (V1_SECRET, b"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=9000&recvWindow=5000"
     b"&timestamp=1591702613943", b"", "ec11dcc17e67e47f0d3c3f513dfe9062307e37619c5c82ebaa8fe0bdf3d59519"),
    (V1_SECRET, SPLIT, b"quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
     "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"),
    (V3_SECRET, b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
     b"&timestamp=1499827319559", b"", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
    (V3_SECRET, b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
     b"quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
     "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"),
    (V3_SECRET, b"symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC"
     b"&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559", b"",
     "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    (V1_SECRET, b"batchOrders=%5B%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A%22BUY%22%2C%22type%22%3A%22LIMIT%22%2C"
     b"%22timeInForce%22%3A%22GTC%22%2C%22quantity%22%3A%220.001%22%2C%22price%22%3A%2210001%22%7D%5D"
     b"&recvWindow=5000&timestamp=1591702613943", b"",
     "026715bfdd0be4619ac076d3be028600cb2fe0f15abc506f2443e2360edd0b7a"),
    (V1_SECRET, b"symbol=%E6%B5%8B%E8%AF%95USDT&side=BUY&type=MARKET&quantity=1&timestamp=1591702613943", b"",
     "221eaf10288183d886183225a23c799512ab6f0aa6bc7459433340b57ed7566a"),
]  # fmt: skip


def ring(secret=None, public_key=None):
    setup = AccountSetup(id="a", api_key="key", secret=secret, public_key=public_key)
    return KeyRing((setup,)), setup


def refused(function, *args):
    with pytest.raises(Refusal) as caught:
        function(*args)
    return caught.value.code


@pytest.mark.parametrize(("secret", "query", "body", "signature"), VECTORS)
def test_published_vectors_verify_and_one_changed_byte_does_not(secret, query, body, signature):
    keys, setup = ring(secret)
    tail = b"&signature=" + signature.encode()
    sent = (query, body + tail) if body else (query + tail, b"")
    payload, given = signed_payload(*sent)
    assert payload == query + body
    keys.verify(setup, payload, given)
    keys.verify(setup, payload, given.upper())
    assert refused(keys.verify, setup, payload.replace(b"1", b"2", 1), given) == -1022
    assert refused(keys.verify, setup, payload, given[:-1] + ("0" if given[-1] != "0" else "1")) == -1022


def test_ed25519_vector_verifies_also_percent_encoded():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    keys, setup = ring(public_key=Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    query = (
        b"symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2"
        b"&timestamp=1668481559918&recvWindow=5000"
    )
    signature = "XtZirsmmi0noRzUfkqktvkVfxpkq/WtbLg2UOL3QGYdUBZVlqOBEMuEVw8zioY93N54NcKj9UuAXQEa9zgTDBg=="
    payload, given = signed_payload(query + b"&signature=" + quote(signature, safe="").encode(), b"")
    keys.verify(setup, payload, given)
    assert refused(keys.verify, setup, payload + b" ", given) == -1022
    for bad in ("", "!!!", "AAAA", "é"):
        assert refused(keys.verify, setup, payload, bad) == -1022


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        (b"a=1", b"", -1102),
        (b"", b"", -1102),
        (b"a=1&signature=", b"", -1102),
        (b"a=1&signature=ab&b=2", b"", -1022),
        (b"signature=ab&b=2", b"", -1022),
        (b"a=1", b"b=2&signature=ab&c=3", -1022),
    ],
)
def test_a_signature_that_is_missing_or_not_last_is_refused(query, body, code):
    assert refused(signed_payload, query, body) == code


def test_signature_in_the_query_covers_the_body_too():
    assert signed_payload(b"a=1&signature=ab", b"b=2") == (b"a=1b=2", "ab")
    assert signed_payload(b"signature=ab", b"b=2") == (b"b=2", "ab")


@pytest.mark.parametrize(
    ("sent", "window", "now", "passes"),
    [
        (10_000, 5_000, 10_000, True),
        (10_000, 5_000, 15_000, True),
        (10_000, 5_000, 15_001, False),
        (10_999, 5_000, 10_000, True),
        (11_000, 5_000, 10_000, False),
    ],
)
def test_timestamps_pass_within_the_window_and_less_than_a_second_ahead(sent, window, now, passes):
    if passes:
        check_timestamp(sent, window, now)
    else:
        assert refused(check_timestamp, sent, window, now) == -1021


@pytest.mark.parametrize(("key", "code"), [(None, -2014), ("", -2014), ("a b", -2014), ("é", -2014), ("other", -2015)])
def test_unknown_and_malformed_keys_are_told_apart(key, code):
    keys, _ = ring("secret")
    assert refused(keys.account, key) == code


def test_an_account_needs_one_kind_of_key_and_a_key_one_account():
    with pytest.raises(ValueError, match="either a secret"):
        AccountSetup(id="a", api_key="k")
    one = AccountSetup(id="a", api_key="k", secret="s")
    with pytest.raises(ValueError, match="share"):
        KeyRing((one, one))
    assert "secret" not in repr(one)
