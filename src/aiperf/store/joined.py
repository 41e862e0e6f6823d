"""Many campaigns in the same tables, each with a column `campaign`, to be read by one statement.

Only what the statement names is loaded, into a database in memory that then sees no file but the campaigns' own records.
"""

import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from aiperf.errors import AiperfError, ConfigError
from aiperf.store import aggregate, statement, tables
from aiperf.store.aggregate import NewerSchemaError, RecordFile
from aiperf.store.points import HEADLINE, TRIAL, TYPES
from aiperf.store.rows import ARROW
from aiperf.store.tables import NAME, TABLES

KNOWN = (*TABLES, "points", "records")
_MEMORY = "1GB"
_MOST_WORKERS = 4
_ROWS = 10_000
_NAMED = {"campaign": "VARCHAR"}


class Source(NamedTuple):
    """A campaign: its name in the results, and its folder."""

    campaign: str
    folder: Path


class Points(NamedTuple):
    """The points of a campaign, by rows."""

    campaign: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(slots=True)
class _Loaded:
    """What was found: the sweep of each campaign, its points and files of records, and what was left out and why."""

    sweeps: dict[Source, str] = field(default_factory=dict)
    points: list[Points] = field(default_factory=list)
    records: list[RecordFile] = field(default_factory=list)
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
    found = [Source(_named(path.parent, below), path.parent) for path in _files(below)]
    if not found:
        raise ConfigError(f"query: there is no campaign ({NAME}) in {below.absolute()} or below it; give a folder with --in DIR")
    return sorted(found)


@contextmanager
def asked(sql: str, sources: Sequence[Source]) -> Iterator[Answer]:
    """Run one statement that reads over the campaigns; what it reads is gone with the block.

    Raises ConfigError for a statement that does not read or cannot be run, and for a campaign of a newer schema.
    """
    with duckdb.connect() as connection, tempfile.TemporaryDirectory(prefix="aiperf-query-") as spill:
        wanted = statement.named_tables(connection, sql, KNOWN)
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = {tables.text(spill)}")
        loaded = _load(connection, sources, wanted)
        _lock(connection, [str(file.path) for file in loaded.records])
        with _as_mistakes():
            reader = _reader(_relation(connection, sql))
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
        raise ConfigError(f"{statement.complaint(exc)}\na query reads the campaigns' tables and no other file") from exc
    except (duckdb.Error, pa.ArrowException, OSError) as exc:
        known = f"\ntables: {', '.join(KNOWN)}" if str(exc).startswith("Catalog Error: Table") else ""
        raise ConfigError(statement.complaint(exc) + known) from exc


def _relation(connection: DuckDBPyConnection, sql: str) -> DuckDBPyRelation:
    """The statement, checked against the tables but not run; what is wrong is told with its place in the line."""
    try:
        return connection.sql(sql)
    except duckdb.Error:
        connection.execute(sql)  # fails as well, and says where
        raise


def _reader(relation: DuckDBPyRelation) -> pa.RecordBatchReader:
    """The rows as they come, never all at once; DuckDB had another name for it before 1.5."""
    return relation.to_arrow_reader(_ROWS) if hasattr(relation, "to_arrow_reader") else relation.fetch_arrow_reader(_ROWS)


def _files(below: Path) -> Iterator[Path]:
    """The campaigns' files; trials and what else lies in a campaign hold none."""
    for folder, inner, files in os.walk(below):
        if NAME in files:
            inner.clear()
            yield Path(folder) / NAME


def _named(folder: Path, below: Path) -> str:
    return folder.relative_to(below).as_posix() if folder != below else folder.absolute().name


def _lock(connection: DuckDBPyConnection, files: Sequence[str]) -> None:
    """From here on no file is read but these, and nothing can be set."""
    connection.execute(f"SET allowed_paths = {tables.words(files)}")
    for setting in ("enable_external_access = false", "autoload_known_extensions = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")


