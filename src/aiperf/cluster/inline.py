"""Workers one after the other in this process: for tests, and where time is virtual."""

from collections import deque
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Any

from aiperf.cluster.local import Worker
from aiperf.seams import Event, Job


class InlineChannel:
    """A line that is a list, unless somebody hears at once."""

    def __init__(self) -> None:
        self.closed = False
        self.down: list[Any] = []
        self.up: list[Any] = []
        self.hear: Callable[[Any], None] = self.up.append

    def tell(self, message: object) -> None:
        """Send a message up."""
        self.hear(message)

    def told(self) -> list[Any]:
        """Messages from the parent that have come so far."""
        messages, self.down = self.down, []
        return messages

    def fileno(self) -> int:
        """No descriptor."""
        return -1


class InlineCluster:
    """Runs each worker to its end when it is waited for, in the order in which they were started."""

    def __init__(self, hatched: Sequence[Worker] = ()) -> None:
        for worker in hatched:
            worker.drop()
        self._jobs = deque[tuple[Job, InlineChannel]]()
        self._channels: dict[str, InlineChannel] = {}

    def start(self, job: Job) -> None:
        """Put a worker in line."""
        channel = InlineChannel()
        self._channels[job.name] = channel
        self._jobs.append((job, channel))

    def tell(self, worker: str, message: object) -> None:
        """Send a message down; to a worker that is gone, nothing."""
        if worker in self._channels:
            self._channels[worker].down.append(message)

    def wait(self, timeout_s: float, hear: Callable[[Event], None]) -> None:  # noqa: ARG002 - it works instead of waiting
        """Run the next worker to its end; what it says is heard while it does. A bug in it is raised as it is."""
        if not self._jobs:
            return
        job, channel = self._jobs.popleft()
        channel.hear = lambda message: hear(Event(job.name, message))
        resolve_name(job.target)(channel, job.argument)
        del self._channels[job.name]
        hear(Event(job.name, ended=True))

    def end(self, worker: str) -> None:
        """Nothing: a worker that is not waited for does not run."""

    def close(self) -> None:
        """Forget what was not run."""
        self._jobs.clear()
        self._channels.clear()
