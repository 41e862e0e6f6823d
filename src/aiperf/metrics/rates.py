"""How much was carried: counts of the run, and what ended or arrived in the window, a second."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.metrics.columns import ours
from aiperf.metrics.events import token_events
from aiperf.metrics.lengths import input_sequence_length, output_sequence_length
from aiperf.metrics.rows import ended_ns, is_failed, is_good
from aiperf.metrics.view import RunView, inside
from aiperf.results import Window

_ARRIVALS = ["end_ns", "last_token_ns", "chunk_ns", "chunk_channel", "chunk_tokens"]
_TOKENS = "tokens"


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
    answers = view.good.select(_ARRIVALS).append_column(_TOKENS, lengths)
    return view.a_second(sum(_tokens_within(batch, view.window) for batch in answers.to_batches()))


def total_token_throughput(view: RunView) -> float | None:
    """Input and output token throughput together."""
    carried, answered = input_token_throughput(view), output_token_throughput(view)
    return None if carried is None or answered is None else carried + answered


def _are_unknown(lengths: pa.ChunkedArray) -> bool:
    return bool(len(lengths)) and lengths.null_count == len(lengths)


def answers_with_tokens(view: RunView) -> int:
    """How many good answers have a part in the output token throughput."""
    return sum(int(np.count_nonzero(_shares_within(batch, view.window))) for batch in view.good.select(_ARRIVALS).to_batches())


def _tokens_within(batch: pa.RecordBatch, window: Window) -> float:
    tokens = pc.fill_null(batch[_TOKENS], 0.0).to_numpy(zero_copy_only=False)
    return float(np.dot(_shares_within(batch, window), tokens))


def _shares_within(batch: pa.RecordBatch, window: Window) -> NDArray[np.float64]:
    """The share of each answer's token events in the window; an answer without such events counts at its end."""
    events = token_events(batch)
    total = events.sums(events.tokens)
    arrived = events.sums(events.tokens * inside(window, events.stamp_ns))
    ended = inside(window, pc.fill_null(ended_ns(batch), -1).to_numpy(zero_copy_only=False))
    return np.divide(arrived, total, out=ended.astype(np.float64), where=total > 0)
