"""An exchange process for each client's file, its ledger, and what every client must agree with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from aegis.exchange.ledger_view import AccountView, read_ledger
from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings


@attrs.frozen(kw_only=True)
class Venue:
    """A running exchange and its judge."""

    addresses: ExchangeAddresses
    ledger: Path

    @property
    def account(self) -> AccountView:
        """What the ledger says of the account now."""
        return read_ledger(self.ledger).only

    def position(self, symbol: str) -> Decimal:
        held = self.account.open_positions.get(symbol)
        return held.amount if held else Decimal(0)

    def order_status(self, order_id: int) -> str:
        """The order's latest state in the ledger."""
        return self._latest("order", "order_id", order_id)

    def algo_status(self, algo_id: int) -> str:
        return self._latest("algo", "algo_id", algo_id)

    def _latest(self, kind: str, field: str, number: int) -> str:
        entries = map(json.loads, self.ledger.read_text().splitlines())
        (*_, last) = [row for row in entries if row["kind"] == kind and row[field] == number]
        return str(last["status"])


@attrs.define
class LocalBook:
    """A book kept in step by PROTOCOL.md §2.6. Feed it events; give it a snapshot when `needs_snapshot`."""

    levels: dict[str, dict[Decimal, Decimal]] = attrs.field(factory=lambda: {"b": {}, "a": {}})
    update_id: int = -1
    applied: int = 0
    _waiting: list[dict[str, Any]] = attrs.field(factory=list)

    @property
    def needs_snapshot(self) -> bool:
        return self.update_id < 0 and bool(self._waiting)

    def snapshot(self, answer: dict[str, Any]) -> None:
        """GET depth; one that is older than the first event is not taken."""
        last = int(answer["lastUpdateId"])
        self._waiting = [event for event in self._waiting if event["u"] >= last]
        if self._waiting and self._waiting[0]["U"] > last:
            return
        for side, rows in (("b", answer["bids"]), ("a", answer["asks"])):
            self.levels[side] = {Decimal(price): Decimal(quantity) for price, quantity in rows}
        self.update_id, waiting = last, self._waiting
        self._waiting = []
        for number, event in enumerate(waiting):
            self._apply(event, first=number == 0)

    def event(self, event: dict[str, Any]) -> None:
        if self.update_id < 0:
            self._waiting.append(event)
        elif event["u"] >= self.update_id:
            self._apply(event, first=not self.applied)

    def _apply(self, event: dict[str, Any], *, first: bool) -> None:
        joins = event["pu"] == self.update_id or (first and event["U"] <= self.update_id <= event["u"])
        assert joins, f"pu {event['pu']} does not follow {self.update_id}"
        for side, levels in self.levels.items():
            for price, quantity in event[side]:
                if Decimal(quantity):
                    levels[Decimal(price)] = Decimal(quantity)
                else:
                    levels.pop(Decimal(price), None)
        self.update_id = event["u"]
        self.applied += 1

    def agrees(self, answer: dict[str, Any]) -> bool:
        """Whether it equals another snapshot of the same id; one of another id agrees with everything."""
        names = {"b": "bids", "a": "asks"}
        rows = {side: {Decimal(p): Decimal(q) for p, q in answer[name]} for side, name in names.items()}
        return answer["lastUpdateId"] != self.update_id or rows == self.levels


@contextmanager
def running(directory: Path, **settings: Any) -> Iterator[Venue]:
    """An exchange of twenty quiet symbols in a process of its own."""
    ledger = directory / "ledger.jsonl"
    plain = {"symbols": 20, "seed": 11, "rate": 1_500.0, "volatility": 0.3, "latency_median_ms": 3.0,
             "latency_p99_ms": 10.0, "weight_limit": 1_000_000, "wallet": Decimal(1_000_000)}  # fmt: skip
    told = ExchangeSettings(ledger=ledger, **(plain | settings)).to_json()
    command = [sys.executable, "-m", "aegis", "exchange", "--settings", told]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the exchange ended before it was ready"
        try:
            fields = json.loads(line)
            names = {field.name for field in attrs.fields(ExchangeAddresses)}
            addresses = ExchangeAddresses(**{name: value for name, value in fields.items() if name in names})
            yield Venue(addresses=addresses, ledger=ledger)
        finally:
            process.stdin.close()
            process.wait(60)


def flood(call: Callable[[], Any]) -> None:
    """More than the strict venue's weight limit allows in a minute, wherever in it this begins."""
    for _ in range(500):
        call()


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running(tmp_path_factory.mktemp("venue")) as started:
        yield started


@pytest.fixture
def strict_venue(tmp_path: Path) -> Iterator[Venue]:
    """One with a weight limit that is soon reached."""
    with running(tmp_path, weight_limit=200) as started:
        yield started


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Ask until the answer is true; the answer."""

    def ask(question: Callable[[], Any], wait_s: float = 60.0) -> Any:
        end = time.monotonic() + wait_s
        while not (answer := question()):
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.02)
        return answer

    return ask
