"""The tables of sweep.duckdb: names, columns, types and keys. Names are for people's scripts and only ever grow.

Times are UTC. Every table is replaced whole a trial, so a file is never half of one.

`points` has one row a trial, what it was set to and its headline statistics beside each other, for charts and searches. A view
over every metric and statistic takes minutes to plan over many trials, so the table is made anew in each commit, by one PIVOT,
and holds at most 64 columns: the trial, the headline, and of the parameters those that vary, then the others.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from aiperf.plugin.plugins import of_requests
from aiperf.records import SCHEMA
from aiperf.store import campaign

NAME = campaign.TABLES
SCHEMA_VERSION = "1.0"
"""Stored in the table `about`; who reads accepts the same first number."""

TABLES: Mapping[str, pa.Schema] = {
    "sweeps": pa.schema({
        "sweep_id": "string", "name": "string", "planner": "string", "objective": "string", "state": "string",
        "stop_reason": "string", "started_at": "timestamp[us]", "ended_at": "timestamp[us]", "config": "string",
    }),
    "trials": pa.schema({
        "trial_id": "string", "sweep_id": "string", "number": "int32", "repeat": "int32", "state": "string", "verdict": "string",
        "feasible": "bool", "objective": "double", "started_at": "timestamp[us]", "ended_at": "timestamp[us]", "dir": "string",
        "error": "string",
    }),
    "params": pa.schema({"trial_id": "string", "name": "string", "value": "string", "number": "double"}),
    "metrics": pa.schema({
        "trial_id": "string", "metric": "string", "stat": "string", "value": "double", "unit": "string", "n": "int64",
        "ci_low": "double", "ci_high": "double", "supported": "bool",
    }),
    "reasons": pa.schema({"trial_id": "string", "reason": "string", "detail": "string"}),
    "slos": pa.schema({
        "trial_id": "string", "metric": "string", "stat": "string", "op": "string", "threshold": "double", "value": "double",
        "met": "bool",
    }),
    "derived": pa.schema({"sweep_id": "string", "name": "string", "value": "double", "detail": "string"}),
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
    "metrics": "a row a metric and statistic, over the judged window; ci_low, ci_high: 95 %; supported: whether samples were enough",
    "reasons": "why a trial is void",
    "slos": "what was promised and whether it was kept; stat each: value is the share of requests that kept it",
    "derived": "what was found over all trials: knees, fronts, fits",
    "points": "a row a trial: what was set and the headline statistics, at most 64 columns",
    "records": "a row a planned request, read from the Parquet files",
}

MOST_COLUMNS = 64
TRIAL = ("trial_id", "number", "repeat", "state", "verdict", "feasible", "objective")
_HEADLINE = {
    "request_throughput": ("avg",), "input_token_throughput": ("avg",), "output_token_throughput": ("avg",),
    "total_token_throughput": ("avg",), "goodput": ("avg",), "good_request_fraction": ("avg",), "request_count": ("avg",),
    "request_error_rate": ("avg",),
    "planned_time_to_first_token": ("p50", "p99"), "time_to_first_token": ("avg", "p50", "p90", "p99"),
    "inter_token_latency": ("avg", "p50", "p99"), "planned_request_latency": ("p50", "p99"),
    "request_latency": ("avg", "p50", "p90", "p99"),
    "queue_time": ("p99",), "schedule_lateness": ("p99",), "input_sequence_length": ("avg",), "output_sequence_length": ("avg",),
}  # fmt: skip

HEADLINE: tuple[tuple[str, str, str], ...] = tuple(
    (metric, stat, metric if stats == ("avg",) else f"{metric}_{stat}") for metric, stats in _HEADLINE.items() for stat in stats
)
"""Metric, statistic, and the name of its column: the metric's own where only its one value or its mean is told."""

POINTS = pa.schema([*(TABLES["trials"].field(column) for column in TRIAL), *((column, pa.float64()) for _, _, column in HEADLINE)])
"""The columns that are always there; parameters stand between the trial's own and the headline, by their dotted names."""


def record_columns() -> pa.Schema:
    """The columns of the view `records` after its `trial_id`s: those of every record and one a record metric."""
    kinds = {True: pa.list_(pa.float64()), False: pa.float64()}
    return pa.schema([*SCHEMA, *((entry.name, kinds[bool(entry.metadata.get("list"))]) for entry in of_requests())])


def text(value: str) -> str:
    """A word as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + value.replace('"', '""') + '"'


def words(values: Iterable[str]) -> str:
    """A list of words as SQL writes it."""
    return f"[{', '.join(map(text, values))}]"


PARAMS = f"""
SELECT min(name) AS name, bool_and(number IS NOT NULL OR value IS NULL) AS is_number
FROM params GROUP BY lower(name) HAVING lower(min(name)) NOT IN ({", ".join(map(text, POINTS.names))})
ORDER BY count(DISTINCT value) > 1 OR count(value) < (SELECT count(*) FROM trials) DESC, min(rowid), min(name)
LIMIT {MOST_COLUMNS - len(POINTS)}
"""  # noqa: S608 - names of ours
"""Which parameters have a column: what varies first, then in the order in which they were given.

Of names that differ in upper and lower case alone one is taken.
"""


def rebuild(params: Sequence[tuple[str, bool]]) -> str:
    """The statement that makes the table anew from the others; `params` are the rows of PARAMS."""
    columns = [*params, *((column, True) for _, _, column in HEADLINE)]
    typed = (f"p.{name(column)}::DOUBLE AS {name(column)}" if is_number else f"p.{name(column)}" for column, is_number in columns)
    return f"""
CREATE OR REPLACE TABLE points AS SELECT {", ".join([*(f"t.{column}" for column in TRIAL), *typed])}
FROM trials t LEFT JOIN (
  PIVOT ({_settings([column for column, _ in params])}) ON name IN ({", ".join(text(column) for column, _ in columns)})
  USING any_value(value) GROUP BY trial_id
) p USING (trial_id) ORDER BY t.number, t.repeat, t.trial_id
"""  # noqa: S608 - every name is quoted


def _settings(params: Sequence[str]) -> str:
    """Trial, column and value as text: a double's shortest text is the same double again."""
    headline = ", ".join(f"({text(metric)}, {text(stat)}, {text(column)})" for metric, stat, column in HEADLINE)
    return f"""
SELECT m.trial_id, h.col AS name, m.value::VARCHAR AS value
FROM metrics m JOIN (VALUES {headline}) h(metric, stat, col) ON m.metric = h.metric AND m.stat = h.stat
UNION ALL SELECT trial_id, name, value FROM params WHERE name IN ({", ".join(map(text, params)) or "NULL"})
"""  # noqa: S608 - every name is quoted
