"""Workers as processes of this machine: no daemon, no ports, gone when the parent is."""

import contextlib
import os
import pickle
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aiperf.cluster.channel import SocketChannel
from aiperf.errors import MeasureError
from aiperf.seams import Event, Job

_LAST_WORDS = 2000
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # numpy's idle helpers spin on the cores that are measured
_PATIENCE_S, _CLOSING_S = 10.0, 2.0
"""How long a worker may take to end, and before it is killed: one that has closed its line, and one whose line we close."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that has been started for a job, and waits for its argument."""

    name: str
    target: str
    nice: int
    process: subprocess.Popen[bytes]
    channel: SocketChannel
    errors: IO[bytes]

    def fits(self, job: Job) -> bool:
        """Whether this is the process that the job needs."""
        return (self.name, self.target, self.nice) == (job.name, job.target, job.nice)

    def drop(self) -> None:
        """End it: it was not needed."""
        self.process.kill()
        self.process.communicate()
        self.channel.close(0)
        self.errors.close()


def hatch(name: str, target: str, nice: int = 0) -> Worker:
    """Start a process that imports the target while others still make up their minds about the argument. Raises MeasureError."""
    try:
        return _hatched(name, target, nice)
    except OSError as exc:
        raise MeasureError(f"{name} could not be started ({exc.strerror or exc})") from exc


def _hatched(name: str, target: str, nice: int) -> Worker:
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
    command = [sys.executable, "-m", "aiperf.cluster.child", name, str(theirs.fileno()), target]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, pass_fds=[theirs.fileno()], start_new_session=True,
            env={**os.environ, **_ONE_THREAD},
        )  # fmt: skip
    except OSError:
        ours.close()
        errors.close()
        raise
    finally:
        theirs.close()
    _step_back(process.pid, nice)
    return Worker(name, target, nice, process, SocketChannel(ours), errors)


def _step_back(pid: int, nice: int) -> None:
    """Lower a worker's priority from its first instruction on: whoever sends gets the core at once, not a slice later."""
    if not nice:
        return
    with contextlib.suppress(PermissionError, ProcessLookupError):  # where it is forbidden it stays as it is; a death is told by `wait`
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _is_said(pid: int, weight: int) -> bool:
    """Weigh a process's session, where there are such shares; False if it is to be said again."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(weight), encoding="ascii")
    except OSError as exc:
        return not isinstance(exc, BlockingIOError)  # without rights it may be said ten times a second
    return True


class LocalCluster:
    """Starts a process a job in a session of its own, so that Ctrl-C reaches only the parent; `hatched` ones are used first.

    Where each session has a share of the cores (autogroup), a nice value counts only within it: those with one give the whole
    weight of their session away, as long as there is one without.
    """

    def __init__(self, hatched: Sequence[Worker] = ()) -> None:
        self._hatched = list(hatched)
        self._workers: dict[str, Worker] = {}
        self._weights: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, job: Job) -> None:
        """Start a worker under the job's name."""
        worker = next((one for one in self._hatched if one.fits(job)), None)
        if worker is None:
            worker = hatch(job.name, job.target, job.nice)
        else:
            self._hatched.remove(worker)
        if job.cores is not None and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):  # one that has died is told by `wait`
                os.sched_setaffinity(worker.process.pid, job.cores)
        self._workers[job.name] = worker
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        assert worker.process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError), worker.process.stdin as line:  # a worker that has died is told by `wait`
            pickle.dump((job.argument, job.log), line, protocol=5)
        self._weigh()

    def tell(self, worker: str, message: object) -> None:
        """Send a message down; to a worker that is gone, nothing."""
        if worker in self._workers:
            self._workers[worker].channel.tell(message)

    def wait(self, timeout_s: float, hear: Callable[[Event], None]) -> None:
        """Tell what happened since the last call, waiting for something if nothing did."""
        self._weigh()
        for worker in self._workers.values():
            worker.channel.flush()
        for key, _ in self._selector.select(timeout_s if self._workers else 0):
            worker = key.data
            for message in worker.channel.told():
                hear(Event(worker.name, message))
            if worker.channel.closed:
                hear(Event(worker.name, ended=True, error=self._ended(worker)))

    def end(self, worker: str) -> None:
        """Kill one worker, whatever it does; `wait` tells of it."""
        if worker in self._workers:
            self._workers[worker].process.kill()

    def close(self) -> None:
        """End what still runs: none gives way any more, their lines close, then SIGTERM, then SIGKILL."""
        self._weigh(over=True)
        for worker in self._workers.values():
            worker.channel.close(0)
        for worker in list(self._workers.values()):
            self._ended(worker, _CLOSING_S)
        for worker in self._hatched:
            worker.drop()
        self._selector.close()

    def _weigh(self, *, over: bool = False) -> None:
        gives_way = not over and any(not worker.nice for worker in self._workers.values())
        for worker in self._workers.values():
            pid, weight = worker.process.pid, worker.nice if gives_way else 0
            if self._weights.get(pid, 0) != weight and _is_said(pid, weight):
                self._weights[pid] = weight

    def _ended(self, worker: Worker, patience_s: float = _PATIENCE_S) -> str | None:
        """Take the worker off the books; why it ended, None if as it should."""
        del self._workers[worker.name]
        self._selector.unregister(worker.channel)
        worker.channel.close(0)
        code = _code(worker.process, patience_s)
        worker.errors.seek(max(0, worker.errors.tell() - _LAST_WORDS))
        words = worker.errors.read().decode(errors="replace").strip()
        worker.errors.close()
        if code == 0:
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{how}: {words}" if words else how


def _code(process: subprocess.Popen[bytes], patience_s: float) -> int:
    for harder in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience_s)
        harder()
    return process.wait()
