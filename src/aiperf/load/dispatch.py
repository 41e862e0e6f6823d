"""Decides, while it runs, which planned request goes out now: open loop by the plan's times, closed loop by free slots.

A slot is free since the last byte of the request before it came, by its stamp, not since we got round to reading it:
being late to notice is our lateness, not the plan's.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

import msgspec

from aiperf import clock
from aiperf.seams import Loop
from aiperf.workload import ALONE, Schedule, Share

REST_NS = clock.SECOND // 10


class Departure(msgspec.Struct, frozen=True, gc=False):
    """A request whose turn it is: the phase's index, its place in the phase, and when it was due (CLOCK_MONOTONIC)."""

    phase: int
    place: int
    due_ns: int | None


Launch = Callable[[Departure, int], None]
"""Send it; `ready_ns` (CLOCK_REALTIME) is when a slot was free."""

Unsent = Callable[[Departure, str], None]
"""It will not be sent, for this reason."""


class OpenLoop:
    """Arrivals at their planned times, whatever the server does; one that finds no slot waits, and none is dropped.

    `stop_ns` is the length of the run after which nothing new is sent (None: every arrival is sent, however late).
    """

    def __init__(
        self, schedule: Schedule, loop: Loop, launch: Launch, unsent: Unsent, *, stop_ns: int | None, share: Share = ALONE
    ) -> None:
        self._loop, self._launch, self._unsent, self._stop_ns = loop, launch, unsent, stop_ns
        self._phases, self._share = schedule.phases, share
        self._coming: Iterator[Departure] = iter(())
        self._next: Departure | None = None
        self._waiting = deque[Departure]()
        level = schedule.run.concurrency
        self._free = deque([0] * len(share.slots(level))) if level is not None else None
        self._filling = False
        self._began: int | None = None
        self._ahead = 0
        self.over = False
        self.cut_ns: int | None = None
        self.window: tuple[int, int] | None = None

    @property
    def waiting(self) -> int:
        """Arrivals that are due and find no slot."""
        return len(self._waiting)

    def start(self, at_ns: int) -> None:
        """Begin at this time (CLOCK_MONOTONIC)."""
        self._began = at_ns
        self._ahead = clock.offset_ns(self._loop.now_ns, self._loop.monotonic_ns)
        run_at = at_ns + sum(phase.duration_ns or 0 for phase in self._phases[:-1])
        end = run_at + (self._phases[-1].duration_ns or 0)
        self.window = (run_at + self._ahead, end + self._ahead)
        self._coming = self._departures(at_ns)
        self._next = next(self._coming, None)
        if self._stop_ns is not None:
            self._loop.at(run_at + self._stop_ns, lambda: self.stop("duration"))
        self._arm()

    def landed(self, end_ns: int) -> None:
        """A request is over since `end_ns` (CLOCK_REALTIME): its slot is free."""
        if self._free is not None:
            self._free.append(end_ns)
            self._fill()

    def stop(self, reason: str) -> None:
        """Send nothing more; what was planned and not sent is told to be unsent."""
        self._stop(reason, self._left())

    def cut(self, reason: str) -> None:
        """Send nothing more; what is due is unsent, and the plan ends here: what would have come is not part of it any more."""
        now = self._loop.monotonic_ns()
        if not self.over:
            self.cut_ns = -1 if self._began is None else now - self._began
        self._stop(reason, takewhile(lambda one: one.due_ns is not None and one.due_ns <= now, self._left()))

    def _left(self) -> Iterator[Departure]:
        """What was planned and is not sent, in the order of its times."""
        yield from self._waiting
        if self._next is not None:
            yield self._next
        yield from self._coming

    def _stop(self, reason: str, unsent: Iterable[Departure]) -> None:
        if self.over:
            return
        self.over = True
        for departure in unsent:
            self._unsent(departure, reason)
        self._waiting.clear()
        self._next = None
        if self.window is not None:
            self.window = (self.window[0], max(self.window[0], min(self.window[1], self._loop.now_ns())))

    def _departures(self, at_ns: int) -> Iterator[Departure]:
        for index, phase in enumerate(self._phases):
            assert phase.due_ns is not None  # noqa: S101 - what makes it an open loop
            for place in self._share.places(len(phase.due_ns)):
                yield Departure(index, place, at_ns + int(phase.due_ns[place]))
            at_ns += phase.duration_ns or 0

    def _arm(self) -> None:
        if self._next is not None and self._next.due_ns is not None:
            self._loop.at(self._next.due_ns, self._due, exact=True)
        elif not self._waiting:
            self.over = True

    def _due(self) -> None:
        now = self._loop.monotonic_ns()
        while self._next is not None and self._next.due_ns is not None and self._next.due_ns <= now:
            self._waiting.append(self._next)
            self._next = next(self._coming, None)
        self._fill()
        self._arm()

    def _fill(self) -> None:
        if self._filling:  # a request that ends at once lands within its own launch
            return
        self._filling = True
        while self._waiting and (self._free is None or self._free):
            departure = self._waiting.popleft()
            free_since = self._free.popleft() if self._free is not None else 0
            self._launch(departure, max((departure.due_ns or 0) + self._ahead, free_since))
        self._filling = False
        if self._next is None and not self._waiting:
            self.over = True


