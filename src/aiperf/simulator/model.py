"""What a model is asked and what it says, and the plain one: its requests share nothing but a queue."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop, heappush, heapreplace
from typing import Protocol

from aiperf.clock import MILLISECOND
from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import noise_factors, uniforms

Emit = Callable[[int], None]
"""Is told how many tokens have come out just now."""

_BURST = 64
_EMITS = 256


@dataclass(slots=True, eq=False)
class Ask:
    """What a model knows of a request; `tokens` is how many it is to bring forth, `number` is None for an unnumbered one.

    An answer that is not `streamed` is told of once, when its last token has come. `blocks` are hashes of the prompt's
    whole blocks, each of all that stands before it too; empty where no prefix is looked for. `limited` is an answer that
    ends because the request says so; each of its `choices` has all `tokens`. The model writes down what became of it: when
    it was taken out of the queue, how many prompt tokens were cached then, how often it was preempted, whether it is `gone`.
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
    gone: bool = False


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
    """Decides when tokens come out. It is handed every time and reads no clock; all times are CLOCK_MONOTONIC nanoseconds."""

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


@dataclass(slots=True)
class _Answer:
    """Token k, counted from 1, is due at `origin_ns` + k × `span_ns` / `parts`, rounded down."""

    ask: Ask
    emit: Emit
    origin_ns: int
    span_ns: int
    parts: int
    told: int = 0

    def due_ns(self, token: int) -> int:
        return self.origin_ns + token * self.span_ns // self.parts


class TimedModel:
    """`fixed`: token k is due at arrival + TTFT + k × ITL, both multiplied by the request's own `draws.noise_factors`.

    `textbook`: a queue in the order of arrival and `max_running` servers, each busy with one request at a time for as long as
    its service takes; its tokens come at equal distances, the last at the end. Services are drawn by request number, or by
    order of arrival without one. Who leaves while being served holds the server until then.
    Tokens of a request that are overdue together are told of together.
    """

    def __init__(self, options: Simulator) -> None:
        self._options = options
        self._free_ns = [0] * options.max_running if options.preset == "textbook" else []
        self._queue: list[tuple[int, int, Ask, Emit]] = []
        self._heap: list[tuple[int, int, _Answer]] = []
        self._load = Load()
        self._arrivals = 0

    def times_ns(self, number: int | None) -> tuple[int, int]:
        """TTFT and ITL of the request with this number."""
        options = self._options
        ttft, itl = noise_factors(options.noise, options.seed, number)
        return round(options.ttft_ms * ttft * MILLISECOND), round(options.itl_ms * itl * MILLISECOND)

    def service_ns(self, number: int) -> int:
        """How long the request with this number is served."""
        service, seed = self._options.service, self._options.seed
        factor = -math.log(uniforms(seed, number, b"service")[0]) if service.distribution == "exponential" else 1
        return round(service.mean_ms * MILLISECOND * factor)

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """Behind all that arrived before."""
        self._arrivals += 1
        heappush(self._queue, (ask.arrived_ns, self._arrivals, ask, emit))

    def leave(self, ask: Ask) -> None:
        """What waits or is due for it is passed over when its turn comes."""
        ask.gone = True

    def advance(self, now_ns: int) -> int | None:
        """Begin what can begin, in its order, then tell of what is due."""
        while self._queue and self._start_ns() <= now_ns:
            self._begin(self._start_ns(), *heappop(self._queue)[1:])
        heap = self._heap
        for _ in range(_EMITS):
            if not heap or heap[0][0] > now_ns:
                break
            self._tell(now_ns)
        if not self._queue:
            return heap[0][0] if heap else None
        return min(self._start_ns(), heap[0][0]) if heap else self._start_ns()

    def load(self) -> Load:
        """Without blocks, steps and a cache."""
        running = sum(not answer.ask.gone for _, _, answer in self._heap)
        return replace(self._load, running=running, waiting=sum(not ask.gone for _, _, ask, _ in self._queue))

    def _start_ns(self) -> int:
        """When the first in the queue begins."""
        return max(self._queue[0][0], self._free_ns[0]) if self._free_ns else self._queue[0][0]

    def _begin(self, start_ns: int, order: int, ask: Ask, emit: Emit) -> None:
        if ask.gone:
            return
        if self._free_ns:
            span_ns = self.service_ns(order if ask.number is None else ask.number)
            heapreplace(self._free_ns, start_ns + span_ns)
            answer = _Answer(ask, emit, start_ns, span_ns, ask.tokens)
        else:
            ttft_ns, itl_ns = self.times_ns(ask.number)
            answer = _Answer(ask, emit, start_ns + ttft_ns - itl_ns, itl_ns, 1)
        ask.admitted_ns = start_ns
        self._load.prompt_tokens += ask.prompt_tokens
        heappush(self._heap, (answer.due_ns(1 if ask.streamed else ask.tokens), order, answer))

    def _tell(self, now_ns: int) -> None:
        """Of the answer that is due first: of its next token, or of those that are overdue with it, or of all in one piece."""
        _, order, answer = self._heap[0]
        ask, before = answer.ask, answer.told
        answer.told = before + 1 if ask.streamed else ask.tokens
        next_ns = answer.due_ns(answer.told + 1)
        if next_ns <= now_ns and answer.told < ask.tokens:
            due = ((now_ns - answer.origin_ns + 1) * answer.parts - 1) // answer.span_ns if answer.span_ns else ask.tokens
            answer.told = min(due, before + _BURST, ask.tokens)
            next_ns = answer.due_ns(answer.told + 1)
        if answer.told < ask.tokens and not ask.gone:
            heapreplace(self._heap, (next_ns, order, answer))
        else:
            heappop(self._heap)
        if not ask.gone:
            self._load.generated_tokens += (answer.told - before) * ask.choices
            answer.emit(answer.told - before)
