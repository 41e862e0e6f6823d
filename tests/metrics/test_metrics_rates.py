import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import answer, records, unsent, window

from aiperf.metrics import rates
from aiperf.metrics.view import RunView, whole

ROWS = [
    answer(0, 0, tokens=[10, 20, 30, 40], phase="warmup", input_tokens=5),
    answer(1, 5, tokens=[30, 60, 90, 120], input_tokens=7),
    answer(2, 10, end=80, output_tokens=10, input_tokens=11),
    answer(3, 15, tokens=[20, 25], error="truncated"),
    answer(4, 15, tokens=[20, 25], error="abandoned"),
    unsent(5, 20, "duration"),
]


def view(start: float, end: float, rows: list = ROWS) -> RunView:
    return RunView(records(rows), window(start, end))


def test_counts_are_of_the_run_and_its_failures_are_the_servers() -> None:
    run = view(0, 100)
    assert rates.request_count(run) == 2
    assert rates.error_request_count(run) == 1
    assert rates.request_error_rate(run) == pytest.approx(100 / 3)
    assert rates.benchmark_duration(run) == 0.1


def test_answers_count_where_they_end_warm_up_included() -> None:
    assert rates.request_throughput(view(0, 100)) == pytest.approx(2 / 0.1)
    assert rates.request_throughput(view(40, 120)) == pytest.approx(2 / 0.08)
    assert rates.input_token_throughput(view(0, 100)) == pytest.approx(16 / 0.1)


def test_tokens_count_where_they_arrive() -> None:
    assert rates.output_token_throughput(view(0, 30)) == pytest.approx((3 + 1) / 0.03)
    assert rates.output_token_throughput(view(0, 100)) == pytest.approx((4 + 3 + 10) / 0.1)
    assert rates.total_token_throughput(view(0, 100)) == pytest.approx((16 + 17) / 0.1)


def test_what_the_server_counted_event_by_event_weighs_its_events() -> None:
    row = answer(0, 0, tokens=[10, 20, 30], output_tokens=10, chunk_tokens=[1, 1, 8])
    assert rates.output_token_throughput(view(0, 20, [row])) == pytest.approx(2 / 0.02)


def test_the_whole_run_is_its_own_requests_from_first_send_to_last_end() -> None:
    run = whole(view(0, 10))
    assert run is not None
    assert run.window == window(5, 120)
    assert rates.request_throughput(run) == pytest.approx(2 / 0.115)
    assert rates.output_token_throughput(run) == pytest.approx(14 / 0.115)


def test_nothing_sent_has_no_rates() -> None:
    assert whole(view(0, 100, [unsent(0, 1, "duration")])) is None
    assert rates.request_error_rate(view(0, 100, [unsent(0, 1, "duration")])) is None
    assert rates.request_throughput(view(5, 5)) is None


answers = st.lists(
    st.tuples(st.lists(st.integers(0, 99), min_size=1, max_size=5), st.booleans(), st.integers(1, 50)), min_size=1, max_size=10
)


@given(answers, st.integers(0, 100))
def test_windows_that_follow_each_other_add_up(found: list, cut: int) -> None:
    rows = [
        answer(i, -1, tokens=sorted(tokens) if streamed else (), end=max(tokens), output_tokens=n)
        for i, (tokens, streamed, n) in enumerate(found)
    ]
    table = records(rows)

    def amount(of: object, start: float, end: float) -> float:
        return (of(RunView(table, window(start, end))) or 0.0) * (end - start) / 1000

    for of in (rates.request_throughput, rates.input_token_throughput, rates.output_token_throughput):
        assert amount(of, -1, cut) + amount(of, cut, 100) == pytest.approx(amount(of, -1, 100))
    assert amount(rates.output_token_throughput, -1, 100) == pytest.approx(sum(n for _, _, n in found))