class ClosedLoop:
    """A constant number of requests in flight: the next goes out when one is over. Phases hand over without draining."""

    waiting = 0
    """None waits: a request is due when there is a slot."""
    cut_ns = None
    """There are no times that a plan could be cut at."""

    def __init__(self, schedule: Schedule, loop: Loop, launch: Launch, share: Share = ALONE) -> None:
        self._loop, self._launch, self._phases, self._share = loop, launch, schedule.phases, share
        self._free = deque[int]()
        self._index, self._last = 0, len(schedule.phases) - 1
        self._places: Iterator[int] = iter(())
        self._place: int | None = None
        self._filling = False
        self._resting = 0
        self._began: int | None = None
        self.over = False
        self.window: tuple[int, int] | None = None

    def start(self, at_ns: int) -> None:
        """Begin at this time (CLOCK_MONOTONIC)."""
        self._loop.at(at_ns, self._begin, exact=True)

    def landed(self, end_ns: int) -> None:
        """A request is over since `end_ns` (CLOCK_REALTIME): its slot is free. One that ended within its launch rests a while."""
        if self._filling:  # it could not even be begun: at once again, and a dead server would be hammered
            if not self._resting:
                self._loop.at(self._loop.monotonic_ns() + REST_NS, self._rested)
            self._resting += 1
            return
        self._free.append(end_ns)
        self._fill()

    def stop(self, reason: str) -> None:  # noqa: ARG002 - the plan holds what was reached: nothing is unsent
        """Send nothing more."""
        if self.over:
            return
        self.over = True
        now = self._loop.now_ns()
        self.window = (self._began if self._index == self._last and self._began is not None else now, now)

    cut = stop

    def _begin(self) -> None:
        self._enter()
        self._filling = True
        for _ in self._share.slots(self._phases[-1].concurrency or 1):
            if not self.over:
                self._send(self._loop.now_ns())  # before it there is no plan: a slot is free when we come to it
        self._filling = False

    def _enter(self) -> None:
        """Begin a phase, and set the clock that ends it; one of which nothing is ours has no time of ours either."""
        self._began, index, phase = self._loop.now_ns(), self._index, self._phases[self._index]
        self._places = self._share.places(phase.requests)
        self._place = next(self._places, None)
        if self._place is None:
            self.over = index == self._last
            self._ended(index)
        elif phase.duration_ns is not None:
            self._loop.at(self._loop.monotonic_ns() + phase.duration_ns, lambda: self._ended(index))

    def _ended(self, index: int) -> None:
        if self.over or index != self._index:
            return
        if index == self._last:
            self.stop("the plan's end")
            return
        self._index += 1
        self._enter()
        self._fill()

    def _fill(self) -> None:
        if self._filling:
            return
        self._filling = True
        while self._free and not self.over:
            self._send(self._free.popleft())
        self._filling = False

    def _send(self, ready_ns: int) -> None:
        place, self._place = self._place, next(self._places, None)
        assert place is not None  # noqa: S101 - a phase without a next one is over
        self._launch(Departure(self._index, place, None), ready_ns)
        if self._place is None:
            self._ended(self._index)

    def _rested(self) -> None:
        self._free.extend([self._loop.now_ns()] * self._resting)
        self._resting = 0
        self._fill()


Dispatch = OpenLoop | ClosedLoop
"""Sends what is to be sent and is `over` when there is nothing more; `window` is the judged stretch (CLOCK_REALTIME).

`cut_ns`, from the start of the load, is where a stop rule has ended an open loop's plan.
"""
