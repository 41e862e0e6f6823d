"""Rows of a query as CSV and as JSON, a piece of text a batch, exact to the last digit. What is no number is null."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from aiperf.finite import scrub_non_finite

_JSON = msgspec.json.Encoder(decimal_format="number")


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: a second `campaign` is `campaign_1`, as no object has two keys of one name."""
    found: list[str] = []
    for name in names:
        places = (f"{name}_{i}" if i else name for i in range(len(names) + 1))
        found.append(next(place for place in places if place not in found and (place == name or place not in names)))
    return found


def csv_text(names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """A line of names, then a line a row; null is an empty cell, lists and the like are JSON in theirs."""
    yield _lines([names])
    for batch in batches:
        yield _lines(zip(*(_column(column) for column in batch.columns)))


def json_text(names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """An array of objects, one a line."""
    lead = "[\n"
    for batch in batches:
        for row in batch.rename_columns(list(names)).to_pylist():
            yield lead + _JSON.encode(row).decode()
            lead = ",\n"
    yield "[]\n" if lead == "[\n" else "\n]\n"


def values(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    """A batch by rows, as Python's own values."""
    return list(zip(*(column.to_pylist() for column in batch.columns)))


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _column(column: pa.Array) -> list[Any]:
    """A column's cells; what csv itself would write in Python's words becomes text here."""
    cells: list[Any] = column.to_pylist()
    if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
        return cells
    if pa.types.is_floating(column.type):
        return [scrub_non_finite(cell) for cell in cells]
    return [_text(cell) for cell in cells]


def _text(cell: Any) -> str | None:
    return cell if cell is None or isinstance(cell, str) else _JSON.encode(cell).decode().strip('"')
