"""What single requests show: one function a metric, a value a request (float64), null where there is none; metrics.yaml says the rest.

Latencies are in milliseconds and count from `sent`, their planned_* twins from `due`; lengths are in tokens, by the server's
usage, else by the events that carried them. Both are of good requests. Events are looked at flat: what chunk_ns, chunk_channel
and chunk_tokens say, without a loop over rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.metrics.rows import batches, due_ns, is_good, ms_between, only_good, row_of_each
from aiperf.records import TOKEN_CHANNELS

EVENTS = ("chunk_ns", "chunk_channel", "chunk_tokens")
_BY_EVENTS = pa.schema([("tokens", pa.float64()), ("reasoning", pa.float64())])
_NONE, _TWO = pa.scalar(None, pa.float64()), 2


def _between(start: str, end: str) -> Callable[[pa.Table], pa.ChunkedArray]:
    """From one stamp to another, of a good request; `due` is `ready` in closed loop."""

    def metric(records: pa.Table) -> pa.ChunkedArray:
        return only_good(records, ms_between(due_ns(records) if start == "due_ns" else records[start], records[end]))

    return metric


time_to_first_token = _between("sent_ns", "first_token_ns")
"""From `sent` to the first token of any channel."""
time_to_first_output_token = _between("sent_ns", "first_output_token_ns")
"""From `sent` to the first token that is not reasoning; null where an answer only reasoned."""
request_latency = _between("sent_ns", "last_token_ns")
"""From `sent` to the last token, which an answer that was not streamed has at its end; null for a stream without tokens."""
planned_time_to_first_token = _between("due_ns", "first_token_ns")
"""From `due` to the first token of any channel."""
planned_time_to_first_output_token = _between("due_ns", "first_output_token_ns")
"""From `due` to the first token that is not reasoning."""
planned_request_latency = _between("due_ns", "last_token_ns")
"""From `due` to the last token: what someone waited who came when the plan says."""


def queue_time(records: pa.Table) -> pa.ChunkedArray:
    """From `due` to `ready`, of every request that was started, failed ones included; never negative."""
    waited = _not_negative(ms_between(due_ns(records), records["ready_ns"]))
    return pc.if_else(pc.is_valid(records["started_ns"]), waited, _NONE)


def schedule_lateness(records: pa.Table) -> pa.ChunkedArray:
    """From the later of `due` and `ready` to `started`, of every request that was started, failed ones included; never negative."""
    could = pc.max_element_wise(records["due_ns"], records["ready_ns"])
    return _not_negative(ms_between(could, records["started_ns"]))


def inter_token_latency(records: pa.Table) -> pa.ChunkedArray:
    """(last token − first token) / (output tokens − 1); null unless two events carried tokens, since one has no gap."""
    gaps = pc.subtract(output_sequence_length(records), 1.0)
    events = pa.chunked_array([pa.array(token_events(batch).counts()) for batch in batches(records, EVENTS)], pa.int64())
    fits = pc.and_(pc.greater(gaps, 0.0), pc.greater_equal(events, _TWO))
    span = ms_between(records["first_token_ns"], records["last_token_ns"])
    return only_good(records, pc.if_else(fits, pc.divide(span, gaps), _NONE))


def output_token_throughput_per_user(records: pa.Table) -> pa.ChunkedArray:
    """Tokens a second that one request sees after its first: 1 / inter_token_latency, null where that is 0."""
    itl = inter_token_latency(records)
    return pc.divide(1000.0, pc.if_else(pc.greater(itl, 0.0), itl, _NONE))


def inter_chunk_latency(records: pa.Table) -> pa.ChunkedArray:
    """The gaps between successive events with tokens, a list a request; null with fewer than two."""
    return pa.chunked_array([_gaps(batch) for batch in batches(records, ("error", *EVENTS))], pa.list_(pa.float64()))


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


def input_sequence_length(records: pa.Table) -> pa.ChunkedArray:
    """Prompt tokens by the server's usage; what was asked for where there is none; null where neither is known."""
    asked = records["asked_input_tokens"]
    known = pc.if_else(pc.greater(asked, 0), asked, pa.scalar(None, asked.type))
    return only_good(records, pc.cast(pc.coalesce(records["input_tokens"], known), pa.float64()))


