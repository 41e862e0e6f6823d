"""sweep.duckdb, a campaign's results by SQL: written whole a commit, read by anyone at any time.

A DuckDB file that is open for writing cannot be read by another process, and a killed writer leaves a log behind. So a commit
is made in a copy beside the file, which then takes its name: a reader meets the old file or the new one.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection

from aiperf import clock
from aiperf.errors import ConfigError, MeasureError
from aiperf.store import tables
from aiperf.store.campaign import check_version
from aiperf.store.rows import Derived, Sweep, Trial, rows, trial_id
from aiperf.store.tables import NAME, SCHEMA_VERSION
from aiperf.store.whole import unfinished

_STORAGE = "(BLOCK_SIZE 16384, STORAGE_VERSION 'v1.4.0')"
"""Small blocks keep a campaign of one trial below 300 KB; the oldest version that we ask for can read the file."""
_PATIENCE_S, _LOOK_S = 2.0, 0.05


def commit(folder: Path, sweep: Sweep, trials: Sequence[Trial] = (), *, derived: Sequence[Derived] = ()) -> None:
    """Put a sweep and some of its trials into a campaign's file, whole or not at all; those that are there are replaced.

    What was derived is replaced by `derived`. Raises MeasureError where the disk refuses, and leaves the file as it was.
    """
    found = rows(sweep, trials, derived)
    path = folder / NAME
    with unfinished(path) as part, _writer(path, part) as connection:
        if not path.exists():
            _create(connection, sweep.sweep_id)
        _replace(connection, found)
        connection.execute(tables.rebuild(connection.execute(tables.PARAMS).fetchall()))


def identity(connection: DuckDBPyConnection, attached: str, path: Path) -> str:
    """The sweep of an attached file. Raises ConfigError if it is none of ours, or newer than what this version reads."""
    try:
        found = connection.execute(f"SELECT schema_version, sweep_id FROM {attached}.about").fetchall()  # noqa: S608 - a name of ours
    except (duckdb.CatalogException, duckdb.BinderException) as exc:
        raise ConfigError(f"{path}: no aggregate of aiperf, though a DuckDB file") from exc
    if len(found) != 1:
        raise ConfigError(f"{path}: an aggregate of one sweep was expected, not of {len(found)}")
    version, sweep_id = (str(value) for value in found[0])
    check_version(path, version, SCHEMA_VERSION)
    return sweep_id


def attach(connection: DuckDBPyConnection, path: Path, name: str) -> None:
    """Attach a file to read, trying for two seconds again and again while someone writes to it.

    Raises MeasureError after that, ConfigError for what is no DuckDB file.
    """
    until = clock.monotonic_ns() + round(_PATIENCE_S * clock.SECOND)
    while True:
        try:
            connection.execute(f"ATTACH {tables.text(str(path))} AS {name} (READ_ONLY)")
        except duckdb.Error as exc:
            if "set lock" not in str(exc):
                raise ConfigError(f"{path}: cannot be read: {first_line(exc)}") from exc
            if clock.monotonic_ns() >= until:
                raise MeasureError(f"{path}: someone has been writing to it for {_PATIENCE_S:g} s") from exc
            clock.sleep(_LOOK_S)
        else:
            return


def view_records(connection: DuckDBPyConnection, found: Iterable[tuple[Path, str, str]]) -> list[str]:
    """Make the view `records` over the files of these (folder, sweep, name to show), where they now lie; returns the files.

    Each row has its campaign and trial; without a file the view is empty, but typed.
    """
    files = [
        {"filename": str(path), "campaign": campaign, "trial_id": trial_id(sweep_id, path.parts[-3])}
        for folder, sweep_id, campaign in found
        for path in sorted(folder.glob("trials/*/records/*.parquet"))
    ]
    if not files:
        schema = pa.schema([("campaign", pa.string()), ("trial_id", pa.string()), *tables.record_columns()])
        connection.register("records", schema.empty_table())
        return []
    connection.register("_files", pa.Table.from_pylist(files))
    paths = [file["filename"] for file in files]
    connection.execute(
        "CREATE TEMP VIEW records AS SELECT f.campaign, f.trial_id, r.* EXCLUDE (filename) "  # noqa: S608 - every name is quoted
        f"FROM read_parquet({tables.words(paths)}, filename = true, union_by_name = true) r JOIN _files f ON r.filename = f.filename"
    )
    return paths


def first_line(exc: Exception) -> str:
    """What a library says, without the lines of advice below it."""
    return str(exc).strip().partition("\n")[0]


@contextmanager
def _writer(path: Path, part: Path) -> Iterator[DuckDBPyConnection]:
    """A copy to write into, in place of what a killed writer left; with the block all is in the file and nothing in a log beside it."""
    log = part.with_name(f"{part.name}.wal")
    for left in (log, part):
        left.unlink(missing_ok=True)
    if path.exists():
        shutil.copyfile(path, part)
    try:
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {tables.text(str(part))} AS campaign {'' if path.exists() else _STORAGE}")
            connection.execute("USE campaign")
            yield connection
            for statement in ("CHECKPOINT campaign", "USE memory", "DETACH campaign"):
                connection.execute(statement)
    except (duckdb.OperationalError, duckdb.FatalException) as exc:
        hint = "; remove it, and `aiperf report DIR --from report` makes it anew" if "not a valid" in str(exc) else ""
        raise MeasureError(f"{path}: cannot be written ({first_line(exc)}){hint}") from exc
    finally:
        with suppress(OSError):  # the first refusal is the one to tell
            log.unlink(missing_ok=True)


def _create(connection: DuckDBPyConnection, sweep_id: str) -> None:
    connection.execute("CREATE TABLE about (schema_version VARCHAR, sweep_id VARCHAR)")
    connection.execute("INSERT INTO about VALUES (?, ?)", [SCHEMA_VERSION, sweep_id])
    for table, schema in tables.TABLES.items():
        connection.from_arrow(schema.empty_table()).create(table)
        if key := tables.KEYS.get(table):
            connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({', '.join(key)})")


def _replace(connection: DuckDBPyConnection, found: Mapping[str, pa.Table]) -> None:
    """Take away what is there of these trials and of the sweep, then add it anew; apart, since a key is free only after a commit."""
    gone = {"trial_id": found["trials"]["trial_id"].to_pylist(), "sweep_id": found["sweeps"]["sweep_id"].to_pylist()}
    connection.begin()
    for table, schema in tables.TABLES.items():
        key = "trial_id" if "trial_id" in schema.names else "sweep_id"
        connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT unnest(?::VARCHAR[]))", [gone[key]])  # noqa: S608 - names of ours
    connection.commit()
    connection.begin()
    for table, added in found.items():
        connection.register("_rows", added)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM _rows")  # noqa: S608 - a name of ours
    connection.commit()
