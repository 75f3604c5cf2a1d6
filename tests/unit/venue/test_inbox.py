"""What a connection carries over between reads."""

from __future__ import annotations

import pytest

from aegis.core.errors import Restartable
from aegis.kernels import wire
from aegis.venue.inbox import Closed, Inbox
from tests.support.market_feed import NOW_NS, make_quote, make_table


def test_an_inbox_keeps_what_is_not_consumed_when_it_compacts() -> None:
    inbox, table = Inbox(1 << 17), make_table()
    for u in range(1, 3000):
        framed = wire.frame(make_quote(u))
        inbox.extend(framed[:50])
        assert inbox.scan(table, NOW_NS) == wire.NEED_MORE
        inbox.extend(framed[50:])
        assert inbox.scan(table, NOW_NS) == wire.NEED_MORE
        assert table.symbols["update_id"][0] == u


def test_an_inbox_refuses_a_frame_that_cannot_fit() -> None:
    inbox, table = Inbox(1 << 17), make_table()
    data = wire.frame(b" " * (1 << 17))

    def feed() -> None:
        for start in range(0, len(data), 1000):
            inbox.extend(data[start : start + 1000])
            inbox.scan(table, NOW_NS)

    with pytest.raises(Restartable, match="larger than 131072 bytes"):
        feed()


def test_an_inbox_refuses_a_fragmented_message_that_grows_without_end() -> None:
    inbox, table = Inbox(1 << 17), make_table()
    part = (1000).to_bytes(2, "big") + b" " * 1000
    inbox.extend(b"\x01\x7e" + part)

    def feed() -> None:
        for _ in range(200):
            assert inbox.scan(table, NOW_NS) == wire.SLOW
            assert inbox.slow() is None
            inbox.extend(b"\x00\x7e" + part)

    with pytest.raises(Restartable, match="larger than 131072 bytes"):
        feed()


@pytest.mark.parametrize("data", [b"\x82\x01a", b"\x88\x01a", b"\x88\x02\x00\x01", b"\xff\xff"])
def test_what_breaks_the_protocol_ends_the_connection(data: bytes) -> None:
    inbox = Inbox(1 << 17)
    inbox.extend(data)

    def read() -> None:
        if inbox.scan(make_table(), NOW_NS) == wire.SLOW:
            inbox.slow()

    with pytest.raises(Restartable, match="the peer"):
        read()


def test_a_close_without_a_code_is_1005() -> None:
    inbox = Inbox(1 << 17)
    inbox.extend(b"\x88\x00")
    inbox.scan(make_table(), NOW_NS)
    assert inbox.slow() == Closed(code=1005, reason="")
