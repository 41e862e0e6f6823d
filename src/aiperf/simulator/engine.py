"""An engine that batches, step by step as vLLM's V1 scheduler does it; its blocks of KV memory; several engines behind one address."""

from collections import OrderedDict, deque
from dataclasses import dataclass, fields, replace
from heapq import heapify, heappop, heappush

from aiperf.clock import MICROSECOND, MILLISECOND
from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import accepted_drafts, too_long
from aiperf.simulator.model import Ask, Emit, Load

_STEPS = 64


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
        self._blank = 1 << 60 if capacity is None else capacity
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


@dataclass(slots=True, eq=False)
class _Sequence:
    """A request in the engine: tokens `computed`, `new` in this step, `left` to bring forth; it decodes from its `goal` on."""

    ask: Ask
    emit: Emit
    number: int
    left: int
    lease: Lease = Lease((), [], 0, 0)  # noqa: RUF009 - of all that hold nothing yet
    computed: int = 0
    new: int = 0
    goal: int = 0
    gone: bool = False


class Engine:
    """One replica: a queue in the order of arrival, and steps, each with a token of every running request and chunks of prompts.

    A step begins when the one before has ended, or with the first arrival after that; what has arrived by then is in the
    queue. Its tokens come out at its end. Running requests have the first claim on the budget of tokens, prompts have what is
    left of it in the order of arrival; one is taken on when its whole prompt finds KV blocks (`scheduler_reserve_full_isl`).
    Where the running ones run out of blocks the last that was taken on is preempted: it goes to the front of the queue and
    is computed anew, with what it had brought forth, and nothing is taken on in that step.
    """

    def __init__(self, options: Simulator) -> None:
        self._options, self._pool = options, Pool(options.kv_blocks, options.block_tokens)
        self._guess, self._guesses = options.speculative, 0 if options.speculative is None else options.speculative.tokens
        self._step_ns, self._prefill_ns = options.step_ms * MILLISECOND, options.prefill_us_per_token * MICROSECOND
        self._decode_ns, self._context_ns = options.decode_us_per_request * MICROSECOND, options.context_ns_per_token
        self._arriving: list[tuple[int, int, _Sequence]] = []
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self.asked: dict[Ask, _Sequence] = {}
        self._load = Load()
        self._arrivals = self._now_ns = self._budget = 0
        self._cost_ns = 0.0
        self._end_ns: int | None = None
        self._gone = False

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """Into the queue of the first step that begins after it. Raises ValueError for what the KV blocks can never hold."""
        if (problem := too_long(self._options, ask.prompt_tokens, ask.tokens)) is not None:
            raise ValueError(problem)
        self._arrivals += 1
        sequence = self.asked[ask] = _Sequence(ask, emit, self._arrivals if ask.number is None else ask.number, ask.tokens)
        heappush(self._arriving, (ask.arrived_ns, self._arrivals, sequence))

    def leave(self, ask: Ask) -> None:
        """Its place and its blocks are free for the next step."""
        sequence = self.asked.pop(ask, None)
        if sequence is not None:
            sequence.gone = self._gone = True

    def advance(self, now_ns: int) -> int | None:
        """Begin and end the steps that are due, in their order."""
        for _ in range(_STEPS):
            due_ns = self._due_ns()
            if due_ns is None or due_ns > now_ns:
                return due_ns
            if self._end_ns is None:
                self._begin(due_ns)
            else:
                self._finish(due_ns)
        return self._due_ns()

    def load(self) -> Load:
        """Who is still to arrive waits."""
        running = sum(not sequence.gone for sequence in self._running)
        return replace(self._load, running=running, waiting=len(self.asked) - running, kv_usage=self._pool.usage)

    def _due_ns(self) -> int | None:
        """When the step that is under way ends, or the next one begins."""
        if self._end_ns is not None:
            return self._end_ns
        if self._gone:
            self._forget()
        if self._running or self._waiting:
            return self._now_ns
        return max(self._now_ns, self._arriving[0][0]) if self._arriving else None

    def _forget(self) -> None:
        for sequence in self._running:
            if sequence.gone:
                self._pool.free(sequence.lease)
        self._running = [sequence for sequence in self._running if not sequence.gone]
        self._waiting = deque(sequence for sequence in self._waiting if not sequence.gone)
        self._arriving = [entry for entry in self._arriving if not entry[2].gone]
        heapify(self._arriving)
        self._gone = False

    def _begin(self, now_ns: int) -> None:
        """Decide what the step holds, and with that how long it takes."""
        while self._arriving and self._arriving[0][0] <= now_ns:
            self._waiting.append(heappop(self._arriving)[2])
        load, preemptions = self._load, self._load.preemptions
        self._budget, self._cost_ns = self._options.max_batched_tokens, self._step_ns
        for sequence in self._running:  # who is preempted stands behind, at the end of the list
            self._schedule(sequence)
        while load.preemptions == preemptions and self._waiting and self._taken_on(now_ns):
            self._schedule(self._running[-1])
        load.steps += 1
        self._end_ns = now_ns + round(self._cost_ns)

    def _schedule(self, sequence: _Sequence) -> None:
        """Its next token and guesses at those behind it, or as much of its prompt as the budget allows; blocks and time for that."""
        sequence.new, prompt = 0, sequence.goal - sequence.computed
        new, guessed = (1, min(self._guesses, sequence.left - 1)) if prompt <= 0 else (min(prompt, self._budget), 0)
        tokens = sequence.computed + new
        if new and ((prompt <= 0 and tokens + guessed <= sequence.lease.room) or self._grown(sequence, tokens + guessed)):
            sequence.new = new
            self._budget -= new + guessed
            self._cost_ns += (self._decode_ns if prompt <= 0 else self._prefill_ns * new) + self._context_ns * tokens

    def _grown(self, sequence: _Sequence, tokens: int) -> bool:
        """Room for so many tokens, at the cost of those who were taken on last; False if it was itself that had to go."""
        while not self._pool.cover(sequence.lease, tokens):
            last = self._running.pop()
            self._pool.free(last.lease)
            last.ask.preemptions += 1
            self._load.preemptions += 1
            self._waiting.appendleft(last)
            if last is sequence:
                return False
        return True

    def _taken_on(self, now_ns: int) -> bool:
        """Whether the first in the queue is running now."""
        if self._budget <= 0 or len(self._running) >= self._options.max_running:
            return False
        sequence, load = self._waiting[0], self._load
        ask = sequence.ask
        sequence.goal = ask.prompt_tokens + ask.tokens - sequence.left
        lease = self._pool.lease(ask.blocks if self._options.prefix_cache else (), sequence.goal)
        if lease is None:
            return False
        self._running.append(self._waiting.popleft())
        sequence.lease, sequence.computed = lease, lease.room
        if ask.admitted_ns is None:
            ask.admitted_ns, ask.cached_tokens = now_ns, lease.room
            load.queried_tokens += ask.prompt_tokens if self._options.prefix_cache else 0
            load.hit_tokens += lease.room
        return True

    def _finish(self, now_ns: int) -> None:
        """Tell of the step's tokens."""
        self._now_ns, self._end_ns = now_ns, None
        over = False
        for sequence in self._running:
            if sequence.gone or not sequence.new:
                continue
            count = 1
            if self._guess is not None and sequence.computed >= sequence.goal:
                right = accepted_drafts(self._guess, self._options.seed, sequence.number, place=sequence.ask.tokens - sequence.left)
                count = min(1 + right, sequence.left)
            sequence.computed += max(sequence.new, count)
            if sequence.computed >= sequence.goal:  # the last chunk of a prompt gives a token
                over |= self._told(sequence, count)
        if over:
            self._running = [sequence for sequence in self._running if sequence.left]

    def _told(self, sequence: _Sequence, count: int) -> bool:
        """Whether these were its last ones."""
        ask, load = sequence.ask, self._load
        if sequence.left == ask.tokens:
            load.prompt_tokens += ask.prompt_tokens
        load.generated_tokens += count * ask.choices
        sequence.left -= count
        if not sequence.left:
            self._pool.free(sequence.lease)
            del self.asked[ask]
        if ask.streamed or not sequence.left:
            sequence.emit(count if ask.streamed else ask.tokens)
        return not sequence.left


class Replicas:
    """Several engines behind one address: a request goes to the one that has the fewest when it is told of, the first of several."""

    def __init__(self, options: Simulator) -> None:
        self._engines = [Engine(options) for _ in range(options.replicas)]

    def arrive(self, ask: Ask, emit: Emit) -> None:
        """To one of them."""
        min(self._engines, key=lambda engine: len(engine.asked)).arrive(ask, emit)

    def leave(self, ask: Ask) -> None:
        """Wherever it is."""
        for engine in self._engines:
            engine.leave(ask)

    def advance(self, now_ns: int) -> int | None:
        """Each by itself."""
        return min((due_ns for due_ns in [engine.advance(now_ns) for engine in self._engines] if due_ns is not None), default=None)

    def load(self) -> Load:
        """Of all together."""
        loads = [engine.load() for engine in self._engines]
        total = Load(*(sum(getattr(load, field.name) for load in loads) for field in fields(Load)))
        total.kv_usage /= len(loads)
        return total
