"""A file of rows, a JSON object a line: what they may hold, good ones in columns, bad ones told as faults; what is long stays there."""

import io
import os
import re
import weakref
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf.clock import MILLISECOND
from aiperf.errors import ConfigError, DataError, MeasureError

BLOCK = 512
"""Tokens that a hash id stands for."""

_Tokens = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
_Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)] | Annotated[float, msgspec.Meta(ge=0, le=9e12)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Objects = Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]

_TOKENS = "a whole number of tokens from 1 to 10,000,000"
_OBJECTS = "a list of objects, one at least"
_NOT_YET = "items of name and contents are not played yet"
FIELDS: Mapping[str, tuple[Any, str]] = {
    "input_length": (_Tokens, _TOKENS),
    "hash_ids": (list[Annotated[int, msgspec.Meta(ge=0)]], "a list of whole numbers from 0, an id a block"),
    "text_input": (_Text, "a text that is not empty"),
    "messages": (_Objects, _OBJECTS),
    "payload": (dict[str, Any], "an object, which is the body to send"),
    "tools": (_Objects, _OBJECTS),
    "text": (_Text, f"a text that is not empty; {_NOT_YET}"),
    "texts": (Annotated[list[_Text], msgspec.Meta(min_length=1)], f"a list of texts, none of them empty; {_NOT_YET}"),
    "role": (_Text, "a name, as user"),
    "model": (_Text, "a name"),
    "timestamp": (_Millis, "milliseconds from the start, 0 or more"),
    "delay": (_Millis, "milliseconds since the row before, 0 or more"),
    "output_length": (_Tokens, _TOKENS),
    "extra": (dict[str, Any], "an object, which is merged into the body"),
}
"""The fields of all formats: type, and what is expected; null is as good as absent."""

_SHARED = ("timestamp", "delay", "output_length", "extra")
KINDS = ("input_length", "text_input", "messages", "payload", "text", "texts")
"""The fields that make a row; it has one of them."""

_FOREIGN = "is of another format"
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("session_id", "turns"), "is of a conversation of several turns, which is not played yet"),
    **dict.fromkeys(("audio", "audios", "image", "image_uuids", "images", "video", "videos"), "is not played yet"),
    **dict.fromkeys(("contents", "input_text", "prompt", "system"), _FOREIGN),
}
"""What no format can play, and why; left out in silence it would change what is said."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, nested too deep, or no row of a form."""

_SHOWN = 60
_UNDECLARED = re.compile(r'[\x00-\x1f"\\]')  # no struct of msgspec takes such a name

LONGEST_BYTES = 256 * 1024 * 1024
"""A line beyond this is no row."""

_CHUNK_BYTES = 1024 * 1024
_MOST_PROBLEMS = 10
_MOST_UNREAD = 32
_LATEST_NS = 9.2e18  # what 64 bits hold, rounded down
_COLUMNS = {"start": "i8", "size": "i8", "timestamp": "f8", "delay": "f8", "kind": "i1", "more": "?", "input": "i4", "output": "i4"}


class Form:
    """A format: the fields that its rows may have beside those that all share. Rows have an attribute for each of FIELDS.

    `kinds` are the fields of which a row needs one, `names` are all, to be shown.
    """

    def __init__(self, own: tuple[str, ...]) -> None:
        self.kinds = tuple(name for name in KINDS if name in own)
        self.names = ", ".join(own + _SHARED)
        self._refused = {**_REFUSED, **dict.fromkeys(FIELDS.keys() - {*own, *_SHARED}, _FOREIGN)}

    def decoder(self, unread: Iterable[str]) -> Callable[[bytes], Any]:
        """Reads plain rows at once: those that have no other fields than the format's and `unread`, which are passed over."""
        fields = [(name, None if name in self._refused else kind | None, None) for name, (kind, _) in FIELDS.items()]
        names = [name for name in unread if name not in self._refused and not _UNDECLARED.search(name)]
        passed = [(f"unread_{i}", msgspec.Raw, msgspec.field(default=msgspec.Raw(), name=name)) for i, name in enumerate(names)]
        return msgspec.json.Decoder(msgspec.defstruct("Row", [*fields, *passed], forbid_unknown_fields=True, gc=False)).decode

    def row(self, raw: Mapping[str, Any]) -> Any:
        """A row that is not plain, without the fields that are not read. Raises DataError with everything that is wrong with it."""
        given = {name: value for name, value in raw.items() if value is not None}
        strangers = sorted(given.keys() & self._refused.keys())
        faults = [f"{name}={short(given[name])} {self._refused[name]}; expected no more than {self.names}" for name in strangers]
        fitted = {}
        for name in [name for name in FIELDS if name in given and name not in strangers]:
            kind, expected = FIELDS[name]
            try:
                fitted[name] = msgspec.convert(given[name], kind)
            except msgspec.ValidationError:
                faults.append(f"{name}={short(given[name])}; expected {expected}")
        if faults:
            raise DataError(faults)
        return Row(**fitted)

    def kind(self, row: Any) -> str:
        """The field that makes a row. Raises DataError for what its fields, good one by one, are not together."""
        given = [name for name in self.kinds if getattr(row, name) is not None]
        fault = None
        if not given:
            fault = f"has none of {', '.join(self.kinds)}; expected one of them"
        elif len(given) > 1:
            fault = f"has {' and '.join(given)}; expected one of them"
        elif row.timestamp is not None and row.delay is not None:
            fault = f"has timestamp={row.timestamp:g} and delay={row.delay:g}; expected one of them"
        elif row.extra is not None and "stream" in row.extra:
            fault = f"extra holds stream={short(row.extra['stream'])}; expected it as endpoint.streaming, for all rows"
        if (fault := fault or _beside(row, given[0])) is not None:
            raise DataError(fault)
        return given[0]


