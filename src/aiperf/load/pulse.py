"""Counts of the load, and ten times a second a pulse of them: it steers and feeds the screen, and is never a result."""

import math
from bisect import bisect_right
from collections import Counter, deque

from aiperf import clock
from aiperf.results import Pulse
from aiperf.spool import Exchange

EVERY_NS = clock.SECOND // 10
_BEATS = 10
_EDGES = [math.ceil(1_000 * 1.02**i) for i in range(1, 1_200)]  # up to six hours


def place(ns: int) -> int:
    """Where a duration falls in a histogram of 2 % steps from 1 µs on."""
    return bisect_right(_EDGES, ns)


class Beat:
    """The counters of one generator."""

    def __init__(self, generator: int) -> None:
        self._generator = generator
        self.sent = self.done = self.in_flight = self.lateness_ns = self.unsent = 0
        self.failed = Counter[str]()
        self.busiest = 0.0
        self._first, self._total = Counter[int](), Counter[int]()
        self._seconds = deque[tuple[int, int]](maxlen=_BEATS + 1)

    def launched(self, exchange: Exchange) -> None:
        """A request was begun."""
        self.sent += 1
        if exchange.started is not None and exchange.ready is not None and exchange.started - exchange.ready > self.lateness_ns:
            self.lateness_ns = exchange.started - exchange.ready

    def landed(self, exchange: Exchange) -> None:
        """A request is over."""
        self.in_flight -= 1
        if exchange.error is not None:
            self.failed[exchange.error] += 1
            return
        if exchange.status is not None and exchange.status >= 300:
            self.failed[f"http_{exchange.status // 100}xx"] += 1
            return
        self.done += 1
        if exchange.sent is not None and exchange.end is not None:
            self._total[place(exchange.end - exchange.sent)] += 1
            if exchange.first_body is not None:
                self._first[place(exchange.first_body - exchange.sent)] += 1

    def beat(self, at_ns: int, phase: str, *, idle_ns: int, waiting: int = 0) -> Pulse:
        """The pulse of this moment (CLOCK_MONOTONIC); `idle_ns` is how long the loop has waited in all."""
        busy = self._busy(at_ns, idle_ns)
        pulse = Pulse(
            at_ns=at_ns, generator=self._generator, phase=phase, due=self.sent + waiting, ready=self.sent, sent=self.sent,
            done=self.done, failed=dict(self.failed), in_flight=self.in_flight, lateness_ns=self.lateness_ns, busy=busy,
            first=dict(self._first), total=dict(self._total),
        )  # fmt: skip
        self.lateness_ns = 0
        self._first.clear()
        self._total.clear()
        return pulse

    def _busy(self, at_ns: int, idle_ns: int) -> float:
        """The share of the last second in which the thread did not wait."""
        self._seconds.append((at_ns, idle_ns))
        then, idle_then = self._seconds[0]
        if at_ns - then < clock.SECOND - EVERY_NS // 2:
            return 0.0
        busy = 1 - (idle_ns - idle_then) / (at_ns - then)
        self.busiest = max(self.busiest, busy)
        return busy
