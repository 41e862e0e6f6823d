"""Text of an exact number of tokens: words that are one token each, so n words are n tokens, with no decode and re-encode.

words.txt holds 512 lowercase English words and fragments of four letters, each of which is one token after a space, and as
the first word without one, in the vocabularies of GPT-2, cl100k, o200k, Llama 3, Mistral (SentencePiece v1 and v3, both
tekken), DeepSeek V4, Qwen 1, 2.5, 3 and 3.5 and Gemma 3. They were found by encoding every such word of o200k (2,717) with each of
these: 594 are left in all; out of those came what offends and what is least a word. A bank for another tokenizer holds words
found in its own vocabulary (`vocabulary`). Being of one size, n words are one gather from an array, and being a power of
two many, they take whole bits of a draw.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from aiperf import chance

_LANES = 4  # words a draw of 64 bits, sixteen bits each
_LANE_BITS = 16

MOST_WORDS = 1 << _LANE_BITS

Picks = NDArray[np.uint16]
"""Places of words in a bank."""


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
