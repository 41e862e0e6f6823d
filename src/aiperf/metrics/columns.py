"""Metrics as the registry has them: columns of the records, and values of a run.

What a metric from outside raises or returns wrongly costs its own values, is told, and costs no run.
"""

from collections.abc import Callable, MutableMapping
from functools import partial
from numbers import Real
from typing import Any, TypeVar

import pyarrow as pa

from aiperf.errors import AiperfError
from aiperf.finite import is_finite_value
from aiperf.metrics import requests
from aiperf.plugin import plugins
from aiperf.plugin.border import border, told
from aiperf.plugin.types import PluginEntry

Failed = MutableMapping[str, str]
"""What is to be said of metrics that failed, by their names."""
Found = TypeVar("Found")


def with_metrics(records: pa.Table, failed: Failed | None = None) -> pa.Table:
    """The records with one column a metric, named by its tag; a column that is there already is computed anew.

    Metrics from outside come last and may look at ours; what is to be said of those that fail is put into `failed`.
    """
    entries = sorted(plugins.of_requests(), key=lambda entry: not entry.is_builtin)
    found = records.drop_columns([entry.name for entry in entries if entry.name in records.column_names])
    for entry in entries:
        found = found.append_column(entry.name, column(entry, found, {} if failed is None else failed))
    return found


def has_metrics(records: pa.Table) -> bool:
    """Whether every metric of requests has its column."""
    return all(entry.name in records.column_names for entry in plugins.of_requests())


def ours(records: pa.Table, tag: str) -> pa.ChunkedArray:
    """What the verdict rests on: the column of a metric of ours, computed anew where its name is another package's, or nobody's."""
    is_there = any(entry.name == tag and entry.is_builtin for entry in plugins.of_requests())
    return records[tag] if is_there else getattr(requests, tag)(records)


def tried(entry: PluginEntry, compute: Callable[[], Found], tell: Callable[[str], object]) -> Found | None:
    """What a plugin's code comes to; where one from outside fails None, and `tell` hears why."""
    if entry.is_builtin:
        return compute()
    try:
        with border(entry):
            return compute()
    except AiperfError as exc:
        tell(told(exc))
        return None


def column(entry: PluginEntry, records: pa.Table, failed: Failed) -> Any:
    """The values of a metric, one a row (a list each, where it is declared so); null throughout if one from outside fails."""
    convert, kind = (_numbers, pa.list_(pa.float64())) if entry.metadata.get("list") else (_number, pa.float64())

    def values() -> Any:
        found = plugins.get_class(entry.category, entry.name)(records)
        return found if entry.is_builtin else pa.array([convert(one) for one in _rows(found, len(records))], kind)

    found = tried(entry, values, partial(_note, entry, failed))
    return pa.nulls(len(records), kind) if found is None else found


def single(entry: PluginEntry, view: Any, failed: Failed) -> float | None:
    """The one value of a metric; None if one from outside fails."""
    return tried(entry, lambda: _number(plugins.get_class(entry.category, entry.name)(view)), partial(_note, entry, failed))


def _note(entry: PluginEntry, failed: Failed, why: str) -> None:
    failed.setdefault(entry.name, f"metric {entry.name} of {entry.package}: {why.replace(f'{entry.label}: ', '')}")


def _rows(found: Any, count: int) -> list[Any]:
    values = found.to_pylist() if hasattr(found, "to_pylist") else list(found)
    if len(values) != count:
        raise ValueError(f"it returned {len(values):,} values for {count:,} rows")
    return values


def _numbers(found: Any) -> list[float] | None:
    return None if found is None else [number for one in found if (number := _number(one)) is not None]


def _number(found: Any) -> float | None:
    value = found.as_py() if isinstance(found, pa.Scalar) else found
    if is_finite_value(value):
        return float(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"it returned {type(value).__name__} where a number is expected")
    return None
