"""records.jsonl: the records for tools that read no Parquet, an object a line with every column."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from aiperf.errors import MeasureError
from aiperf.store.parquet import row_groups
from aiperf.store.whole import whole

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
    count = 0
    with whole(path) as out:
        for line in (_ENCODER.encode(row) for file in files for row in _rows(file)):
            out.write(line + b"\n")
            count += 1
    return count


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        for group in row_groups(file):
            yield from _objects(group)
    except (pa.ArrowException, OSError) as exc:
        raise MeasureError(f"{file}: the records cannot be read: {exc}") from exc


def _objects(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_ROWS):
        yield from (dict(zip(table.column_names, row)) for row in zip(*(column.to_pylist() for column in batch.columns)))
