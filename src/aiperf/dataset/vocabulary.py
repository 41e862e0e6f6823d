"""Words of a tokenizer that are one token each, found in its own vocabulary and believed only when it reads them so."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from aiperf import chance
from aiperf.dataset.bank import COMMON, MOST_WORDS, Bank, Picks, spelled
from aiperf.errors import ConfigError
from aiperf.seams import Tokenizer

_SPACE = "Ġ▁ "  # how byte-level BPE, SentencePiece and decoded vocabularies spell the space before a word
_BARE = re.compile(r"^(?:##|Ċ)?([a-z]{2,8})(?:</w>)?$", re.MULTILINE)
_SPACED = re.compile(rf"^[{_SPACE}]([a-z]{{2,8}})$", re.MULTILINE)
_PHRASE = re.compile(rf"^[{_SPACE}]?[a-z]+(?:[{_SPACE}][a-z]+)+$", re.MULTILINE)
_PART = re.compile("[a-z]+")
_SAMPLES = (1, 2, 3, 17, 512, 5000)
_TRIES = 32
_INSTEAD = "leave tokenizer.name out, or name another one"


_Ids = tuple[int, int]
"""A word's token at the start of a text, and after a space."""


def bank_of(tokenizer: Tokenizer, *, with_ids: bool) -> Bank:
    """A bank whose texts have as many tokens as words: of the common words if it reads them all so, else of its own.

    Raises ConfigError, with what the tokenizer did instead, where there are no such words.
    """
    vocabulary = "\n".join(tokenizer.vocabulary())
    # a token that joins words makes their number of tokens hang on their neighbours
    phrases = {part for phrase in _PHRASE.findall(vocabulary) for part in _PART.findall(phrase)}
    bank = _common(tokenizer, phrases) or _own(tokenizer, vocabulary, phrases)
    return bank if with_ids else Bank(bank.spelled)


def _common(tokenizer: Tokenizer, phrases: set[str]) -> Bank | None:
    words = [word.decode()[1:] for word in COMMON.spelled.tolist()]
    known = _single(tokenizer, words) if phrases.isdisjoint(words) else {}
    if len(known) < len(words) or _misread(tokenizer, bank := _bank(known, words)):
        return None
    return bank


def _own(tokenizer: Tokenizer, vocabulary: str, phrases: set[str]) -> Bank:
    """A bank out of the vocabulary's words; what is misread in a running text is left out, and the rest tried again."""
    spaced, bare = (set(spelling.findall(vocabulary)) - phrases for spelling in (_SPACED, _BARE))
    known = _longest_group(tokenizer, spaced & bare)  # most tokenizers spell a word in both ways, as it is or after a space
    if len(known) < 2:
        known = _longest_group(tokenizer, spaced | bare)
    for _ in range(_TRIES):
        if len(known) < 2:
            raise ConfigError(f"tokenizer.name: {tokenizer} {_seen(tokenizer, sorted(spaced | bare))}; {_INSTEAD}")
        bank = _bank(known, _spread(sorted(known)))
        if not (misread := _misread(tokenizer, bank)):
            return bank
        known = {word: ids for word, ids in known.items() if word not in misread}
    raise ConfigError(f"tokenizer.name: {tokenizer} {_seen_in_texts(tokenizer, bank)}; {_INSTEAD}")


def _single(tokenizer: Tokenizer, words: Sequence[str]) -> dict[str, _Ids]:
    """Those of the words that are one token of their own, wherever they stand."""
    alone = tokenizer.encode(words)
    twice = tokenizer.encode([f"{word} {word}" for word in words])
    found = {word: (one[0], two[1]) for word, one, two in zip(words, alone, twice) if len(one) == 1 and len(two) == 2 and two[0] == one[0]}
    shared = Counter(later for _, later in found.values())  # a token for all that is unknown is no word
    return {word: ids for word, ids in found.items() if shared[ids[1]] == 1}


def _longest_group(tokenizer: Tokenizer, candidates: Iterable[str]) -> dict[str, _Ids]:
    """The words of that length of which there are most; a length that cannot win any more is not tried."""
    groups: dict[int, list[str]] = {}
    for word in sorted(candidates):
        groups.setdefault(len(word), []).append(word)
    best: dict[str, _Ids] = {}
    for group in sorted(groups.values(), key=lambda words: (-len(words), len(words[0]))):
        if len(best) >= len(group):
            break
        best = max(best, _single(tokenizer, group), key=len)
    return best


def _spread(words: Sequence[str]) -> list[str]:
    """As many as the largest power of two, at even distances, so that none of the alphabet is missing."""
    size = min(MOST_WORDS, 1 << (len(words).bit_length() - 1))
    return [words[place * len(words) // size] for place in range(size)]


def _bank(known: Mapping[str, _Ids], words: Sequence[str]) -> Bank:
    first, later = np.array([known[word] for word in words], dtype=np.int32).T.copy()
    return Bank(spelled(words), first, later)


def _samples(tokenizer: Tokenizer, bank: Bank) -> Iterator[tuple[Picks, list[int]]]:
    """Words of a bank in texts of several lengths, and how they are read."""
    samples = [bank.words(chance.child_seed(size, "sample"), size) for size in _SAMPLES]
    return zip(samples, tokenizer.encode([bank.text(picks) for picks in samples]))


def _misread(tokenizer: Tokenizer, bank: Bank) -> set[str]:
    """Words of a bank with ids at which a reading leaves what was meant."""
    return {word for picks, ids in _samples(tokenizer, bank) for word in _strangers(bank, picks, ids)}


def _strangers(bank: Bank, picks: Picks, ids: Sequence[int]) -> list[str]:
    """The word at which a reading first leaves a text, and the one before it; none where it was read as it was meant."""
    meant = bank.encoded(picks)
    if meant == list(ids):
        return []
    both = min(len(meant), len(ids))
    place = next((i for i in range(both) if meant[i] != ids[i]), both)
    return bank.text(picks[max(0, place - 1) : place + 1]).split(" ")


def _seen(tokenizer: Tokenizer, candidates: Sequence[str]) -> str:
    """What a tokenizer does with a word, for a person."""
    word = candidates[0] if candidates else "able"
    alone, twice = (len(ids) for ids in tokenizer.encode([word, f"{word} {word}"]))
    seen = f"{word!r} is {alone}, '{word} {word}' {twice}"
    return f"has no two words of one token each ({seen}), so no prompt of an exact length can be made"


def _seen_in_texts(tokenizer: Tokenizer, bank: Bank) -> str:
    """What a tokenizer does with words that are one token each by themselves."""
    counts = [f"{len(picks):,} as {len(ids):,} tokens" for picks, ids in _samples(tokenizer, bank) if bank.encoded(picks) != ids]
    return f"reads words of one token each otherwise in a text ({', '.join(counts)}), so no prompt of an exact length can be made"
