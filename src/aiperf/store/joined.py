"""Many campaigns in the same tables, each with a column `campaign`, to be read by one statement.

Only what the statement names is loaded, into a database in memory that then sees no file but the campaigns' own records.
"""

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from aiperf.errors import AiperfError, ConfigError
from aiperf.store import aggregate, tables
from aiperf.store.campaign import NewerSchemaError
from aiperf.store.tables import NAME, POINTS, TABLES, TRIAL

KNOWN = (*TABLES, "points", "records")
_MEMORY, _MOST_WORKERS, _ROWS = "1GB", 4, 10_000
_CAMPAIGN = pa.field("campaign", pa.string())

_READS = frozenset(("select", "with", "from", "pivot", "pivot_wider", "unpivot", "pivot_longer", "values", "table"))
_CHANGES = ("DELETE_", "INSERT_", "UPDATE_", "MERGE_")
_CHANGE_INSIDE = re.compile(r"[()]\s*(delete|insert|update|merge)\b")
_UNREAD = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
"""Texts, quoted names and comments: no keyword is in them."""
_MOST_LINES = 8


class Source(NamedTuple):
    """A campaign: its name in the results, and its folder."""

    campaign: str
    folder: Path


@dataclass(slots=True)
class _Loaded:
    """What was found: the sweep of each campaign, its points, and what was left out and why."""

    sweeps: dict[Source, str] = field(default_factory=dict)
    points: dict[Source, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Answer(NamedTuple):
    """Columns, rows by batches as they are read, and lines about what was left out. Reading raises ConfigError as `asked` does."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    notes: tuple[str, ...]


def campaigns(below: Path) -> list[Source]:
    """Every campaign in or below a folder, named by its path from there. Raises ConfigError if there is none, or no folder."""
    if not below.is_dir():
        raise ConfigError(f"query: {below.absolute()} is no folder; give one that holds campaigns with --in DIR")
    found = [Source(at.relative_to(below).as_posix() if at != below else at.absolute().name, at) for at in _folders(below)]
    if not found:
        raise ConfigError(f"query: there is no campaign ({NAME}) in {below.absolute()} or below it; give a folder with --in DIR")
    return sorted(found)


@contextmanager
def asked(sql: str, sources: Sequence[Source]) -> Iterator[Answer]:
    """Run one statement that reads over the campaigns; what it reads is gone with the block.

    Raises ConfigError for a statement that does not read or cannot be run, and for a campaign of a newer schema.
    """
    with duckdb.connect() as connection, tempfile.TemporaryDirectory(prefix="aiperf-query-") as spill:
        wanted = named_tables(connection, sql, KNOWN)
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = {tables.text(spill)}")
        loaded = _load(connection, sources, wanted)
        sweeps = loaded.sweeps.items() if "records" in wanted else ()
        _lock(connection, aggregate.view_records(connection, [(at.folder, sweep_id, at.campaign) for at, sweep_id in sweeps]))
        with _as_mistakes():
            rows = _relation(connection, sql)  # read as they come, never all at once; before DuckDB 1.5 that had another name
            reader = rows.to_arrow_reader(_ROWS) if hasattr(rows, "to_arrow_reader") else rows.fetch_arrow_reader(_ROWS)
        yield Answer(reader.schema, _batches(reader), tuple(sorted(loaded.notes)))


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Batches until there are no more."""
    while True:
        with _as_mistakes():
            batch = next(reader, None)
        if batch is None:
            return
        yield batch


@contextmanager
def _as_mistakes() -> Iterator[None]:
    """Turn what DuckDB says about a statement, or while its rows are read (then through Arrow), into a ConfigError."""
    try:
        yield
    except duckdb.PermissionException as exc:
        raise ConfigError(f"{_complaint(exc)}\na query reads the campaigns' tables and no other file") from exc
    except (duckdb.Error, pa.ArrowException, OSError) as exc:
        known = f"\ntables: {', '.join(KNOWN)}" if str(exc).startswith("Catalog Error: Table") else ""
        raise ConfigError(_complaint(exc) + known) from exc


def _relation(connection: DuckDBPyConnection, sql: str) -> DuckDBPyRelation:
    """The statement, checked against the tables but not run; what is wrong is told with its place in the line."""
    try:
        return connection.sql(sql)
    except duckdb.Error:
        connection.execute(sql)  # fails as well, and says where
        raise


def _folders(below: Path) -> Iterator[Path]:
    """The campaigns' folders; trials and what else lies in one are none."""
    for folder, inner, files in os.walk(below):
        if NAME in files:
            inner.clear()
            yield Path(folder)


def _lock(connection: DuckDBPyConnection, files: Sequence[str]) -> None:
    """From here on no file is read but these, and nothing can be set."""
    connection.execute(f"SET allowed_paths = {tables.words(files)}")
    for setting in ("enable_external_access = false", "autoload_known_extensions = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")


def _load(connection: DuckDBPyConnection, sources: Sequence[Source], wanted: frozenset[str]) -> _Loaded:
    for table, schema in TABLES.items():
        connection.from_arrow(pa.schema([_CAMPAIGN, *schema]).empty_table()).create(table)
    loaded = _Loaded()
    count = min(_MOST_WORKERS, os.cpu_count() or 1, len(sources))
    with ThreadPoolExecutor(count) as pool:
        jobs = [pool.submit(_shard, connection.cursor(), sources[shard::count], wanted, loaded, shard) for shard in range(count)]
    for job in jobs:
        job.result()
    if not loaded.sweeps:
        raise ConfigError("\n".join(["query: not one campaign can be read", *sorted(loaded.notes)]))
    _without_copies(loaded)
    if loaded.notes:  # then rows of what is left out may be there
        for table in wanted & TABLES.keys():
            kept = [source.campaign for source in loaded.sweeps]
            connection.execute(f"DELETE FROM {table} WHERE campaign NOT IN (SELECT unnest(?))", [kept])  # noqa: S608 - a name of ours
    connection.register("points", _united([row for source in loaded.sweeps for row in loaded.points.get(source, ())]))
    return loaded


def _shard(connection: DuckDBPyConnection, sources: Sequence[Source], wanted: frozenset[str], loaded: _Loaded, shard: int) -> None:
    """Load some of the campaigns. One that cannot be read is left out with a note; a newer one raises NewerSchemaError."""
    for source in sources:
        try:
            loaded.sweeps[source] = _campaign(connection, source, wanted, loaded, f"_campaign_{shard}")
        except NewerSchemaError:
            raise
        except AiperfError as exc:
            loaded.notes.append(f"left out: {exc}")


def _campaign(connection: DuckDBPyConnection, source: Source, wanted: frozenset[str], loaded: _Loaded, attached: str) -> str:
    """Copy what is wanted of one campaign; returns its sweep."""
    path, campaign = source.folder / NAME, tables.text(source.campaign)
    aggregate.attach(connection, path, attached)
    try:
        sweep_id = aggregate.identity(connection, attached, path)
        for table in wanted & TABLES.keys():
            said = f"SELECT {campaign}, {', '.join(TABLES[table].names)} FROM {attached}.{table}"  # noqa: S608 - quoted, or ours
            connection.execute(f"INSERT INTO {table} {said}")
        if "points" in wanted:
            cursor = connection.execute(f"SELECT {campaign} AS campaign, * FROM {attached}.points")  # noqa: S608 - quoted, or ours
            names = [name for name, *_ in cursor.description]
            loaded.points[source] = [dict(zip(names, row)) for row in cursor.fetchall()]
    except duckdb.Error as exc:
        raise ConfigError(f"{path}: cannot be read: {aggregate.first_line(exc)}") from exc
    finally:
        connection.execute(f"DETACH {attached}")
    return sweep_id


def _without_copies(loaded: _Loaded) -> None:
    """Of a campaign that lies there twice the first is kept, since its rows would count twice; what is kept is in order then."""
    first: dict[str, Source] = {}
    for source, sweep_id in sorted(loaded.sweeps.items()):
        other = first.setdefault(sweep_id, source)
        if other is not source:
            loaded.notes.append(f"left out: {source.folder / NAME}: a copy of {other.campaign}")
    loaded.sweeps = {source: sweep_id for sweep_id, source in first.items()}


def _united(rows: list[dict[str, Any]]) -> pa.Table:
    """Points of campaigns with different parameters: all columns, one that is text somewhere as text everywhere."""
    params = sorted({name for row in rows for name in row} - {"campaign", *POINTS.names})
    texts = {name for name in params if any(isinstance(row.get(name), str) for row in rows)}
    for row in rows:
        row |= {name: repr(row[name]).removesuffix(".0") for name in texts & row.keys() if isinstance(row[name], float)}
    kinds = [pa.field(name, pa.string() if name in texts else pa.float64()) for name in params]
    return pa.Table.from_pylist(rows, pa.schema([_CAMPAIGN, *POINTS][: len(TRIAL) + 1] + kinds + [*POINTS][len(TRIAL) :]))


def named_tables(connection: DuckDBPyConnection, sql: str, known: Collection[str]) -> frozenset[str]:
    """Which of the known tables a statement may read. Raises ConfigError for what does not read, is several, or cannot be understood."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as exc:
        raise ConfigError(_complaint(exc)) from exc
    if not statements:
        raise ConfigError("query: the statement is empty; `aiperf query` alone shows examples")
    plain = _UNREAD.sub(" ", sql.lower())
    if len(statements) > 1 and ";" in plain.rstrip("; \t\r\n"):  # before DuckDB 1.5 a PIVOT alone is several
        raise ConfigError("query: one statement at a time, please")
    found = json.loads(connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0])
    if found["error"]:  # a PIVOT: known by its words, which may be too many but never too few
        change, word = _CHANGE_INSIDE.search(plain), re.findall(r"\w+", plain)[0]
        if change or word not in _READS:
            raise ConfigError(_only_reads(change[1] if change else word))
        return frozenset(re.findall(r"\w+", sql.lower())) & frozenset(known)
    nodes = list(_nodes(found["statements"]))
    if changes := next((kind for node in nodes if (kind := str(node.get("type"))).startswith(_CHANGES)), None):
        raise ConfigError(_only_reads(changes.partition("_")[0]))
    return frozenset(str(node["table_name"]).lower() for node in nodes if "table_name" in node) & frozenset(known)


def _complaint(exc: Exception) -> str:
    """What DuckDB says about a statement: what is wrong, names that are near, the line and where in it."""
    said, mark, place = str(exc).strip().partition("\n\nLINE ")
    kind, colon, rest = said.partition(" Error: ")
    lines = (rest if colon and "\n" not in kind else said).splitlines()
    lines = [*lines[:_MOST_LINES], "\t…"] if len(lines) > _MOST_LINES else lines
    return "query: " + "\n".join(line for line in lines if line.strip()) + (f"\nLINE {place}" if mark else "")


def _only_reads(word: str) -> str:
    return f"query: {word.upper()} is refused: a query only reads (SELECT, WITH, FROM, PIVOT, DESCRIBE, SUMMARIZE)"


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
