"""What a worker process runs: `python -m aiperf.cluster.child NAME FD NICE TARGET`, its job's argument pickled on stdin.

It imports the target before it reads the argument, ignores SIGINT (Ctrl-C is for the parent), and ends with its parent:
the line between them is closed, however the parent died.
"""

import os
import pickle
import signal
import socket
import sys
from importlib import import_module
from typing import Any

from aiperf.cluster.channel import SocketChannel


def resolved(target: str) -> Any:
    """The function behind `module:function`."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _step_back(nice: int) -> None:
    """Run at lower priority; on Linux so low that whoever sends gets the core at once when it wakes, and not a slice later."""
    if nice:
        os.nice(nice)
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> None:
    """Run the job that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, _, fd, nice, target = sys.argv
    _step_back(int(nice))
    work = resolved(target)
    packed = sys.stdin.buffer.read()
    if not packed:  # the parent needed no worker after all
        return
    argument = pickle.loads(packed)  # noqa: S301 - our own parent wrote it
    channel = SocketChannel(socket.socket(fileno=int(fd)))
    work(channel, argument)
    channel.close()


if __name__ == "__main__":
    main()
