"""Rows of a query as CSV and as JSON, a piece of text a batch, exact to the last digit. What is no number is null."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa

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
    for rows in chain([[tuple(names)]], map(values, batches)):
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(map(_text, row) for row in rows)
        yield out.getvalue()


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


def _text(cell: Any) -> Any:
    """A cell as csv is to write it: what is no number is empty, and what would be Python's words is JSON."""
    if type(cell) in (str, int):
        return cell
    text = _JSON.encode(cell).decode()
    return "" if text == "null" else text.strip('"')
