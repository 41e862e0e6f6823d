"""Text of an exact number of tokens without a tokenizer: words that are one token each, so n words are n tokens.

words.txt holds 512 lowercase English words and fragments of four letters, each of which is one token after a space, and as
the first word without one, in the vocabularies of GPT-2, cl100k, o200k, Llama 3, Mistral (SentencePiece v1 and v3, both
tekken), DeepSeek V4, Qwen 1, 2.5, 3 and 3.5 and Gemma 3. They were found by encoding every such word of o200k (2,717) with each of
these: 594 are left in all; out of those came what offends and what is least a word. Being of one size, n of them are
one gather from an array, and 512 takes nine bits of a draw.
"""

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from aiperf import chance

_WORDS = files("aiperf.dataset").joinpath("words.txt").read_text(encoding="ascii").split()
BANK: NDArray[np.bytes_] = np.array([f" {word}".encode() for word in _WORDS], dtype="S5")
"""The words, each with the space before it: 512 of five bytes."""

WIDTH = 5
"""Bytes of a word and its space."""

_SHIFT = np.uint16(7)  # of sixteen bits the upper nine are the word
_LANES = 4  # words a draw of 64 bits


def words(key: int, n: int) -> bytes:
    """`n` words of a key, each after a space; what is asked for with a smaller n is how a larger one begins."""
    return _spelled(chance.draws(key, -(-n // _LANES)), n)


def blocks(keys: NDArray[np.uint64], size: int) -> bytes:
    """`size` words (a multiple of 4) of each key, one after the other; a block is `words(key, size)`."""
    hashes = chance.mix(keys[:, None] + chance.steps(size // _LANES))
    return _spelled(hashes.ravel(), len(keys) * size)


def joined(spelled: bytes) -> str:
    """Words as a text: without the space before the first."""
    return spelled[1:].decode("ascii")


def text(key: int, n: int) -> str:
    """A prompt of `n` words, which is `n` tokens; `text(key, k)` is its first k words."""
    return joined(words(key, n))


def _spelled(hashes: NDArray[np.uint64], n: int) -> bytes:
    return BANK.take(hashes.view(np.uint16)[:n] >> _SHIFT).tobytes()
