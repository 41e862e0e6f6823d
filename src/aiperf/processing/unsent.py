"""Planned requests that no spool knows of, because the generator that should have sent them died."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from aiperf.records import PHASES
from aiperf.spool import Exchange

DIED = "the generator died"
_AT_ONCE = 4096

Anchors = Mapping[int, tuple[int, int]]
"""By phase: number and due time (CLOCK_REALTIME) of a request that was sent."""


def unsent(plan: pa.Table, known: Sequence[int], anchors: Anchors, *, shard: int, shards: int) -> Iterator[tuple[Exchange, int | None]]:
    """The shard's missing requests with their due times (CLOCK_REALTIME; None if no request ties the plan to the clock)."""
    numbers = plan["request"].to_numpy()
    missing = (numbers % shards == shard) & ~np.isin(numbers, np.asarray(known, dtype=np.int64))
    if not missing.any():
        return
    start = _start_ns(plan, anchors)
    for batch in plan.filter(pa.array(missing)).to_batches(max_chunksize=_AT_ONCE):
        for planned in batch.to_pylist():
            yield _exchange(planned), None if start is None or planned["due_ns"] is None else start + planned["due_ns"]


def _start_ns(plan: pa.Table, anchors: Anchors) -> int | None:
    """When the run began: what a sent request's due time is ahead of its planned one."""
    due = plan["due_ns"]
    for request, due_ns in anchors.values():
        place = np.flatnonzero(plan["request"].to_numpy() == request)
        if len(place) and due[int(place[0])].is_valid:
            return int(due_ns - due[int(place[0])].as_py())
    return None


def _exchange(planned: Mapping[str, int]) -> Exchange:
    return Exchange(
        planned["request"],
        phase=PHASES.index(str(planned["phase"])),
        conversation=planned["conversation"],
        asked_input=planned["input_tokens"] or 0,
        asked_output=planned["output_tokens"] or 0,
        error="unsent",
        reason=DIED,
        last=True,
    )
