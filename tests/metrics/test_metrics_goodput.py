import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import answer, records, unsent, window

from aiperf.config.slos import Limit
from aiperf.metrics.rates import good_request_count, good_request_fraction, goodput, keeps, promises, request_throughput
from aiperf.metrics.view import RunView

TTFT = Limit("time_to_first_token", "each", "<=", 15.0, "ms")
LATENCY_P50 = Limit("request_latency", "p50", "<=", 45.0, "ms")
GAPS = Limit("inter_chunk_latency", "each", "<=", 12.0, "ms")
SPEED = Limit("output_token_throughput_per_user", "each", ">=", 80.0, "tokens/s/user")

ROWS = [
    answer(0, 0, tokens=[10, 20, 30]),
    answer(1, 0, tokens=[20, 30, 40]),
    answer(2, 0, end=40),
    answer(3, 0, tokens=[10, 20], error="truncated"),
    unsent(4, 0, "duration"),
    answer(5, 0, tokens=[5, 10, 50], phase="warmup"),
    answer(6, 0, tokens=[15, 20, 200]),
]


def view(*limits: Limit, end: float = 100) -> RunView:
    return RunView(records(ROWS), window(0, end), limits)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (TTFT, [True, False, False, False, False, True, True]),
        (GAPS, [True, True, False, False, False, False, False]),
        (SPEED, [True, True, False, False, False, False, False]),
        (LATENCY_P50, [True, True, True, False, False, True, True]),
    ],
)
def test_each_request_keeps_a_promise_or_not(limit: Limit, kept: list[bool]) -> None:
    assert keeps(records(ROWS), [limit]).tolist() == kept


def test_every_promise_must_be_kept() -> None:
    assert keeps(records(ROWS), [TTFT, GAPS]).tolist() == [True, *[False] * 6]


def test_failures_and_what_was_never_sent_are_in_the_denominator() -> None:
    assert good_request_count(view(TTFT)) == 2
    assert good_request_fraction(view(TTFT)) == pytest.approx(2 / 6)


def test_goodput_counts_what_ended_in_the_window() -> None:
    assert goodput(view(TTFT)) == pytest.approx(2 / 0.1)
    assert goodput(view(TTFT, end=300)) == pytest.approx(3 / 0.3)


def test_a_run_without_requests_has_no_fraction() -> None:
    assert good_request_fraction(RunView(records([ROWS[5]]), window(0, 100), (TTFT,))) is None


def test_promises_over_the_window_and_for_each() -> None:
    each, over = promises(view(TTFT, LATENCY_P50), min_fraction=0.3)
    assert (each.value, each.met) == (pytest.approx(2 / 6), True)
    assert (over.value, over.met) == (40.0, True)
    each, over = promises(view(TTFT, Limit("request_latency", "max", "<=", 45.0, "ms")), min_fraction=None)
    assert not each.met
    assert (over.value, over.met) == (200.0, False)


def test_a_window_without_a_value_does_not_keep_its_promise() -> None:
    run = RunView(records([unsent(0, 0, "duration")]), window(0, 100), (LATENCY_P50,))
    (slo,) = promises(run, min_fraction=None)
    assert (slo.value, slo.met) == (None, False)


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([None, "reset"])), min_size=1, max_size=12), st.integers(1, 80))
def test_goodput_is_never_more_than_the_throughput(found: list, end: int) -> None:
    table = records([answer(i, 0, tokens=[at, at + 1], error=error) for i, (at, error) in enumerate(found)])
    run = RunView(table, window(0, end), (TTFT,))
    assert goodput(run) <= request_throughput(run)
    assert 0 <= good_request_fraction(run) <= 1
