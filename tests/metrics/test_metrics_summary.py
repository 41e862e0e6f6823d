import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_records import answer, bare, facts, records, unsent, window

from aiperf.config.experiment import Experiment
from aiperf.finite import is_finite_value
from aiperf.metrics.summary import summarise
from aiperf.plugin.plugins import of_requests, of_runs
from aiperf.results import STATS, MetricValue, Summary

ROWS = [
    answer(0, 0, tokens=[4, 8, 12], phase="warmup"),
    answer(1, 10, tokens=[20, 30, 40]),
    answer(2, 20, ready=25, sent=27, tokens=[50, 60, 70]),
    answer(3, 30, end=45, tokens=[40], error="truncated"),
    answer(4, 40, end=45, error="http_5xx"),
    answer(5, 50, tokens=[60], end=140, error="abandoned"),
    answer(6, 60, tokens=[100, 110, 120]),
    unsent(7, 70, "duration"),
    unsent(8, 80, "the generator died"),
]


def experiment(**groups: Any) -> Experiment:
    timing = {"type": "request_rate", "rate": 100, "stop": {"requests": 8}}
    return Experiment.model_validate({"endpoint": {"url": "http://h"}, "timing": timing, **groups})


def found(rows: list[dict] = ROWS, **groups: Any) -> Summary:
    return summarise(
        records(rows), facts(10, 110, planned=8), experiment(**groups), samples={"http_5xx": "no"}, extra_notes=["said before"]
    )


def metric(summary: Summary, tag: str) -> MetricValue:
    return next(value for value in summary.metrics if value.metric == tag)


def test_distributions_are_of_the_run_alone() -> None:
    latency = metric(found(), "request_latency")
    assert (latency.n, latency.unit) == (3, "ms")
    assert latency.stats["avg"] == pytest.approx((30 + 43 + 60) / 3)
    assert "p50" in latency.unsupported
    assert metric(found(), "queue_time").n == 6
    assert metric(found(), "inter_chunk_latency").n == 6


def test_the_ledger_adds_up() -> None:
    counts = found().counts
    assert counts == {
        "planned": 8, "sent": 6, "good": 3, "failed": 2, "unsent": 2, "abandoned": 1, "cancelled": 0,
        "unsent (duration)": 1, "unsent (the generator died)": 1, "waited": 1, "late": 1, "warmup": 1,
    }  # fmt: skip
    assert counts["planned"] == sum(counts[name] for name in ("good", "failed", "unsent", "abandoned", "cancelled"))


def test_errors_window_and_words() -> None:
    summary = found()
    assert summary.errors == {"http_5xx": 1, "truncated": 1}
    assert summary.samples == {"http_5xx": "no"}
    assert (summary.window.before, summary.window.after) == (0, 1)
    assert summary.verdict.notes[0] == "said before"
    assert {reason.reason for reason in summary.verdict.reasons} >= {"errors", "unsent"}


def test_the_window_and_the_whole_run_stand_beside_each_other() -> None:
    summary = found()
    whole = {value.metric: value.stats["avg"] for value in summary.whole}
    assert metric(summary, "request_throughput").stats == {"avg": pytest.approx(3 / 0.1)}
    assert whole["request_throughput"] == pytest.approx(3 / 0.13)
    assert whole["benchmark_duration"] == pytest.approx(0.13)


def test_throughputs_count_the_answers_that_they_are_made_of() -> None:
    summary = summarise(records(ROWS), facts(10, 105, planned=8), experiment(goodput={"slos": {"request_latency": 45}}), samples={})
    ended, arrived = 3, 4
    assert {tag: metric(summary, tag).n for tag in ("request_throughput", "input_token_throughput", "goodput")} == {
        "request_throughput": ended, "input_token_throughput": ended, "goodput": ended,
    }  # fmt: skip
    assert metric(summary, "output_token_throughput").n == metric(summary, "total_token_throughput").n == arrived
    assert next(value.n for value in summary.whole if value.metric == "request_throughput") == 3
    assert metric(summary, "request_count").n == 3


def test_every_population_of_a_metric_of_one_value_is_counted() -> None:
    none = {value.metric for value in found([], goodput={"slos": {"request_latency": 45}}).metrics if value.n and len(value.stats) == 1}
    assert none == {"benchmark_duration"}


def test_metrics_that_mean_nothing_here_are_left_out() -> None:
    plain = summarise(records([answer(0, 0, end=20)]), facts(streaming=False), experiment(), samples={})
    assert {value.metric for value in plain.metrics}.isdisjoint({"time_to_first_token", "inter_chunk_latency", "goodput"})
    promised = found(goodput={"slos": {"request_latency": 45}})
    every = {entry.name for entry in (*of_requests(), *of_runs())}
    assert {value.metric for value in promised.metrics} == every


