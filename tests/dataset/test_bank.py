import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf import chance
from aiperf.dataset.bank import COMMON, Bank, Wording, spelled

KEYS = st.integers(0, 2**64 - 1)
WORDS = {word.decode()[1:] for word in COMMON.spelled.tolist()}
LETTERS = "abcdefghijklmnop"


def bank_of(bits: int, *, width: int = 4) -> Bank:
    """2**bits made-up words, with ids by which a word's place is known."""
    places = np.arange(1 << bits, dtype=np.int32)
    words = ("".join(LETTERS[place >> 4 * i & 15] for i in range(width)) for place in places.tolist())
    return Bank(spelled(words), places + 1_000_000, places)


BANKS = {bits: bank_of(bits) for bits in range(1, 17)}
ANY_BANK = st.sampled_from(sorted(BANKS)).map(BANKS.__getitem__)


def test_the_common_words_are_512_of_four_letters_after_a_space() -> None:
    assert COMMON.spelled.dtype == np.dtype("S5")
    assert len(WORDS) == len(COMMON.spelled) == 512
    assert all(len(word) == 4 and word.isascii() and word.islower() and word.isalpha() for word in WORDS)


@given(ANY_BANK, KEYS, st.integers(1, 700), st.integers(1, 700))
def test_a_text_is_the_beginning_of_a_longer_one(bank: Bank, key: int, n: int, more: int) -> None:
    text = bank.text(bank.words(key, n))
    assert len(text.split(" ")) == n
    assert {f" {word}".encode() for word in text.split(" ")} <= set(bank.spelled.tolist())
    assert bank.text(bank.words(key, n + more)).startswith(f"{text} ")


@given(ANY_BANK, st.lists(KEYS, max_size=5), st.integers(1, 520))
def test_blocks_are_the_words_of_their_keys(bank: Bank, keys: list[int], size: int) -> None:
    one_by_one = [bank.words(key, size).tolist() for key in keys]
    assert bank.blocks(np.array(keys, dtype=np.uint64), size).tolist() == one_by_one


@given(ANY_BANK, KEYS, st.integers(1, 300))
def test_ids_are_those_of_the_words_and_the_first_stands_without_its_space(bank: Bank, key: int, n: int) -> None:
    picks = bank.words(key, n)
    words = [f" {word}".encode() for word in bank.text(picks).split(" ")]
    first, *later = bank.encoded(picks)
    assert [bank.spelled[first - 1_000_000], *bank.spelled[later]] == words
    assert all(type(token) is int for token in (first, *later))


@given(KEYS)
def test_the_larger_bank_has_the_finer_draw(key: int) -> None:
    fine = BANKS[16].words(key, 40)
    for bits, bank in BANKS.items():
        assert (bank.words(key, 40) == fine >> 16 - bits).all()


def test_no_text_is_no_text() -> None:
    none = COMMON.words(1, 0)
    assert COMMON.text(none) == ""
    assert BANKS[4].encoded(none) == []


def test_longer_than_what_is_kept_at_hand() -> None:
    assert COMMON.text(COMMON.words(1, 100_003)).startswith(COMMON.text(COMMON.words(1, 60_000)))


@pytest.mark.parametrize("bits", [1, 9, 12])
def test_every_word_comes_as_often(bits) -> None:
    bank, each = BANKS[bits], 250
    counts = np.bincount(bank.words(11, each << bits), minlength=1 << bits)
    freedom = (1 << bits) - 1
    assert len(counts) == 1 << bits
    assert np.sum((counts - each) ** 2 / each) < freedom + 4 * np.sqrt(2 * freedom) + 8  # χ²: above once in 10,000


def test_twenty_thousand_texts_and_none_begins_like_another() -> None:
    begins = {COMMON.text(COMMON.words(chance.child_seed(3, str(i)), 8)) for i in range(20_000)}
    assert len(begins) == 20_000


@pytest.mark.parametrize("count", [0, 1, 3, 511, 131_072])
def test_a_bank_is_a_power_of_two(count) -> None:
    with pytest.raises(ValueError, match="a power of two"):
        Bank(np.full(count, b" able"))


def test_no_ids_without_ids() -> None:
    with pytest.raises(ValueError, match="without ids"):
        COMMON.encoded(COMMON.words(1, 3))


def test_another_process_draws_the_same() -> None:
    there: Bank = pickle.loads(pickle.dumps(BANKS[6]))  # noqa: S301 - our own bytes
    picks = there.words(9, 33)
    assert (picks == BANKS[6].words(9, 33)).all()
    assert (there.text(picks), there.encoded(picks)) == (BANKS[6].text(picks), BANKS[6].encoded(picks))


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_what_the_template_brings_is_taken_off(asked: int, template: int) -> None:
    assert Wording(template_tokens=template).size(asked) == max(1, asked - template)
