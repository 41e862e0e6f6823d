"""records.jsonl: the records for tools that read no Parquet, an object a line with every column."""

from itertools import chain
from pathlib import Path

import msgspec

from aiperf.errors import MeasureError
from aiperf.results import Summary
from aiperf.store.parquet import row_groups
from aiperf.store.whole import whole

NAME = "records.jsonl"
_ROWS = 1_000
_ENCODER = msgspec.json.Encoder()
"""Writes what is no number as null."""


def export_jsonl(summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:  # noqa: ARG001 - the seam's arguments
    """Write all records of a folder, file by file, whole or not at all. Memory stays that of one row group.

    Raises MeasureError if there are no records, if they cannot be read, or where the disk refuses.
    """
    files = sorted(records.glob("*.parquet"))
    if not files:
        raise MeasureError(f"{records}: no records here (*.parquet)")
    with whole(trial / NAME) as out:
        for group in chain.from_iterable(map(row_groups, files)):
            for batch in group.to_batches(max_chunksize=_ROWS):
                out.writelines(_ENCODER.encode(row) + b"\n" for row in batch.to_pylist())
