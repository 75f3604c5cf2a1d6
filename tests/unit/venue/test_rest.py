"""The REST client against a scripted port: what goes out, what comes back, what each failure becomes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal

import pytest
import trio

from aegis.core.errors import Ambiguous, ConfigError, VenueRefusal, VenueUnavailable
from aegis.core.messages import Accepted, CancelRequest, OrderRequest, Refused, Unknown
from aegis.core.values import ClientId, OrderType, Side, SymbolName
from aegis.venue.http import HttpReply
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from tests.support.rest_port import T0, Port, client, ok, refusal

BTC = SymbolName("BTCUSDT")
ORDER = OrderRequest(cid=ClientId("1-1"), symbol=BTC, side=Side.BUY, type=OrderType.MARKET, qty=Decimal("0.1"))


async def test_signed_post_goes_in_the_body_and_signed_get_in_the_query(autojump_clock):
    rest, port = client(ok({"orderId": 5, "clientOrderId": "1-1"}), ok([]))
    assert await rest.submit(ORDER) == Accepted(request=ORDER, venue_id=5)
    await rest.positions(BTC)
    (method, target, headers, body), (get, get_target, get_headers, get_body) = port.sent
    assert (method, target) == ("POST", "/fapi/v1/order")
    assert headers == {"X-MBX-APIKEY": "KEY", "Content-Type": "application/x-www-form-urlencoded"}
    payload, _, signature = body.rpartition(b"&signature=")
    assert hmac.new(b"SECRET", payload, hashlib.sha256).hexdigest() == signature.decode()
    assert payload.endswith(b"&recvWindow=3000&timestamp=%d" % (T0 // 10**6))
    assert (get, get_body, get_headers) == ("GET", b"", {"X-MBX-APIKEY": "KEY"})
    assert get_target.startswith("/fapi/v3/positionRisk?symbol=BTCUSDT&recvWindow=3000&timestamp=")


async def test_market_data_names_nobody(autojump_clock):
    rest, port = client(ok({"serverTime": 7}))
    assert await rest.server_time() == 7
    assert port.sent == [("GET", "/fapi/v1/time", {}, b"")]


async def test_without_a_key_account_calls_are_a_config_error(autojump_clock):
    rest = RestClient(Port(), None, lambda: T0, Limits())
    with pytest.raises(ConfigError):
        await rest.positions()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (ok({"orderId": 5}), Accepted),
        (refusal(-2019), Refused),
        (refusal(-1007, 408), Unknown),
        (HttpReply(status=502, headers={}, body=b"<html>"), Unknown),
        (Ambiguous("reset"), Unknown),
        (VenueUnavailable("no route"), Refused),
    ],
)
async def test_submit_never_raises_for_the_venue_and_never_sends_twice(reply, kind, autojump_clock):
    rest, port = client(reply)
    outcome = await rest.submit(ORDER)
    assert isinstance(outcome, kind)
    assert len(port.sent) == 1
    if isinstance(reply, VenueUnavailable):
        assert isinstance(outcome, Refused)
        assert outcome.code == 0
        assert outcome.message.startswith("not sent")


async def test_submit_over_budget_or_banned_is_not_sent_and_does_not_wait(autojump_clock):
    limits = Limits(orders_10s=2)
    rest, port = client(ok({"orderId": 5}), limits=limits)
    await rest.submit(ORDER)
    outcome = await rest.submit(ORDER)
    assert isinstance(outcome, Refused)
    assert outcome.code == 0
    limits.note_reply(T0, T0, 418, {})
    banned = await rest.submit(CancelRequest(cid=ClientId("1-1"), symbol=BTC))
    assert isinstance(banned, Refused)
    assert len(port.sent) == 1
    assert trio.current_time() == 0


async def test_a_read_waits_for_its_bucket_and_raises_inside_a_ban(autojump_clock):
    limits = Limits(weight_1m=10)
    rest, port = client(ok([]), ok([]), refusal(-1003, 418), limits=limits)
    await rest.positions()
    await rest.positions()
    assert trio.current_time() == pytest.approx(60)
    limits.configure([])
    with pytest.raises(VenueUnavailable):
        await rest.server_time()
    with pytest.raises(VenueUnavailable, match="banned"):
        await rest.positions()
    assert len(port.sent) == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(-1121), VenueRefusal),
        (refusal(-2015, 401), VenueRefusal),
        (refusal(-1021), VenueUnavailable),
        (refusal(-1003, 429), VenueUnavailable),
        (refusal(-1001, 503), VenueUnavailable),
        (HttpReply(status=502, headers={}, body=b"<html>"), VenueUnavailable),
        (HttpReply(status=200, headers={}, body=b"<html>"), VenueUnavailable),
        (HttpReply(status=200, headers={}, body=b'[{"symbol":5}]'), VenueUnavailable),
        (Ambiguous("reset"), VenueUnavailable),
        (VenueUnavailable("no route"), VenueUnavailable),
    ],
)
async def test_a_read_fails_as_refusal_or_unavailable(reply, error, autojump_clock):
    rest, _ = client(reply)
    with pytest.raises(error) as caught:
        await rest.open_orders(BTC)
    assert "KEY" not in str(caught.value)
    assert "signature" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(-4028), VenueRefusal),
        (refusal(-1007, 504), Ambiguous),
        (HttpReply(status=502, headers={}, body=b""), Ambiguous),
        (HttpReply(status=200, headers={}, body=b"<"), Ambiguous),
        (Ambiguous("reset"), Ambiguous),
        (refusal(-1003, 429), VenueUnavailable),
    ],
)
async def test_a_setting_that_may_have_changed_is_ambiguous(reply, error, autojump_clock):
    rest, _ = client(reply)
    with pytest.raises(error):
        await rest.set_leverage(BTC, 5)


async def test_margin_type_that_is_already_so_is_success(autojump_clock):
    rest, port = client(refusal(-4046), ok({"code": 200, "msg": "success"}), refusal(-4067))
    await rest.set_margin_type(BTC, isolated=True)
    await rest.set_margin_type(BTC, isolated=False)
    with pytest.raises(VenueRefusal):
        await rest.set_margin_type(BTC, isolated=True)
    assert b"marginType=ISOLATED" in port.sent[0][3]
    assert b"marginType=CROSSED" in port.sent[1][3]


@pytest.mark.parametrize("code", [-1021, -5028])
async def test_a_timestamp_error_asks_for_a_resync(code, autojump_clock):
    rest, _ = client(refusal(code))
    asked: list[int] = []
    rest.on_clock_error(lambda: asked.append(1))
    assert isinstance(await rest.submit(ORDER), Refused)
    assert asked == [1]


async def test_listen_key_life(autojump_clock):
    rest, port = client(ok({"listenKey": "LK"}), ok({"listenKey": "LK"}), refusal(-1125))
    assert (await rest.start_listen_key()).reveal() == "LK"
    await rest.keep_listen_key()
    with pytest.raises(VenueRefusal):
        await rest.keep_listen_key()
    assert [sent[0] for sent in port.sent] == ["POST", "PUT", "PUT"]
    assert all(sent[1:] == ("/fapi/v1/listenKey", {"X-MBX-APIKEY": "KEY"}, b"") for sent in port.sent)


async def test_bulk_calls_leave_half_of_the_connections(autojump_clock):
    peak = now = 0

    class Slow(Port):
        async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
            nonlocal peak, now
            now += 1
            peak = max(peak, now)
            await trio.sleep(0.1)
            now -= 1
            return ok([])

    rest = RestClient(Slow(), None, lambda: T0, Limits())
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(lambda: rest.klines(BTC, "1m", 5, qty_decimals=3))
    assert peak == 2
