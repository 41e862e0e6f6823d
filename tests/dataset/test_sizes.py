import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.dataset.samplers import Sizes


@given(st.floats(1, 1e5), st.floats(0, 1e5), st.integers(0, 2**63), st.lists(st.integers(0, 10**7), max_size=20))
def test_one_at_a_time_is_as_an_array(mean: float, stddev: float, key: int, conversations: list[int]) -> None:
    sizes = Sizes(mean, stddev, key)
    found = sizes.of(np.array(conversations, dtype=np.int64)).tolist()
    assert found == [sizes.at(i) for i in conversations]
    assert all(size >= 1 for size in found)


def test_lengths_have_mean_and_deviation() -> None:
    found = Sizes(500, 80, 5).of(np.arange(100_000))
    assert (found.mean(), found.std()) == (pytest.approx(500, abs=1), pytest.approx(80, abs=1))


def test_a_fixed_length_is_the_mean_rounded() -> None:
    assert [Sizes(mean, 0, 1).at(3) for mean in (1, 99.4, 99.6)] == [1, 99, 100]
    assert Sizes(99.6, 0, 1).of(np.arange(3)).tolist() == [100, 100, 100]


def test_lengths_stay_what_an_array_holds() -> None:
    found = Sizes(1e7, 1e7, 5).of(np.arange(1000))
    assert found.min() == 1
    assert found.dtype == np.int32
