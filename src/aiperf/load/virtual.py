"""A clock that jumps from event to event: an hour of schedule in the time that its callbacks take."""

import heapq
from collections.abc import Callable
from itertools import count

from aiperf.seams import Callback


class VirtualLoop:
    """Runs callbacks in the order of their times, which are CLOCK_MONOTONIC and CLOCK_REALTIME in one; nothing waits."""

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
