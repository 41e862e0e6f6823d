"""Wakes a loop at absolute CLOCK_MONOTONIC times: by a timerfd on Linux, since the timers of a loop end on a millisecond of epoll_wait."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

from aiperf.clock import MONOTONIC, SECOND, monotonic_ns

_ABSOLUTE = 1
_HAS_TIMERFD = sys.platform == "linux"


class _TimerFd:
    """A descriptor that is readable once its time has come. Setting it anew takes that back, so it is never read.

    By libc, since `os` has it only from Python 3.13 on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._loop, self._settime, self._spec = loop, libc.timerfd_settime, (ctypes.c_long * 4)()
        self._fd: int = libc.timerfd_create(MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._fd, fire)

    def set(self, at_ns: int) -> None:
        self._spec[2], self._spec[3] = divmod(at_ns, SECOND)
        self._settime(self._fd, _ABSOLUTE, self._spec, None)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class _LoopTimer:
    """The loop's own timer, a millisecond coarse."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._loop, self._fire = loop, fire
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ns: int) -> None:
        self.close()
        if at_ns:
            self._handle = self._loop.call_later(max(0, at_ns - monotonic_ns()) / SECOND, self._fire)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class Alarm:
    """Calls `fire` once at the time last set. Raises OSError if the kernel gives no timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._fire = fire
        self._timer = _TimerFd(loop, self._rings) if _HAS_TIMERFD else _LoopTimer(loop, self._rings)
        self._at_ns: int | None = None

    def set(self, at_ns: int | None) -> None:
        """The next time, past or to come; None is never."""
        if at_ns != self._at_ns:
            self._at_ns = at_ns
            self._timer.set(0 if at_ns is None else max(1, at_ns))

    def close(self) -> None:
        """Fire no more and give the timer back."""
        self._timer.close()

    def _rings(self) -> None:
        self._at_ns = -1
        self._fire()
        if self._at_ns == -1:
            self.set(None)
