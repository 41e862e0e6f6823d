"""`aiperf query`: SQL over every campaign below a folder; without SQL, examples and the tables."""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa

from aiperf.cli import output
from aiperf.errors import ConfigError
from aiperf.report import grid, streams
from aiperf.store import joined, tables
from aiperf.store.whole import whole

EXAMPLES: Mapping[str, str] = {
    "the latest runs, and whether they can be believed": (
        "SELECT t.campaign, s.name, t.state, t.verdict, t.started_at FROM trials t JOIN sweeps s USING (campaign, sweep_id) "
        "ORDER BY t.started_at DESC LIMIT 10"
    ),
    "throughput and latency beside each other": (
        "SELECT campaign, verdict, request_throughput, time_to_first_token_p99, request_latency_p99 FROM points "
        "WHERE request_throughput IS NOT NULL ORDER BY request_throughput DESC"
    ),
    "one statistic of all runs, with its samples": (
        "SELECT campaign, value, unit, n, supported FROM metrics WHERE metric = 'request_latency' AND stat = 'p99' ORDER BY value"
    ),
    "why runs are void": (
        "SELECT reason, count(*) AS trials, any_value(detail) AS such_as FROM reasons GROUP BY reason ORDER BY trials DESC"
    ),
    "requests by outcome, with the slowest answer": (
        "SELECT coalesce(error, 'good') AS outcome, count(*) AS requests, max(request_latency) AS slowest_ms FROM records "
        "WHERE phase = 'profiling' GROUP BY outcome ORDER BY requests DESC"
    ),
}
"""What is shown without SQL: a question, and the statement that answers it."""

_MOST_ROWS = 10_000
"""A table is laid out whole, so that no more than this is held."""

Write = Callable[[pa.Schema, Iterator[pa.RecordBatch], IO[bytes]], None]


def main(words: Sequence[str], flags: Mapping[str, str]) -> int:
    """Answer a statement (`--in`, `--format`, `--out`). Raises ConfigError for what cannot be asked or answered."""
    form, out = flags.get("--format", "table"), flags.get("--out")
    if not words:
        output.say(_help())
        return 0
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise ConfigError("query: parquet is not for a terminal; give --out FILE, or a pipe")
    sources = joined.campaigns(Path(flags.get("--in", "outputs")))
    with joined.asked(" ".join(words), sources) as answer:
        for note in answer.notes:
            print(f"aiperf: {note}", file=sys.stderr)
        with _printed() if out is None else whole(Path(out)) as sink:
            _WRITERS[form](answer.schema, answer.batches, sink)
    return 0


@contextmanager
def _printed() -> Iterator[IO[bytes]]:
    with output.written():
        yield sys.stdout.buffer


def _table(schema: pa.Schema, batches: Iterator[pa.RecordBatch], sink: IO[bytes]) -> None:
    rows = list(islice((row for batch in batches for row in streams.values(batch)), _MOST_ROWS + 1))
    width = shutil.get_terminal_size((120, 24)).columns if sink is sys.stdout.buffer and sys.stdout.isatty() else None
    text = grid.grid(streams.distinct(schema.names), rows[:_MOST_ROWS], width=width)
    more = f"\nonly the first {_MOST_ROWS:,} rows; --format csv has all" if len(rows) > _MOST_ROWS else ""
    sink.write(f"{text}{more}\n".encode())


def _text(form: Callable[[Sequence[str], Iterator[pa.RecordBatch]], Iterator[str]]) -> Write:
    return lambda schema, batches, sink: sink.writelines(piece.encode() for piece in form(streams.distinct(schema.names), batches))


def _parquet(schema: pa.Schema, batches: Iterator[pa.RecordBatch], sink: IO[bytes]) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - one format of four needs it

    named = pa.schema([field.with_name(name) for name, field in zip(streams.distinct(schema.names), schema)])
    with pq.ParquetWriter(sink, named, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=named))


_WRITERS: Mapping[str, Write] = {"table": _table, "csv": _text(streams.csv_text), "json": _text(streams.json_text), "parquet": _parquet}


def _help() -> str:
    lines = ['aiperf query "SQL" [--in DIR] [--format table|csv|json|parquet] [--out FILE]', "", "examples"]
    for question, sql in EXAMPLES.items():
        lines += [f"  # {question}", f'  aiperf query "{sql}"']
    lines += ["", "tables, each with a column campaign (its folder)"]
    columns = {name: schema.names for name, schema in tables.TABLES.items()}
    columns["points"] = [*tables.POINTS.names, 'and what was set, by name: "timing.concurrency"']
    columns["records"] = ["trial_id", *tables.record_columns().names]
    for table, meaning in tables.MEANINGS.items():
        lines += [f"  {table}: {meaning}", f"    {', '.join(columns[table])}"]
    return "\n".join(lines)
