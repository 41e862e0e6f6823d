"""A server of known service time on a clock that jumps, and a run against that."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from aiperf.cluster.inline import InlineChannel
from aiperf.load.generator import READY, Generator, LoadPlan
from aiperf.load.loop import VirtualLoop
from aiperf.results import Pulse
from aiperf.seams import Flights
from aiperf.spool import Exchange, SpoolReader, SpoolWriter
from aiperf.workload import ALONE, Phase, Request, Schedule, Share

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND


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


def rendered(phase: Phase, place: int) -> Request:
    """A request whose asked lengths tell its place."""
    return Request(place if phase.conversations is None else int(phase.conversations[place]), b"body", 1 + place % 7, 2)


class Played:
    """What a run left behind: rows of the spool by number, what the generator said, and its pulses.

    `end` is what a stop rule says, and when: with the first pulse at or after that. A generator with a `share` is told to begin
    at `begin_ns` a fifth of a second before (None: never).
    """

    def __init__(self, folder: Path, schedule: Schedule, service_ns: Callable[[int], int], **options: object) -> None:
        self.loop = VirtualLoop(EPOCH)
        made = options.get("server", Echo)
        assert isinstance(made, type)
        assert issubclass(made, Echo)
        self.server = made(self.loop, service_ns)
        self.channel = InlineChannel()
        self.end = options.get("end")
        self.channel.hear = self._hear
        path = folder / "spool"
        spool = SpoolWriter(path, offset=lambda: 0, now=self.loop.monotonic_ns)
        stop_ns = options.get("stop_ns")
        assert stop_ns is None or isinstance(stop_ns, int)
        share = options.get("share", ALONE)
        assert isinstance(share, Share)
        self.begin_ns = options.get("begin_ns", EPOCH + SECOND // 4)
        assert self.begin_ns is None or isinstance(self.begin_ns, int)
        plan = LoadPlan(schedule, rendered, 1, stop_ns, share)
        user_stop = options.get("user_stop_ns")
        if isinstance(user_stop, int):
            self.loop.at(EPOCH + user_stop, lambda: self.channel.down.append("stop"))
        self.said = Generator(plan, self.loop, spool, self.channel).run(self.server)
        spool.close()
        self.rows = {row.request: row for frame in SpoolReader(path).frames() for row in frame.rows}
        self.seconds = (self.loop.now_ns() - EPOCH) / SECOND

    @property
    def pulses(self) -> list[Pulse]:
        return [message for message in self.channel.up if isinstance(message, Pulse)]

    def _hear(self, pulse: Pulse | str) -> None:
        if isinstance(pulse, str):
            assert pulse == READY
            if self.begin_ns is not None and self.loop.now_ns() >= self.begin_ns - SECOND // 5:
                self.channel.down.append(("begin", self.begin_ns))
            self.channel.up.append(pulse)
            return
        self.channel.up.append(pulse)
        if isinstance(self.end, tuple) and pulse.at_ns >= self.end[1]:
            self.channel.down.append(("end", self.end[0]))

    @property
    def sent(self) -> list[Exchange]:
        return [row for row in self.rows.values() if row.sent is not None]


def constant(per_second: float, count: int, **rest: object) -> Schedule:
    due = np.round(np.arange(count) * SECOND / per_second).astype(np.int64)
    return Schedule((Phase("profiling", due_ns=due, duration_ns=round(count * SECOND / per_second), **rest),), grace_ns=60 * SECOND)  # type: ignore[arg-type]
