"""The lines of a file, found once from end to end and read again one at a time: what is long stays on disk."""

import os
import weakref
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiperf.errors import ConfigError, DataError, MeasureError

LONGEST_BYTES = 256 * 1024 * 1024
"""A line beyond this is no row."""

_CHUNK_BYTES = 1024 * 1024


class Line(NamedTuple):
    """A line that is not blank: its number from 1, where its bytes begin, and those without the line's end."""

    number: int
    start: int
    text: bytes


Stamp = tuple[int, int]
"""Size and time of change (ns) of a file, by which it is known to be the same still."""


def stamp(path: Path) -> Stamp:
    """The file's stamp now. Raises ConfigError if it cannot be read."""
    with _readable(path):
        return _stamp(path.stat())


def scan(path: Path) -> Generator[Line, None, None]:
    """The lines that are not blank, without a byte order mark; a megabyte of the file is in memory at a time, or a longer line.

    Raises ConfigError for a file that cannot be read, DataError for a line above LONGEST_BYTES.
    """
    start = 0
    for number, whole in enumerate(_split(path), 1):
        text = whole.removeprefix(BOM_UTF8) if number == 1 else whole
        if text and not text.isspace():
            yield Line(number, start + len(whole) - len(text), text)
        start += len(whole) + 1


def _split(path: Path) -> Iterator[bytes]:
    """Every line of a file, without its end."""
    held: list[bytes] = []
    number = 1
    with _readable(path), path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            first, *others = chunk.split(b"\n")
            held.append(first)
            if not others:
                _not_too_long(path, number, held)
                continue
            yield b"".join(held)
            held = [others.pop()]
            yield from others
            number += 1 + len(others)
    yield b"".join(held)


def _not_too_long(path: Path, number: int, held: list[bytes]) -> None:
    if sum(map(len, held)) > LONGEST_BYTES:
        raise DataError(f"{path}:{number}: is longer than {LONGEST_BYTES >> 20} MB; expected a JSON object a line")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror or exc})") from exc


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns


@dataclass(eq=False)
class Lines:
    """Lines by place: line i is `sizes[i]` bytes from `starts[i]`. Opened when first read, in whatever process that is."""

    path: Path
    stamp: Stamp
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    _file: int | None = field(default=None, init=False, repr=False)

    def read(self, place: int) -> bytes:
        """The bytes of a line. Raises MeasureError if the file is gone, or is not what it was when it was scanned."""
        if self._file is None:
            self._file = self._opened()
        text = os.pread(self._file, int(self.sizes[place]), int(self.starts[place]))
        if _stamp(os.fstat(self._file)) != self.stamp:
            raise MeasureError(f"{self.path}: has changed since its rows were counted; leave a data file alone while it is played")
        return text

    def _opened(self) -> int:
        try:
            file = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as exc:
            raise MeasureError(f"{self.path}: cannot be read any more ({exc.strerror or exc})") from exc
        weakref.finalize(self, os.close, file)
        return file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}
