"""Who looks at a stream, and what they can see there: read from the stream and from NO_COLOR and TERM."""

import os
import shutil
from typing import NamedTuple, TextIO


class Terminal(NamedTuple):
    """Whether codes for colours belong there, and how many columns it has; None where it is no terminal."""

    colour: bool
    columns: int | None


def terminal(stream: TextIO) -> Terminal:
    """The terminal behind a stream, if there is one; a dumb one and a person who set NO_COLOR want no colours."""
    if not stream.isatty():
        return Terminal(colour=False, columns=None)
    return Terminal(not (os.environ.get("NO_COLOR") or is_dumb()), shutil.get_terminal_size().columns)


def is_dumb() -> bool:
    """Whether the terminal says that it has no colours and cannot be drawn on in place."""
    return os.environ.get("TERM", "dumb").lower() in ("dumb", "unknown")
