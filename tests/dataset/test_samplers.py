import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.dataset.samplers import OneByOne, RandomSampler, SequentialSampler, ShuffleSampler

COUNTS, SEEDS = st.integers(1, 3000), st.integers(0, 2**40)
PLACES = st.lists(st.integers(0, 10**7), max_size=40)
KINDS = [SequentialSampler, RandomSampler, ShuffleSampler]


@pytest.mark.parametrize("kind", KINDS)
class TestEverySampler:
    @given(count=COUNTS, seed=SEEDS, places=PLACES)
    def test_any_conversations_row_is_had_without_those_before_it(self, kind, count, seed, places) -> None:
        sampler, asked = kind(count, seed=seed), np.array(places, dtype=np.int64)
        rows = sampler.rows(asked)
        assert rows.dtype == np.int64
        assert ((rows >= 0) & (rows < count)).all()
        assert rows.tolist() == [int(kind(count, seed=seed).rows(asked[i : i + 1])[0]) for i in range(len(asked))]
        assert [OneByOne(sampler.rows).at(place) for place in places] == rows.tolist()

    def test_another_seed_is_another_order(self, kind) -> None:
        one, two = (kind(1000, seed=seed).rows(np.arange(1000)).tolist() for seed in (1, 2))
        assert (one == two) == (kind is SequentialSampler)


def test_in_sequence_they_come_round() -> None:
    assert SequentialSampler(3, seed=1).rows(np.arange(7)).tolist() == [0, 1, 2, 0, 1, 2, 0]


@given(COUNTS, SEEDS, st.integers(0, 1000))
def test_a_shuffle_has_every_row_once_a_round(count: int, seed: int, number: int) -> None:
    sampler = ShuffleSampler(count, seed=seed)
    for which in (number, number + 1):
        assert sorted(sampler.rows(np.arange(which * count, (which + 1) * count)).tolist()) == list(range(count))


def test_a_shuffle_is_another_each_round() -> None:
    rows = ShuffleSampler(50, seed=1).rows(np.arange(50 * 200)).reshape(200, 50)
    assert len({tuple(order) for order in rows.tolist()}) == 200
    counts = np.array([np.bincount(rows[:, place], minlength=50) for place in range(50)])
    assert np.sum((counts - 4.0) ** 2 / 4) < 2700  # χ² of 49² = 2401 degrees: above 2,700 once in 50,000


def test_a_shuffle_of_many_rounds_of_few_rows() -> None:
    rows = ShuffleSampler(2, seed=1).rows(np.arange(20_000)).reshape(-1, 2)
    assert set(map(tuple, rows.tolist())) == {(0, 1), (1, 0)}
    assert abs(int(rows[:, 0].sum()) - 5000) < 250


def test_rounds_are_ordered_in_portions(monkeypatch) -> None:
    whole = ShuffleSampler(30, seed=1).rows(np.arange(900))
    monkeypatch.setattr("aiperf.dataset.samplers._ROOM", 70)
    assert ShuffleSampler(30, seed=1).rows(np.arange(900)).tolist() == whole.tolist()


def test_at_random_each_row_is_as_likely() -> None:
    counts = np.bincount(RandomSampler(100, seed=1).rows(np.arange(100_000)), minlength=100)
    assert len(counts) == 100
    assert np.sum((counts - 1000.0) ** 2 / 1000) < 170  # χ² of 99 degrees: above 170 once in 80,000


def test_neighbours_are_asked_for_at_once() -> None:
    asked = []

    class Counting:
        def rows(self, conversations):
            asked.append(len(conversations))
            return conversations % 7

    one = OneByOne(Counting().rows)
    assert [one.at(i) for i in range(3000)] == [i % 7 for i in range(3000)]
    assert len(asked) == 3
    assert [one.at(i) for i in (10_000, 20_000, 2999, 5)] == [4, 1, 3, 5]  # the oldest stretches are given up
    assert len(asked) == 6
