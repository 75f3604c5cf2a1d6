"""Every vector of the protocol reference, and that keys stay unseen."""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl, unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import ConfigError
from aegis.core.secret import Secret
from aegis.venue.signing import Ed25519Signer, HmacSigner, encode_params, signed_query, signed_ws_params, ws_payload

FUTURES = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
SPOT = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
WS_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PKCS8 = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"
PEM = f"-----BEGIN PRIVATE KEY-----\n{PKCS8}\n-----END PRIVATE KEY-----\n"
BATCH = '[{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"0.001","price":"10001"}]'

REST_VECTORS = {
    "V1": (
        FUTURES,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943",
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
    ),
    "V1 other order": (
        FUTURES,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
        "ec11dcc17e67e47f0d3c3f513dfe9062307e37619c5c82ebaa8fe0bdf3d59519",
    ),
    "V3": (
        SPOT,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    "V4": (
        SPOT,
        "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1"
        "&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    "V6": (
        FUTURES,
        "batchOrders=%5B%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A%22BUY%22%2C%22type%22%3A%22LIMIT%22%2C"
        "%22timeInForce%22%3A%22GTC%22%2C%22quantity%22%3A%220.001%22%2C%22price%22%3A%2210001%22%7D%5D"
        "&recvWindow=5000&timestamp=1591702613943",
        "026715bfdd0be4619ac076d3be028600cb2fe0f15abc506f2443e2360edd0b7a",
    ),
    "V7": (
        FUTURES,
        "symbol=%E6%B5%8B%E8%AF%95USDT&side=BUY&type=MARKET&quantity=1&timestamp=1591702613943",
        "221eaf10288183d886183225a23c799512ab6f0aa6bc7459433340b57ed7566a",
    ),
}


def hmac_signer(secret: str, key: str = "key") -> HmacSigner:
    return HmacSigner(Secret(key), Secret(secret))


@pytest.mark.parametrize("name", REST_VECTORS)
def test_rest_vector_from_parameters_to_last_byte(name):
    secret, payload, signature = REST_VECTORS[name]
    params = {key: unquote(value) for key, value in (pair.split("=", 1) for pair in payload.split("&"))}
    if name == "V6":
        assert params["batchOrders"] == BATCH
    assert encode_params(params).decode() == payload
    assert signed_query(params, hmac_signer(secret)).decode() == f"{payload}&signature={signature}"


@pytest.mark.parametrize(
    ("secret", "query", "body", "signature"),
    [
        (
            FUTURES,
            b"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC",
            b"quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
            "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
        ),
        (
            FUTURES,  # as printed in the venue's docs, stray space included
            b"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC",
            b"quantity=1&price=9000&recvWindow=5000&timestamp= 1591702613943",
            "f9d0ae5e813ef6ccf15c2b5a434047a0181cb5a342b903b367ca6d27a66e36f2",
        ),
        (
            SPOT,
            b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
            b"quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
            "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
        ),
    ],
)
def test_query_and_body_are_signed_joined_without_a_separator(secret, query, body, signature):
    assert hmac_signer(secret).sign(query + body) == signature


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        (
            {"type": "LIMIT", "timestamp": 1645423376532, "timeInForce": "GTC", "symbol": "BTCUSDT", "side": "SELL",
             "recvWindow": 100, "quantity": "0.01000000", "price": "52000.00"},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            {"symbol": "１２３４５６", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1.00000000",
             "price": "0.10000000", "recvWindow": 5000, "timestamp": 1645423376532},
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
    ],
)  # fmt: skip
def test_websocket_vector_sorted_and_raw(params, signature):
    signed = signed_ws_params(params, hmac_signer(SPOT, WS_KEY))
    assert signed == {**params, "apiKey": WS_KEY, "signature": signature}
    assert isinstance(signed["timestamp"], int)


@pytest.mark.parametrize("key", [SEED, PKCS8, PEM])
def test_ed25519_vectors_from_each_form_of_the_key(key):
    signer = Ed25519Signer(Secret("TESTKEY"), Secret(key))
    payload = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2&timestamp=1668481559918"
    payload += "&recvWindow=5000"
    expected = "XtZirsmmi0noRzUfkqktvkVfxpkq/WtbLg2UOL3QGYdUBZVlqOBEMuEVw8zioY93N54NcKj9UuAXQEa9zgTDBg=="
    assert signer.sign(payload.encode()) == expected
    sent = signed_query(dict(parse_qsl(payload)), signer).decode()
    assert sent.endswith("&signature=" + expected.replace("/", "%2F").replace("=", "%3D").replace("+", "%2B"))
    logon = {"apiKey": "TESTKEY", "timestamp": 1649729878532}
    assert ws_payload(logon) == b"apiKey=TESTKEY&timestamp=1649729878532"
    assert signed_ws_params({"timestamp": 1649729878532}, signer)["signature"] == (
        "A7pzSIpXcoDaqSQtTE3VoAC4ZPjKNqktorOhIKIeEslb5EmDHZQnWzZE75tmjqi+Uy/YwYcRuA5dVDKrgUjYCw=="
    )


def test_ed25519_signature_verifies_with_the_public_half():
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED))
    signature = Ed25519Signer(Secret("k"), Secret(SEED)).sign(b"payload")
    key.public_key().verify(base64.b64decode(signature), b"payload")


def test_keys_of_other_kinds_are_config_errors_that_show_nothing():
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for text in (other.decode(), "CANARY", "", "z" * 64, PEM[:60], "CANARY" * 12):
        with pytest.raises(ConfigError) as caught:
            Ed25519Signer(Secret("k"), Secret(text))
        assert "CANARY" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    with pytest.raises(ConfigError):
        hmac_signer("")


def test_secret_is_never_shown():
    secret = Secret("CANARY")
    shown = f"{secret} {secret!r} {secret!s:>3} {[secret]} {{'k': {secret}}} " + "%s" % secret  # noqa: UP031
    assert "CANARY" not in shown
    assert "CANARY" not in repr(vars(hmac_signer("CANARY", "CANARY")))
    with pytest.raises(TypeError):
        secret.__reduce__()
    assert secret == Secret("CANARY")
    assert secret != Secret("other")
    assert secret != "CANARY"
    assert len({secret, Secret("CANARY")}) == 1
    assert not Secret("")


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")), max_size=5
    )
)
@settings(max_examples=100)
def test_what_is_sent_parses_back_and_is_what_was_signed(params):
    signer = hmac_signer(FUTURES)
    sent = signed_query(params, signer)
    payload, _, signature = sent.rpartition(b"signature=")
    assert dict(parse_qsl(payload.decode("ascii"), keep_blank_values=True, encoding="utf-8")) == params
    assert signer.sign(payload.removesuffix(b"&")) == signature.decode()
