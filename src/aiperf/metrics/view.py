"""What a metric of one value looks at: the records, the window, the promises."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.slos import Limit
from aiperf.metrics.columns import ours
from aiperf.metrics.intervals import SETTLED, Sample
from aiperf.metrics.requests import EVENTS, token_events
from aiperf.metrics.rows import Rows, batches, ended_ns, good, is_good, numbers, of_run, stamps
from aiperf.results import Window

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
