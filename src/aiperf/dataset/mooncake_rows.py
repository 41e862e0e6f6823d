"""Reads a Mooncake trace into columns, a row a line; what a row may not say is refused with file, line, field and value."""

from array import array
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf.clock import MILLISECOND
from aiperf.errors import ConfigError, DataError

BLOCK = 512
"""Tokens that a hash id stands for."""

_MOST_PROBLEMS = 10
_Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)] | Annotated[float, msgspec.Meta(ge=0, le=9e12)]
_Tokens = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
_FIELDS: dict[str, tuple[Any, str]] = {
    "timestamp": (_Millis | None, "milliseconds from the start, 0 or more"),
    "input_length": (_Tokens, "a whole number of tokens from 1 to 10,000,000"),
    "output_length": (_Tokens | None, "a whole number of tokens from 1 to 10,000,000"),
    "hash_ids": (list[Annotated[int, msgspec.Meta(ge=0)]] | None, "a list of whole numbers from 0, an id a block"),
}
_MEDIA = {"audios", "images", "videos"}
_UNPLAYABLE = _MEDIA | {
    "delay",
    "extra",
    "input_text",
    "messages",
    "model",
    "payload",
    "prompt",
    "session_id",
    "text",
    "text_input",
    "texts",
    "tools",
    "turns",
}


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    input_length: _Tokens
    timestamp: _Millis | None = None
    output_length: _Tokens | None = None
    hash_ids: list[Annotated[int, msgspec.Meta(ge=0)]] | None = None


_decode = msgspec.json.Decoder(_Row).decode


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Columns in the order of time: row i's blocks are `hash_ids[first[i] : first[i] + blocks[i]]`; an output of 0 says nothing."""

    due_ns: NDArray[np.int64] | None
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    first: NDArray[np.int64]
    blocks: NDArray[np.int64]
    hash_ids: NDArray[np.uint64]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    """A file on its way into columns."""

    path: Path
    times: list[float | None] = field(default_factory=list)
    inputs: "array[int]" = field(default_factory=lambda: array("i"))
    outputs: "array[int]" = field(default_factory=lambda: array("i"))
    blocks: "array[int]" = field(default_factory=lambda: array("q"))
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    unread: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def line(self, number: int, text: bytes) -> None:
        """Take in a line, or note what is wrong with it."""
        try:
            row = _decode(text)
        except (msgspec.MsgspecError, RecursionError):
            if (found := self._looked_at(number, text)) is None:
                return
            row = found
        ids = row.hash_ids or ()
        if len(ids) > (needed := -(-row.input_length // BLOCK)):
            expected = f"at most {needed}, since input_length={row.input_length} fills no more blocks of {BLOCK} tokens"
            self._wrong(number, f"hash_ids has {len(ids)} ids; expected {expected}")
            return
        try:
            self.ids.extend(ids)
        except OverflowError:
            self._wrong(number, f"hash_ids holds {max(ids)}; expected ids below 2^64")
            return
        self.times.append(row.timestamp)
        self.inputs.append(row.input_length)
        self.outputs.append(row.output_length or 0)
        self.blocks.append(len(ids))

    def _wrong(self, number: int, problem: str) -> None:
        self.problems.append(f"{self.path}:{number}: {problem}")

    def _looked_at(self, number: int, text: bytes) -> _Row | None:
        """A line that is no plain row: its faults, or the row without the fields that are not read."""
        try:
            raw = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError) as exc:
            self._wrong(number, f"is no JSON ({exc}): {_cut(text.decode(errors='replace'))}")
            return None
        if not isinstance(raw, dict):
            self._wrong(number, f"{_short(raw)} is no row; expected an object with {', '.join(_FIELDS)}")
            return None
        faults = _faults(raw)
        for fault in faults:
            self._wrong(number, fault)
        if faults:
            return None
        for name in raw.keys() - _FIELDS.keys():
            self.unread.setdefault(name, number)
        return msgspec.convert({name: raw[name] for name in _FIELDS if name in raw}, _Row)


def _faults(raw: dict[str, Any]) -> list[str]:
    played = ", ".join(_FIELDS)
    faults = [
        f"{name}={_short(raw[name])} cannot be played; expected no more than {played}"
        for name in sorted(raw.keys() & _UNPLAYABLE)
        if raw[name] is not None
    ]
    if "input_length" not in raw:
        faults.append(f"input_length is missing; expected {_FIELDS['input_length'][1]}")
    for name, (kind, expected) in _FIELDS.items():
        if name in raw and not _fits(raw[name], kind):
            faults.append(f"{name}={_short(raw[name])}; expected {expected}")
    return faults


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _short(value: object) -> str:
    return _cut(msgspec.json.encode(value).decode())


def _cut(shown: str) -> str:
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def read(path: Path) -> Rows:
    """The rows of a trace, sorted by time where the file is not.

    Raises DataError with the first ten faults, ConfigError for a file that cannot be read.
    """
    try:
        lines = path.read_bytes().removeprefix(BOM_UTF8).splitlines()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    reading = _Reading(path)
    for number, text in enumerate(lines, 1):
        if text and not text.isspace():
            reading.line(number, text)
        if len(reading.problems) >= _MOST_PROBLEMS:
            break
    if reading.problems:
        raise DataError(reading.problems)
    if not reading.times:
        raise DataError(f"{path}: holds no rows; expected a JSON object a line with {', '.join(_FIELDS)}")
    return _columns(reading)


def _columns(reading: _Reading) -> Rows:
    blocks = np.frombuffer(reading.blocks, dtype=np.int64)
    first = np.concatenate(([0], np.cumsum(blocks)[:-1])).astype(np.int64)
    inputs, outputs = (np.frombuffer(column, dtype=np.int32) for column in (reading.inputs, reading.outputs))
    ids = np.frombuffer(reading.ids, dtype=np.uint64)
    due_ns = _due_ns(reading)
    notes = [f"{reading.path}: {name} is not read (line {number} is the first with it)" for name, number in sorted(reading.unread.items())]
    if due_ns is None or not (due_ns[1:] < due_ns[:-1]).any():
        return Rows(due_ns, inputs, outputs, first, blocks, ids, tuple(notes))
    order = np.argsort(due_ns, kind="stable")
    notes.append(f"{reading.path}: timestamps go back, so the rows were sorted by them")
    return Rows(due_ns[order], inputs[order], outputs[order], first[order], blocks[order], ids, tuple(notes))


def _due_ns(reading: _Reading) -> NDArray[np.int64] | None:
    without = reading.times.count(None)
    if without == len(reading.times):
        return None
    if without:
        raise DataError(f"{reading.path}: {without} of {len(reading.times)} rows have no timestamp; expected one in each row, or in none")
    return np.rint(np.array(reading.times, dtype=np.float64) * MILLISECOND).astype(np.int64)
