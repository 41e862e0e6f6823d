"""What an interval keeps whatever the values are; that it holds the truth is test_intervals_coverage.py."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from aiperf.metrics.intervals import Interval, below, dependence, needed, order_bounds, rate_interval, why_none
from aiperf.metrics.statistics import PERCENTILES, distribution, floor
from aiperf.results import STATS, MetricValue

seeds = st.integers(0, 2**32 - 1)
S = 1_000_000_000


def autoregressive(seed: int, n: int, phi: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    noise[0] /= (1 - phi**2) ** 0.5
    return lfilter([1], [1, -phi], noise)


def told(values: np.ndarray) -> MetricValue:
    return distribution("m", "ms", np.asarray(values, np.float64))


@given(seeds, st.sampled_from([0.0, 0.5]), st.sampled_from([1e-9, 2.0, 1e200]), st.sampled_from([0.0, -3.0, 100.0]))
def test_a_unit_and_an_origin_do_not_matter(seed: int, phi: float, scale: float, shift: float) -> None:
    values = autoregressive(seed, 2000, phi)
    here, there = told(values), told((values + shift) * scale)
    assert there.intervals.keys() == here.intervals.keys()
    for stat, bounds in here.intervals.items():
        assert np.array(there.intervals[stat]) / scale - shift == pytest.approx(bounds, abs=1e-9)
        assert there.effective[stat] == pytest.approx(here.effective[stat], rel=1e-6)


@given(seeds)
def test_a_mirror_exchanges_the_ends(seed: int) -> None:
    values = autoregressive(seed, 16_000, 0.1)
    here, there = told(values), told(-values)
    assert here.intervals
    for stat, other in (("avg", "avg"), ("p50", "p50"), ("p10", "p90"), ("p1", "p99")):
        assert (stat in here.intervals) == (other in there.intervals)
        if stat in here.intervals:
            assert there.intervals[other] == pytest.approx([-end for end in reversed(here.intervals[stat])], abs=1e-6)


@given(seeds, st.integers(1, 3000), st.sampled_from([0.0, 0.5, 0.95]), st.integers(0, 3))
def test_every_interval_holds_its_estimate_and_no_count_is_above_n(seed: int, n: int, phi: float, digits: int) -> None:
    found = told(autoregressive(seed, n, phi).round(digits))
    assert set(found.effective) == {"avg", *PERCENTILES}
    assert all(0 < count <= n for count in found.effective.values())
    for stat, (low, high) in found.intervals.items():
        assert low <= found.stats[stat] <= high
        assert found.stats["min"] <= low if stat != "avg" else True
        assert found.effective[stat] >= needed(stat)
    assert found.unsupported == tuple(stat for stat in PERCENTILES if found.effective[stat] < floor(PERCENTILES[stat]))


@pytest.mark.parametrize("n", [200, 1000, 20_000])
def test_independent_values_count_nearly_whole(n: int) -> None:
    found = [told(np.random.default_rng(seed).exponential(size=n)).effective for seed in range(40)]
    for stat in ("avg", "p50", "p90", "p99"):
        assert np.mean([effective[stat] for effective in found]) >= 0.93 * n


@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_the_autocorrelation_time_of_a_known_process(phi: float) -> None:
    found = np.mean([dependence(autoregressive(seed, 20_000, phi)).tau for seed in range(20)])
    assert found == pytest.approx((1 + phi) / (1 - phi), rel=0.12)
    # of the indicator of the median: 1 + 2 Σ (2/π) arcsin φ^k, since signs correlate so (Sheppard)
    median = 1 + 2 * sum(2 / np.pi * np.arcsin(phi**k) for k in range(1, 300))
    indicators = np.mean([dependence(below(autoregressive(seed, 20_000, phi), 0.0)).tau for seed in range(20)])
    assert indicators == pytest.approx(median, rel=0.12)


def test_alternating_values_are_no_more_than_n() -> None:
    found = told(np.tile([1.0, 2.0], 2000))
    assert found.effective["avg"] == 4000
    assert found.intervals["avg"][0] < 1.5 < found.intervals["avg"][1]


def test_values_that_are_all_alike_have_intervals_without_width() -> None:
    found = told(np.full(1000, 7.25))
    assert found.intervals["avg"] == (7.25, 7.25)
    assert found.intervals["p90"] == (7.25, 7.25)
    assert found.effective["p99"] == 1000


def test_most_values_alike_do_not_hide_that_the_rest_come_in_clusters() -> None:
    values = np.full(6000, 128.0)
    values[1000:1500] = values[4000:4500] = 64.0
    assert told(values).effective["p50"] < 50
    assert not told(values).intervals


def test_a_short_run_has_none_and_says_why() -> None:
    found = told(autoregressive(1, 300, 0.99))
    assert not found.intervals
    assert why_none(found, "p50") == f"too few independent samples ({found.effective['p50']:.0f} of 50)"
    found = told(np.random.default_rng(1).exponential(size=250))
    assert why_none(found, "p99") == "too few independent samples (250 of 299)"
    assert why_none(found, "p75") == "too short a run to tell how dependent its samples are"
    assert why_none(told(np.empty(0)), "avg") == "too few independent samples (0 of 100)"


@pytest.mark.parametrize(
    ("stat", "least"), [("p50", 50), ("p90", 50), ("p10", 50), ("p95", 59), ("p99", 299), ("p1", 299), ("p99.9", 2995), ("avg", 100)]
)
def test_needed(stat: str, least: int) -> None:
    assert needed(stat) == least
    assert stat in STATS


@given(st.floats(51, 1e6), st.floats(1.01, 10), st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.95, 0.99]))
def test_order_bounds_hold_the_quantile_and_narrow(effective: float, times: float, q: float) -> None:
    wide, narrow = order_bounds(effective, q), order_bounds(effective * times, q)
    if wide is None:
        assert effective < needed(f"p{100 * q:g}")
        return
    assert narrow is not None
    assert 0 < wide[0] < q < wide[1] < 1
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    mirror = order_bounds(effective, 1 - q)
    assert mirror == pytest.approx((1 - wide[1], 1 - wide[0]), abs=1e-9)


@pytest.mark.parametrize(("q", "least"), [(0.5, 50), (0.95, 59), (0.99, 299), (0.01, 299)])
def test_order_bounds_exist_from_where_order_statistics_do(q: float, least: int) -> None:
    assert order_bounds(least, q) is not None
    assert order_bounds(least - 1, q) is None


@pytest.mark.parametrize(("n", "q"), [(60, 0.5), (60, 0.9), (320, 0.99), (1000, 0.99)])
def test_order_bounds_hold_uniform_quantiles_as_often_as_they_say(n: int, q: float) -> None:
    low, high = order_bounds(n, q)
    draws = np.sort(np.random.default_rng(3).random((4000, n)), axis=1)
    ends = [np.apply_along_axis(lambda row, p=p: np.interp(p * (n + 1), np.arange(1, n + 1), row), 1, draws) for p in (low, high)]
    assert np.mean((ends[0] <= q) & (q <= ends[1])) == pytest.approx(0.95, abs=0.012)


def test_a_rate_of_poisson_arrivals() -> None:
    held = []
    for seed in range(300):
        ended = np.cumsum(np.random.default_rng(seed).exponential(S / 100, 4000)).astype(np.int64)
        found = rate_interval(ended, 0, 30 * S)
        if isinstance(found, Interval):
            assert found.effective <= np.count_nonzero(ended <= 30 * S)
            held.append(found.low <= 100 <= found.high)
    assert len(held) >= 280
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("offset", [0, 1, 7_000_000, 9_999_999])
@pytest.mark.parametrize("per_s", [99.97, 100.0, 333.3])
def test_a_constant_rate_is_known_to_an_event(per_s: float, offset: int) -> None:
    ended = (offset + np.arange(20_000) * (S / per_s)).astype(np.int64)
    found = rate_interval(ended, 0, 30 * S)
    assert found.low <= per_s <= found.high
    assert found.high - found.low <= 0.01 * per_s


def test_weights_are_carried_and_never_told_finer_than_the_largest() -> None:
    ended = np.arange(1, 5001) * (S // 100)
    plain, tokens = rate_interval(ended, 0, 50 * S), rate_interval(ended, 0, 50 * S, np.full(5000, 20.0))
    assert (tokens.low, tokens.high) == pytest.approx((20 * plain.low, 20 * plain.high))
    assert plain.high - plain.low >= 2 / 50


def test_no_rate_of_few_events_of_none_or_of_slow_waves() -> None:
    chance = np.random.default_rng(1)
    assert rate_interval(np.sort(chance.integers(0, S, 599)), 0, S) is None
    assert rate_interval(np.empty(0, np.int64), 0, S) is None
    wave = np.sort(chance.choice(1000, 5000, p=(p := 1 + np.sin(np.arange(1000) / 80)) / p.sum())) * (S // 1000)
    assert rate_interval(wave, 0, S) is None


def test_a_million_values_are_quick() -> None:
    values, spans = np.random.default_rng(1).exponential(size=1_000_000), list[float]()
    while len(spans) < 10 and min(spans, default=2) >= 2:  # 0.1 s where nobody else is about
        began = time.thread_time()
        told(values)
        spans.append(time.thread_time() - began)
    assert min(spans) < 2
