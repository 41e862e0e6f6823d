import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aiperf import chance
from aiperf.dataset import bank

KEYS = st.integers(0, 2**64 - 1)
WORDS = {word.decode()[1:] for word in bank.BANK.tolist()}


def test_the_bank_is_512_words_of_four_letters_after_a_space() -> None:
    assert bank.BANK.dtype == np.dtype("S5")
    assert len(WORDS) == len(bank.BANK) == 512
    assert all(len(word) == 4 and word.isascii() and word.islower() and word.isalpha() for word in WORDS)
    assert bank.BANK.itemsize == bank.WIDTH


@given(KEYS, st.integers(1, 700), st.integers(1, 700))
def test_a_text_is_the_beginning_of_a_longer_one(key: int, n: int, more: int) -> None:
    text = bank.text(key, n)
    assert len(text.split(" ")) == n
    assert set(text.split(" ")) <= WORDS
    assert bank.text(key, n + more).startswith(text)


@given(st.lists(KEYS, max_size=5), st.integers(1, 130))
def test_blocks_are_the_words_of_their_keys(keys: list[int], quarter: int) -> None:
    expected = b"".join(bank.words(key, 4 * quarter) for key in keys)
    assert bank.blocks(np.array(keys, dtype=np.uint64), 4 * quarter) == expected


def test_no_text_is_no_text() -> None:
    assert bank.text(1, 0) == ""


def test_longer_than_what_is_kept_at_hand() -> None:
    assert bank.text(1, 100_003).startswith(bank.text(1, 60_000))


def test_every_word_comes_as_often() -> None:
    hashes = chance.draws(11, 128_000).view(np.uint16) >> 7
    counts = np.bincount(hashes, minlength=512)
    assert len(counts) == 512
    assert np.sum((counts - 1000.0) ** 2 / 1000) < 640  # χ² of 511 degrees: above 640 once in 20,000


def test_twenty_thousand_texts_and_none_begins_like_another() -> None:
    begins = {bank.text(chance.child_seed(3, str(i)), 8) for i in range(20_000)}
    assert len(begins) == 20_000
