"""Campaigns for tests: what a run leaves behind, without a run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from aiperf.records import SCHEMA
from aiperf.results import STATS, MetricValue, Reason, Slo, Summary, Verdict, Window
from aiperf.store.aggregate import attach, commit, identity, view_records
from aiperf.store.rows import Sweep, Trial

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND + 123_456_000
SWEEP = Sweep("20231114T221320Z-abc123", "trial", "seed: 42\n", START, START + 10 * SECOND)
RATE = MetricValue("request_throughput", "requests/s", {"avg": 12.5}, 3)
SUMMARY = Summary(
    window=Window(START, START + 10 * SECOND),
    metrics=(MetricValue("request_latency", "ms", dict.fromkeys(STATS, 2.5), 3, ("p99", "p99.9")), RATE),
    whole=(replace(RATE, stats={"avg": 11.0}), MetricValue("benchmark_duration", "s", {"avg": 11.5}, 1)),
    counts={"planned": 4, "good": 3},
    errors={"http_5xx": 1},
    samples={},
    slos=(Slo("request_latency", "p99", "<=", 20.0, "ms", 2.5, met=True),),
    verdict=Verdict((Reason("errors", "1 of 4", "mend"),), (Reason("clock_step", "5 ms", "slew"),), ("a note",)),
)


def sql_types(schema: pa.Schema) -> dict[str, str]:
    """The columns as DuckDB tells them."""
    found = duckdb.from_arrow(schema.empty_table())
    return dict(zip(found.columns, map(str, found.types)))


@contextmanager
def opened(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A campaign's file to read, with its records."""
    with duckdb.connect() as connection:
        attach(connection, folder / "sweep.duckdb", "campaign")
        sweep_id = identity(connection, "campaign", folder / "sweep.duckdb")
        connection.execute("USE campaign")
        view_records(connection, [(folder, sweep_id, folder.name)])
        yield connection


def trial(number: int = 1, **others) -> Trial:
    made = Trial(number, f"trials/{number:04d}", {"timing.concurrency": number}, START, START + 9 * SECOND, summary=SUMMARY)
    return replace(made, **others)


def campaign(folder: Path, *trials: Trial, sweep: Sweep | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    commit(folder, sweep or replace(SWEEP, sweep_id=folder.name), trials or [trial()])
    return folder


def records(folder: Path, *rows: dict, name: str = "0001") -> None:
    path = folder / "trials" / name / "records" / "0000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), path)


if __name__ == "__main__":  # a writer that is killed, or watched: commits trial after trial, a line each
    for count in range(1, int(sys.argv[2]) + 1):
        commit(Path(sys.argv[1]), SWEEP, [trial(count)])
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()
