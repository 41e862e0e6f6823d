"""The metric columns of records: every metric of kind `record` that the registry declares, computed and appended."""

from collections.abc import Iterator

import pyarrow as pa

from aiperf.plugin import plugins
from aiperf.plugin.types import PluginEntry


def metrics_of_kind(kind: str) -> Iterator[PluginEntry]:
    """The declared metrics of a kind: `record` (a value or a list a request) or `run` (one value)."""
    return (entry for entry in plugins.iter_entries("metric") if entry.metadata["kind"] == kind)


def with_metrics(records: pa.Table) -> pa.Table:
    """The records with one column a record metric, named by its tag; a column that is there already is computed anew."""
    known = set(records.column_names)
    tags = [entry.name for entry in metrics_of_kind("record")]
    bare = records.drop_columns([tag for tag in tags if tag in known])
    found = bare
    for tag in tags:
        found = found.append_column(tag, plugins.get_class("metric", tag)(bare))
    return found


def has_metrics(records: pa.Table) -> bool:
    """Whether every record metric has its column."""
    return all(entry.name in records.column_names for entry in metrics_of_kind("record"))
