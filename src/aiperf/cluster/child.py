"""What a worker process runs: `python -m aiperf.cluster.child NAME FD TARGET`, its job's argument pickled on stdin.

It imports the target before it reads the argument, ignores SIGINT (Ctrl-C is for the parent), and ends with its parent:
the line between them is closed, however the parent died.
"""

import os
import pickle
import signal
import socket
import sys
import threading
from pkgutil import resolve_name
from typing import NoReturn

from aiperf import logs
from aiperf.cluster.channel import SocketChannel
from aiperf.errors import AiperfError

_PATIENCE_S = 1.0


def main() -> None:
    """Run the job that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, _, fd, target = sys.argv
    work = resolve_name(target)
    packed = sys.stdin.buffer.read()
    if not packed:  # the parent needed no worker after all
        return
    argument, log = pickle.loads(packed)  # noqa: S301 - our own parent wrote it
    channel, code = SocketChannel(socket.socket(fileno=int(fd))), 0
    if log is not None:
        logs.configure(*log)
    try:
        work(channel, argument)
    except AiperfError as exc:  # a bug keeps its traceback
        code = 1
        sys.stderr.write(f"{exc}\n")
    finally:
        channel.close()
    leave(code)


def leave(code: int) -> NoReturn:
    """End this process; threads that a plugin has left behind are waited for no longer than a second."""
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    for thread in left:
        thread.join(_PATIENCE_S / len(left))
    if any(thread.is_alive() for thread in left):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
