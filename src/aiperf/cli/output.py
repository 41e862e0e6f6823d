"""Standard output, as a caller may have left it: closed, on a full disk, or a pipe that nobody reads any more."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiperf.errors import MeasureError

_ERROR = 2
"""The number of standard error, the last of the three."""


def open_closed() -> None:
    """Give streams that the caller closed to nobody, so that no file of ours takes their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _ERROR:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(_ERROR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above


def silence() -> None:
    """Let nobody hear what is printed from here on: Python would complain about it when it flushes at its end."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, sys.stdout.fileno())
    os.close(nobody)


@contextmanager
def written() -> Iterator[None]:
    """What is printed here, and before, is out at the end. Raises MeasureError where the system refuses it, and BrokenPipeError."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        silence()
        raise MeasureError(f"standard output: cannot be written ({exc.strerror or exc})") from exc


def say(text: str) -> None:
    """Print an answer. Raises as `written` does."""
    with written():
        print(text)
