"""How long requests took: one function a metric, a value a request in milliseconds (float64), null where there is none.

Latencies count from `sent`, their planned_* twins from `due`; both are about good requests. metrics.yaml says the rest.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.metrics.events import token_events
from aiperf.metrics.lengths import event_counts, output_sequence_length
from aiperf.metrics.rows import due_ns, is_good, ms_between, only_good

_TWO = 2


def time_to_first_token(records: pa.Table) -> pa.ChunkedArray:
    """From `sent` to the first token of any channel."""
    return only_good(records, ms_between(records["sent_ns"], records["first_token_ns"]))


def time_to_first_output_token(records: pa.Table) -> pa.ChunkedArray:
    """From `sent` to the first token that is not reasoning; null where an answer only reasoned."""
    return only_good(records, ms_between(records["sent_ns"], records["first_output_token_ns"]))


def request_latency(records: pa.Table) -> pa.ChunkedArray:
    """From `sent` to the last token, which an answer that was not streamed has at its end; null for a stream without tokens."""
    return only_good(records, ms_between(records["sent_ns"], records["last_token_ns"]))


def planned_time_to_first_token(records: pa.Table) -> pa.ChunkedArray:
    """From `due` to the first token of any channel."""
    return only_good(records, ms_between(due_ns(records), records["first_token_ns"]))


def planned_time_to_first_output_token(records: pa.Table) -> pa.ChunkedArray:
    """From `due` to the first token that is not reasoning."""
    return only_good(records, ms_between(due_ns(records), records["first_output_token_ns"]))


def planned_request_latency(records: pa.Table) -> pa.ChunkedArray:
    """From `due` to the last token: what someone waited who came when the plan says."""
    return only_good(records, ms_between(due_ns(records), records["last_token_ns"]))


def queue_time(records: pa.Table) -> pa.ChunkedArray:
    """From `due` to `ready`, of every request that was started, failed ones included; never negative."""
    return _of_started(records, _not_negative(ms_between(due_ns(records), records["ready_ns"])))


def schedule_lateness(records: pa.Table) -> pa.ChunkedArray:
    """From the later of `due` and `ready` to `started`, of every request that was started, failed ones included; never negative."""
    could = pc.max_element_wise(records["due_ns"], records["ready_ns"])
    return _not_negative(ms_between(could, records["started_ns"]))


def inter_token_latency(records: pa.Table) -> pa.ChunkedArray:
    """(last token − first token) / (output tokens − 1); null unless two events carried tokens, since one has no gap."""
    gaps = pc.subtract(output_sequence_length(records), 1.0)
    fits = pc.and_(pc.greater(gaps, 0.0), pc.greater_equal(event_counts(records), _TWO))
    span = ms_between(records["first_token_ns"], records["last_token_ns"])
    return only_good(records, pc.if_else(fits, pc.divide(span, gaps), pa.scalar(None, pa.float64())))


def output_token_throughput_per_user(records: pa.Table) -> pa.ChunkedArray:
    """Tokens a second that one request sees after its first: 1 / inter_token_latency, null where that is 0."""
    itl = inter_token_latency(records)
    return pc.divide(1000.0, pc.if_else(pc.greater(itl, 0.0), itl, pa.scalar(None, pa.float64())))


def inter_chunk_latency(records: pa.Table) -> pa.ChunkedArray:
    """The gaps between successive events with tokens, a list a request; null with fewer than two."""
    wanted = records.select(["error", "chunk_ns", "chunk_channel", "chunk_tokens"])
    return pa.chunked_array([_gaps(batch) for batch in wanted.to_batches()], pa.list_(pa.float64()))


def _gaps(batch: pa.RecordBatch) -> pa.Array:
    events = token_events(batch)
    good = is_good(batch).to_numpy(zero_copy_only=False)
    within = (events.row[1:] == events.row[:-1]) & good[events.row[1:]]
    values = np.diff(events.stamp_ns)[within] / 1e6
    counts = np.where(good, np.maximum(events.counts() - 1, 0), 0)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float64()), mask=pa.array(counts == 0))


def _not_negative(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """These stamps are brought to one clock by different samples of its offset, some microseconds apart."""
    return pc.max_element_wise(values, pa.scalar(0.0), skip_nulls=False)


def _of_started(records: pa.Table, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_valid(records["started_ns"]), values, pa.scalar(None, values.type))
