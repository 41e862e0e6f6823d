"""Records for tests: rows of stamps in milliseconds after T0, all else as a good streamed answer has it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from aiperf.metrics.columns import with_metrics
from aiperf.records import SCHEMA
from aiperf.results import RunFacts, Window

T0 = 1_700_000_000_000_000_000
MS = 1_000_000

_FREE: Mapping[str, Any] = {
    "phase": "profiling", "session": 0, "turn": 0, "generator": 0, "url": "http://h", "model": "m", "stamp": "kernel",
    "coalesced": 0, "reused": True, "status": 200, "asked_input_tokens": 10, "input_tokens": 10,
}  # fmt: skip


def ns(ms: float | None) -> int | None:
    return None if ms is None else T0 + round(ms * MS)


def answer(request: int, due: float, *, tokens: Sequence[float] = (), end: float | None = None, **others: Any) -> dict[str, Any]:
    """A row: `tokens` are the arrivals of its token events, `sent` is `due` unless given; everything in ms after T0."""
    ready, sent = others.pop("ready", due), others.pop("sent", due)
    started = others.pop("started", sent)
    end = tokens[-1] if end is None and tokens else end
    channels = others.pop("channels", ["content"] * len(tokens))
    output = [at for at, channel in zip(tokens, channels) if channel != "reasoning"]
    row = {
        **_FREE, "request": request, "due_ns": ns(due), "ready_ns": ns(ready), "started_ns": ns(started), "sent_ns": ns(sent),
        "first_token_ns": ns(tokens[0]) if tokens else None, "first_token_low_ns": ns(tokens[0]) if tokens else None,
        "first_output_token_ns": ns(output[0]) if output else None, "last_token_ns": ns(tokens[-1]) if tokens else ns(end),
        "end_ns": ns(end), "output_tokens": len(tokens) or 1,
        "chunk_ns": [ns(at) for at in tokens], "chunk_channel": channels, "chunk_tokens": [0] * len(tokens),
    }  # fmt: skip
    return {**row, **others}


def unsent(request: int, due: float, reason: str, **others: Any) -> dict[str, Any]:
    row = answer(request, due, sent=None, ready=None, started=None)
    nothing = {"status": None, "stamp": None, "output_tokens": None, "input_tokens": None, "reused": False}
    return {**row, **nothing, "last_token_ns": None, "error": "unsent", "reason": reason, **others}


def bare(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.table({field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMA}, schema=SCHEMA)


def records(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return with_metrics(bare(rows))


def window(start: float, end: float) -> Window:
    return Window(T0 + round(start * MS), T0 + round(end * MS))


def facts(start: float = 0, end: float = 1000, **others: Any) -> RunFacts:
    return RunFacts(**{"window": window(start, end), "open_loop": True, **others})
