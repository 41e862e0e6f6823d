"""What of a run is looked at: by a metric of one value its records, window and promises; by the verdict's checks what they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.experiment import VerdictLimits
from aiperf.config.slos import Limit
from aiperf.metrics.columns import ours
from aiperf.metrics.intervals import SETTLED, Sample
from aiperf.metrics.requests import EVENTS, token_events
from aiperf.metrics.rows import Rows, batches, ended_ns, good, in_order, is_good, is_list, numbers, of_run, stamps, tally
from aiperf.metrics.statistics import distribution, statistic
from aiperf.metrics.steady import LEAST, Trend, beginning, trend
from aiperf.metrics.timeline import in_flight_at
from aiperf.plugin.plugins import of_requests
from aiperf.records import NOT_FAILURES
from aiperf.results import MetricValue, RunFacts, Window

_LEAST_WINDOW_NS = 1_000_000
_MOST_SAMPLES = 5000
_LAST = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class RunView:
    """Records of any phase, with their metric columns, the stretch that is judged, and the limits that were promised.

    The window is open at its start and closed at its end, so that windows that follow each other add up. `plan` is the plan's
    own, where the window may be a part of it. What is chosen of the records is read as they are, by column (rows.Rows).
    """

    records: pa.Table
    window: Window
    limits: tuple[Limit, ...] = ()
    plan: Window | None = None

    @cached_property
    def run(self) -> Rows:
        """The records of the phase that is judged."""
        return of_run(self.records)

    @cached_property
    def judged(self) -> Rows:
        """Those of them that distributions are of: sent in the window, where it is only a part of the plan's."""
        plan, (start, end) = self.plan or self.window, (self.window.start_ns, self.window.end_ns)
        if start <= plan.start_ns and end >= plan.end_ns:
            return self.run
        sent = pc.coalesce(self.run["sent_ns"], self.run["started_ns"])
        low, high = start if start > plan.start_ns else 0, end if end < plan.end_ns else _LAST
        return Rows(self.run, pc.and_(pc.greater_equal(sent, low), pc.less_equal(sent, high)))

    @cached_property
    def good(self) -> Rows:
        """The good records of any phase: warm-up hands over without draining, so its last answers fall into the window."""
        return good(self.records)

    @cached_property
    def ended(self) -> Rows:
        """The good records, of any phase, that ended in the window."""
        times = ended_ns(self.records)
        within = pc.and_(pc.greater(times, self.window.start_ns), pc.less_equal(times, self.window.end_ns))
        return Rows(self.records, pc.and_(is_good(self.records), within))

    @cached_property
    def shares_within(self) -> NDArray[np.float64]:
        """The share of each good answer's token events that came in the window; an answer without such events counts at its end."""
        wanted = batches(self.records, ("error", "end_ns", "last_token_ns", *EVENTS))
        return np.concatenate([np.empty(0), *(_shares_within(self.window, batch) for batch in wanted)])

    @cached_property
    def border(self) -> float:
        """How near the window is to the shortest that is believed, by the latencies of what ended in it (intervals.Sample.border)."""
        found = numbers(ours(self.ended, "request_latency").take(pc.sort_indices(ended_ns(self.ended))))
        return Sample.of(found).border(SETTLED) if len(found) else 0.0

    def a_second(self, amount: float) -> float | None:
        """An amount per second of the window; None where it has no length."""
        return amount / self.window.seconds if self.window.seconds > 0 else None


def whole(view: RunView) -> RunView | None:
    """The same over the whole run: its own requests, from its first send to its last end; None where nothing was sent."""
    sent, ended = stamps(view.run["sent_ns"]), stamps(ended_ns(view.run))
    if not len(sent) or not len(ended):
        return None
    return RunView(view.run, Window(int(sent.min()), int(ended.max())), view.limits)


