"""The tables of sweep.duckdb: names, columns, types and keys. Names are for people's scripts and only ever grow.

Times are UTC. Every table is replaced whole a trial, so a file is never half of one.
"""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from aiperf.plugin.metrics import of_requests
from aiperf.records import SCHEMA

NAME = "sweep.duckdb"
SCHEMA_VERSION = "1.0"
"""Stored in the table `about`; who reads accepts the same first number."""

Columns = Mapping[str, str]

TABLES: Mapping[str, Columns] = {
    "sweeps": {
        "sweep_id": "VARCHAR", "name": "VARCHAR", "planner": "VARCHAR", "objective": "VARCHAR", "state": "VARCHAR",
        "stop_reason": "VARCHAR", "started_at": "TIMESTAMP", "ended_at": "TIMESTAMP", "config": "VARCHAR",
    },
    "trials": {
        "trial_id": "VARCHAR", "sweep_id": "VARCHAR", "number": "INTEGER", "repeat": "INTEGER", "state": "VARCHAR", "verdict": "VARCHAR",
        "feasible": "BOOLEAN", "objective": "DOUBLE", "started_at": "TIMESTAMP", "ended_at": "TIMESTAMP", "dir": "VARCHAR",
        "error": "VARCHAR",
    },
    "params": {"trial_id": "VARCHAR", "name": "VARCHAR", "value": "VARCHAR", "number": "DOUBLE"},
    "metrics": {
        "trial_id": "VARCHAR", "metric": "VARCHAR", "stat": "VARCHAR", "value": "DOUBLE", "unit": "VARCHAR", "n": "BIGINT",
        "ci_low": "DOUBLE", "ci_high": "DOUBLE", "supported": "BOOLEAN",
    },
    "reasons": {"trial_id": "VARCHAR", "reason": "VARCHAR", "detail": "VARCHAR"},
    "slos": {
        "trial_id": "VARCHAR", "metric": "VARCHAR", "stat": "VARCHAR", "op": "VARCHAR", "threshold": "DOUBLE", "value": "DOUBLE",
        "met": "BOOLEAN",
    },
    "derived": {"sweep_id": "VARCHAR", "name": "VARCHAR", "value": "DOUBLE", "detail": "VARCHAR"},
}  # fmt: skip
"""Every table that holds rows; `points` and the view `records` are made from what is there."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "sweeps": ("sweep_id",),
    "trials": ("trial_id",),
    "params": ("trial_id", "name"),
    "metrics": ("trial_id", "metric", "stat"),
    "slos": ("trial_id", "metric", "stat", "op"),
}
"""Primary keys; a trial may have a reason, and a sweep a derived value, several times."""

MEANINGS: Mapping[str, str] = {
    "sweeps": "a row a campaign; of a single run planner is none",
    "trials": "a row a trial: state, verdict (VALID, INVALID), feasible: whether every promise was kept",
    "params": "what each trial was set to; number where the value is one",
    "metrics": "a row a metric and statistic, over the judged window; supported: whether the samples were enough",
    "reasons": "why a trial is void",
    "slos": "what was promised and whether it was kept; stat each: value is the share of requests that kept it",
    "derived": "what was found over all trials: knees, fronts, fits",
    "points": "a row a trial: what was set and the headline statistics, at most 64 columns",
    "records": "a row a planned request, read from the Parquet files",
}

ARROW = {
    "VARCHAR": pa.string(), "INTEGER": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}  # fmt: skip
"""DuckDB's types of the columns as Arrow's."""

_TYPES: Mapping[pa.DataType, str] = {of: kind for kind, of in ARROW.items()} | {pa.large_string(): "VARCHAR"}


def record_columns() -> Columns:
    """The columns of the view `records` before its `trial_id`s: those of every record and one a record metric."""
    fixed = {column.name: _type(column.type) for column in SCHEMA}
    return fixed | {entry.name: "DOUBLE[]" if entry.metadata.get("list") else "DOUBLE" for entry in of_requests()}


def _type(of: pa.DataType) -> str:
    if pa.types.is_list(of):
        return f"{_type(of.value_type)}[]"
    return _TYPES[of.value_type if pa.types.is_dictionary(of) else of]


def creation(table: str) -> str:
    """The statement that makes a table."""
    key = KEYS.get(table, ())
    parts = [f"{name} {kind}{' NOT NULL' if name in key else ''}" for name, kind in TABLES[table].items()]
    if key:
        parts.append(f"PRIMARY KEY ({', '.join(key)})")
    return f"CREATE TABLE {table} ({', '.join(parts)})"


def text(value: str) -> str:
    """A word as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + value.replace('"', '""') + '"'


def nothing(columns: Columns) -> str:
    """A query without a row, with these columns and types."""
    return f"SELECT {', '.join(f'NULL::{kind} AS {name(column)}' for column, kind in columns.items())} WHERE false"


def words(values: Iterable[str]) -> str:
    """A list of words as SQL writes it."""
    return f"[{', '.join(map(text, values))}]"
