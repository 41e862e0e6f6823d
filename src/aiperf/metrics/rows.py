"""Which records a number is about, and columns as numpy arrays; stamps are subtracted as integers, since no float64 holds them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.records import NOT_FAILURES

_MS = 1e6
_STRETCHES = 64


def text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of names as plain strings, whatever it is kept as."""
    return pc.cast(column, pa.string())


def is_good(records: pa.Table) -> pa.ChunkedArray:
    """Whether a request succeeded."""
    return pc.is_null(records["error"])


def is_failed(records: pa.Table) -> pa.ChunkedArray:
    """Whether a request failed by the server's doing or the way to it."""
    ours = pc.is_in(text(records["error"]), value_set=pa.array(NOT_FAILURES))
    return pc.and_(pc.is_valid(records["error"]), pc.invert(ours))


def where(records: pa.Table, wanted: pa.ChunkedArray) -> pa.Table:
    """The records for which `wanted` is true; not copied where they lie in few stretches, as those of a window do."""
    mask = pc.fill_null(wanted, fill_value=False).to_numpy().astype(np.int8)
    edges = np.flatnonzero(np.diff(mask, prepend=0, append=0)).tolist()
    if len(edges) > 2 * _STRETCHES:
        return records.filter(wanted)
    return pa.concat_tables([records.slice(start, end - start) for start, end in zip(edges[::2], edges[1::2])] or [records.slice(0, 0)])


def of_phase(records: pa.Table, phase: str) -> pa.Table:
    """The records of one phase."""
    return where(records, pc.equal(text(records["phase"]), phase))


def good(records: pa.Table) -> pa.Table:
    """The records of the requests that succeeded."""
    return where(records, is_good(records))


def by_class(records: pa.Table) -> dict[str, int]:
    """How often each error class occurs, most frequent first, equals by name."""
    return tally(records["error"])


def tally(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each name occurs in a column, null left out, most frequent first, equals by name."""
    counted = pc.value_counts(text(column).drop_null()).to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counted, key=lambda entry: (-entry["counts"], entry["values"]))}


def unsent_by_reason(records: pa.Table) -> dict[str, int]:
    """Why requests were never sent, and how many."""
    rows = records.filter(pc.fill_null(pc.equal(text(records["error"]), "unsent"), fill_value=False))
    return tally(pc.fill_null(text(rows["reason"]), "no reason"))


def only_good(records: pa.Table, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """These values, null where the request did not succeed."""
    return pc.if_else(is_good(records), values, pa.scalar(None, values.type))


def ms_between(start: pa.ChunkedArray, end: pa.ChunkedArray) -> pa.ChunkedArray:
    """From one stamp to another in milliseconds (float64), null where either is missing."""
    return pc.divide(pc.cast(pc.subtract(end, start), pa.float64(), safe=False), _MS)


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """The values that are there, as float64; those of a list column each for itself."""
    if pa.types.is_list(column.type):
        parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
        return np.concatenate(parts).astype(np.float64, copy=False) if parts else np.empty(0)
    found: NDArray[np.float64] = pc.cast(column.drop_null(), pa.float64()).to_numpy()
    return found


def stamps(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """The stamps that are there, as int64 nanoseconds."""
    found: NDArray[np.int64] = column.drop_null().to_numpy()
    return found


def ended_ns(records: pa.Table) -> pa.ChunkedArray:
    """When an answer was over: its end, or its last token where no end was seen."""
    return pc.coalesce(records["end_ns"], records["last_token_ns"])


def due_ns(records: pa.Table) -> pa.ChunkedArray:
    """When a request was due; in closed loop, when it was ready."""
    return pc.coalesce(records["due_ns"], records["ready_ns"])
