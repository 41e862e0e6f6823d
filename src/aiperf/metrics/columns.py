"""The metric columns of records: every metric of requests that the registry declares, computed and appended."""

from collections.abc import Callable

import pyarrow as pa

from aiperf.metrics.plugged import Failed, column
from aiperf.plugin.metrics import of_requests


def with_metrics(records: pa.Table, failed: Failed | None = None) -> pa.Table:
    """The records with one column a metric, named by its tag; a column that is there already is computed anew.

    Metrics from outside come last and may look at ours; what is to be said of those that fail is put into `failed`.
    """
    entries = sorted(of_requests(), key=lambda entry: not entry.is_builtin)
    found = records.drop_columns([entry.name for entry in entries if entry.name in records.column_names])
    for entry in entries:
        found = found.append_column(entry.name, column(entry, found, {} if failed is None else failed))
    return found


def ours(records: pa.Table, metric: Callable[[pa.Table], pa.ChunkedArray]) -> pa.ChunkedArray:
    """What the verdict rests on: the column of a metric of ours, computed anew where it is not there, or another package's."""
    tag = metric.__name__
    is_there = tag in records.column_names and any(entry.name == tag and entry.is_builtin for entry in of_requests())
    return records[tag] if is_there else metric(records)


def has_metrics(records: pa.Table) -> bool:
    """Whether every metric of requests has its column."""
    return all(entry.name in records.column_names for entry in of_requests())
