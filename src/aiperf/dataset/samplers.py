"""Which row a conversation is: pure and seeded, so that any conversation's row is had without those before it."""

from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.seams import Sampler

Rows = NDArray[np.int64]

_ROOM = 1_000_000  # rows that are ordered at once
_STRETCH = 1024
_STRETCHES = 4


@dataclass(frozen=True, slots=True)
class SequentialSampler:
    """Row after row; after the last comes the first again."""

    count: int
    _: KW_ONLY
    seed: int

    def rows(self, conversations: Rows) -> Rows:
        """The rows of these conversations."""
        return conversations % self.count


@dataclass(frozen=True, slots=True)
class RandomSampler:
    """Any row at any time, each as likely: drawn with replacement."""

    count: int
    _: KW_ONLY
    seed: int

    def rows(self, conversations: Rows) -> Rows:
        """The rows of these conversations."""
        drawn = chance.draws_at(chance.child_seed(self.seed, "sampling"), conversations)
        return (drawn % np.uint64(self.count)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ShuffleSampler:
    """Every row once in a drawn order, then every row again in another."""

    count: int
    _: KW_ONLY
    seed: int

    def rows(self, conversations: Rows) -> Rows:
        """The rows of these conversations."""
        key = chance.child_seed(self.seed, "sampling")
        rounds, places = np.divmod(conversations, self.count)
        drawn, which = np.unique(rounds, return_inverse=True)
        if len(drawn) == 1:
            return _order(key, self.count, int(drawn[0]))[places]
        found = np.empty(len(conversations), dtype=np.int64)
        step = max(1, _ROOM // self.count)
        for start in range(0, len(drawn), step):
            inside = (which >= start) & (which < start + step)
            orders = _orders(key, self.count, drawn[start : start + step])
            found[inside] = orders[which[inside] - start, places[inside]]
        return found


@lru_cache(maxsize=2)
def _order(key: int, count: int, number: int) -> Rows:
    """The order of one round; kept, since conversations are mostly asked for one after the other."""
    order: Rows = _orders(key, count, np.array([number]))[0]
    return order


def _orders(key: int, count: int, rounds: Rows) -> Rows:
    """The orders of some rounds, a row each: where the draws of a round's own key would stand if they were sorted."""
    keys = chance.draws_at(key, rounds)
    return np.argsort(chance.mix(keys[:, None] + chance.steps(count)), axis=1).astype(np.int64)


class OneByOne:
    """A sampler asked for one conversation at a time; a few stretches of neighbours are kept, since one alone costs as much as hundreds."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._stretches: dict[int, list[int]] = {}

    def row(self, conversation: int) -> int:
        """The row of a conversation."""
        number, place = divmod(conversation, _STRETCH)
        if (stretch := self._stretches.get(number)) is None:
            stretch = self._stretch(number)
        return stretch[place]

    def _stretch(self, number: int) -> list[int]:
        found: list[int] = self._sampler.rows(np.arange(number * _STRETCH, (number + 1) * _STRETCH)).tolist()
        while len(self._stretches) >= _STRETCHES:
            del self._stretches[next(iter(self._stretches))]
        self._stretches[number] = found
        return found
