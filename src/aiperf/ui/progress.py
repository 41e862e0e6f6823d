"""Where the load stands, from its pulses alone: counts of the present phase, rates of the last seconds, time left. Pure.

Each generator's times are taken from its own first pulse on: generators on other hosts, with other clocks, can be added up.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import structs

from aiperf.clock import MICROSECOND, MILLISECOND, SECOND
from aiperf.records import NOT_FAILURES
from aiperf.results import Outlook, Pulse

_RATE_NS, _KEPT_NS, _EVENTS = 2 * SECOND, 30 * SECOND, 100
"""Rates are over two seconds; so are times of first events, or over more, where there were fewer than these. No pulse counts for longer."""
_STEP, _NEARLY = 1.02, 0.99
_NOTHING = Pulse(0, 0, "", 0, 0, 0, 0, {}, 0, 0, 0.0, {}, {})


@dataclass(frozen=True, slots=True)
class Standing:
    """What can be seen at one moment; counts and seconds are those of the present phase, over all generators.

    `requests` and `seconds` end the phase, where they are known; `asked` and `reached` are arrivals a second in the last two
    (None: nobody asks for a rate, or too early to say), `pace` answers a second over the last half minute at most, `first_ms`
    the median of the latest first events (None: too few); `silent_s` is how long no pulse has come.
    """

    phase: str
    sent: int
    done: int
    failed: Mapping[str, int]
    in_flight: int
    elapsed_s: float
    requests: int | None = None
    seconds: float | None = None
    asked: float | None = None
    reached: float | None = None
    pace: float | None = None
    first_ms: float | None = None
    late_ms: float = 0.0
    busy: float = 0.0
    silent_s: float = 0.0

    @property
    def over(self) -> int:
        """Requests of the phase that have ended; all in flight are taken for its own, since phases hand over without draining."""
        return max(0, self.sent - self.in_flight)

    @property
    def failures(self) -> int:
        """Failed requests of all classes."""
        return sum(self.failed.values())

    def words(self, answers_per_s: float) -> str:
        """The moment as a line of text; the phase's seconds are told where no number of requests ends it."""
        elapsed = f"{self.elapsed_s:.0f}" + (f"/{self.seconds:.0f}" if self.requests is None and self.seconds else "")
        sent = f"{self.sent:,}" + (f"/{self.requests:,}" if self.requests is not None else "")
        counts = f"sent {sent}, in flight {self.in_flight:,}, done {self.done:,}, failed {self.failures:,}"
        return f"{self.phase} {elapsed} s: {counts}, {answers_per_s:,.1f} requests/s"

    @property
    def is_over(self) -> bool:
        """Whether everything that the phase was to send has ended."""
        spent = self.requests is not None and self.sent >= self.requests
        return self.in_flight == 0 and (spent or (self.seconds is not None and self.elapsed_s >= self.seconds))

    @property
    def fraction(self) -> float | None:
        """How much of the phase is behind us by the rule that ends it first, short of 1 while something is in flight; None: not known."""
        parts = [part / whole for part, whole in ((self.elapsed_s, self.seconds), (self.over, self.requests)) if whole]
        return None if not parts else 1.0 if self.is_over else min(_NEARLY, max(parts))

    @property
    def left_s(self) -> float | None:
        """Seconds until the first of the rules ends the phase, by plan or by pace; 0 when only answers are awaited, None: not known."""
        times = [self.seconds - self.elapsed_s] if self.seconds else []
        times += [(self.requests - self.over) / self.pace - self.silent_s] if self.requests and self.pace else []
        return max(0.0, min(times)) if times else None


