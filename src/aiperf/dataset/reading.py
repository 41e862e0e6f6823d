"""Reads a file of rows, a JSON object a line: good rows into columns, bad ones into faults with file, line, field and value."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiperf.clock import MILLISECOND
from aiperf.dataset.fields import FIELDS, KINDS, UNREADABLE, Form, cut, parsed
from aiperf.dataset.lines import Line, Lines, scan, stamp
from aiperf.errors import DataError

HELD_BYTES = 64 * 1024 * 1024
"""Hash ids up to here are held; beyond, those of a row are read again when it is rendered."""

_MOST_PROBLEMS = 10
_MOST_UNREAD = 32
_LATEST_NS = 9.2e18  # what 64 bits hold, rounded down

_COLUMNS = [("kind", "i1"), ("more", "?"), ("input", "i4"), ("output", "i4"), ("first", "i8"), ("blocks", "i8")]
_TABLE = np.dtype([("start", "i8"), ("size", "i8"), ("timestamp", "f8"), ("delay", "f8"), *_COLUMNS])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of a file in the order of time: row i's blocks are `hash_ids[first[i] : first[i] + blocks[i]]`, if ids are held.

    `kind` is a place in KINDS, `more` says which have tools or extra; an input of 0 is not known, an output of 0 asks for
    nothing. `firsts` are the first lines of each kind, with `tools`, with `batches` (several texts), and `unasked` (no output).
    """

    lines: Lines
    due_ns: NDArray[np.int64] | None
    hash_ids: NDArray[np.uint64] | None
    firsts: Mapping[str, int]
    notes: Sequence[str]
    kind: NDArray[np.int8]
    more: NDArray[np.bool_]
    input: NDArray[np.int32]
    output: NDArray[np.int32]
    first: NDArray[np.int64]
    blocks: NDArray[np.int64]


def read(path: Path, form: Form, *, skip: bool = False) -> Rows:
    """The rows of a file, sorted by time where the file is not; with `skip` without those that cannot be used.

    Raises DataError with the first ten faults, ConfigError for a file that cannot be read.
    """
    return _Reading(path, form, skip).rows()


