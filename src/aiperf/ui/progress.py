"""Where the load stands, from its pulses alone: counts of the present phase, rates of the last seconds, time left. Pure.

Each generator's times are taken from its own first pulse on, so that generators on other hosts, with other clocks, can
be added up.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from aiperf.clock import MICROSECOND, MILLISECOND, SECOND
from aiperf.records import NOT_FAILURES
from aiperf.results import Outlook, Pulse

RATE_NS = 2 * SECOND
"""Rates are over this long, or over what there is."""
EVENTS = 100
"""First events behind the times that are shown: those of the last two seconds, or more of them where there were fewer than these."""

_FIRST_NS, _OLDEST_NS = 2 * SECOND, 30 * SECOND
_LATE_NS = SECOND
_GONE_NS = SECOND
_PACE_S = 30
_STEP = 1.02
_NEARLY = 0.99


@dataclass(frozen=True, slots=True)
class Standing:
    """What can be seen at one moment; counts and seconds are those of the present phase, over all generators.

    `asked` and `reached` are arrivals a second in the last two (None: too early to say), `pace` answers a second over the
    last half minute at most, `first_ms` median and p99 of the latest first events (None: too few). `requests` and
    `seconds` end the phase, where they are known; `silent_s` is how long no pulse has come.
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
    first_ms: tuple[float | None, float | None] = (None, None)
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

    @property
    def is_over(self) -> bool:
        """Whether everything that the phase was to send has ended."""
        spent = self.requests is not None and self.sent >= self.requests
        return self.in_flight == 0 and (spent or (self.seconds is not None and self.elapsed_s >= self.seconds))

    @property
    def fraction(self) -> float | None:
        """How much of the phase is behind us by the rule that ends it first, short of 1 while something is in flight; None: not known."""
        parts = [self.elapsed_s / self.seconds] if self.seconds else []
        parts += [self.over / self.requests] if self.requests else []
        if not parts:
            return None
        return 1.0 if self.is_over else min(_NEARLY, max(parts))

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
        self._trails: dict[int, _Trail] = {}
        self._firsts = _Firsts()
        self._phase = ""
        self.now_ns = self._began = 0
        """Nanoseconds since the first pulse, by the generator that is furthest."""
        self._marks: deque[tuple[int, int]] = deque(maxlen=_PACE_S + 1)

    def take(self, pulse: Pulse) -> None:
        """A generator's pulse; each generator's come in their order."""
        trail = self._trails.setdefault(pulse.generator, _Trail(pulse))
        trail.take(pulse)
        self.now_ns = max(self.now_ns, trail.now)
        self._firsts.take(self.now_ns, pulse.first)
        self._enter(pulse.phase)
        if not self._marks or self.now_ns - self._marks[-1][0] >= SECOND:
            self._marks.append((self.now_ns, self._over()))

    @property
    def done(self) -> int:
        """Good answers since the start, of all phases."""
        return sum(trail.latest.done for trail in self._trails.values())

    def standing(self, silent_ns: int = 0) -> Standing | None:
        """The present moment, `silent_ns` after the last pulse; None before the first one."""
        if not self._trails:
            return None
        trails = list(self._trails.values())
        here = self._here()
        requests, seconds = self._outlook.phases.get(self._phase, (None, None))
        failed = sum((trail.failed for trail in here), Counter[str]())
        return Standing(
            self._phase,
            sum(trail.since("sent") for trail in here),
            sum(trail.since("done") for trail in here),
            dict(failed.most_common()),
            self._in_flight(),
            (self.now_ns - self._began + silent_ns) / SECOND,
            requests=requests,
            seconds=seconds,
            asked=self._rate("due") if silent_ns <= _GONE_NS else None,
            reached=self._rate("sent") if silent_ns <= _GONE_NS else None,
            pace=self._pace(),
            first_ms=(self._firsts.quantile_ms(0.5), self._firsts.quantile_ms(0.99)),
            late_ms=max(trail.late_ns for trail in trails) / MILLISECOND,
            busy=max(trail.latest.busy for trail in trails),
            silent_s=silent_ns / SECOND,
        )

    def _enter(self, phase: str) -> None:
        """The phase is that of the generator which is furthest."""
        if not self._phase or self._order.get(phase, 0) > self._order.get(self._phase, 0):
            self._phase, self._began = phase, self.now_ns
            self._marks.clear()

    def _here(self) -> list["_Trail"]:
        return [trail for trail in self._trails.values() if trail.latest.phase == self._phase]

    def _in_flight(self) -> int:
        return sum(trail.latest.in_flight for trail in self._trails.values())

    def _over(self) -> int:
        return max(0, sum(trail.since("sent") for trail in self._here()) - self._in_flight())

    def _rate(self, count: str) -> float | None:
        """Arrivals a second over all generators; one that has fallen silent adds nothing."""
        rates = [trail.rate(count) for trail in self._trails.values() if self.now_ns - trail.now <= _GONE_NS]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    def _pace(self) -> float | None:
        then, over = self._marks[0]
        ended = self._over() - over
        return ended / ((self.now_ns - then) / SECOND) if self.now_ns - then >= SECOND and ended > 0 else None


