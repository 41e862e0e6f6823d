"""What is to be sent: conversation, turn, schedule; frozen, so that any process may hold them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

WARMUP_FROM = 1_000_000_000
"""Warm-up requests are numbered from here, so that the run's own numbers start at 0 however long the warm-up was."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing to say: texts (several for an endpoint that takes a batch), or a message array, or a whole body; one of the three.

    Lengths are those that were asked for, in tokens: an input of 0 is not known. `token_ids` stand for `texts`, a list a text,
    where ids were asked for. `messages` and `tools` are sent as they stand, `payload` is sent as the whole body, untouched.
    `extra` and `model` are what the row itself adds to the body.
    """

    texts: tuple[str, ...] = ()
    input_tokens: int = 0
    output_tokens: int | None = None
    role: str = "user"
    model: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    messages: Sequence[Any] | None = None
    tools: Sequence[Any] | None = None
    payload: bytes | None = None
    token_ids: tuple[Sequence[int], ...] = ()

    @property
    def text(self) -> str:
        """The text, where there is one."""
        return self.texts[0] if self.texts else ""


@dataclass(frozen=True, slots=True)
class Share:
    """A generator's part of a plan: every `generators`-th slot from its own number on, and the places whose turn comes to these.

    Places go round the slots of the run's `level` (None: one a generator), so that whoever has more slots has more to send.
    """

    generator: int = 0
    generators: int = 1
    level: int | None = None

    def slots(self, level: int) -> range:
        """Which of so many slots are its own."""
        return range(self.generator, level, self.generators)

    def places(self, total: int | None) -> Iterator[int]:
        """Which of a phase's places are its own, ascending; without end where the phase has none."""
        turn = self.level or self.generators
        endless = (begin + slot for begin in count(0, turn) for slot in self.slots(turn))
        return endless if total is None else islice(endless, self.size(total))

    def size(self, total: int) -> int:
        """How many of so many places are its own."""
        turns, rest = divmod(total, self.level or self.generators)
        return turns * len(self.slots(self.level or self.generators)) + len(self.slots(rest))


ALONE = Share()
"""The only generator's part, which is everything."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Asked token counts by conversation, for the plan: int32 arrays of equal length.

    An input of 0 is not known, an output of 0 means none was asked.
    """

    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]


class Request(msgspec.Struct, frozen=True, gc=False):
    """A turn made ready to send, or why it could not be made (`refused`)."""

    conversation: int
    body: bytes
    input_tokens: int
    output_tokens: int | None
    refused: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """A stretch of load. `due_ns` are offsets from the phase's own start (int64, ascending); None is closed loop.

    `concurrency` caps what is in flight (None: no cap). In closed loop `requests` and `duration_ns` end the phase, in
    open loop the array does, and `duration_ns` is its length. `window_ns` is the part that is judged, None where only
    the load itself shows it. `conversations` gives each arrival's conversation; None counts them up from 0.
    """

    name: str
    due_ns: NDArray[np.int64] | None = None
    concurrency: int | None = None
    requests: int | None = None
    duration_ns: int | None = None
    conversations: NDArray[np.int64] | None = None

    @property
    def first_number(self) -> int:
        """The number of the phase's first request."""
        return WARMUP_FROM if self.name == "warmup" else 0


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The phases in order; the last is the run. After it `grace_ns` are given to what is in flight."""

    phases: tuple[Phase, ...]
    grace_ns: int

    @property
    def run(self) -> Phase:
        """The phase that is judged."""
        return self.phases[-1]
