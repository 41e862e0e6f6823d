import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import answer, records, unsent, window

from aiperf.metrics.timeline import mean_in_flight, peak_in_flight


def test_known_level() -> None:
    table = records(
        [answer(0, 0, end=50), answer(1, 25, end=75, error="reset"), answer(2, 50, end=150, phase="warmup"), unsent(3, 0, "duration")]
    )
    assert mean_in_flight(table, window(0, 100)) == pytest.approx((50 + 50 + 50) / 100)
    assert peak_in_flight(table) == 2


def test_a_slot_that_is_freed_and_taken_at_once_is_one_slot() -> None:
    assert peak_in_flight(records([answer(0, 0, end=50), answer(1, 50, end=90)])) == 1


def test_what_has_no_end_is_in_flight_for_ever() -> None:
    table = records([answer(0, 0, end=None, last_token_ns=None)])
    assert mean_in_flight(table, window(0, 100)) == 1.0


def test_nothing_in_flight() -> None:
    table = records([unsent(0, 0, "duration")])
    assert peak_in_flight(table) == 0
    assert mean_in_flight(table, window(0, 100)) == 0.0
    assert mean_in_flight(table, window(5, 5)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50)), min_size=1, max_size=20))
def test_the_mean_is_never_above_the_peak(flights: list) -> None:
    table = records([answer(i, sent, end=sent + took) for i, (sent, took) in enumerate(flights)])
    assert mean_in_flight(table, window(0, 150)) <= peak_in_flight(table) + 1e-9
    assert mean_in_flight(table, window(0, 150)) == pytest.approx(sum(took for _, took in flights) / 150)
