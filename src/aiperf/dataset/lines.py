"""The lines of a file, found once from end to end and read again one at a time: what is long stays on disk."""

import io
import os
import weakref
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
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


def stamp(file: Path | int) -> Stamp:
    """The stamp of a file, or of one that is open, now. Raises ConfigError if it cannot be read."""
    with _readable(file):
        found = file.stat() if isinstance(file, Path) else os.fstat(file)
    return found.st_size, found.st_mtime_ns


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


@contextmanager
def _readable(file: Path | int) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read ({exc.strerror or exc})") from exc


@dataclass(eq=False)
class Lines:
    """Lines by place: line i is `sizes[i]` bytes from `starts[i]`. Opened when first read, in whatever process that is."""

    path: Path
    stamp: Stamp
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def read(self, place: int) -> bytes:
        """The bytes of a line. Raises MeasureError if the file is gone, or is not what it was when it was scanned."""
        text = os.pread(self._file, int(self.sizes[place]), int(self.starts[place]))
        if stamp(self._file) != self.stamp:
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
