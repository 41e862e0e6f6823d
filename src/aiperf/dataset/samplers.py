"""What a conversation's number stands for, its row and its lengths: pure and seeded, so that any one is had without those before it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiperf import chance

Rows = NDArray[np.int64]

_ROOM = 1_000_000  # rows that are ordered at once
_STRETCH = 1024
_STRETCHES = 4


class _OfRows:
    def __init__(self, count: int, *, seed: int) -> None:
        self.count, self.seed = count, seed


class SequentialSampler(_OfRows):
    """Row after row; after the last comes the first again."""

    def rows(self, conversations: Rows) -> Rows:
        """The rows of these conversations."""
        return conversations % self.count


class RandomSampler(_OfRows):
    """Any row at any time, each as likely: drawn with replacement."""

    def rows(self, conversations: Rows) -> Rows:
        """The rows of these conversations."""
        drawn = chance.draws_at(chance.child_seed(self.seed, "sampling"), conversations)
        return (drawn % np.uint64(self.count)).astype(np.int64)


class ShuffleSampler(_OfRows):
    """Every row once in a drawn order, then every row again in another."""

    def rows(self, conversations: Rows) -> Rows:
        """The rows of these conversations."""
        key = chance.child_seed(self.seed, "sampling")
        rounds, places = np.divmod(conversations, self.count)
        drawn, which = np.unique(rounds, return_inverse=True)
        found = np.empty(len(conversations), dtype=np.int64)
        step = max(1, _ROOM // self.count)
        for start in range(0, len(drawn), step):
            inside = (which >= start) & (which < start + step)
            orders = _orders(key, self.count, tuple(drawn[start : start + step].tolist()))
            found[inside] = orders[which[inside] - start, places[inside]]
        return found


@lru_cache(maxsize=2)
def _orders(key: int, count: int, rounds: tuple[int, ...]) -> Rows:
    """The orders of some rounds, a row each: where the draws of a round's own key would stand if they were sorted.

    The last ones are kept, since conversations are mostly asked for one after the other.
    """
    keys = chance.draws_at(key, np.array(rounds))
    return np.argsort(chance.mix(keys[:, None] + chance.steps(count)), axis=1).astype(np.int64)


class OneByOne:
    """Asks for one conversation at a time; a few stretches of neighbours are kept, since one alone costs as much as many."""

    def __init__(self, of: Callable[[Rows], NDArray[Any]], stretch: int = _STRETCH) -> None:
        self._of, self._stretch = of, stretch
        self._stretches: dict[int, list[Any]] = {}

    def at(self, conversation: int) -> Any:
        """What there is of a conversation: its number, its text."""
        number, place = divmod(conversation, self._stretch)
        if (stretch := self._stretches.get(number)) is None:
            while len(self._stretches) >= _STRETCHES:
                del self._stretches[next(iter(self._stretches))]
            stretch = self._stretches[number] = self._of(np.arange(number * self._stretch, (number + 1) * self._stretch)).tolist()
        return stretch[place]


class Sizes(OneByOne):
    """A normal length in tokens, rounded and at least 1; always the mean where `stddev` is 0."""

    def __init__(self, mean: float, stddev: float, key: int) -> None:
        super().__init__(self.of)
        self._mean, self._stddev, self._key = mean, stddev, key

    def of(self, conversations: Rows) -> NDArray[np.int32]:
        """The lengths of these conversations."""
        if self._stddev == 0:
            return np.full(len(conversations), max(1, round(self._mean)), dtype=np.int32)
        radius, angle = (chance.draws_at(chance.child_seed(self._key, half), conversations) for half in ("radius", "angle"))
        drawn = np.rint(self._mean + self._stddev * chance.normal(radius, angle))
        return np.clip(drawn, 1, np.iinfo(np.int32).max).astype(np.int32)
