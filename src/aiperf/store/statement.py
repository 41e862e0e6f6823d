"""What a person asks in SQL, before it is run: one statement that reads, and the tables that it names."""

import json
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from aiperf.errors import ConfigError

_WRITES = frozenset((
    "alter", "analyze", "attach", "begin", "call", "checkpoint", "commit", "copy", "create", "deallocate", "delete", "detach", "drop",
    "execute", "export", "import", "insert", "install", "load", "merge", "pragma", "prepare", "reset", "rollback", "set", "truncate",
    "update", "use", "vacuum",
))  # fmt: skip
_READS = frozenset(("select", "with", "from", "pivot", "pivot_wider", "unpivot", "pivot_longer", "(", "values", "table"))
_CHANGES = ("DELETE_", "INSERT_", "UPDATE_", "MERGE_")
_MOST_LINES = 8


class Token(NamedTuple):
    """A word of a statement, in lower case; what is quoted is no keyword."""

    word: str
    is_keyword: bool


def named_tables(connection: DuckDBPyConnection, sql: str, known: Collection[str]) -> frozenset[str]:
    """Which of the known tables a statement may read. Raises ConfigError for what does not read, is several, or cannot be understood."""
    tokens = _tokens(sql)
    if ";" in [token.word for token in tokens[:-1]]:
        raise ConfigError("query: one statement at a time, please")
    tree = _tree(connection, sql)
    if tree is None:  # a PIVOT: known by its words, which may be too many but never too few
        if tokens[0].word not in _READS or any(token.is_keyword and token.word in _WRITES for token in tokens):
            raise ConfigError(_only_reads(tokens[0].word))
        return frozenset(token.word.strip('"') for token in tokens) & frozenset(known)
    nodes = list(_nodes(tree))
    changes = next((kind for node in nodes if (kind := str(node.get("type"))).startswith(_CHANGES)), None)
    if changes is not None:
        raise ConfigError(_only_reads(changes.partition("_")[0]))
    return frozenset(str(node["table_name"]).lower() for node in nodes if "table_name" in node) & frozenset(known)


def complaint(exc: Exception) -> str:
    """What DuckDB says about a statement: what is wrong, names that are near, the line and where in it."""
    said, mark, place = str(exc).strip().partition("\n\nLINE ")
    kind, colon, rest = said.partition(" Error: ")
    lines = (rest if colon and "\n" not in kind else said).splitlines()
    lines = [*lines[:_MOST_LINES], "\t…"] if len(lines) > _MOST_LINES else lines
    return "query: " + "\n".join(line for line in lines if line.strip()) + (f"\nLINE {place}" if mark else "")


def _only_reads(word: str) -> str:
    return f"query: {word.upper()} is refused: a query only reads (SELECT, WITH, FROM, PIVOT, DESCRIBE, SUMMARIZE)"


def _tokens(sql: str) -> list[Token]:
    """The words of a statement without comments. Raises ConfigError if there is none, or DuckDB cannot understand it."""
    try:
        duckdb.extract_statements(sql)
    except duckdb.Error as exc:
        raise ConfigError(complaint(exc)) from exc
    raw, found = sql.encode(), duckdb.tokenize(sql)
    ends = [start for start, _ in found[1:]] + [len(raw)]
    kinds = [(raw[start:end].decode(errors="replace").strip().lower(), kind) for (start, kind), end in zip(found, ends)]
    tokens = [Token(word, kind == duckdb.token_type.keyword) for word, kind in kinds if kind != duckdb.token_type.comment and word]
    if not [token for token in tokens if token.word != ";"]:
        raise ConfigError("query: the statement is empty; `aiperf query` alone shows examples")
    return tokens


def _tree(connection: DuckDBPyConnection, sql: str) -> Any | None:
    """The statement as DuckDB's parser sees it; None for what it cannot write down."""
    found = json.loads(connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0])
    return None if found["error"] else found["statements"]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
