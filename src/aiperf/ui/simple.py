"""Progress in place, four times a second, where there is a terminal; elsewhere lines.

A thread of the parent draws, and it alone writes while the load runs: whoever tells it something only leaves it in a
queue, so that a terminal that has been paused delays nobody but itself.
"""

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

from aiperf import clock
from aiperf.config.terminal import is_dumb
from aiperf.results import Outlook, Pulse
from aiperf.ui.lines import NoUI
from aiperf.ui.progress import Progress
from aiperf.ui.region import Region

T = TypeVar("T")

EVERY_S = 0.25
_PATIENCE_S, _MOST_PULSES, _NICE = 1.0, 10_000, 10


@dataclass(slots=True)
class _Told:
    """What the thread that draws has been told and has not yet shown."""

    heard_ns: int = 0
    pulses: deque[Pulse] = field(default_factory=lambda: deque(maxlen=_MOST_PULSES))
    lines: deque[str] = field(default_factory=deque)
    end: threading.Event = field(default_factory=threading.Event)


class TQDMProgressUI:
    """Shows the load on `stream` (standard output, if none is given) where that is a terminal; else, or on a dumb one, as NoUI.

    `now` is CLOCK_MONOTONIC in nanoseconds, `every_s` the time between two drawings.
    """

    def __init__(
        self, write: Callable[[str], None], *, stream: TextIO | None = None, now: clock.Now = clock.monotonic_ns, every_s: float = EVERY_S
    ) -> None:
        self._plain = NoUI(write)
        self._stream, self._now, self._every_s = stream, now, every_s
        self._told: _Told | None = None

    def line(self, text: str) -> None:
        """Say something once; above the figures while there are some."""
        if self._told is None:
            self._plain.line(text)
        else:
            self._told.lines.append(text)

    def pulse(self, pulse: Pulse) -> None:
        """Take a generator's pulse."""
        if self._told is None:
            self._plain.pulse(pulse)
        else:
            self._told.heard_ns = self._now()
            self._told.pulses.append(pulse)

    @contextmanager
    def showing(self, outlook: Outlook) -> Iterator[None]:
        """The time in which pulses come; however it ends, one line is left of what was drawn."""
        stream = sys.stdout if self._stream is None else self._stream
        if is_dumb() or not stream.isatty():
            with self._plain.showing(outlook):
                yield
            return
        stream.flush()
        told, errors = _Told(), _Above(self.line)
        thread = threading.Thread(target=self._draw, args=(stream, outlook, told), name="screen", daemon=True)
        try:
            self._told = told
            thread.start()
            with redirect_stderr(errors) if sys.stderr.isatty() else nullcontext():
                yield
        finally:
            errors.write("\n" if errors.rest else "")
            self._told = None
            told.end.set()
            if thread.ident is not None:
                thread.join(_PATIENCE_S)  # a terminal that takes nothing is given up
            for text in _drained(told.lines):
                self._plain.line(text)

    def _draw(self, stream: TextIO, outlook: Outlook, told: _Told) -> None:
        _step_back()
        if told.end.wait(self._every_s):  # before there was anything to see
            return
        from aiperf.ui.panel import Panel  # noqa: PLC0415 - rich, only where there is a terminal, and not while the load starts

        panel, region, progress = Panel(stream.encoding, outlook), Region(stream), Progress(outlook)
        is_last = False
        while True:
            for pulse in _drained(told.pulses):
                progress.take(pulse)
            at, columns = progress.standing(self._now() - told.heard_ns), region.size[0]
            if is_last:
                region.draw([], [*_drained(told.lines), *panel.last(at, columns)])
                return
            region.draw(panel.rows(at, columns), [*_drained(told.lines)])
            is_last = told.end.wait(self._every_s)


def _drained(queue: deque[T]) -> Iterator[T]:
    """What is there by now, while others add to it or take from it."""
    with suppress(IndexError):
        for _ in range(len(queue)):
            yield queue.popleft()


def _step_back() -> None:
    """Lower this thread's priority: the server under test may be on the same core, and its answers come first."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        with suppress(PermissionError):
            tid = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, tid, os.getpriority(os.PRIO_PROCESS, tid) + _NICE)


class _Above(io.TextIOBase):
    """Standard error while figures are drawn: whole lines go above them, `rest` is the beginning of one."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line, self.rest = line, ""

    def write(self, text: str) -> int:
        """Hand on the lines that are complete now."""
        *whole, self.rest = (self.rest + text).split("\n")
        for line in whole:
            self._line(line)
        return len(text)
