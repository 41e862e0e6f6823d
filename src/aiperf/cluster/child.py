"""What a worker process runs: `python -m aiperf.cluster.child NAME FD TARGET`, its job's argument pickled on stdin.

It imports the target before it reads the argument, ignores SIGINT (Ctrl-C is for the parent), and ends with its parent:
the line between them is closed, however the parent died.
"""

import pickle
import signal
import socket
import sys
from importlib import import_module
from typing import Any

from aiperf.cluster.channel import SocketChannel
from aiperf.errors import AiperfError


def resolved(target: str) -> Any:
    """The function behind `module:function`."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def main() -> None:
    """Run the job that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, _, fd, target = sys.argv
    work = resolved(target)
    packed = sys.stdin.buffer.read()
    if not packed:  # the parent needed no worker after all
        return
    argument = pickle.loads(packed)  # noqa: S301 - our own parent wrote it
    channel = SocketChannel(socket.socket(fileno=int(fd)))
    try:
        work(channel, argument)
    except AiperfError as exc:  # a bug keeps its traceback
        sys.exit(str(exc))
    finally:
        channel.close()


if __name__ == "__main__":
    main()
