"""What every arrival process must keep; a new one is declared in plugins.yaml and is tested here by that alone."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.clock import SECOND
from aiperf.plugin import plugins

NAMES = [entry.name for entry in plugins.iter_entries("arrival_pattern")]
RATES = st.floats(0.01, 1e6)
SEEDS = st.integers(0, 2**63 - 1)


def made(name: str, rate: float, seed: int = 1):
    return plugins.get_class("arrival_pattern", name)(rate, seed=seed)


@pytest.mark.parametrize("name", NAMES)
class TestEveryArrivalProcess:
    @given(rate=RATES, seed=SEEDS, few=st.integers(0, 300), more=st.integers(0, 300))
    def test_longer_arrays_begin_with_shorter_ones(self, name, rate, seed, few, more) -> None:
        arrivals = made(name, rate, seed)
        assert arrivals.offsets(few).tolist() == arrivals.offsets(few + more)[:few].tolist()

    @given(rate=RATES, seed=SEEDS, count=st.integers(0, 300))
    def test_never_goes_back(self, name, rate, seed, count) -> None:
        found = made(name, rate, seed).offsets(count)
        assert found.dtype == np.int64
        assert len(found) == count
        assert (np.diff(found, prepend=0) >= 0).all()

    @given(rate=RATES, seed=SEEDS, expected=st.floats(0, 500))
    def test_until_is_all_that_comes_before(self, name, rate, seed, expected) -> None:
        arrivals, duration_ns = made(name, rate, seed), round(expected / rate * SECOND)
        found = arrivals.until(duration_ns)
        longer = arrivals.offsets(len(found) + 1)
        assert found.tolist() == longer[:-1].tolist()
        assert longer[-1] >= duration_ns
        assert len(found) == 0 or found[-1] < duration_ns

    def test_keeps_its_rate(self, name) -> None:
        assert made(name, 250, 3).offsets(100_000)[-1] == pytest.approx(400 * SECOND, rel=0.02)

    def test_same_seed_same_times_in_any_process(self, name) -> None:
        there = pickle.loads(pickle.dumps(made(name, 100, 5)))  # noqa: S301 - our own bytes
        assert there.offsets(1000).tolist() == made(name, 100, 5).offsets(1000).tolist()
