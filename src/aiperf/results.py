"""What was found, frozen: values, the verdict, a trial's summary; and the pulse, which steers and is never a result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

STATS = ("avg", "min", "max", "std", "sum", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9")
"""The statistics of a distribution, in the order in which they are written; a metric of one value has `avg` alone."""

REASONS = (
    "no_results", "late_generator", "plan_not_met", "level_not_held", "generator_saturated", "unsent", "abandoned", "errors",
    "no_tokens", "input_length", "output_length", "coalesced_first_tokens", "too_few_samples", "clock_step", "generator_died",
    "lost_frames", "invariant", "trend",
)  # fmt: skip
"""Every reason for which a run is void, by name; `verdict.ignore` takes these."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One metric of one run: a value per statistic in `unit`, the sample count behind it, and what could not be supported.

    `intervals` hold 95 % confidence bounds by statistic and `effective` the effective sample count of each; a statistic
    without an interval had too little to make one from.
    """

    metric: str
    unit: str
    stats: Mapping[str, float | None]
    n: int
    unsupported: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    effective: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slo:
    """A promise and whether it was kept: per request (`stat` is `each`, `value` the share that met it) or over the window."""

    metric: str
    stat: str
    op: str
    threshold: float
    unit: str
    value: float | None
    met: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is void, what was seen, and what to change."""

    reason: str
    detail: str
    advice: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """VALID or INVALID with every reason; `ignored` are reasons that the experiment asked to overlook; notes void nothing."""

    reasons: tuple[Reason, ...] = ()
    ignored: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the numbers may be believed."""
        return not self.reasons

    @property
    def word(self) -> str:
        """VALID or INVALID."""
        return "VALID" if self.valid else "INVALID"


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch that is judged (CLOCK_REALTIME nanoseconds) and how many good answers ended on either side of it."""

    start_ns: int
    end_ns: int
    before: int = 0
    after: int = 0

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Timeline:
    """How the run went over time, in bins of `bin_s` seconds from its start (at most 60): good answers and failures by class, by their end.

    Lists are of equal length, an entry a bin.
    """

    bin_s: float
    good: tuple[int, ...]
    errors: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that one trial found; `counts` is the ledger, `errors` failures by class, `facts` what else was seen."""

    window: Window
    metrics: tuple[MetricValue, ...]
    whole: tuple[MetricValue, ...]
    counts: Mapping[str, int]
    errors: Mapping[str, int]
    samples: Mapping[str, str]
    slos: tuple[Slo, ...]
    verdict: Verdict
    timeline: "Timeline | None" = None
    gate_met: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a screen is told before the load: how long each phase is by the plan, in requests and in seconds, where that is known.

    `phases` are names with (requests, seconds) in their order, the last the run; `rate` the planned mean arrivals a second of
    the run (None: closed loop), `concurrency` its level or cap.
    """

    phases: Mapping[str, tuple[int | None, float | None]]
    rate: float | None = None
    concurrency: int | None = None


class Pulse(msgspec.Struct, frozen=True, array_like=True):
    """Ten times a second from a generator: counts since the start, what is in flight, and two coarse histograms.

    The histograms count body events in 2 % steps, index i holding values from 1.02**i microseconds on (`first`: first
    body event - sent, `total`: end - sent). They time body events, not tokens, so they steer and are never a result.
    """

    at_ns: int
    generator: int
    phase: str
    due: int
    ready: int
    sent: int
    done: int
    failed: dict[str, int]
    in_flight: int
    lateness_ns: int
    busy: float
    first: dict[int, int]
    total: dict[int, int]


PULSED = {"time_to_first_token": "first", "request_latency": "total"}
"""Metrics that a pulse can judge, and the histogram that stands for each."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What judging needs beside the records: the plan in short, and how the load generators fared.

    `window` is the judged stretch by the plan; `mean_gap_ns` its mean gap between arrivals (0 in closed loop);
    `planned` the arrivals that the plan held in it (None in closed loop); `template_tokens` what the server's chat
    template adds to a prompt (None: unknown or not constant); `clock_step_ns` the largest change of CLOCK_REALTIME
    against CLOCK_MONOTONIC from one frame to the next; `busiest_second` the largest share of a second that a generator's
    thread was busy; `lost_frames` spool frames that could not be written; `client_counted` good answers of the run
    whose tokens the client's tokenizer counted, since the server did not.
    """

    window: Window
    open_loop: bool
    planned: int | None = None
    concurrency: int | None = None
    mean_gap_ns: int = 0
    template_tokens: int | None = None
    input_promised: bool = False
    output_promised: bool = False
    streaming: bool = True
    clock_step_ns: int = 0
    busiest_second: float = 0.0
    dead_generators: tuple[str, ...] = ()
    lost_frames: int = 0
    spool_waits: int = 0
    stopped_by_user: bool = False
    client_counted: int = 0
