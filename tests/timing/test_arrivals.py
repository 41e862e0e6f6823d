"""The spread of the gaps, which is what tells one arrival process from another."""

import numpy as np
import pytest

from aiperf.clock import SECOND
from aiperf.timing.arrivals import ConstantIntervalGenerator, PoissonIntervalGenerator

TIMES = [14405846, 18293115, 997375915749]


def spread(offsets: np.ndarray) -> float:
    gaps = np.diff(offsets)
    return float(gaps.std() / gaps.mean())


def test_constant_gaps_have_no_spread() -> None:
    assert spread(ConstantIntervalGenerator(1000, seed=1).offsets(10_000)) == 0


def test_constant_arrivals_begin_at_once_and_do_not_drift() -> None:
    offsets = ConstantIntervalGenerator(3, seed=1).offsets(3 * 86_400 + 1)
    assert offsets[:4].tolist() == [0, 333_333_333, 666_666_667, SECOND]
    assert offsets[-1] == 86_400 * SECOND


def test_poisson_gaps_are_exponential() -> None:
    offsets = PoissonIntervalGenerator(1000, seed=1).offsets(100_000)
    gaps = np.diff(offsets)
    assert spread(offsets) == pytest.approx(1, abs=0.02)
    assert np.corrcoef(gaps[1:], gaps[:-1])[0, 1] == pytest.approx(0, abs=0.02)
    assert np.quantile(gaps, [0.1, 0.5, 0.9]) / gaps.mean() == pytest.approx(-np.log([0.9, 0.5, 0.1]), abs=0.03)


def test_the_first_poisson_gap_is_one_like_the_others() -> None:
    firsts = np.array([PoissonIntervalGenerator(1000, seed=seed).offsets(1)[0] for seed in range(5000)])
    assert firsts.mean() == pytest.approx(1_000_000, rel=0.06)
    assert firsts.std() == pytest.approx(1_000_000, rel=0.08)


def test_poisson_counts_vary_as_they_should() -> None:
    counts = np.array([len(PoissonIntervalGenerator(100, seed=seed).until(SECOND)) for seed in range(2000)])
    assert counts.mean() == pytest.approx(100, rel=0.01)
    assert counts.var() == pytest.approx(100, rel=0.15)


def test_seeds_draw_other_times() -> None:
    one, two = (PoissonIntervalGenerator(10, seed=seed).offsets(50) for seed in (1, 2))
    assert not set(one.tolist()) & set(two.tolist())


def test_the_same_times_on_every_machine() -> None:
    """Taken once: an experiment's seed must mean the same arrivals elsewhere and later."""
    offsets = PoissonIntervalGenerator(100, seed=42).offsets(100_000)
    assert offsets[[0, 1, 99_999]].tolist() == TIMES


def test_an_hour_is_made_at_once() -> None:
    assert len(PoissonIntervalGenerator(500, seed=1).until(3600 * SECOND)) == pytest.approx(1_800_000, rel=0.01)
