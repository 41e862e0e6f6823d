"""When requests are due, decided before the start: a warm-up if one is asked for, then the run."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.clock import SECOND
from aiperf.config.timing import Timing
from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.workload import Phase, Schedule

WARMUP, RUN = "warmup", "profiling"

_LONGEST_S = 31_536_000
_LATEST_NS = 9.2e18  # what 64 bits hold, rounded down


@dataclass(frozen=True, slots=True)
class ConcurrencyStrategy:
    """Closed loop: always `options.concurrency` requests in flight."""

    options: Timing
    _: KW_ONLY
    seed: int

    def schedule(self, recorded_ns: NDArray[np.int64] | None) -> Schedule:  # noqa: ARG002 - the seam's; an answer is what makes the next one due
        """Phases without arrivals, ended by requests or time."""
        level = self.options.concurrency
        phases = (
            Phase(rule.phase, concurrency=level, requests=rule.requests, duration_ns=rule.duration_ns) for rule in _rules(self.options)
        )
        return Schedule(tuple(phases), _grace_ns(self.options))


@dataclass(frozen=True, slots=True)
class RequestRateStrategy:
    """Open loop: drawn arrivals at `options.rate`, other ones in the warm-up than in the run; at most `options.concurrency` in flight."""

    options: Timing
    _: KW_ONLY
    seed: int

    def schedule(self, recorded_ns: NDArray[np.int64] | None) -> Schedule:  # noqa: ARG002 - the seam's; arrivals are drawn
        """Phases with arrivals. Raises ConfigError if the run is too short to have any."""
        return Schedule(tuple(self._phase(rule) for rule in _rules(self.options)), _grace_ns(self.options))

    def _phase(self, rule: "_Rule") -> Phase:
        rate = self.options.rate
        if rate is None:
            raise ConfigError("timing.rate is missing; timing.type=request_rate needs it")
        seed, own = chance.child_seed(self.seed, rule.phase), self.options.options
        process = plugins.make("arrival_pattern", self.options.arrival, rate, seed=seed, options=own)
        if rule.requests is None and rule.duration_ns is not None:
            due_ns, length_ns = process.until(rule.duration_ns), rule.duration_ns
        else:
            due_ns, length_ns = rule.cut(process.offsets(rule.requests or 0), SECOND / rate)
        if rule.phase == RUN and not len(due_ns):
            raise ConfigError(
                f"timing.rate={rate:g}: no request falls into the {length_ns / SECOND:g} s of timing.stop.duration_s; make it longer"
            )
        return Phase(rule.phase, due_ns, self.options.concurrency, duration_ns=length_ns)


@dataclass(frozen=True, slots=True)
class FixedScheduleStrategy:
    """The data's own times, faster by `options.speedup`; the first row that is kept is due at 0, unless its offset is kept too.

    Its warm-up is its own beginning. A year is the most that it may last.
    """

    options: Timing
    _: KW_ONLY
    seed: int

    def schedule(self, recorded_ns: NDArray[np.int64] | None) -> Schedule:
        """Phases with arrivals and the rows they are.

        Raises ConfigError without times, if no row lies between start_s and end_s, or if they last for more than a year.
        """
        first, due_ns = self._kept(recorded_ns)
        span_ns = int(due_ns[-1] - due_ns[0])
        gap_ns = span_ns / (len(due_ns) - 1) if span_ns else SECOND
        phases = []
        for rule in _rules(self.options):
            cut, length_ns = rule.cut(due_ns, gap_ns)
            if len(cut) and cut[-1] > _LONGEST_S * SECOND:
                raise ConfigError(
                    f"the last row is due after {cut[-1] / SECOND:.3g} s; expected at most {_LONGEST_S:,} s, a year. Are the timestamps "
                    "milliseconds? If they are: timing.speedup, timing.end_s and timing.stop.duration_s make it shorter"
                )
            rows = np.arange(first, first + len(cut))
            phases.append(Phase(rule.phase, cut, self.options.concurrency, duration_ns=length_ns, conversations=rows))
        return Schedule(tuple(phases), _grace_ns(self.options))

    def _kept(self, recorded_ns: NDArray[np.int64] | None) -> tuple[int, NDArray[np.int64]]:
        """The number of the first row in the span, and the times of all in it from that row on."""
        options = self.options
        if recorded_ns is None or not len(recorded_ns):
            raise ConfigError(
                "timing.type=fixed_schedule needs a dataset with recorded times, as in dataset=mooncake_trace; this one has none"
            )
        first = int(np.searchsorted(recorded_ns, round(options.start_s * SECOND)))
        end = len(recorded_ns) if options.end_s is None else int(np.searchsorted(recorded_ns, round(options.end_s * SECOND)))
        if first >= end:
            until = " keeps" if options.end_s is None else f" and timing.end_s={options.end_s:g} keep"
            span = f"{recorded_ns[0] / SECOND:g} s to {recorded_ns[-1] / SECOND:g} s"
            raise ConfigError(f"timing.start_s={options.start_s:g}{until} no row; the trace goes from {span}")
        start_ns = recorded_ns[first] if options.offset == "zero" else round(options.start_s * SECOND)
        kept = recorded_ns[first:end] - start_ns
        return first, np.rint(np.minimum(kept / options.speedup, _LATEST_NS)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How long a phase is: whichever of its limits comes first."""

    phase: str
    requests: int | None
    duration_ns: int | None

    def cut(self, due_ns: NDArray[np.int64], gap_ns: float) -> tuple[NDArray[np.int64], int]:
        """The arrivals of the phase and its length: the duration if that cut them, else a mean gap after the last, within the duration."""
        kept = due_ns[: self.requests]
        if self.duration_ns is not None:
            in_time = int(np.searchsorted(kept, self.duration_ns))
            if in_time < len(kept):
                return kept[:in_time], self.duration_ns
        after_last = int(kept[-1]) + max(1, round(gap_ns))
        return kept, after_last if self.duration_ns is None else min(after_last, self.duration_ns)


def _rules(options: Timing) -> Iterator[_Rule]:
    warmup, stop = options.warmup, options.stop
    if warmup.requests is not None or warmup.duration_s is not None:
        yield _Rule(WARMUP, warmup.requests, _ns(warmup.duration_s))
    yield _Rule(RUN, stop.requests, _ns(stop.duration_s))


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * SECOND)


def _grace_ns(options: Timing) -> int:
    return round(options.stop.grace_s * SECOND)
