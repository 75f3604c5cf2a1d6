from __future__ import annotations

import json
import logging
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from aegis.core.values import Side
from aegis.runtime import logs
from aegis.runtime.log_events import EVENTS

CANARY = "canary4f7Zq9secretXk2"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+canaryPEMbody/123\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def lines() -> list[bytes]:
    """Log lines with the canaries known as secrets."""
    out: list[bytes] = []
    logs.configure(out.append, level="info", wall_ns=lambda: 0, secrets=[CANARY, PEM], strict=True, cache=False)
    return out


class Key:
    """A secret whose repr is masked, like the one of the venue."""

    def __init__(self) -> None:
        self.value = "inside-the-object"

    def __repr__(self) -> str:
        return "***"


def test_a_line_is_json_with_time_level_and_context(lines: list[bytes]) -> None:
    with structlog.contextvars.bound_contextvars(task="feed"):
        logs.get_logger().info("feed.gap", symbol="BTCUSDT", missing=3, price=Decimal("1.50"), side=Side.BUY)
    assert json.loads(lines[0]) == {
        "event": "feed.gap", "level": "info", "task": "feed", "symbol": "BTCUSDT", "missing": 3, "price": "1.50",
        "side": "BUY", "at": "1970-01-01T00:00:00.000000+00:00",
    }  # fmt: skip


def test_levels_below_the_configured_one_are_silent(lines: list[bytes]) -> None:
    logs.get_logger().debug("feed.gap")
    assert lines == []


def test_an_unknown_event_fails_in_tests_and_is_marked_in_production(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"feed\.gapp"):
        logs.get_logger().info("feed.gapp")
    logs.configure(lines.append, level="info", wall_ns=lambda: 0, cache=False)
    logs.get_logger().info("feed.gapp")
    assert json.loads(lines[0])["unregistered"] is True


def test_event_names_are_dotted_nouns() -> None:
    for name, meaning in EVENTS.items():
        assert len(name.split(".")) == 2
        assert name.replace(".", "").replace("_", "").isalpha()
        assert meaning


def raise_with_secret_local() -> None:
    local = {"key": CANARY, "other": "unregistered-local-value"}
    raise RuntimeError(f"refused with {local['key']}")


@pytest.mark.parametrize(
    "fields",
    [
        {"text": f"key is {CANARY}!"},
        {"nested": {"deep": [CANARY, (CANARY,)]}},
        {CANARY: 1},
        {"raw": f"X {CANARY}".encode()},
        {"pem": PEM},
        {"one_line_of_it": PEM.splitlines()[1]},
        {"url": f"https://x/fapi/v1/order?symbol=A&signature={CANARY}"},
        {"half": "\ud83d" + CANARY},
    ],
)
def test_known_secrets_never_appear(lines: list[bytes], fields: dict[str, Any]) -> None:
    logs.get_logger().info("order.sent", **fields)
    assert CANARY.encode() not in lines[0]
    assert b"canaryPEMbody" not in lines[0]
    assert b"***" in lines[0]
    json.loads(lines[0])


def test_tracebacks_show_no_locals_and_no_secret(lines: list[bytes]) -> None:
    try:
        raise_with_secret_local()
    except RuntimeError:
        logs.get_logger().exception("process.error")
    assert b"raise_with_secret_local" in lines[0]
    assert CANARY.encode() not in lines[0]
    assert b"unregistered-local-value" not in lines[0]


def test_exception_groups_show_their_members(lines: list[bytes]) -> None:
    try:
        raise ExceptionGroup("tasks", [KeyError("inner-one"), OSError("inner-two")])
    except ExceptionGroup:
        logs.get_logger().exception("process.error")
    assert b"inner-one" in lines[0]
    assert b"inner-two" in lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "POST /order?symbol=A&signature=0a1b2c3d&timestamp=1",
        "{'listenKey': '0a1b2c3d'}",
        '{"apiKey":"0a1b2c3d"}',
        "X-MBX-APIKEY: 0a1b2c3d",
        "headers=[(b'X-MBX-APIKEY', b'0a1b2c3d')]",
    ],
)
def test_what_looks_like_a_secret_is_masked_even_when_unknown(lines: list[bytes], text: str) -> None:
    logs.get_logger().info("order.sent", text=text)
    assert b"0a1b2c3d" not in lines[0]
    assert json.loads(lines[0])["event"] == "order.sent"


def test_objects_are_shown_by_their_repr_alone(lines: list[bytes]) -> None:
    logs.get_logger().info("order.sent", key=Key(), many=[Key()], huge=2**70)
    event = json.loads(lines[0])
    assert (event["key"], event["many"]) == ("***", ["***"])
    assert b"inside-the-object" not in lines[0]


def test_library_warnings_arrive_and_their_requests_do_not(lines: list[bytes]) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET https://x?signature=%s", CANARY)
    logging.getLogger("httpcore.http11").debug("x")
    assert lines == []
    logging.getLogger("trio-websocket").warning("odd frame %d", 7)
    mistake = logging.getLogger("httpx").makeRecord("httpx", logging.WARNING, "", 0, "broken %d %d", (7,), None)
    handler = next(entry for entry in logging.getLogger().handlers if type(entry).__module__ == logs.__name__)
    handler.handle(mistake)  # not through the logger: the test runner's own handler refuses it
    texts = [json.loads(line)["text"] for line in lines]
    assert texts == ["odd frame 7", "broken %d %d"]


def test_configuring_twice_does_not_double_library_lines(lines: list[bytes]) -> None:
    logs.configure(lines.append, level="info", wall_ns=lambda: 0, cache=False)
    logging.getLogger("httpx").warning("once")
    assert len(lines) == 1


def test_the_file_gets_every_line_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "aegis.log"
    file = logs.LogFile(path)
    for number in range(1_000):
        file.put(b"%d" % number)
    file.close()
    assert path.read_bytes().split() == [b"%d" % number for number in range(1_000)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.dropped == 0


def test_a_stalled_reader_costs_lines_and_never_waits(tmp_path: Path) -> None:
    """A pipe that nobody reads stands for a disk that does not answer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = logs.LogFile(pipe, depth=8)
    for _ in range(100):
        file.put(b"x" * 65_536)
    assert file.dropped >= 90
    file.close(timeout_s=0.01)
    os.set_blocking(reader, True)
    drained = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 20), b"")], daemon=True)
    drained.start()
    file.close()
    drained.join(10)
    assert not drained.is_alive()
    os.close(reader)


def test_a_full_disk_is_counted(tmp_path: Path) -> None:
    file = logs.LogFile(Path("/dev/full"))
    file.put(b"x")
    file.close()
    assert file.dropped == 1


async def test_named_binds_the_task_and_its_children_inherit_it(lines: list[bytes]) -> None:
    async def child() -> None:
        logs.get_logger().info("feed.gap")

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    await logs.named("feed", body)
    logs.get_logger().info("feed.gap")
    assert [json.loads(line).get("task") for line in lines] == ["feed", None]