def output_sequence_length(records: pa.Table) -> pa.ChunkedArray:
    """Generated tokens, reasoning included, by the server's usage; those of the events where there is none."""
    said = pc.cast(records["output_tokens"], pa.float64())
    return only_good(records, pc.coalesce(said, _by_events(records)["tokens"]) if said.null_count else said)


def reasoning_token_count(records: pa.Table) -> pa.ChunkedArray:
    """Generated tokens that are reasoning: by usage, else the share of them among the events' tokens; 0 where there are none."""
    output, events = output_sequence_length(records), _by_events(records)
    said, share = pc.cast(records["reasoning_tokens"], pa.float64()), pc.divide(events["reasoning"], events["tokens"])
    apportioned = pc.coalesce(pc.round(pc.multiply(output, share)), pa.scalar(0.0))
    return pc.if_else(pc.is_valid(output), pc.coalesce(said, apportioned), output)


def output_token_count(records: pa.Table) -> pa.ChunkedArray:
    """Generated tokens that are not reasoning."""
    return pc.subtract(output_sequence_length(records), reasoning_token_count(records))


def _by_events(records: pa.Table) -> pa.Table:
    """Tokens by the events of streamed answers, all of them and those of reasoning; null where no event carried one."""
    return pa.Table.from_batches([_event_tokens(token_events(batch)) for batch in batches(records, EVENTS)], _BY_EVENTS)


def _event_tokens(events: "TokenEvents") -> pa.RecordBatch:
    sums = (events.sums(events.tokens), events.sums(np.where(events.reasoning, events.tokens, 0.0)))
    return pa.record_batch([pa.array(column, mask=events.counts() == 0) for column in sums], schema=_BY_EVENTS)


@dataclass(frozen=True, slots=True, eq=False)
class TokenEvents:
    """The events that carry tokens of the `rows` answers of a batch, in order: for each its row, stamp, tokens and whether it is reasoning.

    `tokens` is what the server counted for the event; where it did not count an answer's tokens by event, 1 for each of its events.
    """

    rows: int
    row: NDArray[np.int64]
    stamp_ns: NDArray[np.int64]
    tokens: NDArray[np.float64]
    reasoning: NDArray[np.bool_]

    def sums(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """These weights, one an event, added up by row."""
        return np.bincount(self.row, weights=weights, minlength=self.rows).astype(np.float64, copy=False)

    def counts(self) -> NDArray[np.int64]:
        """Events a row."""
        return np.bincount(self.row, minlength=self.rows)


def token_events(batch: pa.RecordBatch) -> TokenEvents:
    """The events with tokens of these records."""
    flat = batch["chunk_channel"].flatten()
    chosen = _among(flat, TOKEN_CHANNELS)
    row, stamp_ns = row_of_each(batch["chunk_channel"])[chosen], _numbers(batch["chunk_ns"])[chosen]
    counted = _numbers(batch["chunk_tokens"])[chosen].astype(np.float64)
    by_event = np.bincount(row, weights=counted, minlength=len(batch)) > 0
    return TokenEvents(len(batch), row, stamp_ns, np.where(by_event[row], counted, 1.0), _among(flat, ("reasoning",))[chosen])


def server_counts(batch: pa.RecordBatch) -> NDArray[np.float64]:
    """Tokens that the server counted event by event, a row's sum; NaN where it left out an event that carries tokens."""
    row, counted = row_of_each(batch["chunk_tokens"]), _numbers(batch["chunk_tokens"]).astype(np.float64)
    left_out = _among(batch["chunk_channel"].flatten(), TOKEN_CHANNELS) & (counted == 0)
    holes, sums = (np.bincount(row, weights=weights, minlength=len(batch)) for weights in (left_out, counted))
    return np.where((holes == 0) & (sums > 0), sums, np.nan)


def _numbers(column: pa.ListArray) -> NDArray[np.int64]:
    flat: NDArray[np.int64] = pc.fill_null(column.flatten(), 0).to_numpy(zero_copy_only=False)
    return flat


def _among(flat: pa.Array, names: tuple[str, ...]) -> NDArray[np.bool_]:
    if pa.types.is_dictionary(flat.type):
        known = np.array([name in names for name in flat.dictionary.to_pylist()], dtype=np.bool_)
        codes = flat.indices.to_numpy(zero_copy_only=False)
        return known[codes] if len(known) else np.zeros(len(codes), dtype=np.bool_)
    found: NDArray[np.bool_] = pc.is_in(flat, value_set=pa.array(names)).to_numpy(zero_copy_only=False)
    return found
