"""What an endpoint said besides, the column `plugin`: JSON, whose finite numbers are summarised as metrics are."""

import json
import sys
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from aiperf.finite import is_finite_value, scrub_non_finite
from aiperf.metrics.statistics import distribution
from aiperf.results import MetricValue

MOST_BYTES, MOST_NAMES = 64 * 1024, 64
_MOST_LEVELS = 16
_UNITS = ("_ms", "_s", "_ns", "_tokens")
"""As names end: `rag_ttft_ms` is in ms."""


def as_json(said: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The text of the column (None if there is nothing to say), and whether it was too long and holds the numbers alone, if even them.

    Raises whatever a mapping does that cannot be written: keys that are no names, one that holds itself.
    """
    plain = scrub_non_finite(dict(said))
    if len(whole := _encoded(plain)) <= MOST_BYTES:
        return whole.decode() if plain else None, False
    numbers = _encoded(dict(_numbers(plain)))
    return numbers.decode() if len(numbers) <= MOST_BYTES else None, True


def _encoded(said: Any) -> bytes:
    return json.dumps(said, default=str, ensure_ascii=False).encode(errors="replace")


def _numbers(said: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of nested mappings by dotted name."""
    for name, value in said.items():
        if isinstance(value, dict) and above.count(".") < _MOST_LEVELS:
            yield from _numbers(value, f"{above}{name}.")
        elif is_finite_value(value) and abs(value) <= sys.float_info.max:
            yield f"{above}{name}", float(value)


def summarised(good: pa.Table) -> tuple[list[MetricValue], list[str]]:
    """A distribution a name, `plugin.NAME`, for the names with the most values, and a note on those that are left out."""
    found: dict[str, array[float]] = {}
    for text in good["plugin"].drop_null():
        for name, number in _numbers(_decoded(text.as_py())):
            found.setdefault(name, array("d")).append(number)
    kept = sorted(found, key=lambda name: (-len(found[name]), name))[:MOST_NAMES]
    units = {name: next((unit[1:] for unit in _UNITS if name.endswith(unit)), "") for name in sorted(kept)}
    metrics = [distribution(f"plugin.{name}", unit, np.frombuffer(found[name])) for name, unit in units.items()]
    more = len(found) - len(kept)
    return metrics, [f"{more:,} more names of numbers in the column plugin are in the records alone"] if more else []


def _decoded(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
