"""How much was carried: counts of the run, and what ended or arrived in the window, a second."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.metrics.columns import ours
from aiperf.metrics.intervals import rate_interval
from aiperf.metrics.lengths import input_sequence_length, output_sequence_length
from aiperf.metrics.rows import ended_ns, is_failed, is_good, stamps
from aiperf.metrics.view import RunView


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
    lengths = ours(view.ended, input_sequence_length)
    return None if _are_unknown(lengths) else view.a_second(pc.sum(lengths).as_py() or 0.0)


def output_token_throughput(view: RunView) -> float | None:
    """Tokens of good answers that arrived in the window, a second; an answer that crosses its border counts in part.

    None where not one says how long it is.
    """
    lengths = ours(view.good, output_sequence_length)
    if _are_unknown(lengths):
        return None
    return view.a_second(float(view.shares_within @ pc.fill_null(lengths, 0.0).to_numpy()))


def total_token_throughput(view: RunView) -> float | None:
    """Input and output token throughput together."""
    carried, answered = input_token_throughput(view), output_token_throughput(view)
    return None if carried is None or answered is None else carried + answered


def rate_bounds(view: RunView, metric: str, found: float) -> tuple[float, float, float] | None:
    """The bounds of the throughput `found`, and its effective count, from the answers that ended in the window; None: there are none.

    Tokens count at their answer's end there, so the bounds are moved to lie around what was found.
    """
    if metric not in _WEIGHTS or not len(view.ended) or view.window.seconds <= 0:
        return None
    tokens = [pc.fill_null(ours(view.ended, length), 0.0).to_numpy() for length in _WEIGHTS[metric]]
    weights = np.sum(tokens, axis=0) if tokens else np.ones(len(view.ended))
    one = rate_interval(stamps(ended_ns(view.ended)), view.window.start_ns, view.window.end_ns, weights, beside=view.latencies)
    aside = found - float(weights.sum()) / view.window.seconds
    return None if one is None else (one.low + aside, one.high + aside, one.effective)


_WEIGHTS: Mapping[str, tuple[Callable[[pa.Table], pa.ChunkedArray], ...]] = {
    "request_throughput": (),
    "input_token_throughput": (input_sequence_length,),
    "output_token_throughput": (output_sequence_length,),
    "total_token_throughput": (input_sequence_length, output_sequence_length),
}
"""What each answer adds to a throughput when it ends, in tokens; nothing: one each."""


def _are_unknown(lengths: pa.ChunkedArray) -> bool:
    return bool(len(lengths)) and lengths.null_count == len(lengths)
