"""Blocks of KV memory: who holds how many, and which are known by the text that they stand for."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from aiperf.config.simulator import Simulator

_BOUNDLESS = 1 << 60


def too_long(options: Simulator, prompt_tokens: int, tokens: int) -> str | None:
    """Why a request can never be answered, None if it can: all KV memory is smaller than it alone."""
    if options.kv_blocks is None or prompt_tokens + tokens <= (most := options.kv_blocks * options.block_tokens):
        return None
    return (
        f"This model's maximum context length is {most} tokens (kv_blocks={options.kv_blocks}). "
        f"However, you requested {prompt_tokens + tokens} tokens ({prompt_tokens} in the prompt, {tokens} in the answer)."
    )


def block_hashes(words: Iterator[str], block_tokens: int) -> Iterator[int]:
    """A hash of each whole block of words and all that stands before it; the same on every machine."""
    digest = b""
    while len(block := list(islice(words, block_tokens))) == block_tokens:
        digest = blake2b(digest + " ".join(block).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        yield int.from_bytes(digest, "little")


@dataclass(slots=True, eq=False)
class Lease:
    """What one request holds: blocks that are known by the first hashes of its `chain`, and blocks of its `own`; `room` in tokens."""

    chain: tuple[int, ...]
    known: list[int]
    room: int
    looked: int
    own: int = 0


class Pool:
    """A number of blocks; None is without limit.

    What a whole block of a prompt stands for is known from the moment that it is taken, and stays known after it is given
    back, until it is needed for something else: the one that has been idle for longest goes first, of one request's the last.
    """

    def __init__(self, capacity: int | None, block_tokens: int) -> None:
        self._capacity, self._size = capacity, block_tokens
        self._blank = _BOUNDLESS if capacity is None else capacity
        self._users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def usage(self) -> float:
        """The share of the blocks that are held."""
        return 0.0 if self._capacity is None else (self._capacity - self._blank - len(self._idle)) / self._capacity

    def lease(self, chain: tuple[int, ...], tokens: int) -> Lease | None:
        """A lease of what is known of so many tokens, never all, since one has to be computed; None if the rest would find no room."""
        most = min(len(chain), (tokens - 1) // self._size)
        found = next((place for place in range(most) if chain[place] not in self._users), most)
        awakened = sum(known in self._idle for known in chain[:found])
        if -(-tokens // self._size) - found > self._blank + len(self._idle) - awakened:
            return None
        for known in chain[:found]:
            self._idle.pop(known, None)
            self._users[known] += 1
        return Lease(chain, list(chain[:found]), found * self._size, found)

    def cover(self, lease: Lease, tokens: int) -> bool:
        """Take blocks until so many tokens fit; False, and nothing is taken, if there are not enough."""
        count = max(0, -(-(tokens - lease.room) // self._size))
        if count > self._blank + len(self._idle):
            return False
        while count > self._blank:
            del self._users[self._idle.popitem(last=False)[0]]
            self._blank += 1
        self._blank -= count
        lease.own += count
        lease.room += count * self._size
        for known in lease.chain[lease.looked : tokens // self._size]:  # of two blocks with the same text the first one is known
            lease.looked += 1
            if known not in self._users:
                self._users[known] = 1
                lease.known.append(known)
                lease.own -= 1
        return True

    def free(self, lease: Lease) -> None:
        """Give all of it back."""
        for known in reversed(lease.known):
            self._users[known] -= 1
            if not self._users[known]:
                self._idle[known] = None
        self._blank += lease.own
