"""What one request leaves behind: the columns of a record and their Arrow schema.

A row stands for one planned request. Stamps are CLOCK_REALTIME nanoseconds, null where the thing did not happen. To
these columns processing adds one a metric, named by its tag, in the unit that metrics.yaml states.
"""

import pyarrow as pa

ERRORS = (
    "unsent", "connect", "dns", "tls", "reset", "timeout_connect", "timeout_first_byte", "timeout_idle", "timeout_total",
    "http_3xx", "http_4xx", "http_5xx", "rate_limited", "error_event", "truncated", "malformed", "too_large", "cancelled",
    "abandoned", "client",
)  # fmt: skip
"""Every class that `error` can hold; null is success."""

NOT_FAILURES = ("unsent", "abandoned", "cancelled")
"""Classes that are ours or the plan's doing: in the ledger, not in the error rate."""

STOP_RULES = ("duration", "requests", "precision", "max_errors", "until")
"""How the reason of an `unsent` request begins that a stop rule left behind: as the experiment had it, so it voids nothing."""

PHASES = ("warmup", "profiling")
CHANNELS = ("role", "reasoning", "content", "tool_call", "usage", "error", "done")
TOKEN_CHANNELS = ("reasoning", "content", "tool_call")
"""Channels that carry generated tokens; nothing else is ever timed as a token."""

LARGEST_COUNT = 2**31 - 1
"""What a column of tokens can hold."""

_NS = pa.int64()
_NAME = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        ("request", pa.int64()), ("phase", _NAME), ("session", pa.int64()), ("turn", pa.int32()), ("generator", pa.int32()),
        ("url", _NAME), ("model", _NAME),
        ("due_ns", _NS), ("ready_ns", _NS), ("started_ns", _NS), ("dns_ns", _NS), ("connect_ns", _NS), ("tls_ns", _NS),
        ("sent_ns", _NS), ("body_sent_ns", _NS), ("first_byte_ns", _NS), ("first_token_ns", _NS), ("first_token_low_ns", _NS),
        ("first_output_token_ns", _NS), ("last_token_ns", _NS), ("end_ns", _NS),
        ("stamp", _NAME), ("coalesced", pa.int32()), ("reused", pa.bool_()),
        ("status", pa.int32()), ("error", _NAME), ("reason", _NAME), ("finish_reason", _NAME),
        ("asked_input_tokens", pa.int32()), ("asked_output_tokens", pa.int32()),
        ("input_tokens", pa.int32()), ("output_tokens", pa.int32()), ("reasoning_tokens", pa.int32()),
        ("chunk_ns", pa.list_(_NS)), ("chunk_channel", pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        ("chunk_tokens", pa.list_(pa.int32())), ("plugin", pa.large_string()),
    ]
)  # fmt: skip
"""The columns that scripts hold on to; `coalesced` counts events that shared a read with an earlier one.

`plugin` is JSON: what an endpoint had to say besides (large, since all of a run can be more than 2 GB).
"""
