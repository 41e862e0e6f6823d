"""Files that are written whole or not at all: to another name first, so that one that exists is complete."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aiperf.errors import MeasureError


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Where to write what is named `path` when the block is over. Raises MeasureError where the disk refuses; leaves nothing behind."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as exc:
        raise MeasureError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
    finally:
        with suppress(OSError):  # it is gone if all went well; otherwise the first refusal is the one to tell
            part.unlink()


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only when the block is over; otherwise as `unfinished`."""
    with unfinished(path) as part, part.open("wb") as file:
        yield file
