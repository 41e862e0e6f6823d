"""The screens: lines of text, one every 5 s while the load runs, and progress in place, four times a second, on a terminal.

A thread of the parent draws, and it alone writes; whoever says something leaves it in a queue: a paused terminal delays nobody but itself.
"""

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from typing import Any, TextIO

from aiperf import clock
from aiperf.config.terminal import is_dumb
from aiperf.results import Outlook, Pulse
from aiperf.ui.progress import Progress

_LINE_EVERY_NS = 5 * clock.SECOND
_PATIENCE_S, _MOST_PULSES, _NICE = 1.0, 10_000, 10


class NoUI:
    """Hands lines to `write`; time is that of the pulses, and counts are those of the present phase."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._progress = Progress(Outlook({}))
        self._shown_ns = self._shown_done = 0

    def line(self, text: str) -> None:
        """Write a line at once."""
        self._write(text)

    @contextmanager
    def showing(self, outlook: Outlook) -> Iterator[None]:
        """The time in which pulses come, once; a terminal is left alone."""
        self._progress = Progress(outlook)
        yield

    def pulse(self, pulse: Pulse) -> None:
        """Write where the load stands if five seconds have gone by since it was last written."""
        progress = self._progress
        progress.take(pulse)
        gone_ns = progress.now_ns - self._shown_ns
        if gone_ns >= _LINE_EVERY_NS and (at := progress.standing()) is not None:
            self._write(at.words((progress.done - self._shown_done) * clock.SECOND / gone_ns))
            self._shown_ns, self._shown_done = progress.now_ns, progress.done


class TQDMProgressUI:
    """Draws on `stream` (standard output) every `every_s` where that is a terminal and no dumb one, else as NoUI; `now` is monotonic ns."""

    def __init__(
        self, write: Callable[[str], None], *, stream: TextIO | None = None, now: clock.Now = clock.monotonic_ns, every_s: float = 0.25
    ) -> None:
        self._plain = NoUI(write)
        self._stream, self._now, self._every_s = sys.stdout if stream is None else stream, now, every_s
        self._is_drawn, self._end = False, threading.Event()
        self._pulses, self._lines, self._heard_ns = deque[Pulse](maxlen=_MOST_PULSES), deque[str](), 0

    def line(self, text: str) -> None:
        """Say something once; above the figures while there are some."""
        (self._lines.append if self._is_drawn else self._plain.line)(text)

    def pulse(self, pulse: Pulse) -> None:
        """Take a generator's pulse."""
        if not self._is_drawn:
            self._plain.pulse(pulse)
            return
        self._heard_ns = self._now()
        self._pulses.append(pulse)

    @contextmanager
    def showing(self, outlook: Outlook) -> Iterator[None]:
        """The time in which pulses come, once; however it ends, one line is left of what was drawn."""
        if is_dumb() or not self._stream.isatty():
            with self._plain.showing(outlook):
                yield
            return
        self._stream.flush()
        errors = _Above(self._lines)
        thread = threading.Thread(target=self._draw, args=(outlook,), name="screen", daemon=True)
        try:
            self._is_drawn = True
            thread.start()
            with redirect_stderr(errors) if sys.stderr.isatty() else nullcontext():
                yield
        finally:
            errors.write("\n" if errors.rest else "")
            self._is_drawn = False
            self._end.set()
            if thread.is_alive():
                thread.join(_PATIENCE_S)  # a terminal that takes nothing is given up
            for text in _drained(self._lines):
                self._plain.line(text)

    def _draw(self, outlook: Outlook) -> None:
        if sys.platform == "linux":  # where it is this thread's alone: the server under test may be on the same core
            os.nice(_NICE)
        if self._end.wait(self._every_s):  # before there was anything to see
            return
        from aiperf.ui.panel import Panel  # noqa: PLC0415 - rich, only where there is a terminal, and not while the load starts

        panel, progress, is_last = Panel(self._stream), Progress(outlook), False
        while not is_last:
            is_last = self._end.is_set()
            for pulse in _drained(self._pulses):
                progress.take(pulse)
            at, columns = progress.standing(self._now() - self._heard_ns), panel.size[0]
            left = [at.words(at.done / (at.elapsed_s or 1))[: columns - 1]] if at is not None and is_last else []
            panel.draw([] if is_last else panel.rows(at, columns), [*_drained(self._lines), *left])
            self._end.wait(self._every_s)


def _drained(queue: deque[Any]) -> Iterator[Any]:
    """What is there by now, while others add to it or take from it."""
    with suppress(IndexError):
        for _ in range(len(queue)):
            yield queue.popleft()


class _Above(io.TextIOBase):
    """Standard error while figures are drawn: whole lines go above them, `rest` is the beginning of one."""

    def __init__(self, lines: deque[str]) -> None:
        self._lines, self.rest = lines, ""

    def write(self, text: str) -> int:
        """Hand on the lines that are complete now."""
        *whole, self.rest = (self.rest + text).split("\n")
        self._lines.extend(whole)
        return len(text)
