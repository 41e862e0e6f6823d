"""What a person asks in SQL, before it is run: one statement that reads, and the tables that it names."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from aiperf.errors import ConfigError

_READS = frozenset(("select", "with", "from", "pivot", "pivot_wider", "unpivot", "pivot_longer", "values", "table"))
_CHANGES = ("DELETE_", "INSERT_", "UPDATE_", "MERGE_")
_CHANGE_INSIDE = re.compile(r"[()]\s*(delete|insert|update|merge)\b")
_UNREAD = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
"""Texts, quoted names and comments: no keyword is in them."""
_MOST_LINES = 8


def named_tables(connection: DuckDBPyConnection, sql: str, known: Collection[str]) -> frozenset[str]:
    """Which of the known tables a statement may read. Raises ConfigError for what does not read, is several, or cannot be understood."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as exc:
        raise ConfigError(complaint(exc)) from exc
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


def complaint(exc: Exception) -> str:
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
