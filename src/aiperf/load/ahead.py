"""Requests rendered before they are due, in a window bounded by bytes, so that none is rendered when it should be sent."""

from collections import deque
from collections.abc import Callable, Sequence

from aiperf.seams import Loop
from aiperf.workload import Request

Render = Callable[[int], Request]

ROOM_BYTES = 48 * 1024 * 1024
ROOM_REQUESTS = 4096
_FIRST = 64
_FIRST_NS = 50_000_000
_CAUTION = 4
_SHORTEST_NS = 100_000


class Ahead:
    """The requests of one phase in their order; `bytes` are held now. `total` None is without end."""

    def __init__(self, render: Render, total: int | None, *, room_bytes: int = ROOM_BYTES, room_requests: int = ROOM_REQUESTS) -> None:
        self._render, self._total = render, total
        self._room_bytes, self._room_requests = room_bytes, room_requests
        self._ready = deque[Request]()
        self._next = self.bytes = 0
        self.full = total == 0
        """Whether there is no room, or nothing left to render."""

    def take(self) -> Request:
        """The next request; rendered now, if the window has run dry."""
        if not self._ready:
            self._next += 1
            self.full = self._next == self._total
            return self._render(self._next - 1)
        request = self._ready.popleft()
        self.bytes -= len(request.body)
        self._count()
        return request

    def fill(self) -> bool:
        """Render one more; False if there is no room or nothing left."""
        if self.full:
            return False
        request = self._render(self._next)
        self._next += 1
        self._ready.append(request)
        self.bytes += len(request.body)
        self._count()
        return True

    def _count(self) -> None:
        room = not self._ready or (self.bytes < self._room_bytes and len(self._ready) < self._room_requests)
        self.full = not room or self._next == self._total


class Filler:
    """Renders ahead whenever the loop has nothing to do, one request at a time, and never into a due time."""

    def __init__(self, loop: Loop, phases: Sequence[Ahead]) -> None:
        self._loop, self._phases = loop, phases
        self._longest_ns = _SHORTEST_NS

    def first(self) -> None:
        """Render a first few of every phase, for at most 50 ms each."""
        for ahead in self._phases:
            until = self._loop.monotonic_ns() + _FIRST_NS
            for _ in range(_FIRST):
                if self._loop.monotonic_ns() > until or not self._fill(ahead):
                    break

    def idle(self, left_ns: int) -> bool:
        """Render one request, if that leaves time before what is due."""
        if left_ns <= _CAUTION * self._longest_ns:
            self._longest_ns -= (self._longest_ns - _SHORTEST_NS) // 64  # one long pause must not end all rendering ahead
            return False
        for ahead in self._phases:
            if not ahead.full:
                return self._fill(ahead)
        return False

    def _fill(self, ahead: Ahead) -> bool:
        began = self._loop.monotonic_ns()
        filled = ahead.fill()
        self._longest_ns = max(self._longest_ns, self._loop.monotonic_ns() - began)
        return filled
