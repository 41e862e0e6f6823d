"""What the stages of a run share, and the journal that they keep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiperf import clock
from aiperf.app import host
from aiperf.app.plan import Plan
from aiperf.cluster.local import Worker
from aiperf.config.experiment import Experiment
from aiperf.results import Summary
from aiperf.seams import Screen
from aiperf.store.campaign import Campaign
from aiperf.store.parquet import PLAN_SCHEMA, write_plan
from aiperf.workload import WARMUP_FROM, Phase

_log = getLogger(__name__)


@dataclass(slots=True)
class Journal:
    """What the receipt will say: stages with their times and outcome, and facts as they come."""

    facts: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, since_ns: int | None = None) -> Iterator[None]:
        """A stage of the run, which may have begun before (CLOCK_REALTIME)."""
        began = clock.now_ns() if since_ns is None else since_ns
        entry: dict[str, Any] = {"stage": name, "started_at": clock.utc(began).isoformat(), "outcome": "failed"}
        self.stages.append(entry)
        try:
            yield
            entry["outcome"] = "done"
        finally:
            entry["seconds"] = round((clock.now_ns() - began) / clock.SECOND, 6)
            _log.info("stage %s %s after %.3f s", name, entry["outcome"], entry["seconds"])


@dataclass(frozen=True, slots=True)
class Kept:
    """What the last stages need, of a run that goes on and of one that lies on the disk.

    `text` is its experiment.yaml, `sweep_id` the name of its folder when it was made.
    """

    experiment: Experiment
    campaign: Campaign
    screen: Screen
    journal: Journal
    text: str
    began_ns: int
    sweep_id: str


@dataclass(frozen=True, slots=True)
class Run(Kept):
    """What all stages of a run need; `name` are its six digits."""

    name: str
    plan: Plan
    hatched: Sequence[Worker]
    cores: host.Cores


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code, where its results are, and what it found (None: nothing was sent)."""

    code: int
    folder: Path
    summary: Summary | None = None


def keep_plan(run: Run, reached: NDArray[np.int64] | None = None) -> None:
    """Write the plan; in closed loop the requests that were `reached`, by number."""
    write_plan(run.campaign.plan, table(run.plan, run.experiment.seed, reached))


def table(plan: Plan, seed: int, reached: NDArray[np.int64] | None = None) -> pa.Table:
    """The plan as columns. In closed loop it holds the numbers that were `reached`; times are from the start of the load."""
    start, parts = 0, []
    for phase in plan.schedule.phases:
        places = _places(phase, reached)
        which = places if phase.conversations is None else phase.conversations[places]
        lengths = plan.source.lengths(which)
        columns = {
            "request": places + phase.first_number,
            "phase": [phase.name] * len(places),
            "due_ns": phase.due_ns + start if phase.due_ns is not None else pa.nulls(len(places), pa.int64()),
            "conversation": which,
            "turn": np.zeros(len(places), dtype=np.int32),
            "input_tokens": lengths.input_tokens,
            "output_tokens": lengths.output_tokens,
            "seed": np.full(len(places), seed, dtype=np.int64),
        }
        parts.append(pa.table(columns).cast(PLAN_SCHEMA))
        start += phase.duration_ns or 0
    return pa.concat_tables(parts).sort_by("request")


def _places(phase: Phase, reached: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The places of a phase that the plan holds."""
    if phase.due_ns is not None:
        return np.arange(len(phase.due_ns), dtype=np.int64)
    numbers = np.arange(phase.requests or 0, dtype=np.int64) + phase.first_number if reached is None else np.sort(reached)
    places: NDArray[np.int64] = numbers[(numbers >= WARMUP_FROM) == (phase.first_number >= WARMUP_FROM)] - phase.first_number
    return places
