"""Runs generators and processors to their end, shows how it goes, and hears Ctrl-C."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from types import FrameType
from typing import Any

from aiperf import clock
from aiperf.config.experiment import Experiment
from aiperf.load.generator import READY
from aiperf.results import PULSED, Pulse
from aiperf.seams import Cluster, Event, Job, Screen, StopRule
from aiperf.timing import stops

_log = getLogger(__name__)
_LOOK_S = 0.1
PATIENCE_NS, HURRY_NS = 30 * clock.SECOND, 2 * clock.SECOND
"""How long a worker may be silent: generators tell ten pulses a second, processors twice a second that they are there.

A generator that was told to stop has less time, since the user waits for the report.
"""
SILENCE_NS = 5 * clock.SECOND
"""How long who waits for records is told nothing."""
LEAD_NS = clock.SECOND // 10
"""From the word to begin to the first due time: each of several generators has heard it by then."""

RUN = "the run"  # what died where no single worker did

Until = Callable[[Pulse], str | bool | None]
"""A stop function given from outside: whether, or why, enough has been sent."""


@dataclass(slots=True)
class Outcome:
    """How the workers fared: what generators and processors said in the end, who died of what, each generator's newest pulse.

    `restarted` are processors that died and began again from the spool, with what they died of.
    """

    generators: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    processors: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    pulses: dict[str, Pulse] = field(default_factory=dict)
    restarted: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """How the run ended, as the tables say it: one that died failed, whatever can be made of what it left."""
        return "stopped" if self.stopped else "failed" if RUN in self.dead else "complete"

    @property
    def cut_ns(self) -> int | None:
        """Where the plan ended, from the start of the load, if something ended it before its time: where the first generator stopped."""
        return min((said["cut_ns"] for said in self.generators.values() if said.get("cut_ns") is not None), default=None)


class Interrupts:
    """Counts Ctrl-C. The second one is raised at once, and so is the first until there is a load to be ended in order (`patient`)."""

    def __init__(self) -> None:
        self.count = 0
        self.patient = False
        self.at_once: Callable[[], None] | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what a handler gets
        """A signal came."""
        self.count += 1
        if self.count > 1 or not self.patient:
            raise KeyboardInterrupt
        if self.at_once is not None:
            self.at_once()

    def listen(self, *, patient: bool) -> dict[int, Any]:
        """Hear the signals from now on, whoever has laid hands on them; who heard them before."""
        self.patient = patient
        return {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Catch SIGINT and SIGTERM for the time of a run."""
    heard = Interrupts()
    before = heard.listen(patient=False)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Conductor:
    """Starts jobs on a cluster and follows them: processors finish when the last generator is gone.

    Several generators begin at the same instant, when the last of them is ready or gone; one alone begins by itself.
    A generator that says nothing for `PATIENCE_NS`, or a processor once the load is over, is ended: it is stopped, or hangs.
    `stop` judges the pulses: by its word every generator ends. `outcome` is that of a load which is over.
    """

    def __init__(
        self, cluster: Cluster, screen: Screen, now: Callable[[], int] = clock.monotonic_ns, *, stop: StopRule | None = None,
        outcome: Outcome | None = None,
    ) -> None:  # fmt: skip
        self._cluster, self._screen, self._now, self._rule = cluster, screen, now, stop
        self._heard_ns: dict[str, int] = {}
        self._running, self._generating, self._awaited, self._to_stop = (set[str]() for _ in range(4))
        self._outcome = Outcome() if outcome is None else outcome
        self._spare: dict[str, Job] = {}

    def run(self, generators: list[Job], processors: list[Job], heard: Interrupts) -> Outcome:
        """Run them all; returns when the last has ended."""
        for job in (*generators, *processors):
            self._cluster.start(job)
            self._running.add(job.name)
            _log.info("%s starts: %s", job.name, job.target)
        self._generating = {job.name for job in generators}
        self._to_stop = set(self._generating)
        self._awaited = set(self._generating) if len(generators) > 1 else set()
        self._spare = {job.name: job for job in processors}
        self._spools: list[Path] = [spool for job in processors[:1] for spool in getattr(job.argument, "spools", ())]
        self._told_ns = self._now()
        for job in processors if not generators else ():
            self._finish(job.name)
        heard.at_once = self._stop  # a cluster that works in this process is not back here before the load is over
        try:
            self._follow(heard)
        except KeyboardInterrupt:  # the second one: a generator that hangs is not waited for
            for name in self._generating:
                self._cluster.end(name)
            raise
        return self._outcome

    def _follow(self, heard: Interrupts) -> None:
        def hear(event: Event) -> None:
            self._heard_ns[event.worker] = self._now()
            self._take(event)
            self._hear(heard)

        while self._running:
            self._hear(heard)
            self._cluster.wait(_LOOK_S, hear)
            self._end_silent()

    def _hear(self, heard: Interrupts) -> None:
        if heard.count and not self._outcome.stopped:
            self._outcome.stopped = True
            self._heard_ns |= dict.fromkeys(self._generating, self._now())
            _log.warning("stopped by the user")
            self._screen.line("stopping: nothing new is sent, the report follows; Ctrl-C again ends at once")
            self._stop()

    def _end_silent(self) -> None:
        now, patience_ns = self._now(), HURRY_NS if self._generating and self._outcome.stopped else PATIENCE_NS
        for worker in tuple(self._generating or self._running):
            if now - self._heard_ns.setdefault(worker, now) > patience_ns:
                _log.error("%s has said nothing for %d s and is ended", worker, patience_ns // clock.SECOND)
                self._screen.line(f"{worker} has said nothing for {patience_ns // clock.SECOND} s and is ended")
                self._heard_ns[worker] = now
                self._cluster.end(worker)

    def _stop(self) -> None:
        told, self._to_stop = self._to_stop, set()
        for name in told:
            self._cluster.tell(name, "stop")

    def _take(self, event: Event) -> None:
        if event.ended:
            self._ended(event)
        elif isinstance(event.message, Pulse):
            _log.debug("pulse %s", event.message)
            self._outcome.pulses[event.worker] = event.message
            self._screen.pulse(event.message)
            self._judge(event.message)
        elif event.message == READY:
            self._arrived(event.worker)
        elif event.worker in self._generating:
            _log.info("%s says %s", event.worker, event.message)
            self._outcome.generators[event.worker] = event.message
        elif "read_bytes" in event.message and not event.message.get("done"):
            self._show_progress(event.message["read_bytes"])
        elif event.message.get("done"):
            _log.info("%s says %s", event.worker, {name: value for name, value in event.message.items() if name != "samples"})
            self._outcome.processors[event.worker] = event.message

    def _show_progress(self, read_bytes: int) -> None:
        """How far a processor is, now and then, when nothing else is waited for."""
        now = self._now()
        if self._generating or now - self._told_ns <= SILENCE_NS:
            return
        if whole := sum(path.stat().st_size for path in self._spools if path.exists()):
            self._told_ns = now
            self._screen.line(f"processing {whole / 1e6:,.0f} MB of raw bytes: {100 * read_bytes / whole:.0f} %")

    def _arrived(self, generator: str) -> None:
        """One more is ready, or gone; after the last all begin."""
        if generator not in self._awaited:
            return
        self._awaited.remove(generator)
        at_ns = self._now() + LEAD_NS
        for name in self._generating if not self._awaited else ():
            self._cluster.tell(name, ("begin", at_ns))

    def _judge(self, pulse: Pulse) -> None:
        if self._rule is None or not self._to_stop or (why := self._rule(pulse)) is None:
            return
        self._rule = None
        _log.info("ended by a stop rule: %s", why)
        self._screen.line(f"ending: {why}; nothing new is sent")
        for name in self._generating:
            self._cluster.tell(name, ("end", why))

    def _ended(self, event: Event) -> None:
        self._running.discard(event.worker)
        if event.error is not None:
            self._died(event.worker, event.error)
        if event.worker in self._generating:
            self._generating.discard(event.worker)
            self._arrived(event.worker)
            if not self._generating:
                self._heard_ns = dict.fromkeys(self._running, self._now())
                for name in self._running:
                    self._finish(name)

    def _finish(self, processor: str) -> None:
        """Let it finish; of a plan that was cut it makes nothing that was due later."""
        if self._outcome.cut_ns is not None:
            self._cluster.tell(processor, ("cut", self._outcome.cut_ns))
        self._cluster.tell(processor, "finish")

    def _died(self, worker: str, error: str) -> None:
        """A processor can begin again from the spool, once; what a generator would have sent cannot be made up for."""
        job = self._spare.pop(worker, None)
        if job is None:
            self._outcome.dead[worker] = error
            _log.error("%s %s", worker, error)
            self._screen.line(f"{worker} {error}")
            return
        self._outcome.restarted[worker] = error
        _log.warning("%s %s; it begins again from the spool", worker, error)
        self._screen.line(f"{worker} {error}; it begins again from the spool")
        self._cluster.start(job)
        self._running.add(worker)
        self._heard_ns[worker] = self._now()
        if not self._generating:
            self._finish(worker)


def stop_rule(experiment: Experiment, until: Until | None = None) -> StopRule | None:
    """What ends the run before its plan does, `until` a function given from outside; None where nothing is to."""
    stop, rules = experiment.timing.stop, list[StopRule]()
    if stop.max_errors is not None:
        rules.append(stops.MaxErrors(stop.max_errors))
    if stop.precision is not None:
        from aiperf.metrics.precision import PulsePrecision  # noqa: PLC0415 - it brings scipy: launch time

        rules.append(stops.Precise(PulsePrecision(precision_of(experiment), stop.precision)))
    if until is not None:
        rules.append(stops.Until(until))
    return stops.first_of(rules) if rules else None


def precision_of(experiment: Experiment) -> tuple[str, ...]:
    """The statistics, as `metric.stat`, that are to be known well enough."""
    streamed, whole = PULSED
    metric = streamed if experiment.endpoint.streaming else whole
    return experiment.timing.stop.precision_of or tuple(f"{metric}.{stat}" for stat in ("p50", "p99"))
