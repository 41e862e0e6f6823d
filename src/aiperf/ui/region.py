"""The last lines of a terminal, drawn again and again in place.

Nothing is switched that would have to be switched back: the cursor stays visible, below what is drawn, and the lines
are no wider than the terminal, so that whoever ends us, and however, finds the terminal as it was.
"""

import os
import select
from collections.abc import Sequence
from dataclasses import dataclass

_UP, _TO_END, _BELOW = "\x1b[{}A", "\x1b[K", "\x1b[J"
_USUAL = (80, 24)


@dataclass(frozen=True, slots=True)
class Row:
    """A line as it is written, and the columns that it takes."""

    text: str
    cells: int


class Region:
    """Draws on the terminal behind a descriptor, by one write a time; a terminal that is gone is left alone.

    It writes past any buffer of Python's: a thread that hangs in it (a terminal can be paused) holds no lock.
    """

    def __init__(self, fd: int, encoding: str) -> None:
        self._fd, self._encoding = fd, encoding
        self._drawn: tuple[Row, ...] = ()
        self._is_gone = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; the usual ones where the terminal does not say."""
        try:
            columns, lines = os.get_terminal_size(self._fd)
        except OSError:
            return _USUAL
        return columns or _USUAL[0], lines or _USUAL[1]

    @property
    def is_ours(self) -> bool:
        """Whether we are in the terminal's foreground; where that cannot be known, yes."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True

    def draw(self, rows: Sequence[Row], above: Sequence[str] = ()) -> None:
        """Replace what was drawn; `above` are lines that stay, and go up with everything before them."""
        kept = rows[: max(1, self.size[1] - 1)]
        said = (_BELOW, *(f"{text}\n" for text in above)) if above else ()
        self._write("".join((self._back(), *said, *(f"{row.text}{_TO_END}\n" for row in kept), _BELOW)))
        self._drawn = tuple(kept)

    def leave(self) -> None:
        """Begin anew below whatever is there now."""
        self._drawn = ()

    def _back(self) -> str:
        """To the start of what was drawn, also where a narrower terminal has folded its lines."""
        columns = self.size[0]
        lines = sum(max(1, -(-row.cells // columns)) for row in self._drawn)
        return "\r" + (_UP.format(lines) if lines else "")

    def _write(self, text: str) -> None:
        rest = text.encode(self._encoding, "replace")
        while rest and not self._is_gone:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                select.select((), (self._fd,), (), 1)
            except OSError:
                self._is_gone = True
