"""A timer of the kernel with absolute times on CLOCK_MONOTONIC: loop timers end on a millisecond, this one does not."""

import ctypes
import os
import sys

from aiperf import clock

_ABSOLUTE = 1


class Timer:
    """A timerfd. Watched edge-triggered it need not be read: setting it anew clears what it had counted."""

    def __init__(self) -> None:
        self._set_at = -1
        if sys.version_info >= (3, 13):
            self.fd = os.timerfd_create(clock.MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.timerfd_create(clock.MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def set(self, at_ns: int) -> None:
        """Become readable at this time; a time in the past, at once. The same time again costs nothing."""
        if at_ns == self._set_at:
            return
        self._set_at = at_ns
        at_ns = max(at_ns, 1)  # 0 would disarm it
        if sys.version_info >= (3, 13):
            os.timerfd_settime_ns(self.fd, flags=os.TFD_TIMER_ABSTIME, initial=at_ns)
        else:
            self._libc.timerfd_settime(self.fd, _ABSOLUTE, (ctypes.c_long * 4)(0, 0, *divmod(at_ns, clock.SECOND)), None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