Row = msgspec.defstruct("Row", [(name, kind | None, None) for name, (kind, _) in FIELDS.items()], gc=False)
"""A row of any form."""


def _beside(row: Any, kind: str) -> str | None:
    """What does not go with the kind of a row."""
    if kind == "payload" and (row.tools is not None or row.extra is not None):
        name = "tools" if row.tools is not None else "extra"
        return f"{name}={short(getattr(row, name))} beside payload, which is sent untouched; expected it within the payload"
    if row.hash_ids is None:
        return None
    if kind != "input_length":
        return f"hash_ids={short(row.hash_ids)} beside {kind}; expected input_length with it"
    if (largest := max(row.hash_ids, default=0)) >> 64:
        return f"hash_ids holds {largest}; expected ids below 2^64"
    count, size = len(row.hash_ids), row.input_length
    if count <= (most := -(-size // BLOCK)):
        return None
    return f"hash_ids has {count} ids; expected at most {most}, since input_length={size} fills no more blocks of {BLOCK} tokens"


def parsed(text: bytes, expected: str = "a JSON object a line") -> dict[str, Any]:
    """The object on a line. Raises DataError for what is none, or cannot be read at all."""
    try:
        raw = msgspec.json.decode(text)
    except UNREADABLE as exc:
        raise DataError(f"is no JSON ({exc}): {cut(text[: 4 * _SHOWN].decode(errors='replace'))}; expected a JSON object a line") from exc
    if not isinstance(raw, dict):
        raise DataError(f"{short(raw)} is no row; expected {expected}")
    return raw


def short(value: object) -> str:
    """A value as JSON, cut to what a line of a message holds."""
    return cut(msgspec.json.encode(value).decode())


def cut(shown: str) -> str:
    """The beginning of a text that is too long to be shown; what a terminal would obey is shown as replacement characters."""
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


class Line(NamedTuple):
    """A line that is not blank: its number from 1, where its bytes begin, and those without the line's end."""

    number: int
    start: int
    text: bytes


def scan(path: Path) -> Generator[Line, None, None]:
    """The lines that are not blank, without a byte order mark; a megabyte of the file is in memory at a time, or a longer line.

    Raises ConfigError for a file that cannot be read, DataError for a line above LONGEST_BYTES.
    """
    start = 0
    with _readable(path), io.BufferedReader(path.open("rb", buffering=0), _CHUNK_BYTES) as file:
        for number, whole in enumerate(iter(partial(file.readline, LONGEST_BYTES + 1), b""), 1):
            if len(whole) > LONGEST_BYTES:
                raise DataError(f"{path}:{number}: is longer than {LONGEST_BYTES >> 20} MB; expected a JSON object a line")
            line = whole.removeprefix(BOM_UTF8) if number == 1 else whole
            if not line.isspace() and line:
                yield Line(number, start + len(whole) - len(line), line.removesuffix(b"\n"))
            start += len(whole)


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of change (ns) of a file, by which it is known to be the same still. Raises ConfigError if it cannot be read."""
    with _readable(path):
        found = path.stat()
    return found.st_size, found.st_mtime_ns


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror or exc})") from exc


@dataclass(eq=False)
class Lines:
    """Lines by place: line i is `sizes[i]` bytes from `starts[i]`. Opened when first read, in whatever process that is."""

    path: Path
    stamp: tuple[int, int]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def read(self, place: int) -> bytes:
        """The bytes of a line. Raises MeasureError if the file is gone, or is not what it was when it was scanned."""
        text = os.pread(self._file, int(self.sizes[place]), int(self.starts[place]))
        found = os.fstat(self._file)
        if (found.st_size, found.st_mtime_ns) != self.stamp:
            raise MeasureError(f"{self.path}: has changed since its rows were counted; leave a data file alone while it is played")
        return text

    @cached_property
    def _file(self) -> int:
        try:
            file = os.open(self.path, os.O_RDONLY)
        except OSError as exc:
            raise MeasureError(f"{self.path}: cannot be read any more ({exc.strerror or exc})") from exc
        weakref.finalize(self, os.close, file)
        return file

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_file"}


class Rows:
    """The good rows of a file, in the order of time; with `skip` without those that cannot be used.

    `kind` is a place in KINDS, `more` says whose line holds hash ids, tools or extra; an input of 0 is not known, an output of 0
    asks for nothing. `firsts` are the first lines of each kind, with `tools`, with `batches` (several texts), and `unasked` (no output).
    Raises DataError with the first ten faults, ConfigError for a file that cannot be read.
    """

    def __init__(self, path: Path, form: Form, *, skip: bool = False) -> None:
        self._path, self._form, self._skip, self._decode = path, form, skip, form.decoder(())
        self.firsts, self._unread, self._problems, self._skipped = dict[str, int](), dict[str, int](), list[str](), 0
        before, table = stamp(path), np.fromiter(self._good(), list(_COLUMNS.items()))
        del self._decode  # it cannot be pickled
        if stamp(path) != before:
            raise DataError(f"{path}: changed while it was read; leave a data file alone while it is played")
        if self._problems and not (skip and len(table)):
            raise DataError(self._problems)
        if not len(table):
            raise DataError(f"{path}: holds no rows; expected a JSON object a line with {form.names}")
        self.notes = self._notes(len(table))
        self.due_ns = self._due_ns(table["timestamp"], table["delay"])
        if self.due_ns is not None and (self.due_ns[1:] < self.due_ns[:-1]).any():
            order = np.argsort(self.due_ns, kind="stable")
            table, self.due_ns = table[order], self.due_ns[order]
            self.notes.append(f"{path}: timestamps go back, so the rows were sorted by them")
        self.lines = Lines(path, before, table["start"].copy(), table["size"].copy())
        self.kind, self.more, self.input, self.output = (table[name].copy() for name in ("kind", "more", "input", "output"))

    def _good(self) -> Iterator[tuple[Any, ...]]:
        """The rows of the table, in the file's order."""
        for line in scan(self._path):
            try:
                row, kind = self._row(line)
            except DataError as exc:
                self._bad(line, exc.problems)
                continue
            self._note(row, kind, line.number)
            yield (
                line.start, len(line.text), row.timestamp, row.delay, KINDS.index(kind),
                bool(row.hash_ids) or row.tools is not None or row.extra is not None, row.input_length or 0, row.output_length or 0,
            )  # fmt: skip

    def _row(self, line: Line) -> tuple[Any, str]:
        """A row and its kind. Raises DataError with all its faults."""
        try:
            row = self._decode(line.text)
            return row, self._form.kind(row)
        except UNREADABLE:
            raw = parsed(line.text, f"an object with {self._form.names}")
        row = self._form.row(raw)
        kind = self._form.kind(row)
        new = raw.keys() - FIELDS.keys() - self._unread.keys()
        self._unread.update(dict.fromkeys(new, line.number))
        if new and len(self._unread) <= _MOST_UNREAD:
            self._decode = self._form.decoder(self._unread.keys())
        return row, kind

    def _note(self, row: Any, kind: str, line: int) -> None:
        self.firsts.setdefault(kind, line)
        if row.tools is not None:
            self.firsts.setdefault("tools", line)
        if row.texts is not None and len(row.texts) > 1:
            self.firsts.setdefault("batches", line)
        if row.output_length is None:
            self.firsts.setdefault("unasked", line)
        elif kind == "payload":
            self._unread.setdefault("output_length beside payload", line)

    def _bad(self, line: Line, faults: Sequence[str]) -> None:
        """Note what is wrong with a row. Raises DataError when enough is wrong to stop."""
        self._skipped += 1
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems += [f"{self._path}:{line.number}: {fault}" for fault in faults]
        if not self._skip and len(self._problems) >= _MOST_PROBLEMS:
            raise DataError(self._problems)

    def _notes(self, count: int) -> list[str]:
        unread = sorted(self._unread.items())
        notes = [f"{self._path}: {cut(name)} is not read (line {number} is the first with it)" for name, number in unread[:_MOST_PROBLEMS]]
        if unread[_MOST_PROBLEMS:]:
            notes.append(f"{self._path}: {len(unread) - _MOST_PROBLEMS} other fields are not read")
        if self._skipped:
            notes.append(f"{self._skipped} of {self._skipped + count} rows were left out (dataset.on_bad_row=skip): {self._problems[0]}")
        return notes

    def _due_ns(self, times: NDArray[np.float64], delays: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """A row with a time is due then, one with a delay so long after the row before it; before the first row it is 0."""
        stamped = ~np.isnan(times)
        without = int((~stamped & np.isnan(delays)).sum())
        if without == len(times):
            return None
        if without:
            expected = "expected one of them in each row, or in none"
            raise DataError(f"{self._path}: {without} of {len(times)} rows have no timestamp and no delay; {expected}")
        if (latest := np.nan_to_num(times).max() + np.nansum(delays)) * MILLISECOND > _LATEST_NS:
            raise DataError(f"{self._path}: timestamp and delay add up to {latest / 1000:.3g} s; expected at most 9.2e9 s")
        given, waited = (np.rint(np.nan_to_num(millis) * MILLISECOND).astype(np.int64) for millis in (times, delays))
        waited = np.cumsum(waited)
        last = np.maximum.accumulate(np.where(stamped, np.arange(len(times)), -1))
        found: NDArray[np.int64] = waited + np.where(last < 0, 0, given[last] - waited[last])
        return found
