"""Everything that can be decided before the first send: conversations, times, and what a person is told about them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiperf import clock
from aiperf.app.data import Counting, Data, data, enough_memory, salt_of
from aiperf.config.compose import Composed
from aiperf.config.experiment import Experiment
from aiperf.dataset.bank import Wording
from aiperf.errors import ConfigError
from aiperf.paths import data_file
from aiperf.plugin import plugins
from aiperf.seams import Source
from aiperf.simulator.draws import too_long
from aiperf.store.campaign import run_name, sha256
from aiperf.workload import Phase, Schedule

_SOME = 1_000_000
"""Requests whose lengths are looked at beforehand."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be played: the conversations, when they are due, and a word on either."""

    source: Source
    schedule: Schedule
    stop_ns: int | None
    notes: tuple[str, ...]
    wording: Wording
    counting: Counting

    @property
    def open_loop(self) -> bool:
        """Whether arrivals come by the clock and not by answers."""
        return self.schedule.run.due_ns is not None

    @property
    def planned(self) -> int | None:
        """Requests of the run; None where only the load shows it."""
        return requests_of(self.schedule.run)


@dataclass(frozen=True, slots=True)
class Gathered:
    """A run of this name, planned; `began_ns` is CLOCK_REALTIME, `say` tells a person."""

    composed: Composed
    name: str
    plan: Plan
    began_ns: int
    say: Callable[[str], None]


def gathered(composed: Composed, say: Callable[[str], None], name: str | None = None) -> Gathered:
    """The plan of a run; data with times and nobody who chose a timing are played at those times."""
    began_ns, name, options = clock.now_ns(), name or run_name(), composed.experiment.dataset
    with enough_memory(options.path):
        found = data(composed.experiment, salt_of(options.salt, name), say)
        is_timed = composed.if_timed is not None and found.source.due_ns() is not None
        if composed.if_timed is not None and is_timed:
            composed = composed.if_timed()
            say("timing=fixed_schedule: the data have times and no timing was chosen, so they are played at them")
        planned = make(composed.experiment, found)
    return Gathered(composed, name, planned, began_ns, say)


def make(experiment: Experiment, found: Data) -> Plan:
    """Lay out the schedule. Raises ConfigError where the data do not fit the timing."""
    timing = experiment.timing
    strategy = plugins.make("timing_strategy", timing.type, timing, seed=experiment.seed, options=timing.options)
    schedule = strategy.schedule(found.source.due_ns())
    slots = schedule.run.concurrency or (1 if schedule.run.due_ns is None else None)
    if slots is not None and slots < experiment.cluster.generators:  # of a strategy that has its own idea of a level
        raise ConfigError(f"cluster.generators={experiment.cluster.generators}: each needs a slot of its own, and the plan has {slots}")
    _fit(experiment, found.source, schedule)
    duration = experiment.timing.stop.duration_s
    stop_ns = round(duration * clock.SECOND) if duration is not None else None
    return Plan(found.source, schedule, stop_ns, tuple(found.source.notes), found.wording, found.counting)


def _fit(experiment: Experiment, source: Source, schedule: Schedule) -> None:
    """Raises ConfigError for a request that the packaged server could never answer, since it alone fills more than all KV memory."""
    options, run = experiment.endpoint.simulator, schedule.run
    if options is None or options.kv_blocks is None:
        return
    lengths = source.lengths(conversations(run, min(requests_of(run) or _SOME, _SOME)))
    answers = np.where(lengths.output_tokens > 0, lengths.output_tokens, options.tokens)
    place = int(np.argmax(lengths.input_tokens + answers))
    prompt = int(lengths.input_tokens[place]) + options.template_tokens
    if why := too_long(options, prompt, int(answers[place])):
        raise ConfigError(f"endpoint.simulator.kv_blocks={options.kv_blocks}: request {place} does not fit. {why}")


def data_hash(experiment: Experiment) -> str | None:
    """SHA-256 of the data file; None where the data are drawn."""
    path = experiment.dataset.path
    return None if path is None else sha256(data_file(path, "dataset.path"))


def requests_of(phase: Phase) -> int | None:
    """Requests of a phase; None where only the load shows it."""
    return phase.requests if phase.due_ns is None else len(phase.due_ns)


def conversations(phase: Phase, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The conversations of a phase's first `count` places."""
    return np.arange(count, dtype=np.int64) if phase.conversations is None else phase.conversations[:count]
