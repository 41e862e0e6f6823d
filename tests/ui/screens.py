"""What the tests of screens share: pulses, and a terminal that keeps what is drawn on it."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from typing import Any, TextIO

from aiperf.clock import SECOND
from aiperf.results import Pulse

PATIENCE_S = 60
"""Within which whatever does not hang has come, on a machine that others use too."""

_TOKEN = re.compile(r"\x1b\[(?P<numbers>[?\d;]*)(?P<code>[A-Za-z])|(?P<plain>[^\x1b])", re.DOTALL)


def pulse(at_s: float, **others: Any) -> Pulse:
    said = {"at_ns": round(at_s * SECOND), "generator": 0, "phase": "profiling", "due": 0, "ready": 0, "sent": 0, "done": 0, "failed": {}}
    return Pulse(**{**said, "in_flight": 0, "lateness_ns": 0, "busy": 0.0, "first": {}, "total": {}, **others})


class Terminal:
    """Keeps the lines that a terminal of this size shows. It knows what we may use and refuses everything else.

    `wrapped` counts lines that did not fit, `scrolled` those that have left the top.
    """

    def __init__(self, columns: int, lines: int = 24) -> None:
        self.columns = columns
        self._cells = [[" "] * columns for _ in range(lines)]
        self._row = self._column = 0
        self.wrapped = self.scrolled = 0
        self.gone: list[str] = []

    @property
    def shown(self) -> list[str]:
        """Everything from the first line that was ever written to the last that is not empty."""
        rows = [*self.gone, *("".join(row).rstrip() for row in self._cells)]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def feed(self, text: str) -> None:
        """Take what a program wrote, as it comes out of the terminal driver."""
        place = 0
        while place < len(text):
            found = _TOKEN.match(text, place)
            assert found, repr(text[place : place + 20])
            place = found.end()
            if found["plain"]:
                self._plain(found["plain"])
            else:
                self._control(found["numbers"], found["code"])

    def _plain(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._feed_line()
        else:
            assert character.isprintable(), repr(character)
            if self._column == self.columns:
                self.wrapped += 1
                self._column = 0
                self._feed_line()
            self._cells[self._row][self._column] = character
            self._column += 1

    def _feed_line(self) -> None:
        if self._row < len(self._cells) - 1:
            self._row += 1
            return
        self.gone.append("".join(self._cells.pop(0)).rstrip())
        self._cells.append([" "] * self.columns)
        self.scrolled += 1

    def _control(self, numbers: str, code: str) -> None:
        if code == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif code in "JK" and not numbers:
            column = min(self._column, self.columns - 1)
            self._cells[self._row][column:] = [" "] * (self.columns - column)
            if code == "J":
                self._cells[self._row + 1 :] = [[" "] * self.columns for _ in self._cells[self._row + 1 :]]
        else:
            assert code == "m", f"a control that would have to be undone, or that is not known: {numbers}{code}"


class Pty:
    """A terminal of its own: `stream` is what a program writes to, `text` what has come out so far."""

    def __init__(self, columns: int = 100, lines: int = 24) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._bytes = b""
        self._come = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, lines: int = 24) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _read(self) -> None:
        while True:
            try:
                some = os.read(self._master, 65536)
            except OSError:  # closed, at either end
                some = b""
            with self._come:
                self._bytes += some
                self._come.notify_all()
            if not some:
                return

    @property
    def text(self) -> str:
        return self._bytes.decode(errors="ignore")

    def until(self, words: str, times: int = 1) -> str:
        """Everything so far, when these words have come as often."""
        with self._come:
            assert self._come.wait_for(lambda: self.text.count(words) >= times, PATIENCE_S), self.text
        return self.text

    def ended(self) -> str:
        """Everything that was written, when nobody writes any more."""
        self.stream.close()
        self._reader.join(PATIENCE_S)
        os.close(self._master)
        return self.text
