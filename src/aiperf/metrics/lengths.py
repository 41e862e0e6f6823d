"""How long prompts and answers were, in tokens (float64), a value a good request; by the server's usage where it sent one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.metrics.events import token_events
from aiperf.metrics.rows import only_good


def input_sequence_length(records: pa.Table) -> pa.ChunkedArray:
    """Prompt tokens by the server's usage; what was asked for where there is none; null where neither is known."""
    asked = records["asked_input_tokens"]
    known = pc.if_else(pc.greater(asked, 0), asked, pa.scalar(None, asked.type))
    return only_good(records, _float(pc.coalesce(records["input_tokens"], known)))


def output_sequence_length(records: pa.Table) -> pa.ChunkedArray:
    """Generated tokens, reasoning included, by the server's usage; those of the events where there is none."""
    said = _float(records["output_tokens"])
    if not said.null_count:
        return only_good(records, said)
    return only_good(records, pc.coalesce(said, _by_events(records)["tokens"]))


def reasoning_token_count(records: pa.Table) -> pa.ChunkedArray:
    """Generated tokens that are reasoning: by usage, else the share of them among the events' tokens; 0 where there are none."""
    output = output_sequence_length(records)
    events = _by_events(records)
    share = pc.divide(events["reasoning"], events["tokens"])
    apportioned = pc.coalesce(pc.round(pc.multiply(output, share)), pa.scalar(0.0))
    return pc.if_else(pc.is_valid(output), pc.coalesce(_float(records["reasoning_tokens"]), apportioned), output)


def output_token_count(records: pa.Table) -> pa.ChunkedArray:
    """Generated tokens that are not reasoning."""
    return pc.subtract(output_sequence_length(records), reasoning_token_count(records))


def event_counts(records: pa.Table) -> pa.ChunkedArray:
    """How many events carried tokens, a request."""
    return pa.chunked_array([pa.array(token_events(batch).counts()) for batch in _events(records)], pa.int64())


def _events(records: pa.Table) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = records.select(["chunk_ns", "chunk_channel", "chunk_tokens"]).to_batches()
    return batches


_BY_EVENTS = pa.schema([("tokens", pa.float64()), ("reasoning", pa.float64())])


def _by_events(records: pa.Table) -> pa.Table:
    """Tokens by the events of streamed answers, all of them and those of reasoning; null where no event carried one."""
    return pa.Table.from_batches([_event_tokens(batch) for batch in _events(records)], _BY_EVENTS)


def _event_tokens(batch: pa.RecordBatch) -> pa.RecordBatch:
    events = token_events(batch)
    silent = events.counts() == 0
    sums = (events.sums(events.tokens), events.sums(np.where(events.reasoning, events.tokens, 0.0)))
    return pa.record_batch([pa.array(column, mask=silent) for column in sums], schema=_BY_EVENTS)


def _float(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.float64())
