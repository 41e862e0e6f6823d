"""The plainest screen: lines of text, one every 5 s while the load runs; for terminals, pipes and logs alike."""

from collections.abc import Callable
from dataclasses import dataclass

from aiperf.clock import SECOND
from aiperf.records import PHASES
from aiperf.results import Pulse

_EVERY_NS = 5 * SECOND


@dataclass(frozen=True, slots=True)
class _Counts:
    """What all generators together have sent, finished and failed since the start."""

    sent: int = 0
    done: int = 0
    failed: int = 0


class NoUI:
    """Hands lines to `write`; time is that of the pulses, and counts are those of the present phase."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._latest: dict[int, Pulse] = {}
        self._phase: str | None = None
        self._before = self._shown = _Counts()
        self._began_ns = self._shown_ns = 0

    def line(self, text: str) -> None:
        """Write a line at once."""
        self._write(text)

    def pulse(self, pulse: Pulse, total: int | None) -> None:
        """Write where the load stands if five seconds have gone by since it was last written; `total` is the run's requests, if known."""
        if not self._latest:
            self._shown_ns = pulse.at_ns
        if pulse.phase != self._phase:
            self._phase, self._began_ns = pulse.phase, pulse.at_ns
            self._before = self._counts()
        self._latest[pulse.generator] = pulse
        if pulse.at_ns - self._shown_ns >= _EVERY_NS:
            self._write(self._progress(pulse, total))
            self._shown, self._shown_ns = self._counts(), pulse.at_ns

    def _counts(self) -> _Counts:
        pulses = self._latest.values()
        return _Counts(sum(p.sent for p in pulses), sum(p.done for p in pulses), sum(sum(p.failed.values()) for p in pulses))

    def _progress(self, pulse: Pulse, total: int | None) -> str:
        counts, before = self._counts(), self._before
        known = total is not None and pulse.phase == PHASES[-1]
        sent = f"{counts.sent - before.sent:,}" + (f"/{total:,}" if known else "")
        in_flight = sum(p.in_flight for p in self._latest.values())
        rate = (counts.done - self._shown.done) / ((pulse.at_ns - self._shown_ns) / SECOND)
        elapsed = (pulse.at_ns - self._began_ns) / SECOND
        return (
            f"{pulse.phase} {elapsed:.0f} s: sent {sent}, in flight {in_flight:,}, "
            f"done {counts.done - before.done:,}, failed {counts.failed - before.failed:,}, {rate:,.1f} requests/s"
        )
