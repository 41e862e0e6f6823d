"""Metrics as the registry has them. What one from outside raises or returns wrongly costs its own values, is told, and costs no run."""

from collections.abc import Callable, MutableMapping
from numbers import Real
from typing import Any, TypeVar

import pyarrow as pa

from aiperf.errors import AiperfError
from aiperf.finite import is_finite_value
from aiperf.plugin import plugins
from aiperf.plugin.border import border, told
from aiperf.plugin.types import PluginEntry

Failed = MutableMapping[str, str]
"""What is to be said of metrics that failed, by their names."""
Found = TypeVar("Found")


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

    found = tried(entry, values, lambda why: _note(entry, why, failed))
    return pa.nulls(len(records), kind) if found is None else found


def single(entry: PluginEntry, view: Any, failed: Failed) -> float | None:
    """The one value of a metric; None if one from outside fails."""
    return tried(entry, lambda: _number(plugins.get_class(entry.category, entry.name)(view)), lambda why: _note(entry, why, failed))


def _note(entry: PluginEntry, why: str, failed: Failed) -> None:
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