def _shares_within(window: Window, batch: pa.RecordBatch) -> NDArray[np.float64]:
    events, (start, end) = token_events(batch), (window.start_ns, window.end_ns)
    total = events.sums(events.tokens)
    arrived = events.sums(events.tokens * ((events.stamp_ns > start) & (events.stamp_ns <= end)))
    times = pc.fill_null(ended_ns(batch), -1).to_numpy(zero_copy_only=False)
    shares = np.divide(arrived, total, out=((times > start) & (times <= end)).astype(np.float64), where=total > 0)
    of_good: NDArray[np.float64] = shares[is_good(batch).to_numpy(zero_copy_only=False)]
    return of_good


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
        return any(trend(numbers(ours(rows, length))).found for length in ("input_sequence_length", "output_sequence_length"))

    def _series(self, window: Window) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Times and values: latencies in the order of start, and what was in flight, at as many times within reason."""
        sent, took = self._started
        part = slice(*np.searchsorted(sent, (window.start_ns, window.end_ns + 1)))
        count = min(len(sent[part]), _MOST_SAMPLES)
        times = window.start_ns + (window.end_ns - window.start_ns) * np.arange(1, count + 1) // max(count, 1)
        return {"request_latency": (sent[part], took[part]), "in flight": (times, in_flight_at(self.records, times))}

    @cached_property
    def _started(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """When good requests that have a latency were sent, in that order, and the latencies."""
        sent, took = self.good["sent_ns"].to_numpy(), ours(self.good, "request_latency").to_numpy()
        kept = np.lexsort((took, sent))
        kept = kept[~np.isnan(took[kept])]
        return sent[kept], took[kept]

    @cached_property
    def distributions(self) -> Mapping[str, MetricValue]:
        """The metrics of the judged requests that have a column, by tag."""
        return self.told(self.view.judged)

    def told(self, rows: Rows) -> Mapping[str, MetricValue]:
        """The same of these requests; intervals rest on the order in which answers ended."""
        order = np.lexsort((rows["request"].to_numpy(), pc.fill_null(ended_ns(rows), _LAST).to_numpy()))
        units = {entry.name: entry.metadata.get("unit", "") for entry in of_requests()}
        large_first = sorted(units, key=lambda tag: not is_list(rows, tag))  # while few other columns are held
        found = {tag: distribution(tag, units[tag], in_order(rows, tag, order)) for tag in large_first}
        return {tag: found[tag] for tag in units}

    @cached_property
    def run(self) -> Rows:
        """The records of the phase that is judged."""
        return of_run(self.records)

    @cached_property
    def good(self) -> Rows:
        """Those of them that succeeded."""
        return good(self.run)

    @cached_property
    def classes(self) -> Mapping[str, int]:
        """How many of them ended in each class of errors, most frequent first."""
        return tally(self.run["error"])

    @property
    def failures(self) -> Mapping[str, int]:
        """The same without unsent, abandoned and cancelled ones, which are no failures."""
        return {name: n for name, n in self.classes.items() if name not in NOT_FAILURES}

    @cached_property
    def median_latency_ms(self) -> float | None:
        """The median request_latency; None without a good request."""
        return statistic(numbers(ours(self.good, "request_latency")), "p50")

    @cached_property
    def first_token_widths_ms(self) -> NDArray[np.float64]:
        """How wide the interval of each good first token is; 0 where its stamp is exact."""
        width = pc.subtract(self.good["first_token_ns"], self.good["first_token_low_ns"])
        return numbers(pc.divide(pc.cast(width, pa.float64()), 1e6))

    @property
    def level(self) -> int | None:
        """Closed loop: how many requests could have been in flight; None in open loop."""
        most = self.facts.concurrency
        return None if self.facts.open_loop or most is None else min(most, len(self.run))

    @property
    def too_short_for_level(self) -> bool:
        """Whether the window is shorter than a median request, so that what is in flight has no time to be replaced."""
        return self.facts.window.seconds * 1000 <= (self.median_latency_ms or 0.0)

    @property
    def began(self) -> bool:
        """Whether the run had a window worth the name before the user stopped it."""
        return not self.facts.stopped_by_user or self.facts.window.seconds * 1e9 >= max(self.facts.mean_gap_ns, _LEAST_WINDOW_NS)

    def length_error(self, column: str) -> float | None:
        """Mean relative difference of good requests' tokens from what was asked for; of prompts less the chat template's."""
        asked, said = self.good[f"asked_{column}"], self.good[column]
        both = pc.and_(pc.fill_null(pc.greater(asked, 0), fill_value=False), pc.is_valid(said))
        wanted, less = numbers(asked.filter(both)), (self.facts.template_tokens or 0) if column == "input_tokens" else 0
        return statistic(np.abs(numbers(said.filter(both)) - less - wanted) / wanted, "avg")
