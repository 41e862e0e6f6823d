"""Reads a file of rows, a JSON object a line: good rows into columns, bad ones into faults with file, line, field and value."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.clock import MILLISECOND
from aiperf.config.dataset import Dataset
from aiperf.dataset.fields import UNREADABLE, Form, R, cut, no_json, short
from aiperf.dataset.lines import Line, Lines, scan, stamp
from aiperf.dataset.sizes import Sizes
from aiperf.errors import ConfigError, DataError

_MOST_PROBLEMS = 10
_MOST_UNREAD = 32
_LATEST_NS = 9.2e18  # what 64 bits hold, rounded down
_NEVER = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """What is known of the rows of any format, in the order of time: where they stand, when they are due, what they ask for.

    An output of 0 asks for nothing, `unasked` is the first line that does. `order` brings a column that was gathered in the
    file's order into that of time; None: it is.
    """

    lines: Lines
    due_ns: NDArray[np.int64] | None
    output_tokens: NDArray[np.int32]
    unasked: int | None
    order: NDArray[np.int64] | None
    notes: tuple[str, ...]

    def sorted(self, column: NDArray[Any]) -> NDArray[Any]:
        """A column in the order of time."""
        return column if self.order is None else column[self.order]


@dataclass(slots=True)
class Reading(Generic[R]):
    """A file on its way into columns. With `skip` a row that cannot be used is left out and counted."""

    path: Path
    form: Form[R]
    skip: bool
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    delays: "array[float]" = field(default_factory=lambda: array("d"))
    outputs: "array[int]" = field(default_factory=lambda: array("i"))
    unread: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    skipped: int = 0
    unasked: int | None = None
    decode: Callable[[bytes], R] = field(init=False)

    def __post_init__(self) -> None:
        self.decode = self.form.decoder(())

    def rows(self, take: Callable[[Line, R], str | None]) -> Index:
        """Give every good row to `take`, which may still say what is wrong with it, and gather what all formats have.

        Raises DataError with the first ten faults, ConfigError for a file that cannot be read.
        """
        before = stamp(self.path)
        for line, row in self._good():
            if (fault := take(line, row)) is not None:
                self._bad(line, [fault])
                continue
            self.starts.append(line.start)
            self.sizes.append(len(line.text))
            self.times.append(_NEVER if row.timestamp is None else row.timestamp)
            self.delays.append(_NEVER if row.delay is None else row.delay)
            self.outputs.append(row.output_length or 0)
            if row.output_length is None and self.unasked is None:
                self.unasked = line.number
        if stamp(self.path) != before:
            raise DataError(f"{self.path}: changed while it was read; leave a data file alone while it is played")
        if self.problems and not (self.skip and self.starts):
            raise DataError(self.problems)
        if not self.starts:
            raise DataError(f"{self.path}: holds no rows; expected a JSON object a line with {self.form.names}")
        return self._index(Lines(self.path, before, _column(self.starts), _column(self.sizes)))

    def _good(self) -> Iterator[tuple[Line, R]]:
        check = self.form.check
        for line in scan(self.path):
            try:
                row: R | None = self.decode(line.text)
            except UNREADABLE:
                row = self._looked_at(line)
            if row is None:
                continue
            if (fault := check(row)) is None:
                yield line, row
            else:
                self._bad(line, [fault])

    def _looked_at(self, line: Line) -> R | None:
        """A line that is no plain row: its faults, or the row without the fields that are not read."""
        try:
            raw = msgspec.json.decode(line.text)
        except UNREADABLE as exc:
            self._bad(line, [no_json(line.text, exc)])
            return None
        if not isinstance(raw, dict):
            self._bad(line, [f"{short(raw)} is no row; expected an object with {self.form.names}"])
            return None
        found = self.form.converted(raw)
        if isinstance(found, list):
            self._bad(line, found)
            return None
        if self.form.check(found) is not None:  # said of it by whoever asked
            return found
        new = raw.keys() - self.form.known.keys() - self.unread.keys()
        self.unread.update(dict.fromkeys(new, line.number))
        if new and len(self.unread) <= _MOST_UNREAD:
            self.decode = self.form.decoder(self.unread.keys())
        return found

    def _bad(self, line: Line, faults: list[str]) -> None:
        """Note what is wrong with a row. Raises DataError when enough is wrong to stop."""
        self.skipped += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems += [f"{self.path}:{line.number}: {fault}" for fault in faults]
        if not self.skip and len(self.problems) >= _MOST_PROBLEMS:
            raise DataError(self.problems)

    def _index(self, lines: Lines) -> Index:
        due_ns, outputs = self._due_ns(), _column(self.outputs)
        unread = sorted(self.unread.items())
        notes = [f"{self.path}: {cut(name)} is not read (line {number} is the first with it)" for name, number in unread[:_MOST_PROBLEMS]]
        if unread[_MOST_PROBLEMS:]:
            notes.append(f"{self.path}: {len(unread) - _MOST_PROBLEMS} other fields are not read")
        if self.skipped:
            notes.append(
                f"{self.skipped} of {self.skipped + len(outputs)} rows were left out (dataset.on_bad_row=skip): {self.problems[0]}"
            )
        if due_ns is None or not (due_ns[1:] < due_ns[:-1]).any():
            return Index(lines, due_ns, outputs, self.unasked, None, tuple(notes))
        order = np.argsort(due_ns, kind="stable")
        notes.append(f"{self.path}: timestamps go back, so the rows were sorted by them")
        lines = Lines(lines.path, lines.stamp, lines.starts[order], lines.sizes[order])
        return Index(lines, due_ns[order], outputs[order], self.unasked, order, tuple(notes))

    def _due_ns(self) -> NDArray[np.int64] | None:
        times, delays = _column(self.times), _column(self.delays)
        stamped, delayed = ~np.isnan(times), ~np.isnan(delays)
        without = len(times) - int((stamped | delayed).sum())
        if without == len(times):
            return None
        if without:
            expected = "expected one of them in each row, or in none"
            raise DataError(f"{self.path}: {without} of {len(times)} rows have no timestamp and no delay; {expected}")
        if (latest := np.nan_to_num(times).max() + np.nansum(delays)) * MILLISECOND > _LATEST_NS:
            raise DataError(f"{self.path}: timestamp and delay add up to {latest / 1000:.3g} s; expected at most 9.2e9 s")
        return _due_ns(_nanoseconds(times), stamped, _nanoseconds(delays))


def _due_ns(times: NDArray[np.int64], stamped: NDArray[np.bool_], delays: NDArray[np.int64]) -> NDArray[np.int64]:
    """A row with a time is due then, one with a delay so long after the row before it; before the first row it is 0."""
    if stamped.all():
        return times
    waited = np.cumsum(delays)
    last = np.maximum.accumulate(np.where(stamped, np.arange(len(times)), -1))
    found: NDArray[np.int64] = waited + np.where(last < 0, 0, times[last] - waited[last])
    return found


def _nanoseconds(millis: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole nanoseconds; 0 where there is no number."""
    return np.rint(np.nan_to_num(millis) * MILLISECOND).astype(np.int64)


def _column(values: "array[Any]") -> NDArray[Any]:
    return np.frombuffer(values, dtype=values.typecode)


def output_tokens(index: Index, options: Dataset, seed: int) -> NDArray[np.int32]:
    """What each row asks for; 0 asks for nothing. Raises ConfigError where `exact` has no length to hold to."""
    asked = options.output_tokens
    if asked.mean is None and asked.exact and index.unasked is not None:
        where = f"{index.lines.path}:{index.unasked}"
        raise ConfigError(f"dataset.output_tokens.exact needs dataset.output_tokens.mean, since {where} has no output_length")
    if asked.mean is None:
        return index.output_tokens
    sizes = Sizes(asked.mean, asked.stddev, chance.child_seed(seed, "output_tokens"))
    return np.where(index.output_tokens > 0, index.output_tokens, sizes.of(np.arange(len(index.output_tokens))))


def length_notes(index: Index, options: Dataset) -> tuple[str, ...]:
    """A word on a length that no row needs."""
    if options.output_tokens.mean is None or index.unasked is not None:
        return ()
    return (f"{index.lines.path}: dataset.output_tokens.mean is not used, since every row has its output_length",)
