"""What a metric of one value looks at: the records, the window, the promises."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.slos import Limit
from aiperf.metrics.columns import ours
from aiperf.metrics.events import token_events
from aiperf.metrics.latency import request_latency
from aiperf.metrics.rows import ended_ns, good, numbers, of_phase, stamps, where
from aiperf.results import Window

_EVENTS = ["chunk_ns", "chunk_channel", "chunk_tokens"]


@dataclass(frozen=True, eq=False)
class RunView:
    """Records of any phase, with their metric columns, the stretch that is judged, and the limits that were promised.

    The window is open at its start and closed at its end, so that windows that follow each other add up. `plan` is the plan's
    own, where the window may be a part of it.
    """

    records: pa.Table
    window: Window
    limits: tuple[Limit, ...] = ()
    plan: Window | None = None

    @cached_property
    def run(self) -> pa.Table:
        """The records of the phase that is judged."""
        return of_phase(self.records, "profiling")

    @cached_property
    def judged(self) -> pa.Table:
        """Those of them that distributions are of: sent in the window, where it is only a part of the plan's."""
        plan, sent = self.plan or self.window, pc.coalesce(self.run["sent_ns"], self.run["started_ns"])
        wanted = pa.chunked_array([pa.repeat(pa.scalar(value=True), len(self.run))])
        if self.window.start_ns > plan.start_ns:
            wanted = pc.fill_null(pc.greater_equal(sent, self.window.start_ns), fill_value=False)
        if self.window.end_ns < plan.end_ns:
            wanted = pc.and_(wanted, pc.fill_null(pc.less_equal(sent, self.window.end_ns), fill_value=False))
        return where(self.run, wanted)

    @cached_property
    def good(self) -> pa.Table:
        """The good records of any phase: warm-up hands over without draining, so its last answers fall into the window."""
        return good(self.records)

    @cached_property
    def ended(self) -> pa.Table:
        """The good records, of any phase, that ended in the window; without the lists of events."""
        slim = self.good.drop_columns(_EVENTS)
        times = ended_ns(slim)
        within = pc.and_(pc.greater(times, self.window.start_ns), pc.less_equal(times, self.window.end_ns))
        return where(slim, pc.fill_null(within, fill_value=False))

    @cached_property
    def shares_within(self) -> NDArray[np.float64]:
        """The share of each good answer's token events that came in the window; an answer without such events counts at its end."""
        shares = [_shares_within(self.window, batch) for batch in self.good.select(["end_ns", "last_token_ns", *_EVENTS]).to_batches()]
        return np.concatenate(shares) if shares else np.empty(0)

    @cached_property
    def latencies(self) -> NDArray[np.float64]:
        """request_latency of the answers that ended in the window, in that order."""
        return numbers(ours(self.ended, request_latency).take(pc.sort_indices(ended_ns(self.ended))))

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
    shares: NDArray[np.float64] = np.divide(arrived, total, out=((times > start) & (times <= end)).astype(np.float64), where=total > 0)
    return shares
