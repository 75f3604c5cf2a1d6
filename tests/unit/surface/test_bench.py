from __future__ import annotations

from aegis.research.bench.table import Conditions, PeerRow, Report, Row
from aegis.surface.bench import number, render

CONDITIONS = Conditions(
    cpu="A CPU", cores=2, system="Linux 6", versions={"aegis": "1", "numba": "2"}, load_before=0.5, load_after=1.5
)


def shown(*rows: Row, peers: tuple[PeerRow, ...] = ()) -> list[str]:
    return render(Report(conditions=CONDITIONS, rows=rows, peers=peers)).split("\n")


def test_every_row_stands_beside_its_target() -> None:
    lines = shown(
        Row(group="wire", name="ticks", target=3e6, figure=4_500_000.0, unit="ticks/s"),
        Row(group="lanes", name="wait", target=2.0, figure=4.0, unit="ms", better="less"),
        Row(group="wire", name="lag", figure=0.12345, unit="ms", better="less"),
    )
    assert [" ".join(line.split()) for line in lines[:4]] == [
        "group row target figure unit ratio verdict",
        "wire ticks >= 3,000,000 4,500,000 ticks/s 1.50x met",
        "lanes wait <= 2 4 ms 0.50x MISSED",
        "wire lag 0.1235 ms shown",
    ]
    assert lines[-1] == "A CPU, 2 cores, Linux 6; aegis 1, numba 2; load 0.5 before, 1.5 after"


def test_what_is_wrong_with_a_row_and_how_it_was_measured_stands_below() -> None:
    lines = shown(
        Row(group="wire", name="ticks", figure=1.0, unit="", invalid="the feeder died", note="short",
            detail={"p99 ms": 2.0, "applied": "99 %"}),
        Row(group="wire", name="quiet", figure=1.0, unit=""),
    )  # fmt: skip
    assert "ticks: INVALID: the feeder died; short; p99 ms 2, applied 99 %" in lines
    assert not any(line.startswith("quiet:") for line in lines)


def test_peers_are_shown_with_how_far_they_are_behind() -> None:
    peer = PeerRow(peer="other", what="decode", unit="ticks/s", median=50_000.0, ours="ticks")
    text = "\n".join(shown(Row(group="wire", name="ticks", figure=5e6, unit="ticks/s"), peers=(peer,)))
    assert ["other", "decode", "50,000", "ticks/s", "ticks", "100.00x"] in [line.split() for line in text.split("\n")]


def test_numbers_keep_four_digits() -> None:
    assert [number(x) for x in (0.000123456, 1.5, 999.96, 1234.5, 5_000_000.0)] == [
        "0.0001235", "1.5", "1000", "1,234", "5,000,000",
    ]  # fmt: skip
