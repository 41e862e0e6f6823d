"""Text of an exact number of tokens: words that are one token each, so n words are n tokens, with no decode and re-encode.

words.txt holds 512 lowercase English words and fragments of four letters, each of which is one token after a space, and as
the first word without one, in the vocabularies of GPT-2, cl100k, o200k, Llama 3, Mistral (SentencePiece v1 and v3, both
tekken), DeepSeek V4, Qwen 1, 2.5, 3 and 3.5 and Gemma 3. They were found by encoding every such word of o200k (2,717) with each of
these: 594 are left in all; out of those came what offends and what is least a word. A bank for another tokenizer holds words
of its own vocabulary, believed only when it reads them so. Being of one size, n words are one gather from an array, and being
a power of two many, they take whole bits of a draw.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.errors import ConfigError
from aiperf.seams import Tokenizer

_LANES = 4  # words a draw of 64 bits, sixteen bits each
_LANE_BITS = 16

_SPACE = "Ġ▁ "  # how byte-level BPE, SentencePiece and decoded vocabularies spell the space before a word
_BARE = r"(?m)^(?:##|Ċ)?([a-z]{2,8})(?:</w>)?$"
_SPACED = rf"(?m)^[{_SPACE}]([a-z]{{2,8}})$"
_PHRASE = rf"(?m)^[{_SPACE}]?[a-z]+(?:[{_SPACE}][a-z]+)+$"
_SAMPLES = (1, 2, 3, 17, 512, 5000)
_TRIES = 32
_INSTEAD = "so no prompt of an exact length can be made; leave tokenizer.name out, or name another one"

MOST_WORDS = 1 << _LANE_BITS

Picks = NDArray[np.uint16]
"""Places of words in a bank."""

_Ids = tuple[int, int]
"""A word's token at the start of a text, and after a space."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Words of one length, each with the space before it (dtype S<width>), 2 to 65,536 of them, a power of two.

    `first_ids` and `ids` are a word's token without the space and with it; None where nobody asks for ids.
    """

    spelled: NDArray[np.bytes_]
    first_ids: NDArray[np.int32] | None = None
    ids: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        count = len(self.spelled)
        if not 2 <= count <= MOST_WORDS or count & (count - 1):
            raise ValueError(f"a bank holds 2 to {MOST_WORDS:,} words, a power of two; got {count}")

    @cached_property
    def _shift(self) -> np.uint16:
        return np.uint16(_LANE_BITS - (len(self.spelled).bit_length() - 1))

    def words(self, key: int, n: int) -> Picks:
        """`n` words of a key; what is asked for with a smaller n is how a larger one begins."""
        return self._picked(chance.draws(key, -(-n // _LANES)))[:n]

    def blocks(self, keys: NDArray[np.uint64], size: int) -> Picks:
        """`size` words of each key, a row a key, which is `words(key, size)`."""
        return self._picked(chance.mix(keys[:, None] + chance.steps(-(-size // _LANES))))[:, :size]

    def text(self, picks: Picks) -> str:
        """The words as a text: as many tokens as there are words."""
        return str(self.spelled.take(picks).view(np.uint8)[1:].data, "ascii")

    def encoded(self, picks: Picks) -> list[int]:
        """The tokens of `text`. For a bank that has ids."""
        if self.ids is None or self.first_ids is None:
            raise ValueError("this bank was made without ids")
        found: list[int] = self.ids.take(picks).tolist()
        return [int(self.first_ids[picks[0]]), *found[1:]] if found else []

    def _picked(self, hashes: NDArray[np.uint64]) -> Picks:
        return hashes.view(np.uint16) >> self._shift


def spelled(words: Iterable[str]) -> NDArray[np.bytes_]:
    """Words of one length (ASCII), each with the space before it."""
    return np.array([f" {word}".encode("ascii") for word in words])


COMMON = Bank(spelled(files("aiperf.dataset").joinpath("words.txt").read_text(encoding="ascii").split()))
"""The words that are one token each in all common vocabularies: 512 of five bytes, with their space."""


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """How texts are drawn: the bank, what they are salted with, and how many tokens of an asked length the chat template brings itself."""

    bank: Bank = COMMON
    salt: str = ""
    template_tokens: int = 0

    def size(self, asked: int) -> int:
        """Tokens of text for an asked length: at least 1."""
        return max(1, asked - self.template_tokens)


def bank_of(tokenizer: Tokenizer, *, with_ids: bool) -> Bank:
    """A bank whose texts have as many tokens as words: of the common words if it reads them all so, else of its own.

    Raises ConfigError, with what the tokenizer did instead, where there are no such words.
    """
    vocabulary = "\n".join(tokenizer.vocabulary())
    # a token that joins words makes their number of tokens hang on their neighbours
    phrases = {part for phrase in re.findall(_PHRASE, vocabulary) for part in re.findall("[a-z]+", phrase)}
    words = [word.decode()[1:] for word in COMMON.spelled.tolist()]
    known = _single(tokenizer, words) if phrases.isdisjoint(words) else {}
    if len(known) < len(words) or _misread(tokenizer, bank := _bank(known, words)):
        bank = _own(tokenizer, vocabulary, phrases)
    return bank if with_ids else Bank(bank.spelled)


def _own(tokenizer: Tokenizer, vocabulary: str, phrases: set[str]) -> Bank:
    """A bank out of the vocabulary's words; what is misread in a running text is left out, and the rest tried again."""
    spaced, bare = (set(re.findall(spelling, vocabulary)) - phrases for spelling in (_SPACED, _BARE))
    known = _longest_group(tokenizer, spaced & bare)  # most tokenizers spell a word in both ways, as it is or after a space
    if len(known) < 2:
        known = _longest_group(tokenizer, spaced | bare)
    for _ in range(_TRIES):
        if len(known) < 2:
            word = min(spaced | bare, default="able")
            alone, twice = (len(ids) for ids in tokenizer.encode([word, f"{word} {word}"]))
            seen = f"{word!r} is {alone}, '{word} {word}' {twice}"
            raise ConfigError(f"tokenizer.name: {tokenizer} has no two words of one token each ({seen}), {_INSTEAD}")
        words, size = sorted(known), min(MOST_WORDS, 1 << (len(known).bit_length() - 1))
        bank = _bank(known, [words[place * len(words) // size] for place in range(size)])  # spread, so that none of the alphabet is missing
        if not (misread := _misread(tokenizer, bank)):
            return bank
        known = {word: ids for word, ids in known.items() if word not in misread}
    counts = [f"{len(picks):,} as {len(ids):,} tokens" for picks, ids in _samples(tokenizer, bank) if bank.encoded(picks) != ids]
    reads = f"reads words of one token each otherwise in a text ({', '.join(counts)})"
    raise ConfigError(f"tokenizer.name: {tokenizer} {reads}, {_INSTEAD}")


def _single(tokenizer: Tokenizer, words: Sequence[str]) -> dict[str, _Ids]:
    """Those of the words that are one token of their own, wherever they stand."""
    alone = tokenizer.encode(words)
    twice = tokenizer.encode([f"{word} {word}" for word in words])
    found = {word: (one[0], two[1]) for word, one, two in zip(words, alone, twice) if len(one) == 1 and len(two) == 2 and two[0] == one[0]}
    shared = Counter(later for _, later in found.values())  # a token for all that is unknown is no word
    return {word: ids for word, ids in found.items() if shared[ids[1]] == 1}


def _longest_group(tokenizer: Tokenizer, candidates: Iterable[str]) -> dict[str, _Ids]:
    """The words of that length of which there are most; a length that cannot win any more is not tried."""
    groups = [list(group) for _, group in groupby(sorted(candidates, key=lambda word: (len(word), word)), len)]
    best: dict[str, _Ids] = {}
    for group in sorted(groups, key=lambda words: (-len(words), len(words[0]))):
        if len(best) >= len(group):
            break
        best = max(best, _single(tokenizer, group), key=len)
    return best


def _bank(known: Mapping[str, _Ids], words: Sequence[str]) -> Bank:
    first, later = np.array([known[word] for word in words], dtype=np.int32).T.copy()
    return Bank(spelled(words), first, later)


def _samples(tokenizer: Tokenizer, bank: Bank) -> Iterator[tuple[Picks, list[int]]]:
    """Words of a bank in texts of several lengths, and how they are read."""
    samples = [bank.words(chance.child_seed(size, "sample"), size) for size in _SAMPLES]
    return zip(samples, tokenizer.encode([bank.text(picks) for picks in samples]))


def _misread(tokenizer: Tokenizer, bank: Bank) -> set[str]:
    """Words of a bank with ids at which a reading first leaves what was meant, and those before them."""
    found = set[str]()
    for picks, ids in _samples(tokenizer, bank):
        if (meant := bank.encoded(picks)) != ids:
            place = next((i for i, (one, other) in enumerate(zip(meant, ids)) if one != other), min(len(meant), len(ids)))
            found.update(bank.text(picks[max(0, place - 1) : place + 1]).split(" "))
    return found
