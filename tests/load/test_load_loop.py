"""The real loop: on time, in order, and never blind."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiperf import clock
from aiperf.load.loop import EpollLoop

MILLISECOND = 1_000_000
GOES = 100
"""Of which one is enough to show that times are met: others may have the core for ten seconds."""


class Reader:
    def __init__(self, fd: int, *, urgent: bool, log: list[tuple[str, int]], name: str) -> None:
        self.fd, self.urgent, self.log, self.name = fd, urgent, log, name

    def ready(self, mask: int, low_ns: int) -> None:
        assert mask & select.EPOLLIN
        os.read(self.fd, 100)
        self.log.append((self.name, low_ns))


def lateness() -> tuple[list[int], int]:
    """By how much a hundred exact times, one a millisecond, are missed; and how long the loop was idle."""
    loop, late = EpollLoop(), list[int]()
    start = loop.monotonic_ns() + 5 * MILLISECOND
    for i in reversed(range(100)):
        loop.at(start + i * MILLISECOND, lambda due=start + i * MILLISECOND: late.append(loop.monotonic_ns() - due), exact=True)
    loop.run(lambda: len(late) == 100)
    loop.close()
    return late, loop.idle_ns


def test_exact_times_are_met_and_in_order() -> None:
    for _ in range(GOES):
        late, idle_ns = lateness()
        assert min(late) >= 0
        if sorted(late)[50] < MILLISECOND and idle_ns > 90 * MILLISECOND:
            return
        clock.sleep(0.2)
    pytest.fail(f"of {GOES} goes the last was late by {sorted(late)[50]} ns in the middle, and idle for {idle_ns} ns")


def test_what_is_due_comes_before_reads_and_urgent_reads_before_others() -> None:
    loop, log = EpollLoop(), list[tuple[str, int]]()
    pipes = [os.pipe() for _ in range(2)]
    for (fd, _), name in zip(pipes, ("rest", "urgent")):
        loop.watch(fd, Reader(fd, urgent=name == "urgent", log=log, name=name))
    before = clock.now_ns()
    for _, fd in pipes:
        os.write(fd, b"x")
    loop.at(loop.monotonic_ns() - 1, lambda: log.append(("due", 0)))
    loop.run(lambda: len(log) == 3)
    assert [name for name, _ in log] == ["due", "urgent", "rest"]
    assert all(low <= before for name, low in log if name != "due")
    for pair in pipes:
        loop.forget(pair[0])
        os.close(pair[0])
        os.close(pair[1])
    loop.close()


def idled() -> list[int]:
    """The times that were left whenever there was time for idle work, of which there was some twice, in twenty milliseconds."""
    loop, asked, done = EpollLoop(), list[int](), list[int]()

    def idle(left_ns: int) -> bool:
        asked.append(left_ns)
        return len(asked) < 3

    loop.idle = idle
    loop.at(loop.monotonic_ns() + 20 * MILLISECOND, lambda: done.append(1))
    loop.run(lambda: bool(done))
    loop.close()
    return asked


def test_idle_work_is_done_only_when_there_is_time() -> None:
    goes = (idled() for _ in range(GOES))
    asked = next(asked for asked in goes if len(asked) >= 3)  # where the process stood still there was no time
    assert max(asked) <= 20 * MILLISECOND


def test_callbacks_that_ask_to_be_called_again_do_not_starve_the_reads() -> None:
    loop, log = EpollLoop(), list[tuple[str, int]]()
    fd, other = os.pipe()
    loop.watch(fd, Reader(fd, urgent=False, log=log, name="read"))
    os.write(other, b"x")
    again = list[int]()

    def busy() -> None:
        again.append(1)
        if len(again) < 100_000:
            loop.at(loop.monotonic_ns(), busy)

    loop.at(loop.monotonic_ns(), busy)
    loop.run(lambda: bool(log))
    assert len(again) < 100
    loop.forget(fd)
    os.close(fd)
    os.close(other)
    loop.close()


class Successor:
    """Reads, closes a second descriptor, and lets a new pipe have its number: what was ready there was not the new one."""

    urgent = True

    def __init__(self, loop: EpollLoop, fd: int, other: int) -> None:
        self.loop, self.fd, self.other = loop, fd, other
        self.told = list[int]()
        self.write = -1

    def ready(self, mask: int, low_ns: int) -> None:
        os.read(self.fd, 100)
        self.loop.forget(self.other)
        os.close(self.other)
        fd, self.write = os.pipe()
        assert fd == self.other
        self.loop.watch(fd, Told(self.told))


class Told:
    urgent = True

    def __init__(self, told: list[int]) -> None:
        self.told = told

    def ready(self, mask: int, low_ns: int) -> None:
        self.told.append(mask)


def test_readiness_of_a_closed_descriptor_is_not_handed_to_its_successor() -> None:
    loop, gone = EpollLoop(), list[int]()
    pipes = [os.pipe() for _ in range(2)]
    first = Successor(loop, pipes[0][0], pipes[1][0])
    loop.watch(pipes[0][0], first)
    os.write(pipes[0][1], b"x")
    loop.watch(pipes[1][0], Told(gone))
    os.write(pipes[1][1], b"x")
    loop.turn()
    assert first.told == []
    for fd in (pipes[0][0], pipes[1][0]):
        loop.forget(fd)
    for fd in {*(fd for pair in pipes for fd in pair), first.write}:
        os.close(fd)
    loop.close()


class Ticking:
    """A clock that a reading moves on by a microsecond."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def __call__(self) -> int:
        self.ns += 1000
        return self.ns


@contextmanager
def crowd(size: int, log: list[tuple[str, int]]) -> Iterator[EpollLoop]:
    """A loop on a clock of ours, with so many descriptors that are ready to be read."""
    loop, pipes = EpollLoop(), [os.pipe() for _ in range(size)]
    loop.monotonic_ns = Ticking()
    for fd, other in pipes:
        loop.watch(fd, Reader(fd, urgent=False, log=log, name="read"))
        os.write(other, b"x")
    yield loop
    for fd, other in pipes:
        loop.forget(fd)
        os.close(fd)
        os.close(other)
    loop.close()


def test_a_poll_reports_no_more_than_there_is_time_for() -> None:
    log = list[tuple[str, int]]()
    with crowd(100, log) as loop:
        loop.at(loop.monotonic_ns() + 30_000, lambda: log.append(("due", 0)), exact=True)
        loop.turn()
        assert log[0] == ("due", 0)
        assert 15 <= len(log) <= 31
        before = {low for _, low in log[1:]}
        loop.turn()
        assert len(log) == 101
    assert {low for _, low in log[1:]} == before, "what a poll left out may have been there all the while"


def test_behind_what_was_due_there_is_time_for_idle_work() -> None:
    log, asked = list[tuple[str, int]](), list[int]()
    with crowd(3, log) as loop:
        start = loop.monotonic_ns()
        for number in range(3):
            loop.at(start + 20_000 + 1000 * number, lambda number=number: log.append((f"due {number}", 0)), exact=True)
        loop.at(start + 900_000, lambda: None, exact=True)
        loop.idle = lambda left_ns: asked.append(left_ns) is None and False
        loop.turn()
    assert [name for name, _ in log] == ["due 0", "due 1", "due 2", "read", "read", "read"]
    assert len(asked) == 1
    assert 800_000 < asked[0] < 900_000
