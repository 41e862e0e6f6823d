"""The plainest screen: lines of text, one every 5 s while the load runs; for terminals, pipes and logs alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiperf.clock import SECOND
from aiperf.results import Outlook, Pulse
from aiperf.ui.progress import Progress

_EVERY_NS = 5 * SECOND


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
        """The time in which pulses come; a terminal is left alone."""
        self._progress = Progress(outlook)
        self._shown_ns = self._shown_done = 0
        yield

    def pulse(self, pulse: Pulse) -> None:
        """Write where the load stands if five seconds have gone by since it was last written."""
        progress = self._progress
        progress.take(pulse)
        gone_ns = progress.now_ns - self._shown_ns
        at = progress.standing() if gone_ns >= _EVERY_NS else None
        if at is None:
            return
        elapsed = f"{at.elapsed_s:.0f}" + (f"/{at.seconds:.0f}" if at.requests is None and at.seconds else "")
        sent = f"{at.sent:,}" + (f"/{at.requests:,}" if at.requests is not None else "")
        counts = f"sent {sent}, in flight {at.in_flight:,}, done {at.done:,}, failed {at.failures:,}"
        self._write(f"{at.phase} {elapsed} s: {counts}, {(progress.done - self._shown_done) * SECOND / gone_ns:,.1f} requests/s")
        self._shown_ns, self._shown_done = progress.now_ns, progress.done
