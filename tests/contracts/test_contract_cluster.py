"""Every cluster of ours keeps its contract; and what local workers do when something goes wrong."""

import os
import signal
import time

import pytest
from builtin import every

from aiperf.errors import MeasureError
from aiperf.plugin.plugins import get_class
from aiperf.seams import Channel, Cluster, Event, Job
from aiperf.testing import ClusterContract

HERE = "test_contract_cluster"


def size(channel: Channel, argument: bytes) -> None:
    channel.tell(len(argument))


def refused(channel: Channel, _: object) -> None:
    channel.tell("before")
    raise MeasureError("the disk is full")


def until_stopped(channel: Channel, _: object) -> None:
    channel.tell(os.getpid())
    while "stop" not in channel.told() and not channel.closed:
        time.sleep(0.005)
    channel.tell("stopped")


def weighed(channel: Channel, _: object) -> None:
    while not (said := channel.told()) and not channel.closed:
        time.sleep(0.005)
    channel.tell([len(message) for message in said])


def broken(channel: Channel, _: object) -> None:
    channel.tell("before")
    raise RuntimeError("this job is broken")


def asks(channel: Channel, _: object) -> None:
    channel.tell("may I go on?")
    channel.tell(channel.told())


def test_an_inline_worker_is_heard_while_it_runs_and_answered_at_once() -> None:
    cluster: Cluster = get_class("cluster", "inline")()
    said: list[object] = []

    def hear(event: Event) -> None:
        said.append(event.message)
        if event.message == "may I go on?":
            cluster.tell(event.worker, "yes")

    cluster.start(Job("one", f"{HERE}:asks", None))
    cluster.wait(0, hear)
    assert said == ["may I go on?", ["yes"], None]


def test_a_bug_in_an_inline_worker_is_raised_as_it_is() -> None:
    cluster: Cluster = get_class("cluster", "inline")()
    heard_: list[Event] = []
    cluster.start(Job("one", f"{HERE}:broken", None))
    with pytest.raises(RuntimeError, match="this job is broken"):
        cluster.wait(0, heard_.append)
    assert heard_ == [Event("one", "before")]


class TestEveryCluster(ClusterContract):
    entry = every("cluster")


def heard(cluster: Cluster, ends: int, seconds: float = 60) -> list[Event]:
    """Everything until so many workers have ended."""
    events: list[Event] = []
    deadline = time.monotonic() + seconds
    while sum(event.ended for event in events) < ends:
        assert time.monotonic() < deadline, events
        cluster.wait(0.1, events.append)
    return events


def test_a_local_worker_that_is_killed_or_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)  # noqa: PTH120
    cluster: Cluster = get_class("cluster", "local")()
    cluster.start(Job("broken", f"{HERE}:broken", None))
    *said, ended = heard(cluster, 1)
    assert [event.message for event in said] == ["before"]
    assert "ended with code 1" in (ended.error or "")
    assert "RuntimeError: this job is broken" in (ended.error or "")
    cluster.start(Job("killed", f"{HERE}:until_stopped", None))
    events: list[Event] = []
    while not events:
        cluster.wait(0.1, events.append)
    os.kill(events[0].message, signal.SIGKILL)
    assert heard(cluster, 1)[-1] == Event("killed", ended=True, error="was killed by signal 9")
    cluster.close()


def test_a_long_message_reaches_a_local_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)  # noqa: PTH120
    cluster: Cluster = get_class("cluster", "local")()
    cluster.start(Job("weighed", f"{HERE}:weighed", None))
    cluster.tell("weighed", b"x" * 2_000_000)
    assert [event.message for event in heard(cluster, 1)] == [[2_000_000], None]
    cluster.close()


def test_local_workers_are_gone_when_their_cluster_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)  # noqa: PTH120
    cluster: Cluster = get_class("cluster", "local")()
    cluster.start(Job("one", f"{HERE}:until_stopped", None))
    events: list[Event] = []
    while not events:
        cluster.wait(0.1, events.append)
    cluster.close()
    with pytest.raises(ProcessLookupError):
        os.kill(events[0].message, 0)


def test_what_is_expected_to_go_wrong_in_a_local_worker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)  # noqa: PTH120
    cluster: Cluster = get_class("cluster", "local")()
    cluster.start(Job("one", f"{HERE}:refused", None))
    assert heard(cluster, 1) == [Event("one", "before"), Event("one", ended=True, error="ended with code 1: the disk is full")]
    cluster.close()


def test_a_local_worker_that_dies_before_it_has_read_its_argument_is_named() -> None:
    cluster: Cluster = get_class("cluster", "local")()
    cluster.start(Job("lost", "no_such_module:work", b"x" * 5_000_000))
    (ended,) = heard(cluster, 1)
    assert "ended with code 1" in (ended.error or "")
    assert "no_such_module" in (ended.error or "")
    cluster.close()


def test_an_argument_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)  # noqa: PTH120
    cluster: Cluster = get_class("cluster", "local")()
    cluster.start(Job("one", f"{HERE}:size", b"x" * 30_000_000))
    assert heard(cluster, 1)[0].message == 30_000_000
    cluster.close()


def test_a_local_worker_that_cannot_be_started_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    cluster: Cluster = get_class("cluster", "local")()
    with pytest.raises(MeasureError, match=r"one could not be started \(No such file or directory\)"):
        cluster.start(Job("one", f"{HERE}:until_stopped", None))
    cluster.close()
