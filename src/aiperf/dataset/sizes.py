"""How long things are: seeded lengths by conversation, alike one at a time and as an array."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aiperf import chance

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """A normal length in tokens, rounded and at least 1; always the mean where `stddev` is 0."""

    mean: float
    stddev: float
    key: int

    def at(self, conversation: int) -> int:
        """The length of one conversation."""
        if self.stddev == 0:
            return max(1, round(self.mean))
        chunk, place = divmod(conversation, _CHUNK)
        return _chunk(self, chunk)[place]

    def of(self, conversations: NDArray[np.int64]) -> NDArray[np.int32]:
        """The lengths of these conversations."""
        if self.stddev == 0:
            return np.full(len(conversations), self.at(0), dtype=np.int32)
        places = conversations.astype(np.uint64)
        hashes, others = (chance.draws_at(chance.child_seed(self.key, half), places) for half in ("radius", "angle"))
        drawn = np.rint(self.mean + self.stddev * chance.normal(hashes, others))
        return np.clip(drawn, 1, np.iinfo(np.int32).max).astype(np.int32)


@lru_cache(maxsize=16)
def _chunk(sizes: Sizes, chunk: int) -> list[int]:
    """Lengths of neighbours at once, since one alone costs as much as hundreds."""
    found: list[int] = sizes.of(np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK)).tolist()
    return found
