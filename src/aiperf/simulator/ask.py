"""What a model is asked and what it says. A model is handed every time and reads no clock; all times are CLOCK_MONOTONIC nanoseconds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Emit = Callable[[int], None]
"""Is told how many tokens have come out just now."""


@dataclass(slots=True, eq=False)
class Ask:
    """What a model knows of a request; `tokens` is how many it is to bring forth, `number` is None for an unnumbered one.

    An answer that is not `streamed` is told of once, when its last token has come. `blocks` are hashes of the prompt's
    whole blocks, each of all that stands before it too; empty where no prefix is looked for. `limited` is an answer that
    ends because the request says so; each of its `choices` has all `tokens`. The model writes down what became of it: when
    it was taken out of the queue, how many prompt tokens were cached then, how often it was preempted.
    """

    number: int | None
    prompt_tokens: int
    tokens: int
    arrived_ns: int
    streamed: bool = True
    blocks: tuple[int, ...] = ()
    limited: bool = False
    choices: int = 1
    admitted_ns: int | None = None
    cached_tokens: int = 0
    preemptions: int = 0


@dataclass(slots=True)
class Load:
    """What a model has to do, and what it has done since its start; `kv_usage` is a share of the blocks, 0 without a limit."""

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    steps: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    queried_tokens: int = 0
    hit_tokens: int = 0


class Model(Protocol):
    """Decides when tokens come out, one request by itself or all of them together."""

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """Take on a request; `emit` is called from `advance` until `ask.tokens` are told of. May be called by an `emit`."""

    def leave(self, ask: Ask) -> None:
        """Forget a request whose client is gone; its `emit` is not called again. Nothing, if it is over already."""

    def advance(self, now_ns: int) -> int | None:
        """Tell of the tokens that are due by `now_ns`; when there is more to do, None if nothing is under way.

        What is returned may be past: then there is more to tell of than one call should take.
        """

    def load(self) -> Load:
        """As it stands now."""
