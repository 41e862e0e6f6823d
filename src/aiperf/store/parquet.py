"""Records and plans as Parquet, and records as JSON lines: renamed when whole, so that a file that exists is complete."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiperf.errors import MeasureError
from aiperf.results import Summary
from aiperf.store.whole import unfinished, whole

_ROWS = 1_000
_JSON = msgspec.json.Encoder()
"""Writes what is no number as null."""

PLAN_SCHEMA = pa.schema(
    [
        ("request", pa.int64()), ("phase", pa.dictionary(pa.int32(), pa.string())), ("due_ns", pa.int64()),
        ("conversation", pa.int64()), ("turn", pa.int32()), ("input_tokens", pa.int32()), ("output_tokens", pa.int32()),
        ("seed", pa.int64()),
    ]
)  # fmt: skip
"""What was planned, a row a request: `due_ns` from the run's start (null in closed loop), `output_tokens` 0 or null for none asked."""


class RecordsWriter:
    """One Parquet file, a row group a table; it has its name only once `close` has been called. As a context, an error discards it."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._file = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def append(self, table: pa.Table) -> None:
        """Write a row group; the first table's schema is the file's. Raises MeasureError where the disk refuses."""
        try:
            if self._writer is None:
                part = self._file.enter_context(unfinished(self.path))
                part.parent.mkdir(parents=True, exist_ok=True)
                self._writer = self._file.enter_context(pq.ParquetWriter(part, table.schema, compression="zstd"))
            self._writer.write_table(table)
        except OSError as exc:
            self._file.__exit__(OSError, exc, exc.__traceback__)  # the file is given up, and raises for it
        self.rows += table.num_rows

    def close(self) -> None:
        """Finish the file and give it its name; without a table there is no file. Raises MeasureError as `append` does."""
        self._file.close()

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(MeasureError):
            self._file.__exit__(EOFError, EOFError(), None)

    def __enter__(self) -> "RecordsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def read_records(folder: Path) -> pa.Table:
    """All records of a trial in the order of their numbers. Raises MeasureError if there are none to read."""
    try:
        return pa.concat_tables([_read(path) for path in _files(folder)]).combine_chunks().sort_by("request")
    except pa.ArrowException as exc:
        raise MeasureError(f"{folder}: the records cannot be read: {exc}") from exc


def export_jsonl(summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:  # noqa: ARG001 - the seam's arguments
    """Write all records of a folder into records.jsonl, an object a line with every column, for tools that read no Parquet.

    Whole or not at all; memory stays that of one row group. Raises MeasureError as `read_records`, or where the disk refuses.
    """
    groups = chain.from_iterable(map(row_groups, _files(records)))
    with whole(trial / "records.jsonl") as out:
        for batch in chain.from_iterable(group.to_batches(max_chunksize=_ROWS) for group in groups):
            out.writelines(_JSON.encode(row) + b"\n" for row in batch.to_pylist())


def _files(folder: Path) -> list[Path]:
    if not (found := sorted(folder.glob("*.parquet"))):
        raise MeasureError(f"{folder}: no records here (*.parquet)")
    return found


def write_plan(path: Path, plan: pa.Table) -> None:
    """Write the plan (columns of PLAN_SCHEMA, in any order); it is never rewritten, so FileExistsError if it is there."""
    if path.exists():
        raise FileExistsError(f"{path} is there already, and a plan is never rewritten")
    with RecordsWriter(path) as file:
        file.append(plan.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA))


def read_plan(path: Path) -> pa.Table:
    """The plan as it was written. Raises MeasureError if it cannot be read."""
    try:
        return _read(path, "plan").select(PLAN_SCHEMA.names)
    except KeyError as exc:
        raise MeasureError(f"{path}: the plan cannot be read: {exc}") from exc


def row_groups(path: Path, what: str = "records") -> Iterator[pa.Table]:
    """A file by row groups, since Arrow reads a list of dictionary values only so. Raises MeasureError if it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)
    except (pa.ArrowException, OSError) as exc:
        raise MeasureError(f"{path}: the {what} cannot be read: {exc}") from exc


def _read(path: Path, what: str = "records") -> pa.Table:
    groups = list(row_groups(path, what))
    return pa.concat_tables(groups) if groups else pq.read_schema(path).empty_table()
