"""The loop of a generator, which knows when each of its polls began; and a virtual one, in which nothing waits.

Order within a turn: what is due is sent first, because a late read costs nothing (the kernel stamped it)
and a late send cannot be mended; then connections that await a first token; then the rest.
"""

import heapq
import select
from collections.abc import Callable
from itertools import count

from aiperf import clock
from aiperf.seams import Callback, Readiness
from aiperf.timerfd import Timer

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_MOST, _LEAST = 1024, 16
_FRESH_NS = 100_000
_READ_NS, _LONGEST_NS, _REPORT_NS = 40_000, 200_000, 1000
_FULL_NS = _MOST * _REPORT_NS
_ROUNDS = 4


class EpollLoop:
    """Polls without sleeping (a look), sleeps only if there was nothing, and paces by a timerfd on CLOCK_MONOTONIC.

    `low` handed to a handler is the start of the last poll that did not report its descriptor: what is read now had not
    come by then. Not its end: bytes can come between the kernel's scan and our reading of the clock. Before it sleeps the
    loop looks, so that `low` is recent, unless the last poll began less than 100 µs ago. The last `spin_ns` before an
    exact time are spent looking. `idle`, if set, is called when nothing is due for the nanoseconds that it is handed, before
    the loop sleeps and a few times behind what was due, and says whether it found work.
    """

    def __init__(self, spin_ns: int = 200_000) -> None:
        self.monotonic_ns, self.now_ns = clock.monotonic_ns, clock.now_ns
        self.idle: Callable[[int], bool] | None = None
        self.idle_ns = 0
        self._spin_ns = spin_ns
        self._epoll, self._timer = select.epoll(), Timer()
        self._epoll.register(self._timer.fd, READ | select.EPOLLET)
        self._handlers: dict[int, Readiness] = {}
        self._due, self._order = list[tuple[int, int, bool, Callback]](), count()
        self._looked = self.now_ns()

    def at(self, due_ns: int, callback: Callback, *, exact: bool = False) -> None:
        """Call once when `due_ns` has come; `exact` times are awaited without sleeping at the end."""
        heapq.heappush(self._due, (due_ns, next(self._order), exact, callback))

    def watch(self, fd: int, handler: Readiness) -> None:
        """Hand readiness of a descriptor to `handler` until `forget`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, READ)

    def want_write(self, fd: int, wanted: bool) -> None:
        """Report writability too, or no longer."""
        self._epoll.modify(fd, READ | WRITE if wanted else READ)

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self, until: Callable[[], bool]) -> None:
        """Turn until `until`, which is asked after each turn."""
        while not until():
            self.turn()

    def turn(self) -> None:
        """Once round: what is due, a look (unless the last poll is fresh), rest if there was nothing, what is due, what is ready."""
        now, due = self.monotonic_ns(), self._due
        acted = bool(due) and due[0][0] <= now and self._run_due(now)
        low = self._looked
        ready = self._look(0, now) if acted or self.now_ns() - low > _FRESH_NS else []
        if not ready:
            if acted:  # it may have been the last thing that this loop was for
                return
            low, ready, now = self._rest(now)
        if ready:
            self._serve(ready, low, now)

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        self._timer.close()

    def _look(self, timeout: float | None, now: int) -> list[tuple[int, int]]:
        """A poll whose start is kept: what it does not report had not come by then, even if it slept.

        It reports no more than there is time for before something is due: a thousand descriptors take half a millisecond.
        """
        began, most, due = self.now_ns(), _MOST, self._due
        if due and (left := due[0][0] - now) < _FULL_NS:
            most = max(_LEAST, left // _REPORT_NS)
        ready: list[tuple[int, int]] = self._epoll.poll(timeout, most)
        if len(ready) < most:  # cut short, it says nothing about what it left out
            self._looked = began
        return ready

    def _rest(self, now: int) -> tuple[int, list[tuple[int, int]], int]:
        """Use the time until the next event: idle work first, then sleep; near an exact time, neither. Then what is due; and the time."""
        coming, low = self._due, self._looked
        wake = now + clock.SECOND
        if coming:
            wake, _, exact, _ = coming[0]
            if exact:
                if wake - self._spin_ns <= now:
                    return self._spin(wake, now)
                wake -= self._spin_ns
        if self.idle is not None and self.idle(wake - now):
            return low, [], now
        if coming:
            self._timer.set(wake)
        ready = self._look(None, now)
        woken = self.monotonic_ns()
        self.idle_ns += woken - now
        if coming and coming[0][0] <= woken:
            self._run_due(woken)
        return low, ready, woken

    def _spin(self, due: int, now: int) -> tuple[int, list[tuple[int, int]], int]:
        """Look again and again until something is ready or the time has come."""
        began, low, ready = now, self._looked, list[tuple[int, int]]()
        while now < due and not ready:
            low = self._looked
            ready = self._look(0, now)
            now = self.monotonic_ns()
        self.idle_ns += now - began
        self._run_due(now)
        return low, ready, now

    def _run_due(self, now: int) -> bool:
        """What is due now; not what comes to be due meanwhile, or callbacks that ask to be called again would starve the reads."""
        due, acted = self._due, False
        while due and due[0][0] <= now:
            heapq.heappop(due)[3]()
            acted = True
        return acted

    def _serve(self, ready: list[tuple[int, int]], low: int, now: int) -> None:
        handlers, due = self._handlers, self._due
        known = [(handlers[fd], mask) for fd, mask in ready if fd in handlers]  # taken now: a number may soon be another's
        if len(known) > 1:
            known.sort(key=_can_wait)
        hurried = bool(due) and due[0][0] < now + _LONGEST_NS * len(known)
        for handler, mask in known:
            if hurried and due and due[0][0] < self.monotonic_ns() + _READ_NS:
                self._let_pass()
            handler.ready(mask, low)

    def _let_pass(self) -> None:
        """Before a read: what is due now goes first, and so does an exact time that would come while it is read; then idle work."""
        rounds = iter(range(_ROUNDS))
        while self._due and self._due[0][0] < (now := self.monotonic_ns()) + _READ_NS and next(rounds, None) is not None:
            due, _, exact, _ = self._due[0]
            while exact and now < due:
                now = self.monotonic_ns()
            if due > now:
                return
            self._run_due(now)
        while self.idle is not None and self._due and next(rounds, None) is not None and self.idle(self._due[0][0] - self.monotonic_ns()):
            pass


def _can_wait(served: tuple[Readiness, int]) -> bool:
    return not served[0].urgent


class VirtualLoop:
    """An hour of schedule in the time that its callbacks take: one clock, both monotonic and real, jumps from event to event."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now, self._due, self._order = start_ns, list[tuple[int, int, Callback]](), count()
        self.idle: Callable[[int], bool] | None = None
        self.idle_ns = 0

    def monotonic_ns(self) -> int:
        """The virtual clock."""
        return self._now

    now_ns = monotonic_ns

    def at(self, due_ns: int, callback: Callback, *, exact: bool = False) -> None:  # noqa: ARG002 - every time is exact
        """Call when the clock has jumped to `due_ns`; of equal times the one that was said first comes first."""
        heapq.heappush(self._due, (max(due_ns, self._now), next(self._order), callback))

    def run(self, until: Callable[[], bool]) -> None:
        """Jump from event to event until `until`, or until nothing is due any more."""
        while self._due and not until():
            due, _, callback = heapq.heappop(self._due)
            self.idle_ns += due - self._now
            self._now = due
            callback()
