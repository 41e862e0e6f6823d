import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf import chance

KEYS = st.integers(0, 2**64 - 1)
BITS = ["0x1.d6f754bd73e58p-1", "0x1.043a491227ca8p+10", "0x1.1390de89f8fecp-1", "-0x1.f0091bbeded32p+4"]


@given(KEYS, st.integers(1, 100))
def test_a_draw_is_had_without_what_comes_before_it(key: int, count: int) -> None:
    assert chance.draws_at(key, np.arange(count)).tolist() == chance.draws(key, count).tolist()


def test_the_draws_are_splitmix64s() -> None:
    # the reference generator's first outputs for the state 1234567
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert chance.draws(1234567, 5).tolist() == expected


def test_long_arrays_begin_with_short_ones() -> None:
    assert chance.draws(3, 40_000)[:16_384].tolist() == chance.draws(3, 16_384).tolist()


def test_drawing_leaves_the_steps_alone() -> None:
    before = chance.steps(100).copy()
    chance.draws(1, 100)
    assert chance.steps(100).tolist() == before.tolist()


def test_exponential_is_the_logarithm() -> None:
    hashes = chance.draws(5, 50_000)
    expected = -np.log(chance.uniform(hashes))
    np.testing.assert_allclose(chance.exponential(hashes), expected, rtol=1e-11, atol=1e-15)


def test_the_ends_of_the_range() -> None:
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert chance.uniform(ends).tolist() == [2.0**-53, 1.0]
    assert chance.exponential(ends).tolist() == pytest.approx([53 * math.log(2), 0])


def test_normal_has_the_moments_of_one() -> None:
    drawn = chance.normal(chance.draws(1, 200_000), chance.draws(2, 200_000))
    assert [np.mean(drawn**k) for k in (1, 2, 3, 4)] == pytest.approx([0, 1, 0, 3], abs=0.1)
    assert np.corrcoef(drawn[1:], drawn[:-1])[0, 1] == pytest.approx(0, abs=0.01)


def test_the_same_bits_on_every_machine() -> None:
    """Taken once; another machine's mathematical library must not change a bit."""
    exponential = chance.exponential(chance.draws(42, 1000))
    normal = chance.normal(chance.draws(42, 1000), chance.draws(43, 1000))
    assert [float(v).hex() for v in (exponential[999], exponential.cumsum()[999], normal[999], normal.cumsum()[999])] == BITS


@given(st.integers(), st.integers(), st.text(), st.text())
def test_children_are_told_apart(seed: int, other: int, name: str, another: str) -> None:
    same = (seed, name) == (other, another)
    assert (chance.child_seed(seed, name) == chance.child_seed(other, another)) == same
    assert 0 <= chance.child_seed(seed, name) < 2**64
