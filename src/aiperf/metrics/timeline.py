"""How a run went over time: good answers and failures by class, counted in bins of a round width."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.metrics.rows import by_class, due_ns, is_failed, is_good, stamps, text
from aiperf.results import Timeline

MOST_BINS = 60
_NARROWEST_NS = 100_000_000
_STEPS = (1, 2, 5)


def timeline(run: pa.Table) -> Timeline | None:
    """The answers of a run by their end, from its first due time on; None where nothing succeeded or failed."""
    good, failed = is_good(run), is_failed(run)
    ends = _ends_ns(run)
    start_ns = pc.min(due_ns(run)).as_py()
    over = stamps(ends.filter(pc.or_(good, failed)))
    if not len(over) or start_ns is None:
        return None
    last = max(0, int(over.max()) - start_ns)
    width = _width_ns(last)
    bins = last // width + 1

    def counted(wanted: pa.ChunkedArray) -> tuple[int, ...]:
        return _counts(stamps(ends.filter(wanted)) - start_ns, width, bins)

    classes = by_class(run.filter(failed))
    errors = {name: counted(pc.fill_null(pc.equal(text(run["error"]), name), fill_value=False)) for name in classes}
    return Timeline(width / 1e9, counted(good), errors)


def _ends_ns(run: pa.Table) -> pa.ChunkedArray:
    """When requests were over, or the last that is known of them."""
    return pc.coalesce(*(run[name] for name in ("end_ns", "last_token_ns", "sent_ns", "started_ns", "ready_ns", "due_ns")))


def _width_ns(last: int) -> int:
    """The narrowest of 0.1, 0.2, 0.5, 1, 2, 5, 10 … seconds of which at most MOST_BINS reach over `last`."""
    scale = _NARROWEST_NS
    while True:
        for step in _STEPS:
            if last // (step * scale) < MOST_BINS:
                return step * scale
        scale *= 10


def _counts(offsets: NDArray[np.int64], width: int, bins: int) -> tuple[int, ...]:
    """How many offsets fall into each bin; what ended before the start, by a clock's doing, into the first."""
    return tuple(np.bincount(np.maximum(offsets // width, 0), minlength=bins).tolist())
