"""Wakes at absolute CLOCK_MONOTONIC times: a poll's own timeout, and a loop's timers, end on a millisecond of epoll_wait (Linux)."""

import ctypes
import os
import sys

from aiperf import clock

_ABSOLUTE = 1  # of timerfd_settime


class Timer:
    """A descriptor that is readable once its time has come. Setting it anew takes that back, so it is never read.

    By libc, since `os` has it only from Python 3.13 on. Raises OSError if the kernel gives none.
    """

    def __init__(self) -> None:
        self._set_at: int | None = -1
        if sys.version_info >= (3, 13):
            self.fd = os.timerfd_create(clock.MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.timerfd_create(clock.MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def set(self, at_ns: int | None) -> None:
        """Become readable at this time; a time in the past, at once; None, never. The same time again costs nothing."""
        if at_ns == self._set_at:
            return
        self._set_at = at_ns
        at_ns = 0 if at_ns is None else max(at_ns, 1)
        if sys.version_info >= (3, 13):
            os.timerfd_settime_ns(self.fd, flags=os.TFD_TIMER_ABSTIME, initial=at_ns)
        else:
            self._libc.timerfd_settime(self.fd, _ABSOLUTE, (ctypes.c_long * 4)(0, 0, *divmod(at_ns, clock.SECOND)), None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
