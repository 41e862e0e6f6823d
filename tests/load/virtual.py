"""A loop whose clock jumps, a server of known service time on it, and a run against that."""

import heapq
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from aiperf.cluster.inline import InlineChannel
from aiperf.load.generator import Generator, LoadPlan
from aiperf.seams import Callback, Flights
from aiperf.spool import Exchange, SpoolReader, SpoolWriter
from aiperf.workload import Phase, Request, Schedule

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND


class VirtualLoop:
    """A clock that jumps from event to event: an hour of schedule in the time that its callbacks take."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now, self._due, self._order = start_ns, list[tuple[int, int, Callback]](), count()
        self.idle: Callable[[int], bool] | None = None
        self.idle_ns = 0

    def monotonic_ns(self) -> int:
        """The virtual clock."""
        return self._now

    now_ns = monotonic_ns

    def at(self, due_ns: int, callback: Callback, *, exact: bool = False) -> None:
        """Call when the clock has jumped to `due_ns`; what is already due comes before what is due later."""
        heapq.heappush(self._due, (max(due_ns, self._now), next(self._order), callback))

    def run(self, until: Callable[[], bool]) -> None:
        """Jump from event to event until `until` or until nothing is due any more."""
        while self._due and not until():
            due, _, callback = heapq.heappop(self._due)
            self.idle_ns += due - self._now
            self._now = due
            callback()


class Echo:
    """Answers each request after `service_ns(number)`; a service of 0 fails at once, within `send`."""

    def __init__(self, loop: VirtualLoop, service_ns: Callable[[int], int]) -> None:
        self.loop, self.service_ns = loop, service_ns
        self.flights: Flights
        self.flying: dict[int, Exchange] = {}
        self.peak = 0

    def tell(self, flights: Flights) -> None:
        self.flights = flights

    def send(self, exchange: Exchange, number: bytes, body: bytes) -> None:
        assert number == b"%d" % exchange.request
        exchange.started = exchange.sent = self.loop.now_ns()
        exchange.status = 200
        self.flying[exchange.request] = exchange
        self.peak = max(self.peak, len(self.flying))
        service = self.service_ns(exchange.request)
        if service == 0:
            exchange.error = "connect"
            self.land(exchange)
        else:
            self.loop.at(self.loop.now_ns() + service, lambda: self.land(exchange))

    def land(self, exchange: Exchange) -> None:
        if self.flying.pop(exchange.request, None) is not None:
            exchange.end = self.loop.now_ns()
            exchange.stamps, exchange.bodies = [exchange.end], [b"x"]
            self.flights.landed(exchange)

    def sweep(self) -> None:
        pass

    def abandon(self, error: str, reason: str) -> None:
        for exchange in list(self.flying.values()):
            exchange.error, exchange.reason = error, reason
            self.land(exchange)

    def close(self) -> None:
        pass


class Played:
    """What a run left behind: rows of the spool by number, what the generator said, and its pulses."""

    def __init__(self, folder: Path, schedule: Schedule, service_ns: Callable[[int], int], **options: object) -> None:
        self.loop = VirtualLoop(EPOCH)
        self.server = Echo(self.loop, service_ns)
        self.channel = InlineChannel()
        path = folder / "spool"
        spool = SpoolWriter(path, offset=lambda: 0, now=self.loop.monotonic_ns)
        stop_ns = options.get("stop_ns")
        assert stop_ns is None or isinstance(stop_ns, int)
        plan = LoadPlan(schedule, lambda phase, place: Request(place, b"body", 1, 2), 1, stop_ns)
        user_stop = options.get("user_stop_ns")
        if isinstance(user_stop, int):
            self.loop.at(EPOCH + user_stop, lambda: self.channel.down.append("stop"))
        self.said = Generator(plan, self.loop, spool, self.channel).run(self.server)
        spool.close()
        self.rows = {row.request: row for frame in SpoolReader(path).frames() for row in frame.rows}
        self.seconds = (self.loop.now_ns() - EPOCH) / SECOND

    @property
    def sent(self) -> list[Exchange]:
        return [row for row in self.rows.values() if row.sent is not None]


def constant(per_second: float, count: int, **rest: object) -> Schedule:
    due = np.round(np.arange(count) * SECOND / per_second).astype(np.int64)
    return Schedule((Phase("profiling", due_ns=due, duration_ns=round(count * SECOND / per_second), **rest),), grace_ns=60 * SECOND)  # type: ignore[arg-type]
