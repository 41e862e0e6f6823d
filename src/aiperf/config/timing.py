"""When it is said."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from aiperf.config.base import Microseconds, Model, Names, Seconds
from aiperf.plugin.plugins import declared

MOST_ARRIVALS = 50_000_000
"""Arrivals that can be planned for one run, warm-up included: they are drawn before the start, eight bytes and more each."""


class Warmup(Model):
    """Load before the run, at the run's own level, not in the result; it hands over without draining."""

    requests: int | None = Field(None, ge=1, le=100_000_000)
    """Length by requests sent."""
    duration_s: Seconds | None = Field(None, gt=0, le=86_400)
    """Length by time."""

    def _broken(self) -> Iterator[str]:
        if self.requests is not None and self.duration_s is not None:
            yield "requests and duration_s contradict each other; give one"


class Stop(Model):
    """When nothing new is sent; whichever of the given rules comes first."""

    requests: int | None = Field(None, ge=1, le=1_000_000_000)
    """After this many requests."""
    duration_s: Seconds | None = Field(None, gt=0, le=31_536_000)
    """After this time."""
    precision: float | None = Field(None, ge=0.01, le=0.5)
    """When what `precision_of` names is known this well: 0.05 is to within 5 % either way, by 95 % intervals of the pulse."""
    precision_of: Names = ()
    """Percentiles of time_to_first_token and request_latency, as in `request_latency.p99`; unset p50 and p99 of the first that there is."""
    max_errors: int | None = Field(None, ge=0, le=1_000_000_000)
    """When more than this many requests of the run have failed, by status or connection."""
    grace_s: Seconds = Field(30, ge=0, le=86_400)
    """How long requests in flight may take after that; then they are abandoned."""


class Timing(Model):
    """When requests are due."""

    type: str = "concurrency"
    """A name of the category `timing_strategy`: `concurrency`, `request_rate` or `fixed_schedule`."""
    concurrency: int | None = Field(None, ge=1, le=1_000_000)
    """Requests in flight: the level (`concurrency`), or a cap; an arrival that finds no slot waits, none is dropped."""
    rate: float | None = Field(None, gt=0, le=10_000_000)
    """Mean arrivals a second (`request_rate`); no more than 50 million can be planned for a run."""
    arrival: str = "poisson"
    """How arrivals are spread: a name of the category `arrival_pattern`, `poisson` or `constant`."""
    speedup: float = Field(1, gt=0, le=1_000_000)
    """Recorded times are divided by this (`fixed_schedule`)."""
    start_s: Seconds = Field(0, ge=0)
    """Rows of the trace before this time are left out (`fixed_schedule`, in the trace's own time)."""
    end_s: Seconds | None = Field(None, gt=0)
    """Rows of the trace from this time on are left out (`fixed_schedule`, in the trace's own time)."""
    offset: Literal["zero", "kept"] = "zero"
    """When the first row is due (`fixed_schedule`): `zero` at once, `kept` as long after `start_s` as in the trace."""
    spin_us: Microseconds = Field(200, ge=0, le=10_000)
    """The last stretch before a due time is polled without sleeping."""
    warmup: Warmup = Field(default_factory=Warmup)
    """Load before the run."""
    stop: Stop = Field(default_factory=Stop)
    """When the run ends."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a plugin that is used here has of its own: a timing strategy or an arrival pattern."""

    def _broken(self) -> Iterator[str]:
        metadata = declared("timing_strategy", self.type)
        needed = metadata.get("requires", ())
        for missing in [key for key in needed if getattr(self, key, None) is None]:
            yield f"{missing} is missing; timing.type={self.type} needs it"
        requests, duration = self.stop.requests, self.stop.duration_s
        if not metadata.get("recorded") and requests is None and duration is None:
            early = self.stop.precision is not None or self.stop.max_errors is not None
            also = " as well: stop.precision and stop.max_errors may never be reached" if early else ""
            yield f"no stop rule; give timing.stop.requests or timing.stop.duration_s{also}"
        if self.stop.precision_of and self.stop.precision is None:
            yield "stop.precision_of is not used without stop.precision"
        if self.end_s is not None and self.end_s <= self.start_s:
            yield f"end_s={self.end_s:g} is not after start_s={self.start_s:g}"
        rate = self.rate if "rate" in needed else None
        if rate and requests and duration and requests > 2 * rate * duration + 10:
            yield (
                f"stop.requests={requests} and stop.duration_s={duration:g} contradict each other: "
                f"at {rate:g} a second only about {rate * duration:.0f} requests come in that time; give one"
            )
        drawn = (rule.requests or (rate or 0) * (rule.duration_s or 0) for rule in (self.warmup, self.stop))
        if rate and (planned := sum(drawn)) > MOST_ARRIVALS:
            yield f"rate, warmup and stop ask for about {planned:,.0f} planned arrivals, and {MOST_ARRIVALS:,} is the most; ask for fewer"
