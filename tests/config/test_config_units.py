import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.base import TIMES, in_unit, seconds

numbers = st.floats(1e-6, 1e6).map(lambda x: float(f"{x:.6g}"))


@given(numbers, st.sampled_from(sorted(TIMES)))
def test_a_quantity_in_its_own_unit_is_its_number(number, unit):
    assert in_unit(f"{number}{unit}", unit) == pytest.approx(number, abs=1e-9)


@given(numbers, st.sampled_from(sorted(TIMES)), st.sampled_from(["s", "ms", "us"]))
def test_there_and_back(number, unit, field):
    there = in_unit(f"{number}{unit}", field)
    assert there * TIMES[field] == pytest.approx(number * TIMES[unit], rel=1e-6, abs=1e-9 * TIMES[field])


@given(st.text())
def test_text_that_is_no_quantity_is_left_as_it_is(text):
    if seconds(text) is None:
        assert in_unit(text, "ms") == text


@pytest.mark.parametrize(
    ("typed", "found"), [("250ms", 0.25), ("2 s", 2), ("1.5m", 90), ("1h", 3600), ("10us", 1e-5), ("3", None), ("3 parsecs", None)]
)
def test_seconds(typed, found):
    assert seconds(typed) == (None if found is None else pytest.approx(found))
