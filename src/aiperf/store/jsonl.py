"""records.jsonl: the records for tools that read no Parquet, an object a line with every column."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiperf.errors import MeasureError

NAME = "records.jsonl"
_ROWS = 1_000
_ENCODER = msgspec.json.Encoder()
"""Writes what is no number as null."""


def write_records_jsonl(records: Path, path: Path) -> int:
    """Write all records of a folder, file by file, whole or not at all; returns how many. Memory stays that of one row group.

    Raises MeasureError if there are no records, if they cannot be read, or where the disk refuses.
    """
    files = sorted(records.glob("*.parquet"))
    if not files:
        raise MeasureError(f"{records}: no records here (*.parquet)")
    unfinished, count = path.with_name(f"{path.name}.part"), 0
    try:
        with unfinished.open("wb") as out:
            for line in (_ENCODER.encode(row) for file in files for row in _rows(file)):
                out.write(line + b"\n")
                count += 1
        unfinished.replace(path)
    except OSError as exc:
        raise MeasureError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
    finally:
        with suppress(OSError):  # it is gone if all went well
            unfinished.unlink()
    return count


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file by row groups, since Arrow reads a list of dictionary values only so."""
    try:
        with pq.ParquetFile(file) as source:
            for group in range(source.num_row_groups):
                yield from _objects(source.read_row_group(group))
    except (pa.ArrowException, OSError) as exc:
        raise MeasureError(f"{file}: the records cannot be read: {exc}") from exc


def _objects(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_ROWS):
        yield from (dict(zip(table.column_names, row)) for row in zip(*(column.to_pylist() for column in batch.columns)))
