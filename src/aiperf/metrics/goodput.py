"""Which promises were kept: by each request, for goodput, and by the window's statistics."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.slos import EACH, Limit
from aiperf.metrics.rows import is_good, numbers
from aiperf.metrics.statistics import statistic
from aiperf.metrics.view import RunView
from aiperf.results import Slo

_COMPARE = {"<=": pc.less_equal, ">=": pc.greater_equal}


def keeps(records: pa.Table, limits: Sequence[Limit]) -> NDArray[np.bool_]:
    """Whether each request succeeded and kept every per-request limit; a metric that it does not have is not kept."""
    kept = is_good(records)
    for limit in (limit for limit in limits if limit.stat == EACH):
        kept = pc.and_(kept, pc.fill_null(_kept(records, limit), fill_value=False))
    found: NDArray[np.bool_] = kept.to_numpy()
    return found


def good_request_count(view: RunView) -> float:
    """Requests of the run that kept every promise."""
    return float(np.count_nonzero(keeps(view.run, view.limits)))


def goodput(view: RunView) -> float | None:
    """Answers that ended in the window and kept every promise, a second: never more than the request throughput."""
    return view.a_second(float(np.count_nonzero(keeps(view.ended, view.limits))))


def good_request_fraction(view: RunView) -> float | None:
    """Share of the run's planned requests that kept every promise, failed and unsent ones included; None where none was planned."""
    planned = len(view.run)
    return good_request_count(view) / planned if planned else None


def promises(view: RunView, *, min_fraction: float | None) -> tuple[Slo, ...]:
    """Each limit and whether it was kept: by the run's statistic, or by `min_fraction` of the requests (all, where that is None)."""
    return tuple(_of_each(view, limit, min_fraction) if limit.stat == EACH else _of_run(view, limit) for limit in view.limits)


def _of_each(view: RunView, limit: Limit, min_fraction: float | None) -> Slo:
    share = good_request_fraction(RunView(view.records, view.window, (limit,)))
    met = share is not None and share >= (1.0 if min_fraction is None else min_fraction)
    return Slo(limit.metric, limit.stat, limit.op, limit.threshold, limit.unit, share, met)


def _of_run(view: RunView, limit: Limit) -> Slo:
    found = statistic(numbers(view.judged[limit.metric]), limit.stat)
    met = found is not None and bool(_COMPARE[limit.op](pa.scalar(found, pa.float64()), limit.threshold).as_py())
    return Slo(limit.metric, limit.stat, limit.op, limit.threshold, limit.unit, found, met)


def _kept(records: pa.Table, limit: Limit) -> pa.ChunkedArray:
    column = records[limit.metric]
    if pa.types.is_list(column.type):
        return pa.chunked_array([_worst(chunk, limit) for chunk in column.chunks], pa.bool_())
    return _COMPARE[limit.op](column, limit.threshold)


def _worst(chunk: pa.ListArray, limit: Limit) -> pa.Array:
    """A list keeps a limit if every value in it does; a missing one does not."""
    lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
    broken = pc.invert(_COMPARE[limit.op](chunk.flatten(), limit.threshold)).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(chunk)), lengths)
    return pa.array((np.bincount(row, weights=broken, minlength=len(chunk)) == 0) & (lengths > 0))
