"""How a run went over time, by its stamps: what was in flight, and what ended when."""

from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.metrics.rows import Rows, due_ns, ended_ns, is_failed, is_good, stamps, tally, text
from aiperf.results import Timeline, Window

MOST_BINS = 60
_NARROWEST_NS = 100_000_000
_STEPS = (1, 2, 5)
_FOREVER = np.iinfo(np.int64).max


def timeline(run: pa.Table) -> Timeline | None:
    """Good answers and failures by class, by their end, in bins of a round width from the first due time on; None where there are none.

    What ended before that, by a clock's doing, is in the first bin.
    """
    # of what has no end, the last that is known
    ends = pc.coalesce(*(run[name] for name in ("end_ns", "last_token_ns", "sent_ns", "started_ns", "ready_ns", "due_ns")))
    good, failed = is_good(run), is_failed(run)
    start_ns = pc.min(due_ns(run)).as_py()
    over = stamps(ends.filter(pc.or_(good, failed)))
    if not len(over) or start_ns is None:
        return None
    last = max(0, int(over.max()) - start_ns)
    widths = (step * 10**power * _NARROWEST_NS for power in count() for step in _STEPS)
    width = next(width for width in widths if last // width < MOST_BINS)

    def counted(wanted: pa.ChunkedArray) -> tuple[int, ...]:
        offsets = stamps(ends.filter(wanted)) - start_ns
        return tuple(np.bincount(np.maximum(offsets // width, 0), minlength=last // width + 1).tolist())

    errors = {name: counted(pc.equal(text(run["error"]), name)) for name in tally(run["error"].filter(failed))}
    return Timeline(width / 1e9, counted(good), errors)


def mean_in_flight(records: pa.Table, window: Window) -> float:
    """Requests in flight on average over the window; one without an end is in flight for ever. 0 where the window has no length.

    A request is in flight between `sent` and `end`, whatever its phase or outcome.
    """
    sent, ended = _flights(records)
    overlap = np.minimum(ended, window.end_ns) - np.maximum(sent, window.start_ns)
    length = window.end_ns - window.start_ns
    return float(np.maximum(overlap, 0).sum()) / length if length > 0 else 0.0


def peak_in_flight(records: pa.Table) -> int:
    """The most requests in flight at once; one that ends at the instant at which another is sent makes room for it."""
    sent, ended = _flights(records)
    times = np.concatenate((ended, sent))
    steps = np.repeat(np.array([-1, 1]), len(sent))
    return int(np.cumsum(steps[np.argsort(times, kind="stable")]).max(initial=0))


def in_flight_at(records: pa.Table, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Requests in flight at each of these times."""
    sent, ended = (np.sort(found) for found in _flights(records))
    flying = np.searchsorted(sent, times, side="right") - np.searchsorted(ended, times, side="right")
    return flying.astype(np.float64)


def _flights(records: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    flown = Rows(records, pc.is_valid(records["sent_ns"]))
    return stamps(flown["sent_ns"]), pc.fill_null(ended_ns(flown), _FOREVER).to_numpy()
