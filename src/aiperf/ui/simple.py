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
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TextIO

from aiperf import clock
from aiperf.results import Outlook, Pulse
from aiperf.ui.lines import NoUI
from aiperf.ui.progress import Progress
from aiperf.ui.region import Region

if TYPE_CHECKING:
    from aiperf.ui.panel import Panel

EVERY_S = 0.25
_PATIENCE_S = 1.0
_MOST_PULSES = 10_000
_NICE = 10


class SimpleUI:
    """Shows the load on `stream` (standard output, if none is given) where that is a terminal; else, or on a dumb one, as NoUI.

    `now` is CLOCK_MONOTONIC in nanoseconds, `every_s` the time between two drawings.
    """

    def __init__(
        self, write: Callable[[str], None], *, stream: TextIO | None = None, now: clock.Now = clock.monotonic_ns, every_s: float = EVERY_S
    ) -> None:
        self._plain = NoUI(write)
        self._stream, self._now, self._every_s = stream, now, every_s
        self._drawer: _Drawer | None = None

    def line(self, text: str) -> None:
        """Say something once; above the figures while there are some."""
        if self._drawer is None:
            self._plain.line(text)
        else:
            self._drawer.said.put(text)

    def pulse(self, pulse: Pulse) -> None:
        """Take a generator's pulse."""
        if self._drawer is None:
            self._plain.pulse(pulse)
        else:
            self._drawer.pulses.append((self._now(), pulse))

    @contextmanager
    def showing(self, outlook: Outlook) -> Iterator[None]:
        """The time in which pulses come; however it ends, one line is left of what was drawn."""
        stream = sys.stdout if self._stream is None else self._stream
        with ExitStack() as stack:
            stack.enter_context(self._plain.showing(outlook))
            if stream.isatty():
                self._draw_on(stream, outlook, stack)
            yield

    def _draw_on(self, stream: TextIO, outlook: Outlook, stack: ExitStack) -> None:
        stream.flush()
        drawer = _Drawer(stream, outlook, self._plain, now=self._now, every_s=self._every_s)
        stack.callback(self._ended, drawer)
        if sys.stderr.isatty():
            errors = _Above(self.line)
            stack.callback(errors.finish)
            stack.enter_context(redirect_stderr(errors))
        self._drawer = drawer
        drawer.thread.start()

    def _ended(self, drawer: "_Drawer") -> None:
        self._drawer = None
        drawer.end()
        for text in drawer.unsaid():
            self._plain.line(text)


class _Drawer:
    """The thread that draws, and what it is told by others."""

    def __init__(self, stream: TextIO, outlook: Outlook, plain: NoUI, *, now: clock.Now, every_s: float) -> None:
        self.pulses: deque[tuple[int, Pulse]] = deque(maxlen=_MOST_PULSES)
        self.said: SimpleQueue[str | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._encoding, self._outlook, self._plain, self._now, self._every_s = stream.encoding, outlook, plain, now, every_s
        self._region = Region(stream.fileno(), stream.encoding)
        self._progress = Progress(outlook)
        self._heard_ns = 0

    def end(self) -> None:
        """Draw for the last time; a terminal that takes nothing is given up."""
        self.said.put(None)
        if self.thread.ident is not None:
            self.thread.join(_PATIENCE_S)

    def unsaid(self) -> Iterator[str]:
        """What was not written."""
        while not self.said.empty():
            text = self.said.get()
            if text is not None:
                yield text
        self.said.put(None)  # for a thread that comes back to life

    def _run(self) -> None:
        _step_back()
        texts, is_last = self._told()
        if is_last:  # over before there was anything to see
            self._write(texts)
            return
        from aiperf.ui.panel import Panel  # noqa: PLC0415 - rich, only where there is a terminal, and not while the load starts

        panel = Panel(self._encoding, self._outlook)
        work = self._as_lines if panel.is_dumb else self._draw
        work(panel, texts, is_last)
        while not is_last:
            texts, is_last = self._told()
            work(panel, texts, is_last)

    def _told(self) -> tuple[list[str], bool]:
        """The lines that come until the next drawing is due, and whether it is the last one."""
        texts: list[str] = []
        until = clock.monotonic_ns() + round(self._every_s * clock.SECOND)
        while (left_ns := until - clock.monotonic_ns()) > 0:
            try:
                text = self.said.get(timeout=left_ns / clock.SECOND)
            except Empty:
                break
            if text is None:
                return texts, True
            texts.append(text)
        return texts, False

    def _draw(self, panel: "Panel", texts: list[str], is_last: bool) -> None:
        while self.pulses:
            self._heard_ns, pulse = self.pulses.popleft()
            self._progress.take(pulse)
        at, columns = self._progress.standing(self._now() - self._heard_ns), self._region.size[0]
        rows = panel.rows(at, columns) if not is_last else panel.last(at, columns) if at is not None else []
        if self._region.is_ours:
            self._region.draw(rows, texts)
        else:  # someone else has the terminal: what must be said is said, below what they wrote
            self._region.leave()
            self._write([*texts, *(row.text for row in rows if is_last)])

    def _as_lines(self, _: "Panel", texts: list[str], is_last: bool) -> None:  # noqa: ARG002 - as `_draw`
        self._write(texts)
        while self.pulses:
            self._plain.pulse(self.pulses.popleft()[1])

    def _write(self, texts: list[str]) -> None:
        for text in texts:
            self._plain.line(text)


def _step_back() -> None:
    """Lower this thread's priority: the server under test may be on the same core, and its answers come first."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        with suppress(PermissionError):
            tid = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, tid, os.getpriority(os.PRIO_PROCESS, tid) + _NICE)


class _Above(io.TextIOBase):
    """Standard error while figures are drawn: whole lines go above them."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line, self._rest = line, ""

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Hand on the lines that are complete now."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._line(line)
        return len(text)

    def finish(self) -> None:
        """Hand on what has no end yet."""
        if self._rest:
            self._line(self._rest)
        self._rest = ""
