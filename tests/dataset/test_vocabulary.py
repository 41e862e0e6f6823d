import hashlib
import itertools

import numpy as np
import pytest
from spelling import COMMON_WORDS, Made, byte_level, letters, underscored, word_pieces

from aiperf.dataset.bank import COMMON, bank_of
from aiperf.errors import ConfigError

OTHERS = ["".join(made) for made in itertools.product("bdgklmnprst", "aeiou", "bdgklmnprst", "aeiou")][::5]
"""605 words of four letters that nobody says."""
KINDS = {
    "byte-level BPE of the common words": lambda: byte_level(COMMON_WORDS),
    "byte-level BPE of others": lambda: byte_level(OTHERS),
    "word pieces of the common words": lambda: word_pieces(COMMON_WORDS),
    "word pieces of others": lambda: word_pieces(OTHERS),
    "a unigram model of the common words": lambda: underscored(COMMON_WORDS),
    "a unigram model of others": lambda: underscored(OTHERS),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param, Made(KINDS[request.param](), request.param)


class TestAnyTokenizer:
    def test_a_text_has_as_many_tokens_as_words(self, kind) -> None:
        bank = bank_of(kind[1], with_ids=False)
        sizes = [1, 2, 5, 64, 511, 12_288, *range(90, 120)]
        texts = [bank.text(bank.words(size, size)) for size in sizes]
        assert [len(ids) for ids in kind[1].encode(texts)] == sizes

    def test_ids_are_those_that_the_tokenizer_gives(self, kind) -> None:
        bank = bank_of(kind[1], with_ids=True)
        picks = [bank.words(size, size) for size in (1, 2, 300)]
        assert kind[1].encode([bank.text(pick) for pick in picks]) == [bank.encoded(pick) for pick in picks]

    def test_without_ids_there_are_none_and_the_words_are_the_same(self, kind) -> None:
        without, bank = (bank_of(kind[1], with_ids=with_ids) for with_ids in (False, True))
        assert (without.ids, without.first_ids) == (None, None)
        assert without.spelled.tolist() == bank.spelled.tolist()

    def test_the_common_words_are_taken_where_they_are_tokens(self, kind) -> None:
        assert (bank_of(kind[1], with_ids=False).spelled.tolist() == COMMON.spelled.tolist()) == ("the common words" in kind[0])


def test_own_words_are_the_most_of_one_length_and_spread_over_the_alphabet() -> None:
    words = [*OTHERS, *(f"{word}ish" for word in OTHERS[:100])]
    spelled = bank_of(Made(underscored(words)), with_ids=False).spelled
    assert spelled.dtype == np.dtype("S5")
    assert len(spelled) == 512
    assert {chr(word[1]) for word in spelled.tolist()} == set("bdgklmnprst")


def test_own_words_are_the_same_for_everyone() -> None:
    """The order of a set of strings is another in each process."""
    found = b"".join(bank_of(Made(word_pieces(OTHERS[::-1])), with_ids=False).spelled.tolist())
    assert hashlib.sha256(found).hexdigest() == "d404688d29f467fe3e118c90c570bc05e437c14c41f52c4aae13e60279af3c26"


def test_words_that_a_token_joins_are_left_out() -> None:
    joined = COMMON_WORDS[:40]
    tokenizer = Made(underscored([*COMMON_WORDS, *OTHERS], list(itertools.pairwise(joined))))
    bank = bank_of(tokenizer, with_ids=False)
    words = [word.decode()[1:] for word in bank.spelled.tolist()]
    assert not set(words) & set(joined)
    assert len(tokenizer.encode([" ".join(words)])[0]) == len(words) == 1024


class Moody(Made):
    """Reads some words as two tokens wherever they follow a certain letter, which shows only in a running text."""

    def encode(self, texts):
        moody = {self.inner.token_to_id(f"▁{word}") for word in COMMON_WORDS[5:30]}
        counts = ([1 + (token in moody and place > 1) for place, token in enumerate(ids)] for ids in super().encode(texts))
        return [np.repeat(ids, many).tolist() for ids, many in zip(super().encode(texts), counts)]


def test_words_that_behave_only_alone_are_found_out() -> None:
    tokenizer = Moody(underscored([*COMMON_WORDS, *OTHERS]))
    bank = bank_of(tokenizer, with_ids=False)
    words = {word.decode().strip() for word in bank.spelled.tolist()}
    assert not words & set(COMMON_WORDS[5:30])
    assert len(tokenizer.encode([bank.text(bank.words(1, 40_000))])[0]) == 40_000


class Counting(Made):
    """Adds a token to every text of more than a hundred."""

    def encode(self, texts):
        return [[*ids, 0] if len(ids) > 100 else ids for ids in super().encode(texts)]


def test_a_tokenizer_that_is_never_exact_is_refused() -> None:
    seen = r"tokenizer\.name: grumpy reads words of one token each otherwise in a text \(512 as 513 tokens, 5,000 as 5,001 tokens\)"
    with pytest.raises(ConfigError, match=seen):
        bank_of(Counting(underscored(COMMON_WORDS), "grumpy"), with_ids=False)


@pytest.mark.parametrize("inner", [letters(), word_pieces(["12", "34", "AB"])], ids=["letters", "no words"])
def test_a_tokenizer_without_words_is_refused_with_what_it_did(inner) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.name: odd has no two words of one token each \('able' is \d, 'able able' \d\)"):
        bank_of(Made(inner, "odd"), with_ids=True)