@dataclass(slots=True)
class _Reading:
    """A file on its way into columns."""

    path: Path
    form: Form
    skip: bool
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    held: bool = True
    firsts: dict[str, int] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    skipped: int = 0
    decode: Callable[[bytes], Any] = field(init=False)

    def rows(self) -> Rows:
        """All of them."""
        before, self.decode = stamp(self.path), self.form.decoder(())
        table = np.fromiter(self._good(), _TABLE)
        if stamp(self.path) != before:
            raise DataError(f"{self.path}: changed while it was read; leave a data file alone while it is played")
        if self.problems and not (self.skip and len(table)):
            raise DataError(self.problems)
        if not len(table):
            raise DataError(f"{self.path}: holds no rows; expected a JSON object a line with {self.form.names}")
        due_ns, notes = self._due_ns(table["timestamp"], table["delay"]), self._notes(len(table))
        if due_ns is not None and (due_ns[1:] < due_ns[:-1]).any():
            order = np.argsort(due_ns, kind="stable")
            table, due_ns = table[order], due_ns[order]
            notes.append(f"{self.path}: timestamps go back, so the rows were sorted by them")
        hash_ids = np.frombuffer(self.ids, np.uint64) if self.held else None
        columns = {name: table[name].copy() for name, _ in _COLUMNS}
        lines = Lines(self.path, before, table["start"].copy(), table["size"].copy())
        return Rows(lines, due_ns, hash_ids, self.firsts, notes, **columns)

    def _good(self) -> Iterator[tuple[Any, ...]]:
        """The rows of the table, in the file's order."""
        for line in scan(self.path):
            try:
                row, kind = self._row(line)
                first = self._hold(row.hash_ids or ())
            except DataError as exc:
                self._bad(line, exc.problems)
                continue
            more = row.tools is not None or row.extra is not None
            self._note(row, kind, line.number)
            yield (
                line.start, len(line.text), row.timestamp, row.delay, KINDS.index(kind), more,
                row.input_length or 0, row.output_length or 0, first, len(row.hash_ids or ()),
            )  # fmt: skip

    def _row(self, line: Line) -> tuple[Any, str]:
        """A row and its kind. Raises DataError with all its faults."""
        try:
            row = self.decode(line.text)
            return row, self.form.kind(row)
        except UNREADABLE:
            raw = parsed(line.text, f"an object with {self.form.names}")
        row = self.form.row(raw)
        kind = self.form.kind(row)
        new = raw.keys() - FIELDS.keys() - self.unread.keys()
        self.unread.update(dict.fromkeys(new, line.number))
        if new and len(self.unread) <= _MOST_UNREAD:
            self.decode = self.form.decoder(self.unread.keys())
        return row, kind

    def _hold(self, hash_ids: Sequence[int]) -> int:
        """Where the ids of a row begin among those that are held."""
        try:
            ids, first = array("Q", hash_ids), len(self.ids)
        except OverflowError as exc:
            raise DataError(f"hash_ids holds {max(hash_ids)}; expected ids below 2^64") from exc
        if self.held:
            self.ids += ids
        if len(self.ids) * ids.itemsize > HELD_BYTES:
            self.held, self.ids = False, array("Q")
        return first

    def _note(self, row: Any, kind: str, line: int) -> None:
        self.firsts.setdefault(kind, line)
        if row.tools is not None:
            self.firsts.setdefault("tools", line)
        if row.texts is not None and len(row.texts) > 1:
            self.firsts.setdefault("batches", line)
        if row.output_length is None:
            self.firsts.setdefault("unasked", line)
        elif kind == "payload":
            self.unread.setdefault("output_length beside payload", line)

    def _bad(self, line: Line, faults: Sequence[str]) -> None:
        """Note what is wrong with a row. Raises DataError when enough is wrong to stop."""
        self.skipped += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems += [f"{self.path}:{line.number}: {fault}" for fault in faults]
        if not self.skip and len(self.problems) >= _MOST_PROBLEMS:
            raise DataError(self.problems)

    def _notes(self, count: int) -> list[str]:
        unread = sorted(self.unread.items())
        notes = [f"{self.path}: {cut(name)} is not read (line {number} is the first with it)" for name, number in unread[:_MOST_PROBLEMS]]
        if unread[_MOST_PROBLEMS:]:
            notes.append(f"{self.path}: {len(unread) - _MOST_PROBLEMS} other fields are not read")
        if self.skipped:
            notes.append(f"{self.skipped} of {self.skipped + count} rows were left out (dataset.on_bad_row=skip): {self.problems[0]}")
        return notes

    def _due_ns(self, times: NDArray[np.float64], delays: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """A row with a time is due then, one with a delay so long after the row before it; before the first row it is 0."""
        stamped = ~np.isnan(times)
        without = int((~stamped & np.isnan(delays)).sum())
        if without == len(times):
            return None
        if without:
            expected = "expected one of them in each row, or in none"
            raise DataError(f"{self.path}: {without} of {len(times)} rows have no timestamp and no delay; {expected}")
        if (latest := np.nan_to_num(times).max() + np.nansum(delays)) * MILLISECOND > _LATEST_NS:
            raise DataError(f"{self.path}: timestamp and delay add up to {latest / 1000:.3g} s; expected at most 9.2e9 s")
        given, waited = (np.rint(np.nan_to_num(millis) * MILLISECOND).astype(np.int64) for millis in (times, delays))
        waited = np.cumsum(waited)
        last = np.maximum.accumulate(np.where(stamped, np.arange(len(times)), -1))
        found: NDArray[np.int64] = waited + np.where(last < 0, 0, given[last] - waited[last])
        return found
