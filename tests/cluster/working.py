"""What the workers of these tests do."""

import os
import time
from pathlib import Path

from aiperf.seams import Channel

WEIGHT = Path("/proc/self/autogroup")


def standing(channel: Channel, argument: object) -> None:
    """Tell this process's own priority, and the weight of its session whenever it changes, until it is told to end."""
    channel.tell(("nice", os.nice(0)))
    told = None
    while not channel.closed and not channel.told():
        weight = int(WEIGHT.read_text().split()[-1]) if WEIGHT.exists() else None
        if weight != told:
            channel.tell(("weight", told := weight))


def parting(channel: Channel, folder: Path) -> None:
    """Stay until the line closes, and then until another does: leave a file `met` behind, or nothing after five seconds."""
    channel.tell(("there", 1))
    while not channel.closed:
        channel.told()
    (folder / f"one-{os.getpid()}").touch()
    deadline = time.monotonic() + 5
    while len(list(folder.glob("one-*"))) < 2:
        if time.monotonic() > deadline:
            return
    (folder / f"met-{os.getpid()}").touch()
