"""The trade socket against a scripted WebSocket API: exactly one outcome for every request it accepted."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, serve_websocket

from aegis.core.errors import Restartable
from aegis.core.messages import Accepted, Outcome, Refused, Unknown
from aegis.core.secret import Secret
from aegis.venue.limits import Limits
from aegis.venue.signing import Ed25519Signer, ws_payload
from aegis.venue.trade_socket import OUTBOX, TradeSocket
from aegis.venue.websocket import dialer
from tests.support.venue_desk import CANCEL, SIGNER, STOP, T0, Desk, order

SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"


def reply(request: dict[str, object], status: int = 200, **parts: object) -> str:
    return json.dumps({"id": request["id"], "status": status, **parts})


async def wait_drained(ws: WebSocketConnection) -> None:
    try:
        while True:
            await ws.get_message()
    except ConnectionClosed:
        return


async def test_requests_of_every_kind_are_signed_and_answered(autojump_clock, nursery):
    seen = []

    async def venue(ws: WebSocketConnection) -> None:
        for _ in range(3):
            seen.append(json.loads(await ws.get_message()))
        for request in reversed(seen):  # answers in another order than asked
            ids = {"orderId": 8389765739703625592, "algoId": 4000000230627731}
            await ws.send_message(reply(request, result=ids))
        await wait_drained(ws)

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    assert desk.socket.ready
    for request in (order(1), STOP, CANCEL):
        assert desk.socket.send(request)
    await trio.sleep(1)
    assert [r["method"] for r in seen] == ["order.place", "algoOrder.place", "order.cancel"]
    for request in seen:
        params = dict(request["params"])
        signature = params.pop("signature")
        assert params["apiKey"] == "APIKEY"
        assert params["timestamp"] == T0 // 10**6
        assert params["recvWindow"] == 3000
        assert SIGNER.sign(ws_payload(params)) == signature
    assert desk.outcomes == [
        Accepted(request=CANCEL, venue_id=8389765739703625592),
        Accepted(request=STOP, venue_id=4000000230627731),
        Accepted(request=order(1), venue_id=8389765739703625592),
    ]
    assert desk.socket.in_flight == 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 400, "error": {"code": -2019, "msg": "Margin is insufficient."}}, Refused),
        ({"status": 400, "error": {"code": -1021, "msg": "Timestamp"}}, Refused),
        ({"status": 429, "error": {"code": -1015, "msg": "Too many new orders; 300 orders per 10 SECOND."}}, Refused),
        ({"status": 408, "error": {"code": -1007, "msg": "Timeout"}}, Unknown),
        ({"status": 500}, Unknown),
        ({"status": 400}, Unknown),
        ({"status": 200, "result": {}}, Unknown),
        ({"status": 200, "result": [1]}, Unknown),
        ({"status": 200}, Unknown),
        ({"status": 200, "result": {"orderId": 5, "clientOrderId": "other"}}, Unknown),
    ],
)
async def test_answers_are_classified_as_those_of_rest(answer, kind, autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        request = json.loads(await ws.get_message())
        await ws.send_message(json.dumps({"id": request["id"], **answer}))
        await wait_drained(ws)

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(1)
    (outcome,) = desk.outcomes
    assert isinstance(outcome, kind)
    assert desk.complaints == (answer.get("error", {}).get("code") == -1021)


@pytest.mark.parametrize("ending", ["close", "cut"])
async def test_loss_makes_in_flight_unknown_and_unsent_refused(ending, autojump_clock, nursery):
    arrived: list[dict[str, object]] = []

    async def venue(ws: WebSocketConnection) -> None:
        arrived.append(json.loads(await ws.get_message()))
        await ws.send_message(reply(arrived[0], result={"orderId": 1}))
        arrived.append(json.loads(await ws.get_message()))
        if ending == "close":
            await ws.aclose(1008, "go away")
        else:
            await desk.stage.cut()

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    for n in range(1, 3):
        assert desk.socket.send(order(n))
    await trio.sleep(3)
    assert desk.outcomes[0] == Accepted(request=order(1), venue_id=1)
    assert isinstance(desk.outcomes[1], Unknown)
    assert desk.outcomes[1].request == order(2)
    assert len(desk.outcomes) == 2
    assert not desk.socket.ready
    assert not desk.socket.send(order(3))
    assert "1008" in desk.why or ending == "cut"


async def test_what_waited_in_the_queue_when_the_socket_went_was_not_sent(autojump_clock):
    async def venue(ws: WebSocketConnection) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        desk = Desk(nursery, venue)
        scope = trio.CancelScope()

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await desk.socket.run(task_status=task_status)

        await nursery.start(live)
        await trio.testing.wait_all_tasks_blocked()
        desk.socket.send(order(1))
        desk.socket.send(order(2))
        scope.cancel()  # before the outbound task ran again
        await trio.sleep(5)
        in_hand, queued = desk.outcomes
        assert isinstance(in_hand, Unknown)  # the outbound task had taken it: only it knows how far it came
        assert isinstance(queued, Refused)
        assert queued.code == 0
        assert "not sent" in queued.message
        nursery.cancel_scope.cancel()


async def test_noise_is_counted_and_harms_nobody(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        request = json.loads(await ws.get_message())
        for noise in ("", "{", "[]", '{"id":99,"status":200}', '{"id":"1","status":200}', '{"status":"x"}', b"\xff"):
            await ws.send_message(noise)
        await ws.send_message(reply(request, result={"orderId": 1}))
        await ws.send_message(reply(request, result={"orderId": 1}))  # a second answer to the same
        await wait_drained(ws)

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(1)
    assert desk.outcomes == [Accepted(request=order(1), venue_id=1)]
    assert (desk.socket.malformed, desk.socket.unmatched) == (5, 3)
    assert desk.socket.ready


async def test_a_dead_peer_is_noticed_by_the_missing_pong(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        await ws.get_message()
        await ws.get_message()

    desk = Desk(nursery, venue, ping_s=10, pong_s=5)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(1)
    stream = desk.stage.server_stream
    stream.send_stream.send_all_hook = trio.sleep_forever  # it reads, but nothing comes back
    await trio.sleep(40)
    assert "no pong" in desk.why
    assert [type(outcome) for outcome in desk.outcomes] == [Unknown]


async def test_an_invalidated_key_ends_the_session(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        await ws.get_message()
        await ws.send_message('{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key"}}')
        await wait_drained(ws)

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(3)
    assert "-2015" in desk.why
    assert isinstance(desk.outcomes[0], Unknown)


async def test_full_or_over_budget_is_told_at_once_and_nothing_is_sent(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        await wait_drained(ws)

    desk = Desk(nursery, venue, limits=Limits(orders_10s=4))
    await nursery.start(desk.life)
    accepted = [desk.socket.send(order(n)) for n in range(6)]
    assert accepted == [True] * 3 + [False] * 3  # 85 % of four
    wide = Desk(nursery, venue, limits=Limits(orders_10s=10**6, orders_1m=10**6))
    await nursery.start(wide.life)
    await trio.testing.wait_all_tasks_blocked()
    accepted = [wide.socket.send(order(n)) for n in range(OUTBOX + 5)]
    assert accepted == [True] * (OUTBOX + 1) + [False] * 4  # the outbound task holds one
    assert wide.outcomes == []


async def test_a_ban_told_on_the_socket_binds_everyone(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        request = json.loads(await ws.get_message())
        text = f"Way too many requests; IP banned until {T0 // 10**6 + 90_000}."
        await ws.send_message(reply(request, 418, error={"code": -1003, "msg": text}))
        await wait_drained(ws)

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(1)
    assert isinstance(desk.outcomes[0], Refused)
    assert not desk.socket.send(CANCEL)
    await trio.sleep(90)
    assert desk.socket.send(CANCEL)


async def test_order_counts_of_the_venue_are_taken_over(autojump_clock, nursery):
    counts = [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 299},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 9, "count": 9},
    ]

    async def venue(ws: WebSocketConnection) -> None:
        request = json.loads(await ws.get_message())
        await ws.send_message(reply(request, result={"orderId": 1}, rateLimits=counts))
        await wait_drained(ws)

    desk = Desk(nursery, venue)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(1)
    assert not desk.socket.send(order(2))
    assert desk.socket.send(CANCEL)


async def test_session_logon_signs_once(autojump_clock, nursery):
    seen = []

    async def venue(ws: WebSocketConnection) -> None:
        for _ in range(2):
            seen.append(json.loads(await ws.get_message()))
            await ws.send_message(reply(seen[-1], result={"orderId": 1}))
        await wait_drained(ws)

    signer = Ed25519Signer(Secret("TESTKEY"), Secret(SEED))
    desk = Desk(nursery, venue, signer=signer, logon=True)
    await nursery.start(desk.life)
    desk.socket.send(order(1))
    await trio.sleep(1)
    logon, placed = seen
    assert logon["method"] == "session.logon"
    signature = logon["params"].pop("signature")
    assert signer.sign(ws_payload(logon["params"])) == signature
    assert "signature" not in placed["params"]
    assert "apiKey" not in placed["params"]
    assert "timestamp" in placed["params"]
    assert len(desk.outcomes) == 1


@pytest.mark.parametrize("answer", ['{"id":1,"status":400,"error":{"code":-2015,"msg":"x"}}', "garbage"])
async def test_a_refused_logon_ends_the_life_before_it_began(answer, autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        await ws.get_message()
        await ws.send_message(answer)
        await wait_drained(ws)

    desk = Desk(nursery, venue, signer=Ed25519Signer(Secret("k"), Secret(SEED)), logon=True)
    await desk.life()
    assert "session.logon" in desk.why
    assert not desk.socket.ready


def test_logon_with_a_key_that_cannot_is_refused_at_construction():
    with pytest.raises(ValueError, match="Ed25519"):
        TradeSocket("ws://x", SIGNER, lambda: 0, lambda _: None, limits=Limits(), dial=dialer(), logon=True)


async def test_planned_reconnect_waits_for_the_answers(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        request = json.loads(await ws.get_message())
        await trio.sleep(2)
        await ws.send_message(reply(request, result={"orderId": 1}))
        await wait_drained(ws)

    desk = Desk(nursery, venue, life_s=100, ping_s=1000)
    await nursery.start(desk.life)
    await trio.sleep(99)
    assert desk.socket.send(order(1))
    await trio.sleep(1.5)
    assert not desk.socket.send(order(2))
    await trio.sleep(5)
    assert desk.outcomes == [Accepted(request=order(1), venue_id=1)]
    assert "planned" in desk.why


async def test_a_second_life_starts_clean(autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        await ws.get_message()
        await ws.aclose()

    desk = Desk(nursery, venue)
    for n in range(1, 4):
        await nursery.start(desk.life)
        assert desk.socket.send(order(n))
        await trio.sleep(3)
    assert [outcome.request.cid for outcome in desk.outcomes] == ["1-1", "1-2", "1-3"]
    assert desk.stage.lives == 3


async def test_a_bug_in_the_consumer_is_not_taken_for_a_lost_socket(autojump_clock):
    async def venue(ws: WebSocketConnection) -> None:
        request = json.loads(await ws.get_message())
        await ws.send_message(reply(request, result={"orderId": 1}))
        await wait_drained(ws)

    async with trio.open_nursery() as nursery:
        desk = Desk(nursery, venue)
        delivered: list[Outcome] = []

        def broken(outcome: Outcome) -> None:
            delivered.append(outcome)
            raise KeyError("bug")

        desk.socket._deliver = broken
        ended: list[BaseException] = []

        async def life(*, task_status: trio.TaskStatus[None]) -> None:
            try:
                await desk.socket.run(task_status=task_status)
            except BaseExceptionGroup as group:
                ended.append(group)

        await nursery.start(life)
        desk.socket.send(order(1))
        await trio.sleep(5)
        assert len(ended) == 1
        assert pytest.RaisesGroup(KeyError, flatten_subgroups=True, allow_unwrapped=True).matches(ended[0])
        nursery.cancel_scope.cancel()


async def test_over_real_sockets_and_a_refused_connection():
    async def handler(request: object) -> None:
        ws = await request.accept()
        try:
            while True:
                asked = json.loads(await ws.get_message())
                await ws.send_message(reply(asked, result={"orderId": 7}))
        except ConnectionClosed:
            return

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, None)
            url = f"ws://127.0.0.1:{server.port}/ws-fapi/v1"
            got, outcomes = trio.open_memory_channel[Outcome](10)
            socket = TradeSocket(url, SIGNER, lambda: T0, got.send_nowait, limits=Limits(), dial=dialer())
            await nursery.start(socket.run)
            assert socket.send(order(1))
            assert socket.in_flight == 1, "it left in the caller's own turn"
            assert await outcomes.receive() == Accepted(request=order(1), venue_id=7)
            nursery.cancel_scope.cancel()
        again = TradeSocket(url, SIGNER, lambda: T0, lambda _: None, limits=Limits(), dial=dialer())
        with pytest.raises(Restartable, match="cannot connect"):
            await again.run()
