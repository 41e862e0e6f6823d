"""What a metric of one value looks at: the records, the window, the promises."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.slos import Limit
from aiperf.metrics.rows import ended_ns, good, of_phase, stamps, where
from aiperf.results import Window

_EVENTS = ["chunk_ns", "chunk_channel", "chunk_tokens"]


@dataclass(frozen=True, eq=False)
class RunView:
    """Records of any phase, with their metric columns, the stretch that is judged, and the limits that were promised.

    The window is open at its start and closed at its end, so that windows that follow each other add up.
    """

    records: pa.Table
    window: Window
    limits: tuple[Limit, ...] = ()

    @cached_property
    def run(self) -> pa.Table:
        """The records of the phase that is judged."""
        return of_phase(self.records, "profiling")

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

    def a_second(self, amount: float) -> float | None:
        """An amount per second of the window; None where it has no length."""
        return amount / self.window.seconds if self.window.seconds > 0 else None


def whole(view: RunView) -> RunView | None:
    """The same over the whole run: its own requests, from its first send to its last end; None where nothing was sent."""
    sent, ended = stamps(view.run["sent_ns"]), stamps(ended_ns(view.run))
    if not len(sent) or not len(ended):
        return None
    return RunView(view.run, Window(int(sent.min()), int(ended.max())), view.limits)


def inside(window: Window, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these stamps lie in the window."""
    return (times > window.start_ns) & (times <= window.end_ns)
