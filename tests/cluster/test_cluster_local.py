"""Workers that are real processes: where they stand beside the one that sends."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aiperf.cluster import local
from aiperf.cluster.local import LocalCluster
from aiperf.seams import Event, Job

NICE = 19
THERE_ARE_SHARES = Path("/proc/self/autogroup").exists()


class Told:
    """The last that each worker has said of each thing, and who has ended how."""

    def __init__(self) -> None:
        self.said = dict[tuple[str, str], int | None]()
        self.ended = dict[str, str | None]()

    def hear(self, event: Event) -> None:
        if event.ended:
            self.ended[event.worker] = event.error
        else:
            what, value = event.message
            self.said[event.worker, what] = value

    def all(self, what: str, workers: list[str]) -> set[int | None]:
        return {self.said.get((worker, what), -1) for worker in workers}


def test_workers_give_the_weight_of_their_sessions_away_while_there_is_one_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    heard, behind = Told(), [f"behind-{number}" for number in range(3)]

    def until(cluster: LocalCluster, reached: Callable[[], bool]) -> None:
        while not reached():
            cluster.wait(0.05, heard.hear)

    with closing(LocalCluster()) as cluster:
        cluster.start(Job("sender", "working:standing", argument=True))
        for name in behind:
            cluster.start(Job(name, "working:standing", argument=True, nice=NICE))
        until(cluster, lambda: heard.all("nice", behind) == {NICE})
        until(cluster, lambda: heard.all("weight", behind) == {NICE if THERE_ARE_SHARES else None})
        assert heard.said["sender", "nice"] == 0
        cluster.tell("sender", "end")
        until(cluster, lambda: heard.all("weight", behind) == {0 if THERE_ARE_SHARES else None})
        for name in behind:
            cluster.tell(name, "end")
        until(cluster, lambda: len(heard.ended) == 4)
    assert set(heard.ended.values()) == {None}
    assert heard.said["sender", "weight"] == (0 if THERE_ARE_SHARES else None)


def test_nobody_waits_for_the_end_of_others_to_hear_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(local, "_CLOSING_S", 30.0)
    heard, workers = Told(), ["first", "second"]
    with closing(LocalCluster()) as cluster:
        for name in workers:
            cluster.start(Job(name, "working:parting", tmp_path))
        while heard.all("there", workers) != {1}:
            cluster.wait(0.05, heard.hear)
    assert len(list(tmp_path.glob("met-*"))) == 2
