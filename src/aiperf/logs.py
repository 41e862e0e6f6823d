"""Where log lines go: to a file that several processes append to, and, for who wants to watch, to standard error.

Modules log with `logging.getLogger(__name__)`; nothing is shown before a process calls `configure`. Other libraries'
loggers are left as they are.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAME = "aiperf"
_SILENT = logging.CRITICAL + 1
_LINE = "%(asctime)s %(levelname)s %(name)s [%(process)d] %(message)s"

_logger = logging.getLogger(NAME)
_logger.propagate = False
_logger.setLevel(_SILENT)


def configure(path: Path | None, level: str, *, verbose: int = 0) -> None:
    """Append lines of `level` (debug, info, warning, error) and above to this file; `verbose` 1 shows info on standard error, 2 debug too.

    Replaces what was configured before. A child process configures itself. What the disk does not take is dropped and
    counted; nothing is ever raised, not for the file either.
    """
    close()
    if path is not None:
        _logger.addHandler(_Handler(logging.getLevelNamesMapping()[level.upper()], _File(path)))
    if verbose > 0:
        _logger.addHandler(_Handler(logging.DEBUG if verbose > 1 else logging.INFO))
    _logger.setLevel(min((handler.level for handler in _logger.handlers), default=_SILENT))


def close() -> None:
    """Show nothing any more, and let go of the file."""
    for handler in tuple(_logger.handlers):
        _logger.removeHandler(handler)
        handler.close()
    _logger.setLevel(_SILENT)


def dropped() -> int:
    """Lines that could not be written since `configure`."""
    return sum(handler.dropped for handler in _logger.handlers if isinstance(handler, _Handler))


class _Format(logging.Formatter):
    """A line in UTC with milliseconds; further lines of a message are indented, so that a line that is not was logged."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - as logging calls it
        return datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\n    ")


class _File:
    """The end of a file. A line is one write, so that lines of several processes do not mix; one that was cut off is ended first."""

    def __init__(self, path: Path) -> None:
        self._path, self._is_cut = path, False
        self._fd: int | None = None

    def write(self, text: str) -> int:
        """Append; raises OSError if not all of it could be written."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        line = (b"\n" if self._is_cut else b"") + text.encode(errors="backslashreplace")
        written = os.write(self._fd, line)
        self._is_cut = self._is_cut if not written else written < len(line)
        if written < len(line):
            raise OSError(f"{self._path}: {written} of {len(line)} bytes written")
        return written

    def close(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None


class _Handler(logging.StreamHandler[Any]):
    """What goes wrong with a line costs that line, and is counted: no traceback in the midst of a run."""

    def __init__(self, level: int, file: _File | None = None) -> None:
        super().__init__(file)
        self.setLevel(level)
        self.dropped = 0
        self.setFormatter(_Format(_LINE))

    def emit(self, record: logging.LogRecord) -> None:
        if not isinstance(self.stream, _File):
            self.stream = sys.stderr  # that of this moment: a screen may have taken it over
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - as logging calls it
        self.dropped += 1

    def close(self) -> None:
        if isinstance(self.stream, _File):
            self.stream.close()
        super().close()
