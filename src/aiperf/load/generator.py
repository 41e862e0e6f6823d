"""The load generator: waits for the next due time, hands bytes to a socket, and appends what comes back to the spool.

It parses nothing, counts no tokens and computes nothing; requests are rendered while it has nothing else to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiperf import clock
from aiperf.load.ahead import Ahead, Filler
from aiperf.load.dispatch import ClosedLoop, Departure, Dispatch, OpenLoop
from aiperf.load.pulse import EVERY_NS, Beat
from aiperf.records import PHASES
from aiperf.seams import Channel, Loop, Transport
from aiperf.spool import Exchange, SpoolWriter
from aiperf.workload import ALONE, Phase, Request, Schedule, Share

SWEEP_NS = clock.SECOND // 100
LEAD_NS = 10_000_000
"""From the end of preparations to the first due time: kernel stamps need some milliseconds to be on."""

STOPPED, ORPHANED = "stopped by the user", "the run's parent process died"
READY = "ready"
"""Told until the word to begin comes, by one of several: they begin at the same instant."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What one generator plays: its share of a schedule, how a request is made, and when nothing new is sent (None: plan's end)."""

    schedule: Schedule
    render: Callable[[Phase, int], Request]
    urls: int
    stop_ns: int | None
    share: Share = ALONE


