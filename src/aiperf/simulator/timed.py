"""A model whose requests share nothing but a queue: when each of its tokens is due is known when it begins."""

from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, heapreplace

from aiperf.clock import MILLISECOND
from aiperf.config.simulator import Simulator
from aiperf.simulator.ask import Ask, Emit, Load
from aiperf.simulator.draws import exponential_factor, noise_factors

_BURST = 64
_EMITS = 256


@dataclass(slots=True)
class _Answer:
    """Token k, counted from 1, is due at `origin_ns` + k × `span_ns` / `parts`, rounded down."""

    ask: Ask
    emit: Emit
    origin_ns: int
    span_ns: int
    parts: int
    told: int = 0
    gone: bool = False

    def due_ns(self, token: int) -> int:
        """When so many tokens are out."""
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
        self._answers: dict[Ask, _Answer] = {}
        self._load = Load()
        self._arrivals = 0

    def times_ns(self, number: int | None) -> tuple[int, int]:
        """TTFT and ITL of the request with this number."""
        options = self._options
        ttft, itl = noise_factors(options.noise, options.seed, number)
        return round(options.ttft_ms * ttft * MILLISECOND), round(options.itl_ms * itl * MILLISECOND)

    def service_ns(self, number: int) -> int:
        """How long the request with this number is served."""
        service = self._options.service
        drawn = service.distribution == "exponential"
        return round(service.mean_ms * MILLISECOND * (exponential_factor(self._options.seed, number) if drawn else 1))

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """Behind all that arrived before."""
        self._arrivals += 1
        heappush(self._queue, (ask.arrived_ns, self._arrivals, ask, emit))

    def leave(self, ask: Ask) -> None:
        """The entry among what is due finds out by itself."""
        answer = self._answers.pop(ask, None)
        if answer is not None:
            answer.gone = True
            return
        self._queue = [entry for entry in self._queue if entry[2] is not ask]
        heapify(self._queue)

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
        return replace(self._load, running=len(self._answers), waiting=len(self._queue))

    def _start_ns(self) -> int:
        """When the first in the queue begins."""
        return max(self._queue[0][0], self._free_ns[0]) if self._free_ns else self._queue[0][0]

    def _begin(self, start_ns: int, order: int, ask: Ask, emit: Emit) -> None:
        if self._free_ns:
            span_ns = self.service_ns(order if ask.number is None else ask.number)
            heapreplace(self._free_ns, start_ns + span_ns)
            answer = _Answer(ask, emit, start_ns, span_ns, ask.tokens)
        else:
            ttft_ns, itl_ns = self.times_ns(ask.number)
            answer = _Answer(ask, emit, start_ns + ttft_ns - itl_ns, itl_ns, 1)
        ask.admitted_ns = start_ns
        self._load.prompt_tokens += ask.prompt_tokens
        self._answers[ask] = answer
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
        if answer.told < ask.tokens and not answer.gone:
            heapreplace(self._heap, (next_ns, order, answer))
        else:
            heappop(self._heap)
            self._answers.pop(ask, None)
        if not answer.gone:
            self._load.generated_tokens += (answer.told - before) * ask.choices
            answer.emit(answer.told - before)
