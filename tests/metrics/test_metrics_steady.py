"""Beginnings of known length are found, steady runs keep what they have, and a queue that grows is a trend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import MS, T0, answer, facts, records

from aiperf.config.experiment import Experiment, VerdictLimits
from aiperf.metrics.steady import LEFT, batch_means, beginning, mser, trend
from aiperf.metrics.summary import summarise
from aiperf.metrics.view import Case
from aiperf.results import Summary

SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "step": lambda at: 1 + 2.0 * (at < 1),
    "line": lambda at: 1 + 2 * np.maximum(1 - at, 0),
    "exponential": lambda at: 1 + 2 * np.exp(at * np.log(LEFT / 2)),
    "queue": lambda at: np.minimum(at, 1),
}


def noise(rng: np.random.Generator, n: int, spread: float = 0.15, follows: float = 0.5) -> np.ndarray:
    found = [0.0]
    for one in rng.normal(0, spread * np.sqrt(1 - follows**2), n + 50):
        found.append(follows * found[-1] + one)
    return 1 + np.array(found[-n:])


def lindley(rng: np.random.Generator, n: int, load: float, skipped: int = 0) -> np.ndarray:
    """Times in an M/M/1 queue that is empty at first."""
    walk = np.concatenate(([0.0], np.cumsum(rng.exponential(1, n + skipped - 1) - rng.exponential(1 / load, n + skipped - 1))))
    return (walk - np.minimum.accumulate(walk) + rng.exponential(1, n + skipped))[skipped:]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [300, 600, 1200])
def test_a_beginning_of_known_length(shape: str, length: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = SHAPES[shape](np.arange(4000) / length) * noise(rng, 4000)
        assert 0.9 <= beginning(values) / length <= 1.2
        assert not trend(values[beginning(values) :]).found


def test_steady_runs_keep_all_and_show_no_trend() -> None:
    cut = drifts = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = (200, 1000, 5000)[seed % 3]
        values = (noise(rng, n), noise(rng, n, 0.3, 0.9), lindley(rng, n, 0.5, 1000), lindley(rng, n, 0.9, 5000))[seed % 4]
        cut += beginning(values) > 0
        drifts += bool(trend(values).found)
    assert cut <= 1
    assert drifts <= 1


@pytest.mark.parametrize("load", [1.5, 2.0])
def test_a_queue_that_grows_without_end_is_a_trend_and_no_beginning(load: float) -> None:
    found = [lindley(np.random.default_rng(seed), 2000, load) for seed in range(10)]
    lines = [trend(values[beginning(values) :]) for values in found]
    assert all(line.found and line.end > line.start for line in lines)


@pytest.mark.parametrize("n", [0, 1, 24])
def test_what_is_too_short_is_not_judged(n: int) -> None:
    assert trend(np.ones(n)).found is None
    assert beginning(np.arange(n, dtype=np.float64)) == 0


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=400), st.integers(-10, 10))
def test_the_unit_does_not_matter_and_at_most_half_is_cut(values: list[float], power: int) -> None:
    found = np.array(values)
    assert 0 <= beginning(found) <= len(found) / 2
    assert 0 <= mser(np.resize(found, 100)) <= 50
    line = trend(found)
    assert trend(found * 2.0**power) == pytest.approx((line.found, line.start * 2.0**power, line.end * 2.0**power))
    assert beginning(found * 2.0**power) == beginning(found)
    if len(found) < 25:
        assert trend(found).found is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=30, max_size=200), st.integers(1, 30))
def test_batch_means_are_of_every_value(values: list[float], count: int) -> None:
    found = batch_means(np.array(values), count)
    sizes = np.diff(np.arange(count) * len(values) // count, append=len(values))
    assert found @ sizes == pytest.approx(sum(values), abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_what_never_changes_is_steady(level: float) -> None:
    assert beginning(np.full(500, level)) == 0
    assert trend(np.full(500, level)).found is False


GAP = 4.0


def played(took: np.ndarray, **others: Any) -> list[dict]:
    return [answer(i, i * GAP, tokens=[i * GAP + ms], **others) for i, ms in enumerate(took)]


def summary(took: np.ndarray, timing: str = "request_rate", window: Any = "auto") -> Summary:
    groups = {"timing": {"type": timing, "rate": 250, "stop": {"requests": len(took)}}, "verdict": {"window": window}}
    if timing != "request_rate":
        groups["timing"] = {"type": timing}
    experiment = Experiment.model_validate({"endpoint": {"url": "http://h"}, **groups})
    end = len(took) * GAP
    return summarise(records(played(took)), facts(0, end, planned=len(took), mean_gap_ns=4 * MS), experiment, samples={})


WARM = 20 * (1 + 2.0 * (np.arange(2000) < 400)) * noise(np.random.default_rng(1), 2000)


def test_the_window_begins_where_the_run_is_steady_and_the_whole_run_stands_beside_it() -> None:
    found = summary(WARM)
    latency, over_all = ({one.metric: one for one in of}["request_latency"] for of in (found.metrics, found.whole))
    assert (found.window.start_ns - T0) / (400 * GAP * MS) == pytest.approx(1.05, abs=0.15)
    assert found.window.before == pytest.approx(400, abs=100)
    assert latency.stats["max"] < 50 < over_all.stats["p99"]
    assert (over_all.n, found.counts["planned"]) == (2000, 2000)
    assert any("steady from there on" in note for note in found.verdict.notes)
    assert found.verdict.valid


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [("whole", 0, 8), ({"start_s": 2}, 2, 8), ({"end_s": 6}, 0, 6), ({"start_s": "500ms", "end_s": 1}, 0.5, 1), ({"end_s": 99}, 0, 8)],
)
def test_a_window_that_is_asked_for(window: Any, start: float, end: float) -> None:
    found = summary(WARM, window=window).window
    assert ((found.start_ns - T0) / 1e9, (found.end_ns - T0) / 1e9) == (start, end)


def test_a_window_outside_the_run_holds_nothing() -> None:
    (reason,) = summary(WARM, window={"start_s": 50}).verdict.reasons
    assert reason.reason == "no_results"
    assert "from 50 to 8 s of a run of 8 s" in reason.detail


def test_a_trace_has_a_shape_of_its_own() -> None:
    for took in (WARM, 20 + np.arange(2000) / 10):
        found = summary(took, timing="fixed_schedule")
        assert (found.window.start_ns, found.window.seconds) == (T0, 8)
        assert found.verdict.valid


def test_a_steady_run_is_judged_whole() -> None:
    found = summary(WARM[500:])
    assert (found.window.start_ns, found.window.before) == (T0, 0)
    assert {one.metric for one in found.whole}.isdisjoint({"request_latency"})
    assert found.verdict.notes == ()


def test_a_server_that_falls_behind_is_a_trend_with_advice() -> None:
    found = summary(20 + np.cumsum(np.random.default_rng(3).exponential(3, 2000)))
    (reason,) = found.verdict.reasons
    assert reason.reason == "trend"
    assert "request_latency went from" in reason.detail
    assert "in flight went from" in reason.detail
    assert "lower timing.rate" in reason.advice


def test_lengths_that_grow_are_no_trend_of_the_server() -> None:
    rows = [answer(i, i * GAP, tokens=[i * GAP + 20 + i / 10], input_tokens=100 + i) for i in range(1000)]
    case = Case(records(rows), facts(0, 4000), VerdictLimits(), (), "request_rate")
    assert case.trends == {}
    assert case.lengths_drift