class Generator:
    """Plays a plan over a transport into a spool, and tells the parent how it goes. A transport tells it what lands."""

    def __init__(self, plan: LoadPlan, loop: Loop, spool: SpoolWriter, channel: Channel) -> None:
        self._plan, self._loop, self._spool, self._channel = plan, loop, spool, channel
        self._phases = plan.schedule.phases
        self._phase_codes = [PHASES.index(phase.name) for phase in self._phases]
        sizes = [phase.requests if phase.due_ns is None else len(phase.due_ns) for phase in self._phases]
        self._ahead = [
            Ahead(self._renders(phase, size), size if size is None else plan.share.size(size)) for phase, size in zip(self._phases, sizes)
        ]
        self._filler = Filler(loop, self._ahead)
        self._dispatch = self._dispatcher()
        self._beat = Beat(plan.share.generator)
        self._transport: Transport
        self._last_phase = 0
        self._begun = self._landing = self._finished = False
        self._ended_by: str | None = None

    def run(self, transport: Transport) -> Mapping[str, Any]:
        """Play the plan to its end over a transport, and say how it went."""
        self._transport = transport
        transport.tell(self)
        self._filler.first()
        self._loop.idle = self._filler.idle
        cpu, waited, began = clock.process_cpu_ns(), waited_for_core_ns(), self._loop.monotonic_ns()
        if self._plan.share.generators == 1:
            self._begin(began + LEAD_NS)
        else:
            self._channel.tell(READY)
        self._loop.at(began + SWEEP_NS, self._sweep)
        self._loop.at(began + EVERY_NS, self._pulse)
        self._loop.run(lambda: self._finished)
        self._loop.idle = None
        self._tell_pulse(self._loop.monotonic_ns())
        return {
            "window": self._dispatch.window,
            "ended_by": self._ended_by,
            "cut_ns": self._dispatch.cut_ns,
            "requests": self._beat.sent,
            "unsent": self._beat.unsent,
            "busiest_second": self._beat.busiest,
            "cpu_s": (clock.process_cpu_ns() - cpu) / clock.SECOND,
            "waited_for_core_s": None if waited is None else ((waited_for_core_ns() or waited) - waited) / clock.SECOND,
            "seconds": (self._loop.monotonic_ns() - began) / clock.SECOND,
        }

    def part(self, exchange: Exchange) -> None:
        """Enough has been read for a part of the spool."""
        self._spool.put(exchange, last=False)

    def landed(self, exchange: Exchange) -> None:
        """A request is over: on with the next, then the spool."""
        self._beat.landed(exchange)
        self._dispatch.landed(exchange.end if exchange.end is not None else self._loop.now_ns())
        self._spool.put(exchange, last=True)
        self._look_for_end()

    def _dispatcher(self) -> Dispatch:
        schedule, share = self._plan.schedule, self._plan.share
        if schedule.run.due_ns is None:
            return ClosedLoop(schedule, self._loop, self._launch, share)
        return OpenLoop(schedule, self._loop, self._launch, self._unsent, stop_ns=self._plan.stop_ns, share=share)

    def _renders(self, phase: Phase, size: int | None) -> Callable[[int], Request]:
        """Makes the requests of our share of a phase, one after the other."""
        render, places = self._plan.render, self._plan.share.places(size)
        return lambda nth: render(phase, next(places))  # noqa: ARG005 - they are asked for in their order

    def _begin(self, at_ns: int) -> None:
        """Send from this time on (CLOCK_MONOTONIC), unless there is nothing left to send."""
        self._begun = True
        if not self._dispatch.over:
            self._dispatch.start(at_ns)

    def _launch(self, departure: Departure, ready_ns: int) -> None:
        request = self._ahead[departure.phase].take()
        exchange = self._exchange(departure, request.conversation)
        exchange.asked_input, exchange.asked_output = request.input_tokens, request.output_tokens or 0
        exchange.ready = ready_ns
        self._last_phase = departure.phase
        self._beat.in_flight += 1
        if request.refused is None:
            self._transport.send(exchange, b"%d" % exchange.request, request.body)
        else:  # it could not be made, and ends where it would have begun
            exchange.started = exchange.end = self._loop.now_ns()
            exchange.error, exchange.reason = "client", request.refused
            self.landed(exchange)
        self._beat.launched(exchange)

    def _unsent(self, departure: Departure, reason: str) -> None:
        conversations = self._phases[departure.phase].conversations
        conversation = departure.place if conversations is None else int(conversations[departure.place])
        exchange = self._exchange(departure, conversation)
        exchange.error, exchange.reason = "unsent", reason
        self._beat.unsent += 1
        self._spool.put(exchange, last=True)

    def _exchange(self, departure: Departure, conversation: int) -> Exchange:
        number = self._phases[departure.phase].first_number + departure.place
        return Exchange(
            request=number,
            phase=self._phase_codes[departure.phase],
            conversation=conversation,
            url=number % self._plan.urls,
            due=departure.due_ns,
        )

    def _sweep(self) -> None:
        """A hundred times a second: deadlines, old frames, and the parent's word."""
        self._transport.sweep()
        self._spool.tick()
        self._hear()
        if not self._finished:
            self._loop.at(self._loop.monotonic_ns() + SWEEP_NS, self._sweep)

    def _hear(self) -> None:
        """Obey the parent: `stop` is the user's word, (`end`, why) a stop rule's, (`begin`, at_ns) is to all that are ready."""
        for message in self._channel.told():
            if message == "stop":
                self._stop(STOPPED)
            elif message[0] == "begin":
                self._begin(message[1])
            elif not self._dispatch.over:
                self._ended_by = message[1]
                self._dispatch.cut(message[1])
        if self._channel.closed:
            self._stop(ORPHANED)
        self._look_for_end()

    def _stop(self, why: str) -> None:
        self._dispatch.cut(why)
        self._transport.abandon("abandoned", why)

    def _pulse(self) -> None:
        now = self._loop.monotonic_ns()
        self._tell_pulse(now)
        self._hear()  # a parent that lives in this process has judged the pulse
        if not self._finished:
            self._loop.at(now + EVERY_NS, self._pulse)

    def _tell_pulse(self, now: int) -> None:
        if not self._begun:
            self._channel.tell(READY)
            return
        phase = self._phases[self._last_phase].name
        self._channel.tell(self._beat.beat(now, phase, idle_ns=self._loop.idle_ns, waiting=self._dispatch.waiting))

    def _look_for_end(self) -> None:
        """When nothing new is sent, what is in flight has its grace; then it is abandoned."""
        if not self._dispatch.over or self._finished:
            return
        if self._beat.in_flight == 0:
            self._finished = True
        elif not self._landing:
            self._landing = True
            window = self._dispatch.window
            left_ns = 0 if window is None else max(0, window[1] - self._loop.now_ns())  # of the run when its last request has been sent
            over = partial(self._transport.abandon, "abandoned", "in flight when the grace was over")
            self._loop.at(self._loop.monotonic_ns() + left_ns + self._plan.schedule.grace_ns, over)


def waited_for_core_ns() -> int | None:
    """How long this thread has been ready to run and had no core, by the kernel's account; None where it keeps none."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
