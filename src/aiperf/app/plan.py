"""Everything that can be decided before the first send: conversations, times, and what a person is told about them."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aiperf import clock
from aiperf.app.data import Data
from aiperf.app.wording import Counting
from aiperf.config.experiment import Experiment
from aiperf.dataset.bank import Wording
from aiperf.paths import data_file
from aiperf.plugin.plugins import get_class
from aiperf.seams import Source, Strategy
from aiperf.store.parquet import PLAN_SCHEMA
from aiperf.workload import Phase, Schedule


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

    def extra_tokens(self, measured: int | None) -> int | None:
        """What the server counts beyond an asked length: by the tokenizer that is named, else as `measured` by a probe."""
        known = self.counting.expected_extra
        return measured if known is None else known

    @property
    def planned(self) -> int | None:
        """Requests of the run; None where only the load shows it."""
        run = self.schedule.run
        return len(run.due_ns) if run.due_ns is not None else run.requests


def make(experiment: Experiment, found: Data) -> Plan:
    """Lay out the schedule. Raises ConfigError where the data do not fit the timing."""
    strategy: Strategy = get_class("timing_strategy", experiment.timing.type)(experiment.timing, seed=experiment.seed)
    schedule = strategy.schedule(found.source.due_ns())
    duration = experiment.timing.stop.duration_s
    stop_ns = round(duration * clock.SECOND) if duration is not None else None
    return Plan(found.source, schedule, stop_ns, tuple(found.source.notes), found.wording, found.counting)


def data_hash(experiment: Experiment) -> str | None:
    """SHA-256 of the data file; None where the data are drawn."""
    path = experiment.dataset.path
    if path is None:
        return None
    with data_file(path, "dataset.path").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def conversations(phase: Phase, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The conversations of a phase's first `count` places."""
    return np.arange(count, dtype=np.int64) if phase.conversations is None else phase.conversations[:count]


def table(plan: Plan, seed: int, reached: dict[str, int] | None = None) -> pa.Table:
    """The plan as columns. In closed loop it holds what was `reached`, by phase; times are from the start of the load."""
    start, parts = 0, []
    for phase in plan.schedule.phases:
        due = phase.due_ns
        count = len(due) if due is not None else (reached or {}).get(phase.name, 0)
        which = conversations(phase, count)
        lengths = plan.source.lengths(which)
        columns = {
            "request": np.arange(count, dtype=np.int64) + phase.first_number,
            "phase": [phase.name] * count,
            "due_ns": due + start if due is not None else pa.nulls(count, pa.int64()),
            "conversation": which,
            "turn": np.zeros(count, dtype=np.int32),
            "input_tokens": lengths.input_tokens,
            "output_tokens": lengths.output_tokens,
            "seed": np.full(count, seed, dtype=np.int64),
        }
        parts.append(pa.table(columns).cast(PLAN_SCHEMA))
        start += phase.duration_ns or 0
    return pa.concat_tables(parts).sort_by("request")