class _Trail:
    """One generator's pulses of the last seconds, and its counts when its present phase began."""

    def __init__(self, pulse: Pulse) -> None:
        self._first_ns = pulse.at_ns
        self._before: Pulse | None = None
        self._recent: deque[Pulse] = deque()
        self.latest = pulse

    @property
    def now(self) -> int:
        """Nanoseconds since its first pulse."""
        return self.latest.at_ns - self._first_ns

    @property
    def failed(self) -> Counter[str]:
        """Failures in the present phase, by class; what is not the server's doing is none."""
        before = self._before.failed if self._before else {}
        since = {name: count - before.get(name, 0) for name, count in self.latest.failed.items()}
        return Counter({name: count for name, count in since.items() if count > 0 and name not in NOT_FAILURES})

    @property
    def late_ns(self) -> int:
        """The worst lateness of its last second."""
        return max(pulse.lateness_ns for pulse in self._recent if self.latest.at_ns - pulse.at_ns < _LATE_NS)

    def take(self, pulse: Pulse) -> None:
        if pulse.phase != self.latest.phase:
            self._before = self.latest
        self.latest = pulse
        self._recent.append(pulse)
        while len(self._recent) > 1 and pulse.at_ns - self._recent[1].at_ns >= RATE_NS:
            self._recent.popleft()

    def since(self, count: str) -> int:
        """How much a count has grown in the present phase."""
        return _count(self.latest, count) - (_count(self._before, count) if self._before else 0)

    def rate(self, count: str) -> float | None:
        """How much it grows a second; None with nothing to compare."""
        oldest = self._recent[0]
        span = self.latest.at_ns - oldest.at_ns
        return (_count(self.latest, count) - _count(oldest, count)) / (span / SECOND) if span > 0 else None


def _count(pulse: Pulse, name: str) -> int:
    return int(getattr(pulse, name))


class _Firsts:
    """The histogram of the latest first events, in steps of 2 % from 1 µs on."""

    def __init__(self) -> None:
        self._parts: deque[tuple[int, int, Mapping[int, int]]] = deque()
        self._sum = Counter[int]()
        self._events = 0

    def take(self, now: int, histogram: Mapping[int, int]) -> None:
        """Add what a pulse brings, and forget what is older than is needed."""
        if histogram:
            self._parts.append((now, sum(histogram.values()), histogram))
            self._sum.update(histogram)
            self._events += self._parts[-1][1]
        while self._parts and self._is_past(now - self._parts[0][0], self._parts[0][1]):
            _, events, old = self._parts.popleft()
            self._sum.subtract(old)
            self._events -= events

    def quantile_ms(self, q: float) -> float | None:
        """By nearest rank, as the middle of its step; None where there are too few events for it."""
        if self._events < round(1 / (1 - q)):
            return None
        rank, seen = q * self._events, 0
        for place in sorted(self._sum):
            seen += self._sum[place]
            if seen >= rank:
                return float(_STEP ** (place + 0.5)) * MICROSECOND / MILLISECOND
        return None

    def _is_past(self, age_ns: int, events: int) -> bool:
        return age_ns > _OLDEST_NS or (age_ns > _FIRST_NS and self._events - events >= EVENTS)
