"""What is to be known of a run beside its plan and what the load leaves: written before the load, so that the disk alone can be judged."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf.app.data import Counting
from aiperf.app.jobs import Target
from aiperf.app.probe import Found
from aiperf.app.session import Run
from aiperf.config.base import HIDDEN
from aiperf.config.experiment import Experiment
from aiperf.config.secrets import hidden
from aiperf.errors import ConfigError
from aiperf.processing.task import ProcessTask
from aiperf.seams import Job
from aiperf.store.campaign import Campaign, check_version
from aiperf.store.parquet import read_plan
from aiperf.workload import WARMUP_FROM

NAME = "trials/0001/load.json"
SCHEMA_VERSION = "1.0"
_PROCESS, _NICE = "aiperf.processing.processor:process_job", 19


@dataclass(frozen=True, slots=True)
class Brief:
    """The run in short: the name of its folder (`sweep_id`), its servers, and of the plan what plan.parquet does not say.

    Times are nanoseconds: `began_ns` is CLOCK_REALTIME, `run_from_ns` where the run begins in the plan's times. `generators`
    is how many share the plan, `shards` how many processors share what they leave.
    """

    sweep_id: str
    began_ns: int
    urls: tuple[str, ...]
    model: str
    found: Found
    counting: Counting
    open_loop: bool
    concurrency: int | None
    run_from_ns: int
    duration_ns: int | None
    generators: int
    shards: int

    @property
    def template_tokens(self) -> int | None:
        """What the server counts beyond an asked length: by the tokenizer that is named, else as a probe measured it."""
        known = self.counting.expected_extra
        return self.found.template_tokens if known is None else known


def brief_of(run: Run, target: Target, found: Found) -> Brief:
    """The brief of a run at a server that was probed."""
    (*before, last), plan, cluster = run.plan.schedule.phases, run.plan, run.experiment.cluster
    return Brief(
        run.campaign.folder.name, run.began_ns, target.urls, target.model, found, plan.counting, plan.open_loop, last.concurrency,
        sum(phase.duration_ns or 0 for phase in before), last.duration_ns, cluster.generators,
        cluster.processors or max(1, run.cores.count - cluster.generators),
    )  # fmt: skip


def write(brief: Brief, experiment: Experiment, campaign: Campaign) -> None:
    """Write both into load.json, without secrets. Raises MeasureError where the disk refuses."""
    said = {"schema_version": SCHEMA_VERSION, **asdict(brief), "experiment": _unsaid(hidden(experiment.model_dump(mode="json")))}
    campaign.write_json(NAME, said)


def _unsaid(value: Any) -> Any:
    """The same without what was hidden: nothing that is computed needs it, and `***` is refused where it would be sent."""
    if isinstance(value, dict):
        return {name: _unsaid(item) for name, item in value.items() if item != HIDDEN}
    if isinstance(value, list):
        return [_unsaid(item) for item in value]
    return value.replace(f"{HIDDEN}@", "") if isinstance(value, str) else value


def read(campaign: Campaign) -> tuple[Brief, Experiment]:
    """What `write` wrote. Raises ConfigError for a folder without it, and for one of a newer schema."""
    path = campaign.folder / NAME
    try:
        said: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        check_version(path, said.pop("schema_version"), SCHEMA_VERSION)
        experiment = Experiment.model_validate(said.pop("experiment"))
        return msgspec.convert(said, Brief), experiment
    except FileNotFoundError as exc:
        raise ConfigError(f"{path} is not there: the run ended before its load began, or an earlier version of aiperf made it") from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError, msgspec.MsgspecError) as exc:
        raise ConfigError(f"{path}: cannot be read ({type(exc).__name__}: {str(exc).splitlines()[0]})") from exc


def planned_ns(brief: Brief, campaign: Campaign) -> NDArray[np.int64] | None:
    """The run's planned times from its start; None in closed loop. Raises as `read_plan`."""
    if not brief.open_loop:
        return None
    plan = read_plan(campaign.plan)
    of_run = plan["request"].to_numpy() < WARMUP_FROM
    due: NDArray[np.int64] = plan["due_ns"].to_numpy()[of_run] - brief.run_from_ns
    return due


def spools(brief: Brief, campaign: Campaign) -> tuple[Path, ...]:
    """The files that the generators leave, in their order."""
    return tuple(campaign.spool / f"generator-{number}.spool" for number in range(brief.generators))


def processors(
    brief: Brief, experiment: Experiment, campaign: Campaign, *, cores: frozenset[int] | None = None, nice: int = _NICE,
    records: Path | None = None,
) -> list[Job]:  # fmt: skip
    """The jobs that make records (in another folder than theirs, if one is given) of what the generators leave."""
    first = ProcessTask(
        spools(brief, campaign), records or campaign.records, experiment.endpoint, brief.urls, brief.model,
        plan=campaign.plan if brief.open_loop else None, shards=brief.shards, tokenizer=experiment.tokenizer,
    )  # fmt: skip
    tasks, log = (replace(first, shard=shard) for shard in range(brief.shards)), (campaign.log, experiment.log_level)
    return [Job(f"processor-{task.shard}", _PROCESS, task, nice=nice, cores=cores, log=log) for task in tasks]
