"""Reads a Mooncake trace into columns: lengths, times and hash ids; texts, messages and payloads stay where they are in the file."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf.dataset.fields import FOREIGN, REFUSED, SHARED, TOKENS, Form, Object, Objects, Shared, Text, Tokens, one_of, short
from aiperf.dataset.lines import Line
from aiperf.dataset.reading import Index, Reading

BLOCK = 512
"""Tokens that a hash id stands for."""

HELD_BYTES = 64 * 1024 * 1024
"""Hash ids up to here are held; beyond, those of a row are read again when it is rendered."""

DRAWN, TEXT, MESSAGES, PAYLOAD = range(4)
"""Kinds of rows."""
KINDS = ("input_length", "text_input", "messages", "payload")
"""The field that makes a row of each kind; a row has one of them."""

_Ids = list[Annotated[int, msgspec.Meta(ge=0)]]
_KNOWN: Mapping[str, tuple[Any, str]] = {
    "input_length": (Tokens | None, TOKENS),
    "hash_ids": (_Ids | None, "a list of whole numbers from 0, an id a block"),
    "text_input": (Text | None, "a text that is not empty"),
    "messages": (Objects | None, "a list of objects, one at least"),
    "payload": (Object | None, "an object, which is the body to send"),
    "tools": (Objects | None, "a list of objects, one at least"),
}
_REFUSED = {**REFUSED, **dict.fromkeys(("model", "role", "text", "texts"), FOREIGN)}


class _Row(Shared, gc=False):
    input_length: Tokens | None = None
    hash_ids: _Ids | None = None
    text_input: Text | None = None
    messages: Objects | None = None
    payload: Object | None = None
    tools: Objects | None = None


def _fault(row: _Row) -> str | None:
    drawn = row.input_length is not None and row.text_input is None and row.messages is None and row.payload is None
    if not drawn or row.delay is not None or row.extra is not None:  # most rows are spared the look at every field
        return one_of(KINDS, row) or _beside(row)
    return None if row.hash_ids is None else _blocks_fault(row)


def _beside(row: _Row) -> str | None:
    """What does not go with the kind of a row."""
    if row.input_length is not None:
        return _blocks_fault(row)
    if row.hash_ids is not None:
        return f"hash_ids={short(row.hash_ids)} beside {_kind_name(row)}; expected input_length with it"
    if row.payload is not None and (row.tools is not None or row.extra is not None):
        name = "tools" if row.tools is not None else "extra"
        return f"{name}={short(getattr(row, name))} beside payload, which is sent untouched; expected it within the payload"
    return None


def _kind_name(row: _Row) -> str:
    return next(name for name in KINDS if getattr(row, name) is not None)


def _blocks_fault(row: _Row) -> str | None:
    ids, size = row.hash_ids or (), row.input_length or 0
    if len(ids) <= (needed := -(-size // BLOCK)):
        return None
    return f"hash_ids has {len(ids)} ids; expected at most {needed}, since input_length={size} fills no more blocks of {BLOCK} tokens"


FORM = Form(_Row, {**_KNOWN, **SHARED}, _REFUSED, _fault)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Columns in the order of time: row i's blocks are `hash_ids[first[i] : first[i] + blocks[i]]`, if ids are held.

    An input of 0 is not known. `more` says which rows have tools or extra; `tools`, whether any has tools; `kind_lines` is
    the first line of each kind.
    """

    index: Index
    kinds: NDArray[np.int8]
    more: NDArray[np.int8]
    input_tokens: NDArray[np.int32]
    first: NDArray[np.int64]
    blocks: NDArray[np.int64]
    hash_ids: NDArray[np.uint64] | None
    tools: bool
    kind_lines: Mapping[int, int]


@dataclass(slots=True)
class _Columns:
    """Rows on their way into columns, in the file's order."""

    unread: dict[str, int]
    kinds: "array[int]" = field(default_factory=lambda: array("b"))
    more: "array[int]" = field(default_factory=lambda: array("b"))
    inputs: "array[int]" = field(default_factory=lambda: array("i"))
    blocks: "array[int]" = field(default_factory=lambda: array("q"))
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    held: bool = True
    tools: bool = False
    kind_lines: dict[int, int] = field(default_factory=dict)

    def take(self, line: Line, row: _Row) -> str | None:
        """Take a row in, or say why its ids cannot be."""
        ids, before = row.hash_ids or (), len(self.ids)
        try:
            self.ids.extend(ids)
        except OverflowError:
            del self.ids[before:]
            return f"hash_ids holds {max(ids)}; expected ids below 2^64"
        if self.held and len(self.ids) * self.ids.itemsize > HELD_BYTES:
            self.held = False
        if not self.held:
            del self.ids[:]
        kind = DRAWN if row.input_length is not None else KINDS.index(_kind_name(row))
        self.kind_lines.setdefault(kind, line.number)
        if kind == PAYLOAD and row.output_length is not None:
            self.unread.setdefault("output_length beside payload", line.number)
        self.tools = self.tools or row.tools is not None
        self.kinds.append(kind)
        self.more.append(row.tools is not None or row.extra is not None)
        self.inputs.append(row.input_length or 0)
        self.blocks.append(len(ids))
        return None


def read(path: Path, *, skip: bool = False) -> Rows:
    """The rows of a trace, sorted by time where the file is not; with `skip` without those that cannot be used.

    Raises DataError with the first ten faults, ConfigError for a file that cannot be read.
    """
    reading = Reading(path, FORM, skip)
    columns = _Columns(reading.unread)
    index = reading.rows(columns.take)
    blocks = np.frombuffer(columns.blocks, dtype=np.int64)
    first = np.concatenate(([0], np.cumsum(blocks)[:-1])).astype(np.int64)
    kinds, more = (index.sorted(np.frombuffer(column, dtype=np.int8)) for column in (columns.kinds, columns.more))
    return Rows(
        index=index,
        kinds=kinds,
        more=more,
        input_tokens=index.sorted(np.frombuffer(columns.inputs, dtype=np.int32)),
        first=index.sorted(first),
        blocks=index.sorted(blocks),
        hash_ids=np.frombuffer(columns.ids, dtype=np.uint64) if columns.held else None,
        tools=columns.tools,
        kind_lines=columns.kind_lines,
    )
