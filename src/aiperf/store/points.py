"""The table `points`: one row a trial, what it was set to and its headline statistics beside each other, for charts and searches.

A view over every metric and statistic takes minutes to plan over many trials, so the table is made anew in each commit, by
one PIVOT, and holds at most 64 columns: the trial, the headline, and of the parameters those that vary, then the others.
"""

from collections.abc import Sequence

from aiperf.store.tables import TABLES, Columns, name, text

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

TYPES: Columns = {column: TABLES["trials"][column] for column in TRIAL} | {column: "DOUBLE" for _, _, column in HEADLINE}
"""The columns that are always there; parameters stand between the trial's own and the headline, by their dotted names."""

PARAMS = f"""
SELECT min(name) AS name, bool_and(number IS NOT NULL OR value IS NULL) AS is_number
FROM params GROUP BY lower(name) HAVING lower(min(name)) NOT IN ({", ".join(map(text, TYPES))})
ORDER BY count(DISTINCT value) > 1 OR count(value) < (SELECT count(*) FROM trials) DESC, min(rowid), min(name)
LIMIT {MOST_COLUMNS - len(TYPES)}
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
  PIVOT ({_values([column for column, _ in params])}) ON name IN ({", ".join(text(column) for column, _ in columns)})
  USING any_value(value) GROUP BY trial_id
) p USING (trial_id) ORDER BY t.number, t.repeat, t.trial_id
"""  # noqa: S608 - every name is quoted


def _values(params: Sequence[str]) -> str:
    """Trial, column and value as text: a double's shortest text is the same double again."""
    headline = ", ".join(f"({text(metric)}, {text(stat)}, {text(column)})" for metric, stat, column in HEADLINE)
    return f"""
SELECT m.trial_id, h.col AS name, m.value::VARCHAR AS value
FROM metrics m JOIN (VALUES {headline}) h(metric, stat, col) ON m.metric = h.metric AND m.stat = h.stat
UNION ALL SELECT trial_id, name, value FROM params WHERE name IN ({", ".join(map(text, params)) or "NULL"})
"""  # noqa: S608 - every name is quoted
