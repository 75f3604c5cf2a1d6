"""Numbers and text of the wire against Python's own reading of them."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from aegis.kernels import number
from aegis.kernels.fields import CELL_AT, DECIMALS, MANTISSA, read_decimal
from tests.support.compiled import compiled
from tests.support.market_feed import make_table, same

read = compiled(read_decimal)
decimal, fits, utf8_ok = (compiled(part) for part in (number.decimal, number.decimal_fits, number.utf8_ok))


@given(st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,12})?\Z") | st.from_regex(r"\A[0-9]{0,3}[.+\-e0-9]{0,20}\Z"))
@example("9007199254740993")
@example("0.0000000000000000000001")
def test_a_decimal_is_bit_equal_to_float_or_not_read(text: str) -> None:
    data = np.frombuffer(text.encode() or b"x", np.uint8).copy()
    cells = make_table().cells
    if not read(data, 0, len(text), cells, CELL_AT):
        return
    mantissa, places = int(cells[MANTISSA, CELL_AT]), int(cells[DECIMALS, CELL_AT])
    if fits(mantissa, places):
        assert same(decimal(mantissa, places), float(text))


@given(st.integers(0, 2**53 - 1), st.integers(0, 22))
def test_the_division_is_exact_over_its_whole_range(mantissa: int, places: int) -> None:
    assert decimal(mantissa, places) == float(f"{mantissa}e-{places}")


@given(st.binary(max_size=6) | st.text(max_size=4).map(str.encode))
@example("\ud7ff".encode())
@example(b"\xed\xa0\x80")
@example(b"\xf4\x90\x80\x80")
@example(b"\xe0\x9f\xbf")
def test_utf8_is_judged_as_python_judges_it(data: bytes) -> None:
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert bool(utf8_ok(np.frombuffer(data + b"x", np.uint8).copy(), 0, len(data))) == valid
