"""The only module that reads time. Everyone else is handed a function, or imports one from here at the rim."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], int]

now_ns: Now = time.time_ns
"""CLOCK_REALTIME in nanoseconds: the clock of every stamp, since the kernel's are on it."""

monotonic_ns: Now = time.monotonic_ns
"""CLOCK_MONOTONIC in nanoseconds: the clock of due times and deadlines."""

process_cpu_ns: Now = time.process_time_ns
"""CPU time of this process, all threads, in nanoseconds."""

MONOTONIC: int = time.CLOCK_MONOTONIC
SECOND = 1_000_000_000
MILLISECOND = 1_000_000
MICROSECOND = 1_000

_LOOKS = 4
_TIGHT_NS = 1_000


def offset_ns(real: Now = now_ns, monotonic: Now = monotonic_ns) -> int:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC; of several looks the least interrupted counts."""
    best, offset = None, 0
    for _ in range(_LOOKS):
        before = monotonic()
        middle = real()
        after = monotonic()
        if best is None or after - before < best:
            best, offset = after - before, middle - (before + after) // 2
        if best <= _TIGHT_NS:
            break
    return offset


def sleep(seconds: float) -> None:
    """Wait; for processes that tail files or poll a server, never for a schedule."""
    time.sleep(seconds)


def utc(ns: int | None = None) -> datetime:
    """A stamp as a date in UTC; now, if none is given."""
    return datetime.fromtimestamp((now_ns() if ns is None else ns) / SECOND, tz=UTC)
