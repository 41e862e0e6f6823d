"""How much was carried: counts of the run, what ended or arrived in the window, a second, and how much of it kept its promises."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.slos import EACH, Limit
from aiperf.metrics.columns import ours
from aiperf.metrics.intervals import rate_interval
from aiperf.metrics.rows import batches, ended_ns, in_order, is_failed, is_good, is_list, row_of_each, stamps
from aiperf.metrics.statistics import statistic
from aiperf.metrics.view import RunView
from aiperf.results import Slo

_COMPARE = {"<=": pc.less_equal, ">=": pc.greater_equal}


def request_count(view: RunView) -> float:
    """Good requests of the run."""
    return float(pc.sum(is_good(view.run)).as_py() or 0)


def error_request_count(view: RunView) -> float:
    """Failed requests of the run; unsent, abandoned and cancelled ones are no failures."""
    return float(pc.sum(is_failed(view.run)).as_py() or 0)


def request_error_rate(view: RunView) -> float | None:
    """Percent of good and failed requests that failed; None where there are neither."""
    failed = error_request_count(view)
    over = failed + request_count(view)
    return 100 * failed / over if over else None


def benchmark_duration(view: RunView) -> float:
    """The window's length in seconds."""
    return view.window.seconds


def request_throughput(view: RunView) -> float | None:
    """Good answers that ended in the window, a second."""
    return view.a_second(len(view.ended))


def input_token_throughput(view: RunView) -> float | None:
    """Prompt tokens of the good answers that ended in the window, a second; None where not one is known."""
    lengths = ours(view.ended, "input_sequence_length")
    return None if _are_unknown(lengths) else view.a_second(pc.sum(lengths).as_py() or 0.0)


def output_token_throughput(view: RunView) -> float | None:
    """Tokens of good answers that arrived in the window, a second; an answer that crosses its border counts in part.

    None where not one says how long it is.
    """
    lengths = ours(view.good, "output_sequence_length")
    return None if _are_unknown(lengths) else view.a_second(float(view.shares_within @ pc.fill_null(lengths, 0.0).to_numpy()))


def _are_unknown(lengths: pa.ChunkedArray) -> bool:
    return bool(len(lengths)) and lengths.null_count == len(lengths)


def total_token_throughput(view: RunView) -> float | None:
    """Input and output token throughput together."""
    carried, answered = input_token_throughput(view), output_token_throughput(view)
    return None if carried is None or answered is None else carried + answered


_WEIGHTS = {
    "request_throughput": (),
    "input_token_throughput": ("input_sequence_length",),
    "output_token_throughput": ("output_sequence_length",),
    "total_token_throughput": ("input_sequence_length", "output_sequence_length"),
}
"""What each answer adds to a throughput when it ends, in tokens; nothing: one each."""


def rate_bounds(view: RunView, metric: str, found: float) -> tuple[float, float, float] | None:
    """The bounds of the throughput `found`, and its effective count, from the answers that ended in the window; None: there are none.

    Tokens count at their answer's end there, so the bounds are moved to lie around what was found.
    """
    if metric not in _WEIGHTS or not len(view.ended) or view.window.seconds <= 0:
        return None
    tokens = [pc.fill_null(ours(view.ended, length), 0.0).to_numpy() for length in _WEIGHTS[metric]]
    weights = np.sum(tokens, axis=0) if tokens else np.ones(len(view.ended))
    one = rate_interval(stamps(ended_ns(view.ended)), view.window.start_ns, view.window.end_ns, weights, border=view.border)
    aside = found - float(weights.sum()) / view.window.seconds
    return None if one is None else (one.low + aside, one.high + aside, one.effective)


def keeps(records: pa.Table, limits: Sequence[Limit]) -> NDArray[np.bool_]:
    """Whether each request succeeded and kept every per-request limit; a metric that it does not have is not kept."""
    kept = is_good(records)
    for limit in (limit for limit in limits if limit.stat == EACH):
        kept = pc.and_(kept, pc.fill_null(_kept(records, limit), fill_value=False))
    found: NDArray[np.bool_] = kept.to_numpy()
    return found


def _kept(records: pa.Table, limit: Limit) -> pa.ChunkedArray:
    if is_list(records, limit.metric):
        return pa.chunked_array([_worst(batch[0], limit) for batch in batches(records, [limit.metric])], pa.bool_())
    return _COMPARE[limit.op](records[limit.metric], limit.threshold)


def _worst(lists: pa.ListArray, limit: Limit) -> pa.Array:
    """A list keeps a limit if every value in it does; a missing one does not."""
    row, broken = row_of_each(lists), pc.invert(_COMPARE[limit.op](lists.flatten(), limit.threshold)).to_numpy(zero_copy_only=False)
    return pa.array((np.bincount(row, weights=broken, minlength=len(lists)) == 0) & (np.bincount(row, minlength=len(lists)) > 0))


def good_request_count(view: RunView) -> float:
    """Requests of the run that kept every promise."""
    return float(np.count_nonzero(keeps(view.run, view.limits)))


def goodput(view: RunView) -> float | None:
    """Answers that ended in the window and kept every promise, a second: never more than the request throughput."""
    return view.a_second(float(np.count_nonzero(keeps(view.ended, view.limits))))


def good_request_fraction(view: RunView) -> float | None:
    """Share of the run's planned requests that kept every promise, failed and unsent ones included; None where none was planned."""
    return good_request_count(view) / len(view.run) if len(view.run) else None


def promises(view: RunView, *, min_fraction: float | None) -> Iterator[Slo]:
    """Each limit and whether it was kept: by the run's statistic, or by `min_fraction` of the requests (all, where that is None)."""
    for limit in view.limits:
        if limit.stat == EACH:
            found = good_request_fraction(RunView(view.records, view.window, (limit,)))
            met = found is not None and found >= (1.0 if min_fraction is None else min_fraction)
        else:
            found = statistic(in_order(view.judged, limit.metric), limit.stat)
            met = found is not None and _COMPARE[limit.op](found, limit.threshold).as_py()
        yield Slo(**asdict(limit), value=found, met=met)
