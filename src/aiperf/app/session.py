"""What the stages of a run share, and the journal that they keep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any

from aiperf import clock
from aiperf.app import host
from aiperf.app.plan import Plan, table
from aiperf.cluster.local import Worker
from aiperf.config.experiment import Experiment
from aiperf.seams import Screen
from aiperf.store.campaign import Campaign
from aiperf.store.parquet import write_plan

_log = getLogger(__name__)


@dataclass(slots=True)
class Journal:
    """What the receipt will say: stages with their times and outcome, and facts as they come."""

    facts: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage of the run."""
        entry: dict[str, Any] = {"stage": name, "started_at": clock.utc().isoformat(), "outcome": "failed"}
        began = clock.monotonic_ns()
        self.stages.append(entry)
        try:
            yield
            entry["outcome"] = "done"
        finally:
            entry["seconds"] = round((clock.monotonic_ns() - began) / clock.SECOND, 6)
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


def keep_plan(run: Run, reached: dict[str, int] | None = None) -> None:
    """Write the plan; in closed loop what was `reached`, by phase."""
    write_plan(run.campaign.plan, table(run.plan, run.experiment.seed, reached))
