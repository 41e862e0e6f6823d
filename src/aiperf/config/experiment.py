"""An experiment: the single source of every key, check, default, unit and sentence of docs/configuration.md."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from aiperf.config.base import Milliseconds, Model, Names, Seconds, short_for
from aiperf.config.dataset import Dataset, Tokenizer
from aiperf.config.endpoint import Endpoint
from aiperf.config.keys import at
from aiperf.config.timing import Timing
from aiperf.plugin.plugins import declared


def _kept(slos: dict[str, Any]) -> dict[str, Any]:
    return {name: said for name, said in slos.items() if said is not None}  # null takes a promise back


class Goodput(Model):
    """What the server has promised."""

    slos: Annotated[dict[str, Any], AfterValidator(_kept)] = Field(default_factory=dict)
    """A limit a metric: a scalar is per request, `{p99: 2s}` is over the window; without a unit it is in the metric's own."""
    min_fraction: float | None = Field(None, ge=0, le=1)
    """Gate: the least share of requests that must keep every promise; below it the exit code is 4."""


class Judged(Model):
    """The stretch of the run that numbers are of."""

    type: Literal["auto", "whole"] = "auto"
    """`auto` begins when the load has become steady (`concurrency` and `request_rate`; a trace is judged whole), `whole` with the run."""
    start_s: Seconds | None = Field(None, ge=0)
    """Where it begins, in seconds from the run's start, whatever `type` would find."""
    end_s: Seconds | None = Field(None, gt=0)
    """Where it ends, in seconds from the run's start."""

    def _broken(self) -> Iterator[str]:
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            yield f"end_s={self.end_s:g} is not after start_s={self.start_s or 0:g}"


class VerdictLimits(Model):
    """When a run is void."""

    max_error_rate: float = Field(0.01, ge=0, le=1)
    """Largest share of failed requests; of answers without a token and of requests cut off when the grace is over, too."""
    max_lateness_ms: Milliseconds = Field(1, ge=0)
    """Largest p99 of our own lateness, or 1 % of the median latency where that is more."""
    min_achieved: float = Field(0.98, ge=0, le=1)
    """Least share of the plan's arrivals that must be sent in the window, and of the planned level in flight."""
    max_length_error: float = Field(0.02, ge=0, le=1)
    """Largest difference of token counts from what was promised."""
    window: Annotated[Judged, short_for("type")] = Field(default_factory=Judged)
    """What of the run is judged: `auto`, `whole`, or a stretch, as in `{start_s: 5, end_s: 60}`."""
    ignore: Names = ()
    """Reasons to overlook, by name; they are printed beside the result."""


class Output(Model):
    """Where results go."""

    dir: str = Field("outputs", min_length=1)
    """Folder that holds a folder a campaign."""
    level: Literal["raw", "records", "summary"] = "records"
    """`raw` keeps the bytes and stamps as they came, `records` a row a request, `summary` the numbers alone."""
    formats: Names = ("csv",)
    """What else is written, names of the category `data_exporter`: `csv` (the summary as summary.csv), `jsonl` (records.jsonl)."""


class Ui(Model):
    """What is seen while it runs."""

    type: str = "simple"
    """A name of the category `ui`: `simple` shows progress in place, in a pipe a line every 5 s, as `none` does everywhere."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a screen that is used here has of its own."""


class Cluster(Model):
    """Where load generators and processors live."""

    type: str = "local"
    """A name of the category `cluster`: `local` (processes on this machine) or `inline` (one process)."""
    generators: int = Field(1, ge=1, le=256)
    """Processes that share the plan, every n-th request each, with a slot of `timing.concurrency` at least; each wants a core."""
    processors: int | None = Field(None, ge=1, le=256)
    """Processes that turn raw bytes into records; unset is the cores less the generators, at least 1."""
    pin: bool = True
    """Whether each load generator keeps a core that our other processes stay off (`local`, Linux, more cores than generators)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a cluster that is used here has of its own."""


IN_MEMORY: Mapping[tuple[str, str], Any] = MappingProxyType({("cluster", "type"): "inline", ("endpoint", "transport"): "memory"})
"""What a virtual clock needs."""


class Experiment(Model):
    """One experiment, complete."""

    name: str = Field("experiment", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the results' folder; unset is the experiment file's name."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of everything that is drawn: arrivals, lengths, texts."""
    endpoint: Endpoint
    """The server under test."""
    dataset: Dataset = Field(default_factory=Dataset)
    """What is said to it."""
    timing: Timing
    """When it is said."""
    tokenizer: Tokenizer = Field(default_factory=Tokenizer)
    """How tokens are counted on our side."""
    goodput: Goodput = Field(default_factory=Goodput)
    """What it has promised."""
    verdict: VerdictLimits = Field(default_factory=VerdictLimits)
    """When a run is void."""
    cluster: Cluster = Field(default_factory=Cluster)
    """Where the work is done."""
    output: Output = Field(default_factory=Output)
    """Where results go."""
    ui: Ui = Field(default_factory=Ui)
    """What is seen while it runs."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What the trial's log file holds: this and what is more serious."""

    @model_validator(mode="before")
    @classmethod
    def _implied(cls, values: Any) -> Any:
        """What a virtual clock needs, and an endpoint that does not stream, where nothing is said."""
        takes = dict(IN_MEMORY) if at(values, ("endpoint", "simulator", "clock")) == "virtual" else {}
        if declared("endpoint", at(values, ("endpoint", "type"))).get("supports_streaming") is False:
            takes["endpoint", "streaming"] = False
        for (group, key), value in takes.items():
            said = values.get(group, {})
            if isinstance(said, dict) and said.get(key) is None:
                values = {**values, group: {**said, key: value}}
        return values