class Progress:
    """Adds up the pulses of all generators; none of its times is its own."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        self._order = {name: place for place, name in enumerate(outlook.phases)}
        self._starts: dict[int, int] = {}
        self._pulses: deque[Pulse] = deque()
        self._latest: dict[int, Pulse] = {}
        self._before: dict[int, Pulse] = {}
        self._phase = ""
        self.now_ns = self._began_ns = 0
        """Nanoseconds since the first pulse, by the generator that is furthest."""

    def take(self, told: Pulse) -> None:
        """A generator's pulse; each generator's come in their order. The phase is that of the generator which is furthest."""
        pulse = structs.replace(told, at_ns=told.at_ns - self._starts.setdefault(told.generator, told.at_ns))
        before = self._latest.get(pulse.generator, _NOTHING)
        if pulse.phase != before.phase:
            self._before[pulse.generator] = before
        self._latest[pulse.generator] = pulse
        self._pulses.append(pulse)
        self.now_ns = max(self.now_ns, pulse.at_ns)
        while self.now_ns - self._pulses[0].at_ns > _KEPT_NS:
            self._pulses.popleft()
        if self._order.get(pulse.phase, 0) > self._order.get(self._phase, -1):
            self._phase, self._began_ns = pulse.phase, self.now_ns

    @property
    def done(self) -> int:
        """Good answers since the start, of all phases."""
        return sum(pulse.done for pulse in self._latest.values())

    def standing(self, silent_ns: int = 0) -> Standing | None:
        """The present moment, `silent_ns` after the last pulse; None before the first one."""
        if not self._latest:
            return None
        latest = self._latest.values()
        here = [(pulse, self._before[pulse.generator]) for pulse in latest if pulse.phase == self._phase]
        failed = sum((Counter(pulse.failed) - Counter(before.failed) for pulse, before in here), Counter[str]())
        gone_ns = self.now_ns - self._began_ns
        rates_from_ns = self.now_ns - (_RATE_NS if silent_ns <= SECOND else 0)  # while no pulse comes, nobody knows them
        return Standing(
            self._phase,
            sum(pulse.sent - before.sent for pulse, before in here),
            sum(pulse.done - before.done for pulse, before in here),
            {name: count for name, count in failed.items() if name not in NOT_FAILURES},
            sum(pulse.in_flight for pulse in latest),
            (gone_ns + silent_ns) / SECOND,
            *self._outlook.phases.get(self._phase, (None, None)),
            asked=self._per_s(lambda pulse: pulse.due, rates_from_ns) if self._outlook.rate is not None else None,
            reached=self._per_s(lambda pulse: pulse.sent, rates_from_ns),
            pace=self._per_s(lambda pulse: pulse.sent - pulse.in_flight, self._began_ns) if gone_ns >= SECOND else None,
            first_ms=self._first_ms(),
            late_ms=max(pulse.lateness_ns for pulse in self._pulses if self.now_ns - pulse.at_ns < SECOND) / MILLISECOND,
            busy=max(pulse.busy for pulse in latest),
            silent_s=silent_ns / SECOND,
        )

    def _per_s(self, count: Callable[[Pulse], int], from_ns: int) -> float | None:
        """What a count grows by a second since then over all generators; one that has fallen silent adds nothing."""
        first = {pulse.generator: pulse for pulse in reversed(self._pulses) if pulse.at_ns >= from_ns}
        rates = [
            (count(now) - count(then)) * SECOND / (now.at_ns - then.at_ns)
            for generator, then in first.items()
            if (now := self._latest[generator]).at_ns > then.at_ns and self.now_ns - now.at_ns <= SECOND
        ]
        return sum(rates) if rates else None

    def _first_ms(self) -> float | None:
        """Median of the latest first events, by nearest rank, as the middle of its step."""
        histogram = Counter[int]()
        for pulse in reversed(self._pulses):
            if self.now_ns - pulse.at_ns > _RATE_NS and histogram.total() >= _EVENTS:
                break
            histogram.update(pulse.first)
        places = sorted(histogram.elements())
        return _STEP ** (places[(len(places) - 1) // 2] + 0.5) * MICROSECOND / MILLISECOND if places else None
