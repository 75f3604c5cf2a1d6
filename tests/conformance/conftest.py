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
