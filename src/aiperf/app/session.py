"""What the stages of a run share, and the journal that they keep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aiperf import clock
from aiperf.app import host
from aiperf.app.plan import Plan, conversations
from aiperf.cluster.local import Worker
from aiperf.config.experiment import Experiment
from aiperf.results import Summary
from aiperf.seams import Screen
from aiperf.store.campaign import Campaign
from aiperf.store.parquet import PLAN_SCHEMA, write_plan

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
class Run:
    """What all stages of a run need."""

    experiment: Experiment
    name: str
    plan: Plan
    campaign: Campaign
    screen: Screen
    journal: Journal
    hatched: Sequence[Worker]
    cores: host.Cores
    text: str
    began_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code, where its results are, and what it found (None: nothing was sent)."""

    code: int
    folder: Path
    summary: Summary | None = None


def keep_plan(run: Run, reached: dict[str, int] | None = None) -> None:
    """Write the plan; in closed loop what was `reached`, by phase."""
    write_plan(run.campaign.plan, table(run.plan, run.experiment.seed, reached))


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
