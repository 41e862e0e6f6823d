"""Records and plans as Parquet, and records as JSON lines: renamed when whole, so that a file that exists is complete."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiperf.errors import ConfigError, MeasureError
from aiperf.results import Summary
from aiperf.store.whole import unfinished, whole

_ROWS = 1_000
_ENCODINGS = {pa.int64(): "DELTA_BINARY_PACKED", pa.float64(): "BYTE_STREAM_SPLIT"}
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
                writer = pq.ParquetWriter(part, table.schema, compression="zstd", **_encodings(table.schema))
                self._writer = self._file.enter_context(writer)
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
        (self.close if kind is None else self.discard)()


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Stamps as differences and floats by bytes: a third less on the disk, in a third of the time; dictionaries for all others."""
    columns = {f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name: field.type for field in schema}
    kinds = {name: kind.value_type if pa.types.is_list(kind) else kind for name, kind in columns.items()}
    known = {name: _ENCODINGS[kind] for name, kind in kinds.items() if kind in _ENCODINGS}
    return {"column_encoding": known, "use_dictionary": [name for name in kinds if name not in known]}


class Records:
    """The records of a trial, read as a table is, a column at a time, in the order of the files.

    What is not a list is kept once it was asked for; lists, which may be far larger than the memory, come by `batches`. Raises
    ConfigError where there are no files, MeasureError where one cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._columns = dict[str, pa.ChunkedArray]()
        self._files = dict[Path, pq.ParquetFile]()
        for path in _files(folder):
            with _readable(path):
                self._files[path] = pq.ParquetFile(path)
        self.schema: pa.Schema = next(iter(self._files.values())).schema_arrow
        self.column_names = self.schema.names
        self.num_rows: int = sum(file.metadata.num_rows for file in self._files.values())

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        if name in self._columns:
            return self._columns[name]
        kind = self.schema.field(name).type
        if pa.types.is_list(kind):
            return pa.chunked_array([batch[0] for batch in self.batches([name])], kind)
        parts: list[pa.Array] = []
        for path, file in self._files.items():
            with _readable(path):
                parts += file.read([name], use_threads=False)[name].chunks
        column = pa.chunked_array(parts, kind).unify_dictionaries().combine_chunks()
        return self._columns.setdefault(name, pa.chunked_array([column], kind))

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns by row groups: Arrow reads lists of dictionary values in no other way."""
        for path, file in self._files.items():
            with _readable(path):
                for group in range(file.num_row_groups):
                    yield from file.read_row_group(group, list(names), use_threads=False).select(names).to_batches()

    def __getattr__(self, name: str) -> Any:
        """What else a table has, of all records at once: for metrics from outside, and records of another version."""
        return getattr(pa.Table.from_batches(self.batches(self.column_names), self.schema), name)


@contextmanager
def _readable(path: Path, what: str = "records") -> Iterator[None]:
    try:
        yield
    except (KeyError, pa.ArrowException, OSError) as exc:
        raise MeasureError(f"{path}: the {what} cannot be read: {exc}") from exc


def read_records(folder: Path) -> pa.Table:
    """All records of a trial in the order of their numbers. Raises as Records."""
    records = Records(folder)
    return pa.Table.from_batches(records.batches(records.column_names), records.schema).combine_chunks().sort_by("request")


def export_jsonl(summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:  # noqa: ARG001 - the seam's arguments
    """Write all records of a folder into records.jsonl, an object a line with every column, for tools that read no Parquet.

    Whole or not at all; memory stays that of one row group. Raises as Records, and MeasureError where the disk refuses.
    """
    kept = Records(records)
    with whole(trial / "records.jsonl") as out:
        for batch in kept.batches(kept.column_names):
            for start in range(0, batch.num_rows, _ROWS):
                out.writelines(_JSON.encode(row) + b"\n" for row in batch.slice(start, _ROWS).to_pylist())


def _files(folder: Path) -> list[Path]:
    if not (found := sorted(folder.glob("*.parquet"))):
        hint = "output.level=summary drops them, a killed run has made none; where the bytes were kept, --from process makes them"
        raise ConfigError(f"{folder}: no records here ({hint})")
    return found


def write_plan(path: Path, plan: pa.Table) -> None:
    """Write the plan (columns of PLAN_SCHEMA, in any order); it is never rewritten, so FileExistsError if it is there."""
    if path.exists():
        raise FileExistsError(f"{path} is there already, and a plan is never rewritten")
    with RecordsWriter(path) as file:
        file.append(plan.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA))


def read_plan(path: Path) -> pa.Table:
    """The plan as it was written. Raises ConfigError if it is not there, MeasureError if it cannot be read."""
    if not path.exists():
        hint = "put it back from a copy of the folder; aiperf report DIR shows what was found by it"
        raise ConfigError(f"{path} is not there, and nothing else says what was planned: {hint}")
    with _readable(path, "plan"), pq.ParquetFile(path) as file:
        return file.read().select(PLAN_SCHEMA.names)
