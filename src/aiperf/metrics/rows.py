"""Which records a number is about, and columns as numpy arrays; stamps are subtracted as integers, since no float64 holds them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.records import NOT_FAILURES

_MS = 1e6
_STRETCHES = 64
_BATCH = 4096


class Rows:
    """The records for which something holds, read as a table is, a column at a time: a copy of all would be as large as the records.

    What lies in few stretches, as the rows of a window do, is not copied at all.
    """

    def __init__(self, records: Any, wanted: pa.ChunkedArray) -> None:
        self._records, self._wanted = records, pc.fill_null(wanted, fill_value=False)
        edges = np.flatnonzero(np.diff(self._wanted.to_numpy().astype(np.int8), prepend=0, append=0)).tolist()
        self._stretches = list(zip(edges[::2], edges[1::2]))

    def __len__(self) -> int:
        return sum(end - start for start, end in self._stretches)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        column = self._records[name]
        if len(self._stretches) > _STRETCHES:
            return column.filter(self._wanted)
        parts = [chunk for start, end in self._stretches for chunk in column.slice(start, end - start).chunks]
        return pa.chunked_array(parts, column.type)

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self._records.schema

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of these rows."""
        at, is_all = 0, len(self) == len(self._wanted)
        for batch in batches(self._records, names):
            part = self._wanted.slice(at, len(batch))
            at += len(batch)
            yield batch if is_all else batch.filter(part.combine_chunks())

    def __getattr__(self, name: str) -> Any:
        """What else a table has, of a copy: for metrics from outside."""
        return getattr(self._records.filter(self._wanted), name)


def batches(records: Any, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """These columns, so few rows at a time that what is made of their lists stays small."""
    if isinstance(records, pa.Table):
        yield from records.select(names).to_batches(max_chunksize=_BATCH)
    else:
        yield from records.batches(names)


def is_list(records: Any, name: str) -> bool:
    """Whether a column has several values a row."""
    return bool(pa.types.is_list(records.schema.field(name).type))


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


def of_run(records: pa.Table) -> Rows:
    """The records of the phase that is judged."""
    return Rows(records, pc.equal(text(records["phase"]), "profiling"))


def good(records: pa.Table) -> Rows:
    """The records of the requests that succeeded."""
    return Rows(records, is_good(records))


def tally(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each name occurs in a column, null left out, most frequent first, equals by name."""
    counted = pc.value_counts(text(column).drop_null()).to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counted, key=lambda entry: (-entry["counts"], entry["values"]))}


def reasons(records: pa.Table, error: str) -> dict[str, int]:
    """Why requests ended in this class, and how many."""
    rows = Rows(records, pc.equal(text(records["error"]), error))
    return tally(pc.fill_null(text(rows["reason"]), "no reason"))


def only_good(records: pa.Table, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """These values, null where the request did not succeed."""
    return pc.if_else(is_good(records), values, pa.scalar(None, values.type))


def ms_between(start: pa.ChunkedArray, end: pa.ChunkedArray) -> pa.ChunkedArray:
    """From one stamp to another in milliseconds (float64), null where either is missing."""
    return pc.divide(pc.cast(pc.subtract(end, start), pa.float64(), safe=False), _MS)


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """The values that are there, as float64."""
    found: NDArray[np.float64] = pc.cast(column.drop_null(), pa.float64()).to_numpy()
    return found


def in_order(records: Any, name: str, order: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
    """The values of a column, by rows in this order; those of lists are put to their places as they are read, and are there once."""
    if not is_list(records, name):
        return numbers(records[name] if isinstance(order, slice) else records[name].take(order))
    lengths = np.concatenate([np.empty(0, np.int64), *(_lengths(batch[0]) for batch in batches(records, [name]))])
    starts = np.empty_like(lengths)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]
    found, at = np.empty(int(lengths.sum())), 0
    for (lists,) in batches(records, [name]):
        within = np.arange(len(flat := lists.flatten())) - np.repeat(np.cumsum(of := lengths[at : at + len(lists)]) - of, of)
        found[np.repeat(starts[at : at + len(lists)], of) + within] = flat.to_numpy(zero_copy_only=False)
        at += len(lists)
    return found


def row_of_each(lists: pa.ListArray) -> NDArray[np.int64]:
    """In which row each value of a list column is, in their order."""
    return np.repeat(np.arange(len(lists), dtype=np.int64), _lengths(lists))


def _lengths(lists: pa.ListArray) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
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
