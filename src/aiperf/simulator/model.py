"""When tokens come out. A model is handed every time and reads no clock; all times are CLOCK_MONOTONIC nanoseconds."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from aiperf.clock import MILLISECOND
from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import noise_factors

Emit = Callable[[int], None]
"""Is told how many tokens have come out just now."""

_BURST = 64
_EMITS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What a model knows of a request; `tokens` is how many it is to bring forth, `number` is None for an unnumbered one.

    An answer that is not `streamed` is told of once, when its last token has come.
    """

    number: int | None
    prompt_tokens: int
    tokens: int
    arrived_ns: int
    streamed: bool = True


class Model(Protocol):
    """Decides when tokens come out, one request by itself or all of them together."""

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """Take on a request; `emit` is called from `advance` until `ask.tokens` are told of. May be called by an `emit`."""

    def leave(self, ask: Ask) -> None:
        """Forget a request whose client is gone; its `emit` is not called again. Nothing, if it is over already."""

    def advance(self, now_ns: int) -> int | None:
        """Tell of the tokens that are due by `now_ns`; when the next are due, None if nothing is under way.

        What is returned may be past: then there is more to tell of than one call should take.
        """


@dataclass(slots=True)
class _Answer:
    ask: Ask
    emit: Emit
    due_ns: int
    itl_ns: int
    left: int

    def overdue(self, late_ns: int) -> int:
        """How many tokens are due together, if the first of them is `late_ns` late."""
        if not self.ask.streamed:
            return self.left
        return min(self.left, _BURST, 1 + late_ns // self.itl_ns if self.itl_ns else _BURST)


class FixedModel:
    """Every request by itself: token k is due at arrival + TTFT + k × ITL, however late the one before was.

    With noise both times of a request are multiplied by factors of its own (`draws.noise_factors`). Tokens of a request
    that are overdue together are told of together.
    """

    def __init__(self, options: Simulator) -> None:
        self._options = options
        self._heap: list[tuple[int, int, _Answer]] = []
        self._answers: dict[Ask, _Answer] = {}
        self._arrivals = 0

    def times_ns(self, number: int | None) -> tuple[int, int]:
        """TTFT and ITL of the request with this number."""
        options = self._options
        ttft, itl = noise_factors(options.noise, options.seed, number)
        return round(options.ttft_ms * ttft * MILLISECOND), round(options.itl_ms * itl * MILLISECOND)

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """Put its first token, or its last if it is not streamed, among what is due."""
        ttft_ns, itl_ns = self.times_ns(ask.number)
        ahead = 0 if ask.streamed else ask.tokens - 1
        answer = _Answer(ask, emit, ask.arrived_ns + ttft_ns + ahead * itl_ns, itl_ns, ask.tokens)
        self._answers[ask] = answer
        self._arrivals += 1
        heappush(self._heap, (answer.due_ns, self._arrivals, answer))

    def leave(self, ask: Ask) -> None:
        """Let the entry in the heap find out by itself."""
        answer = self._answers.pop(ask, None)
        if answer is not None:
            answer.left = 0

    def advance(self, now_ns: int) -> int | None:
        """One entry of the heap a request, its next token's time."""
        heap = self._heap
        for _ in range(_EMITS):
            if not heap or heap[0][0] > now_ns:
                break
            due_ns, order, answer = heappop(heap)
            if answer.left:
                self._tell(answer, now_ns - due_ns)
            if answer.left:
                heappush(heap, (answer.due_ns, order, answer))
        return heap[0][0] if heap else None

    def _tell(self, answer: _Answer, late_ns: int) -> None:
        count = answer.overdue(late_ns)
        answer.left -= count
        answer.due_ns += count * answer.itl_ns
        if not answer.left:
            del self._answers[answer.ask]
        answer.emit(count)
