from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.metrics.statistics import PERCENTILES, distribution, floor, statistic, unsupported
from aiperf.results import STATS

values = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60)


def stats(found: list[float]) -> dict:
    return dict(distribution("m", "ms", np.array(found, np.float64)).stats)


def test_known_statistics() -> None:
    found = stats([1.0, 2.0, 3.0, 4.0, 10.0])
    assert list(found) == list(STATS)
    assert (found["avg"], found["min"], found["max"], found["sum"], found["p50"]) == (4.0, 1.0, 10.0, 20.0, 3.0)
    assert found["std"] == pytest.approx(np.std([1, 2, 3, 4, 10], ddof=1))
    assert found["p90"] == pytest.approx(7.6)  # between the fourth and the fifth, at 0.9 · 4 = 3.6


def test_one_value_has_no_deviation_and_nothing_has_no_statistic() -> None:
    assert stats([2.0])["std"] is None
    empty = distribution("m", "ms", np.empty(0))
    assert set(empty.stats.values()) == {None}
    assert empty.n == 0
    assert set(empty.unsupported) == set(PERCENTILES)
    assert statistic(np.empty(0), "p99") is None


@given(values)
def test_percentiles_are_bounded_and_monotone(found: list[float]) -> None:
    known = stats(found)
    ladder = [known["min"], *(known[stat] for stat in PERCENTILES), known["max"]]
    assert all(low <= high for low, high in pairwise(ladder))
    slack = 1e-9 * max(abs(v) for v in found)
    assert known["min"] - slack <= known["avg"] <= known["max"] + slack


@given(values)
def test_percentiles_are_numpys(found: list[float]) -> None:
    known = stats(found)
    for stat, percentile in PERCENTILES.items():
        assert known[stat] == pytest.approx(np.percentile(found, percentile), rel=1e-12, abs=1e-9)


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_values_does_not_show(found: list[float], chance) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert stats(shuffled) == stats(found)


@pytest.mark.parametrize(("percentile", "least"), [(50, 11), (75, 24), (90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_floors(percentile: float, least: int) -> None:
    assert floor(percentile) == least
    assert floor(100 - percentile) == pytest.approx(least, abs=1)


@pytest.mark.parametrize("percentile", [50.0, 75.0, 90.0, 95.0, 99.0])
def test_a_floor_is_the_least_n_with_two_samples_beyond(percentile: float) -> None:
    beyond = 1 - percentile / 100

    def fewer_than_two(n: int) -> float:
        return sum(comb(n, k) * beyond**k * (1 - beyond) ** (n - k) for k in (0, 1))

    assert fewer_than_two(floor(percentile)) <= 0.01 < fewer_than_two(floor(percentile) - 1)


def test_support_is_alike_at_both_ends_and_grows_with_n() -> None:
    def lacking(n: float) -> tuple[str, ...]:
        return unsupported(dict.fromkeys(PERCENTILES, n))

    assert unsupported({}) == lacking(10.9) == tuple(PERCENTILES)
    assert lacking(661) == ("p1", "p99", "p99.9")
    assert lacking(662) == ("p99.9",)
    assert lacking(6636) == ()


def test_support_is_by_what_is_independent() -> None:
    chance = np.random.default_rng(1)
    assert distribution("m", "ms", chance.exponential(size=1000)).unsupported == ("p99.9",)
    repeated = distribution("m", "ms", np.repeat(chance.exponential(size=100), 10))
    assert set(repeated.unsupported) >= {"p1", "p5", "p95", "p99", "p99.9"}
    assert "p50" not in repeated.unsupported
