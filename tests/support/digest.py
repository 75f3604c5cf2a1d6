"""Prints the digest of one replay, which must not depend on the Python that computes it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from aegis.research.replay import ReplayOptions, replay
from tests.support.recorded_lines import market_lines, quick_config, write


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory) / "market.txt", market_lines())
        options = ReplayOptions(config_name=quick_config(Path(directory)))
        digest = replay([str(path)], options, say=lambda _: None).sections["digest"]["sha256"]
        sys.stdout.write(f"{digest}\n")


if __name__ == "__main__":
    main()