@pytest.mark.parametrize(
    ("goodput", "met"),
    [
        ({"slos": {"request_latency": 35}}, True),
        ({"slos": {"request_latency": 35}, "min_fraction": 0.12}, True),
        ({"slos": {"request_latency": 35}, "min_fraction": 0.13}, False),
        ({"slos": {"request_latency": {"max": 59}}}, True),
        ({"slos": {"request_latency": {"max": 59}}, "min_fraction": 0.1}, False),
        ({"slos": {"request_latency": {"max": "0.06s"}}, "min_fraction": 0.1}, True),
    ],
)
def test_a_gate_is_met_only_if_its_share_and_the_windows_promises_are(goodput: dict, met: bool) -> None:
    assert found(goodput=goodput).gate_met is met


def test_promises_are_told_with_what_was_seen() -> None:
    (slo,) = found(goodput={"slos": {"request_latency": 35}}).slos
    assert (slo.metric, slo.stat, slo.op, slo.threshold, slo.unit) == ("request_latency", "each", "<=", 35.0, "ms")
    assert slo.value == pytest.approx(1 / 8)


def test_facts_hold_what_is_only_reported() -> None:
    facts_found = found([answer(0, 10, tokens=[20, 30], input_tokens=11, asked_output_tokens=4)]).facts
    assert facts_found["input_length_error"] == pytest.approx(0.1)
    assert facts_found["output_length_error"] == pytest.approx(0.5)
    assert facts_found["peak_in_flight"] == 1
    assert facts_found["stamps"] == {"kernel": 1}


def test_records_without_metric_columns_get_them() -> None:
    assert summarise(bare(ROWS), facts(10, 110, planned=8), experiment(), samples={}) == summarise(
        records(ROWS), facts(10, 110, planned=8), experiment(), samples={}
    )


@pytest.mark.parametrize("rows", [[], [unsent(0, 10, "duration")], [answer(0, 0, tokens=[5], phase="warmup")]])
def test_a_run_of_nothing_has_a_summary(rows: list[dict]) -> None:
    summary = found(rows)
    assert metric(summary, "request_latency").n == 0
    assert set(metric(summary, "request_latency").stats.values()) == {None}
    assert summary.verdict.word == "INVALID"


values = st.tuples(st.integers(0, 100), st.lists(st.integers(1, 60), max_size=4), st.sampled_from([None, None, "reset", "abandoned"]))


@settings(max_examples=40)
@given(st.lists(values, max_size=12), st.integers(0, 2**32))
def test_the_order_of_records_does_not_show_and_every_number_is_finite(rows: list, seed: int) -> None:
    made = [
        answer(i, due, tokens=sorted(due + at for at in tokens), end=due + 70, error=error) for i, (due, tokens, error) in enumerate(rows)
    ]
    shuffled = list(made)
    random.Random(seed).shuffle(shuffled)
    groups = {"goodput": {"slos": {"time_to_first_token": 30, "request_latency": {"p99": 50}}}}
    summary, again = found(made, **groups), found(shuffled, **groups)
    assert again.metrics == tuple(close(value) for value in summary.metrics)
    assert (again.counts, again.errors, again.slos) == (summary.counts, summary.errors, summary.slos)
    for value in (*summary.metrics, *summary.whole):
        assert all(stat in STATS and (number is None or is_finite_value(number)) for stat, number in value.stats.items())


def close(value: MetricValue) -> MetricValue:
    stats = {stat: None if number is None else pytest.approx(number, rel=1e-12) for stat, number in value.stats.items()}
    return replace(value, stats=stats)


def test_the_window_of_the_facts_is_kept() -> None:
    summary = found()
    assert (summary.window.start_ns, summary.window.end_ns) == (window(10, 110).start_ns, window(10, 110).end_ns)


def test_the_timeline_is_of_the_run_and_adds_up_to_the_ledger() -> None:
    summary = found()
    assert summary.timeline is not None
    assert sum(summary.timeline.good) == summary.counts["good"]
    assert {name: sum(counts) for name, counts in summary.timeline.errors.items()} == summary.errors
    assert found([answer(0, 0, tokens=[5], phase="warmup")]).timeline is None


@pytest.mark.parametrize("asked", [None, 0])
def test_prompts_of_no_known_length_are_held_against_none(asked: int | None) -> None:
    unknown = answer(0, 10, tokens=[20, 30], input_tokens=50, asked_input_tokens=asked)
    uncounted = answer(1, 10, tokens=[20, 30], input_tokens=None, asked_input_tokens=asked)
    known = answer(2, 10, tokens=[20, 30], input_tokens=12, asked_input_tokens=10)
    assert found([unknown]).facts["input_length_error"] is None
    assert found([unknown, uncounted, known]).facts["input_length_error"] == pytest.approx(0.2)
    lengths = metric(found([unknown, uncounted, known]), "input_sequence_length")
    assert (lengths.n, lengths.stats["min"], lengths.stats["max"]) == (2, 12, 50)
