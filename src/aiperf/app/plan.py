"""Everything that can be decided before the first send: conversations, times, and what a person is told about them."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aiperf import clock
from aiperf.config.experiment import Experiment
from aiperf.paths import data_file
from aiperf.plugin.plugins import get_class
from aiperf.seams import Source
from aiperf.store.parquet import PLAN_SCHEMA
from aiperf.workload import Phase, Schedule


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be played: the conversations, when they are due, and a word on either."""

    source: Source
    schedule: Schedule
    stop_ns: int | None
    notes: tuple[str, ...]

    @property
    def open_loop(self) -> bool:
        """Whether arrivals come by the clock and not by answers."""
        return self.schedule.run.due_ns is not None

    @property
    def planned(self) -> int | None:
        """Requests of the run; None where only the load shows it."""
        run = self.schedule.run
        return len(run.due_ns) if run.due_ns is not None else run.requests


def make(experiment: Experiment, salt: str) -> Plan:
    """Load the data and lay out the schedule. Raises ConfigError and DataError, before anything is sent."""
    source: Source = get_class("dataset_composer", experiment.dataset.type)(experiment.dataset, seed=experiment.seed, salt=salt)
    schedule: Schedule = get_class("timing_strategy", experiment.timing.type)(experiment.timing, seed=experiment.seed).schedule(
        source.due_ns()
    )
    duration = experiment.timing.stop.duration_s
    stop_ns = round(duration * clock.SECOND) if duration is not None else None
    return Plan(source, schedule, stop_ns, tuple(getattr(source, "notes", ())))


def salt_of(word: str, run: str) -> str:
    """What the texts are salted with: the run's own name, nothing, or the word that was given."""
    return {"run": run, "none": ""}.get(word, word)


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


def words(experiment: Experiment, plan: Plan) -> list[str]:
    """The plan as a person reads it."""
    endpoint, dataset = experiment.endpoint, experiment.dataset
    where = "the packaged simulator" if endpoint.simulator is not None else ", ".join(endpoint.url)
    return [
        f"endpoint  {endpoint.type} at {where}, {'streamed' if endpoint.streaming else 'not streamed'}; {_sampling(endpoint.extra)}",
        f"dataset   {dataset.path or dataset.type}: {_lengths(plan, exact=dataset.output_tokens.exact)}; text {_salted(dataset.salt)}",
        f"timing    {_timing(experiment, plan)}",
        *(f"note      {note}" for note in plan.notes),
    ]


def _sampling(extra: dict[str, Any]) -> str:
    return f"every body carries {', '.join(sorted(extra))}" if extra else "no sampling parameters are sent"


def _salted(salt: str) -> str:
    return {"run": "unique to this run", "none": "the same in every run"}.get(salt, f"salted with {salt!r}")


def _lengths(plan: Plan, *, exact: bool) -> str:
    run = plan.schedule.run
    count = min(plan.planned or 1000, 100_000)
    lengths = plan.source.lengths(conversations(run, count))
    out = lengths.output_tokens
    wanted = (
        f"{_span(out)} asked for{', exactly (min_tokens, ignore_eos)' if exact else ''}" if out.any() else "as long as the server likes"
    )
    return f"prompts of {_span(lengths.input_tokens)} tokens, answers {wanted}"


def _span(values: np.ndarray[Any, np.dtype[np.int32]]) -> str:
    low, high = int(values.min(initial=2**31 - 1)), int(values.max(initial=0))
    return f"{low:,}" if low == high else f"{low:,} to {high:,} (mean {values.mean():,.0f})"


def _timing(experiment: Experiment, plan: Plan) -> str:
    timing, run = experiment.timing, plan.schedule.run
    load = {
        "concurrency": f"{timing.concurrency} in flight (closed loop)",
        "request_rate": f"{timing.rate:g} arrivals a second, {timing.arrival}" if timing.rate else "",
        "fixed_schedule": f"the recorded times{f', {timing.speedup:g} times as fast' if timing.speedup != 1 else ''}",
    }.get(timing.type, timing.type)
    cap = f", at most {timing.concurrency} in flight" if plan.open_loop and timing.concurrency is not None else ""
    return f"{load}{cap}; {_stop(plan, run)}{_warmup(timing.warmup.requests, timing.warmup.duration_s)}"


def _stop(plan: Plan, run: Phase) -> str:
    rules = []
    if plan.planned is not None:
        rules.append(f"{plan.planned:,} requests")
    if run.duration_ns is not None:
        rules.append(f"{run.duration_ns / clock.SECOND:,.3g} s")
    return (" in " if plan.open_loop else " or ").join(rules)


def _warmup(requests: int | None, seconds: float | None) -> str:
    if requests is None and seconds is None:
        return "; no warm-up"
    return f"; warm-up {f'of {requests:,} requests' if requests is not None else f'of {seconds:g} s'} before it"
