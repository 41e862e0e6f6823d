"""What a verdict is found from, with the parts that several checks look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.experiment import Judged, VerdictLimits
from aiperf.config.slos import Limit
from aiperf.metrics.columns import ours
from aiperf.metrics.flight import in_flight_at
from aiperf.metrics.latency import request_latency, schedule_lateness
from aiperf.metrics.lengths import input_sequence_length, output_sequence_length
from aiperf.metrics.rows import ended_ns, good, is_failed, numbers, of_phase
from aiperf.metrics.statistics import distribution, statistic
from aiperf.metrics.steady import LEAST, Trend, beginning, trend
from aiperf.metrics.view import RunView
from aiperf.plugin.metrics import of_requests
from aiperf.results import MetricValue, RunFacts, Window

_LEAST_WINDOW_NS = 1_000_000
_MOST_SAMPLES = 5000
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Case:
    """Records of any phase with their metric columns, the facts of the run, when it is void, and what was promised."""

    records: pa.Table
    facts: RunFacts
    limits: VerdictLimits
    promised: Sequence[Limit] = ()
    timing: str = ""

    @property
    def is_level(self) -> bool:
        """Whether the load is meant to stay as it is; a trace has a shape of its own, which is neither a warm-up nor a trend."""
        return self.timing in ("concurrency", "request_rate") and self.began

    @cached_property
    def view(self) -> RunView:
        """The records with the window that is judged: `verdict.window`, or from where the load is steady to the plan's end."""
        plan, said = self.facts.window, self.limits.window
        start, end = (min(plan.start_ns + round(at * 1e9), plan.end_ns) for at in (said.start_s or 0, said.end_s or plan.seconds))
        if said.type == "auto" and self.is_level and (said.start_s, said.end_s) == (None, None):
            starts = [int(at[n]) for at, values in self._series(plan).values() if len(at) >= LEAST and (n := beginning(values))]
            start = max([start, *starts])
        return RunView(self.records, Window(start, end), tuple(self.promised), plan)

    @cached_property
    def trends(self) -> dict[str, Trend]:
        """How latency (ms) and what is in flight went over the window, where the load was meant to be level; not what lengths explain."""
        series = self._series(self.view.window) if self.is_level and not self.lengths_drift else {}
        return {name: trend(values) for name, (_, values) in series.items()}

    @cached_property
    def lengths_drift(self) -> bool:
        """Whether prompts or answers become longer or shorter over the window, as in sorted data."""
        rows = good(self.view.judged)
        return any(trend(numbers(ours(rows, length))).found for length in (input_sequence_length, output_sequence_length))

    def _series(self, window: Window) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Times and values: latencies in the order of start, and what was in flight, at as many times within reason."""
        sent, took = self.good["sent_ns"].to_numpy(), ours(self.good, request_latency).to_numpy()
        kept = np.flatnonzero(~np.isnan(took) & (sent >= window.start_ns) & (sent <= window.end_ns))
        kept = kept[np.lexsort((took[kept], sent[kept]))]
        count = min(len(kept), _MOST_SAMPLES)
        times = window.start_ns + (window.end_ns - window.start_ns) * np.arange(1, count + 1) // max(count, 1)
        return {"request_latency": (sent[kept], took[kept]), "in flight": (times, in_flight_at(self.records, times))}

    @cached_property
    def whole(self) -> "Case":
        """The same, judged over all that the plan holds."""
        return replace(self, timing="", limits=self.limits.model_copy(update={"window": Judged(type="whole")}))

    @cached_property
    def distributions(self) -> Mapping[str, MetricValue]:
        """The metrics of the judged requests that have a column, by tag; intervals rest on the order in which answers ended."""
        judged = self.view.judged
        order = pa.array(np.lexsort((judged["request"].to_numpy(), pc.fill_null(ended_ns(judged), _NEVER).to_numpy())))
        units = {entry.name: entry.metadata.get("unit", "") for entry in of_requests()}
        return {tag: distribution(tag, unit, numbers(judged[tag].take(order))) for tag, unit in units.items()}

    @cached_property
    def run(self) -> pa.Table:
        """The records of the phase that is judged."""
        return of_phase(self.records, "profiling")

    @cached_property
    def good(self) -> pa.Table:
        """Those of them that succeeded."""
        return good(self.run)

    @cached_property
    def median_latency_ms(self) -> float | None:
        """The median request_latency; None without a good request."""
        return statistic(numbers(ours(self.good, request_latency)), "p50")

    @cached_property
    def lateness_p99_ms(self) -> float | None:
        """p99 of schedule_lateness over every request of the run that was started."""
        return statistic(numbers(ours(self.run, schedule_lateness)), "p99")

    @cached_property
    def first_token_widths_ms(self) -> NDArray[np.float64]:
        """How wide the interval of each good first token is; 0 where its stamp is exact."""
        width = pc.subtract(self.good["first_token_ns"], self.good["first_token_low_ns"])
        return numbers(pc.divide(pc.cast(width, pa.float64()), 1e6))

    @cached_property
    def failed(self) -> pa.Table:
        """The records of the run that failed; unsent, abandoned and cancelled ones are no failures."""
        return self.run.filter(is_failed(self.run))

    @property
    def too_many_failed(self) -> bool:
        """Whether the share of failures is over the limit."""
        over = len(self.failed) + len(self.good)
        return over > 0 and len(self.failed) / over > self.limits.max_error_rate

    @cached_property
    def silent(self) -> pa.ChunkedArray:
        """Which good answers were streams without a token."""
        return pc.is_null(self.good["last_token_ns"])

    @property
    def level(self) -> int | None:
        """Closed loop: how many requests could have been in flight; None in open loop."""
        if self.facts.open_loop or self.facts.concurrency is None:
            return None
        return min(self.facts.concurrency, len(self.run))

    @property
    def too_short_for_level(self) -> bool:
        """Whether the window is shorter than a median request, so that what is in flight has no time to be replaced."""
        return self.facts.window.seconds * 1000 <= (self.median_latency_ms or 0.0)

    @property
    def began(self) -> bool:
        """Whether the run had a window worth the name before the user stopped it."""
        return not self.facts.stopped_by_user or self.facts.window.seconds * 1e9 >= max(self.facts.mean_gap_ns, _LEAST_WINDOW_NS)

    @property
    def template_tokens(self) -> int:
        """What the chat template adds to a prompt; 0 where that is not known."""
        return self.facts.template_tokens or 0

    @cached_property
    def input_length_error(self) -> float | None:
        """Mean relative difference of the server's prompt tokens, less the template's, from what was asked for."""
        return _length_error(self.good, "input_tokens", less=self.template_tokens)

    @cached_property
    def output_length_error(self) -> float | None:
        """Mean relative difference of the answers' tokens from what was asked for."""
        return _length_error(self.good, "output_tokens", less=0)


def _length_error(records: pa.Table, column: str, *, less: int) -> float | None:
    asked = records[f"asked_{column}"]
    both = pc.and_(pc.fill_null(pc.greater(asked, 0), fill_value=False), pc.is_valid(records[column]))
    said = numbers(records[column].filter(both)) - less
    wanted = numbers(asked.filter(both))
    return statistic(np.abs(said - wanted) / wanted, "avg")