def _load(connection: DuckDBPyConnection, sources: Sequence[Source], wanted: frozenset[str]) -> _Loaded:
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {table} AS {tables.nothing({**_NAMED, **columns})}")
    loaded = _Loaded()
    count = min(_MOST_WORKERS, os.cpu_count() or 1, len(sources))
    with ThreadPoolExecutor(count) as pool:
        jobs = [pool.submit(_shard, connection.cursor(), sources[shard::count], wanted, loaded, shard) for shard in range(count)]
    for job in jobs:
        job.result()
    if not loaded.sweeps:
        raise ConfigError("\n".join(["query: not one campaign can be read", *sorted(loaded.notes)]))
    _without_copies(connection, loaded)
    if loaded.points:
        connection.register("_points", _united(loaded.points))
    source = "SELECT * FROM _points" if loaded.points else tables.nothing({**_NAMED, **TYPES})
    connection.execute(f"CREATE TABLE points AS {source}")
    connection.unregister("_points")
    if "records" in wanted:
        found = (aggregate.record_files(source.folder, sweep, source.campaign) for source, sweep in sorted(loaded.sweeps.items()))
        loaded.records += chain.from_iterable(found)
    aggregate.view_records(connection, loaded.records, ("campaign", "trial_id"))
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
    """Copy what is wanted of one campaign, all of it or nothing; returns its sweep."""
    path = source.folder / NAME
    aggregate.retried(lambda: connection.execute(f"ATTACH {tables.text(str(path))} AS {attached} (READ_ONLY)"), path)
    try:
        sweep_id = aggregate.identity(connection, attached, path)
        with _transaction(connection):
            _copy(connection, source, wanted & TABLES.keys(), attached)
        if "points" in wanted:
            loaded.points.append(_points(connection, source, attached))
    except duckdb.Error as exc:
        raise ConfigError(f"{path}: cannot be read: {aggregate.first_line(exc)}") from exc
    finally:
        connection.execute(f"DETACH {attached}")
    return sweep_id


@contextmanager
def _transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    except duckdb.Error:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _copy(connection: DuckDBPyConnection, source: Source, wanted: Collection[str], attached: str) -> None:
    for table in wanted:
        columns = ", ".join(TABLES[table])
        connection.execute(f"INSERT INTO {table} SELECT {tables.text(source.campaign)}, {columns} FROM {attached}.{table}")  # noqa: S608 - every name is quoted


def _points(connection: DuckDBPyConnection, source: Source, attached: str) -> Points:
    """Their columns differ, so they are held until all are known."""
    cursor = connection.execute(f"SELECT * FROM {attached}.points")  # noqa: S608 - a name of ours
    return Points(source.campaign, tuple(str(column[0]) for column in cursor.description), cursor.fetchall())


def _without_copies(connection: DuckDBPyConnection, loaded: _Loaded) -> None:
    """Of a campaign that lies there twice the first is kept, since its rows would count twice."""
    first: dict[str, Source] = {}
    for source in sorted(loaded.sweeps):
        other = first.setdefault(loaded.sweeps[source], source)
        if other is source:
            continue
        del loaded.sweeps[source]
        loaded.notes.append(f"left out: {source.folder / NAME}: a copy of {other.campaign}")
        for table in TABLES:
            connection.execute(f"DELETE FROM {table} WHERE campaign = ?", [source.campaign])  # noqa: S608 - a name of ours
        loaded.points = [points for points in loaded.points if points.campaign != source.campaign]


def _united(found: Sequence[Points]) -> pa.Table:
    """Points of campaigns with different parameters: all columns, one that is text somewhere as text everywhere."""
    known = {name for points in found for name in points.columns}
    order = [*TRIAL, *sorted(known - TYPES.keys()), *(column for _, _, column in HEADLINE)]
    columns: dict[str, list[Any]] = {name: [] for name in ("campaign", *order)}
    for points in sorted(found, key=lambda points: points.campaign):
        columns["campaign"] += [points.campaign] * len(points.rows)
        by_name = dict(zip(points.columns, zip(*points.rows)))
        for name in order:
            columns[name] += by_name.get(name, [None] * len(points.rows))
    return pa.table({name: _array(values, {**_NAMED, **TYPES}.get(name)) for name, values in columns.items()})


def _array(values: list[Any], kind: str | None) -> pa.Array:
    if kind is not None:
        return pa.array(values, ARROW[kind])
    if any(isinstance(value, str) for value in values):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    return pa.array(values, pa.float64())


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else repr(value).removesuffix(".0")
