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
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return Terminal(not plain, shutil.get_terminal_size().columns)
