"""The last lines of a terminal, drawn again and again in place.

Nothing is switched that would have to be switched back: the cursor stays visible, below what is drawn, and the lines
are no wider than the terminal, so that whoever ends us, and however, finds the terminal as it was.
"""

import os
import re
import select
from collections.abc import Sequence
from typing import TextIO

_UP, _TO_END, _BELOW = "\x1b[{}A", "\x1b[K", "\x1b[J"
_STYLE = re.compile(r"\x1b\[[\d;]*m")
_USUAL = (80, 24)


class Region:
    """Draws on the terminal behind a stream, by one write a time; a terminal that is gone is left alone.

    It writes past any buffer of Python's: a thread that hangs in it (a terminal can be paused) holds no lock.
    """

    def __init__(self, stream: TextIO) -> None:
        self._fd, self._encoding = stream.fileno(), stream.encoding
        self._drawn: Sequence[str] = ()
        self._is_gone = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; the usual ones where the terminal does not say."""
        try:
            columns, lines = os.get_terminal_size(self._fd)
        except OSError:
            return _USUAL
        return columns or _USUAL[0], lines or _USUAL[1]

    def draw(self, rows: Sequence[str], above: Sequence[str] = ()) -> None:
        """Replace what was drawn; `above` are lines that stay, and go up with everything before them.

        While another program has the terminal nothing is drawn, and what must be said is said below what that wrote.
        """
        said = "".join(f"{text}\n" for text in above)
        if not self._is_ours():
            self._drawn = ()
            self._write(said)
            return
        columns, lines = self.size
        back = sum(max(1, -(-len(_STYLE.sub("", row)) // columns)) for row in self._drawn)  # also where a narrower terminal has folded them
        self._drawn = rows[: max(1, lines - 1)]
        kept = "".join(f"{row}{_TO_END}\n" for row in self._drawn)
        self._write(f"\r{_UP.format(back) if back else ''}{_BELOW if said else ''}{said}{kept}{_BELOW}")

    def _is_ours(self) -> bool:
        """Whether we are in the terminal's foreground; where that cannot be known, yes."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True

    def _write(self, text: str) -> None:
        rest = text.encode(self._encoding, "replace")
        while rest and not self._is_gone:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                select.select((), (self._fd,), (), 1)
            except OSError:
                self._is_gone = True
