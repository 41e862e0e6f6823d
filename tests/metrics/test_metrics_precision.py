"""What pulses tell of a distribution, and when that is enough."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiperf.metrics.precision import STEP, PulsePrecision, effective_n, position
from aiperf.results import Pulse

PLACES = st.lists(st.integers(0, 60), min_size=1, max_size=300)


def pulse(values_us: np.ndarray) -> Pulse:
    places = np.maximum(0, np.log(np.maximum(values_us, 1)) / math.log(STEP)).astype(int)
    counts = {int(place): int(count) for place, count in zip(*np.unique(places, return_counts=True))}
    return Pulse(0, 0, "profiling", 0, 0, 0, 0, {}, 0, 0, 0.0, counts, {})


def needed(of: list[str], precision: float, values: np.ndarray, *, each: int = 10) -> int | None:
    """Requests after which it is reached."""
    judge = PulsePrecision(of, precision)
    return next((end for end in range(each, len(values), each) if judge(pulse(values[end - each : end]))), None)


def correlated(count: int, memory: float, seed: int) -> np.ndarray:
    """Lognormal values of which each is `memory` of the one before."""
    shocks = np.random.default_rng(seed).normal(size=count) * math.sqrt(1 - memory**2)
    level, values = 0.0, []
    for shock in shocks:
        level = memory * level + shock
        values.append(level)
    return 50_000 * np.exp(0.5 * np.array(values))


@given(PLACES, st.floats(0.001, 0.999))
def test_a_quantile_lies_in_the_step_of_its_order_statistic(places: list[int], q: float) -> None:
    found = position(np.bincount(places, minlength=62), q)
    rank = math.ceil(q * len(places) - 1e-9)
    step = sorted(places)[max(rank, 1) - 1]
    assert step - 1e-6 <= found <= step + 1 + 1e-6


@given(PLACES, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_do_not_cross(places: list[int], one: float, other: float) -> None:
    counts = np.bincount(places, minlength=62)
    low, high = sorted((one, other))
    assert position(counts, low) <= position(counts, high)
    assert min(places) <= position(counts, low)
    assert position(counts, high) <= max(places) + 1


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 0.9]))
def test_no_more_is_independent_than_there_is_and_less_where_values_hang_together(seed: int, memory: float) -> None:
    values = correlated(20_000, memory, seed)
    places = (np.log(values) / math.log(STEP)).astype(int)
    batches = np.stack([np.bincount(part, minlength=1000) for part in np.split(places, 200)])
    n = effective_n(batches, position(batches.sum(axis=0), 0.5), 0.5)
    true = 20_000 * (1 - memory) / (1 + memory)  # of the values; an indicator forgets sooner
    assert n <= 20_000
    assert 0.6 * true <= n <= 2.5 * true


def test_batches_shorter_than_the_memory_tell_nothing() -> None:
    values = np.repeat(correlated(30, 0.0, 1), 1000)  # thirty independent values, each a thousand times
    places = (np.log(values) / math.log(STEP)).astype(int)
    batches = np.stack([np.bincount(part, minlength=1000) for part in np.split(places, 120)])
    assert effective_n(batches, position(batches.sum(axis=0), 0.5), 0.5) == 0
    assert effective_n(np.zeros((40, 100), np.int64), 0.0, 0.5) == 0


def test_more_precision_takes_more_requests_and_so_does_the_tail() -> None:
    values = correlated(60_000, 0.0, 3)
    rough, fine = (needed(["time_to_first_token.p50"], precision, values) for precision in (0.05, 0.025))
    tail = needed(["time_to_first_token.p50", "time_to_first_token.p99"], 0.05, values)
    assert rough is not None
    assert fine is not None
    assert tail is not None
    assert rough < fine < tail


def test_dependent_requests_tell_less() -> None:
    alone, together = (needed(["time_to_first_token.p50"], 0.03, correlated(60_000, memory, 5)) for memory in (0.0, 0.8))
    assert alone is not None
    assert together is not None
    assert together > 2.5 * alone


def test_nothing_is_known_of_a_metric_that_no_pulse_tells() -> None:
    assert needed(["request_latency.p50"], 0.5, correlated(30_000, 0.0, 3)) is None


def test_a_server_that_always_takes_as_long_is_known_as_soon_as_the_run_is_long_enough() -> None:
    n = needed(["time_to_first_token.p50", "time_to_first_token.p99"], 0.02, np.full(20_000, 5_000.0))
    assert n is not None
    assert 4_000 <= n <= 12_000


def test_how_requests_fall_into_pulses_hardly_matters() -> None:
    values = correlated(40_000, 0.5, 7)
    few, many = (needed(["time_to_first_token.p50"], 0.05, values, each=each) for each in (2, 50))
    assert few is not None
    assert many is not None
    assert few == pytest.approx(many, rel=0.5)


def test_times_beyond_the_last_step_are_counted_in_it() -> None:
    judge = PulsePrecision(["time_to_first_token.p50"], 0.5)
    assert not any(judge(Pulse(0, 0, "profiling", 0, 0, 0, 0, {}, 0, 0, 0.0, {9_999: 1}, {})) for _ in range(599))
