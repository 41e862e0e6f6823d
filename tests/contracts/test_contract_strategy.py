"""What every Strategy must keep; a new one is declared in plugins.yaml and gets a case here: options that it needs."""

import pickle
from typing import Any

import numpy as np
import pytest

from aiperf.clock import SECOND
from aiperf.config.timing import Timing
from aiperf.plugin import plugins
from aiperf.workload import Schedule

NEEDS: dict[str, dict[str, Any]] = {
    "concurrency": {"concurrency": 4},
    "request_rate": {"rate": 20.0, "concurrency": 8},
    "fixed_schedule": {"speedup": 2.0},
}
RECORDED = np.sort(np.arange(400) * SECOND // 5 + 3 * SECOND)
STOPS = [{"requests": 50}, {"duration_s": 5}, {"requests": 50, "duration_s": 5}]
WARMUPS = [{}, {"requests": 10}, {"duration_s": 2}]


def test_every_strategy_of_the_registry_has_a_case() -> None:
    assert sorted(entry.name for entry in plugins.iter_entries("timing_strategy")) == sorted(NEEDS)


def planned(name: str, seed: int = 1, **more: Any) -> Schedule:
    options = Timing.model_validate({"type": name, **NEEDS[name], **more})
    strategy = plugins.get_class("timing_strategy", name)(options, seed=seed)
    schedule = pickle.loads(pickle.dumps(strategy)).schedule(RECORDED)  # noqa: S301 - our own bytes
    assert isinstance(schedule, Schedule)
    return schedule


def arrays(schedule: Schedule) -> list[list[int] | None]:
    return [None if array is None else array.tolist() for p in schedule.phases for array in (p.due_ns, p.conversations)]


@pytest.mark.parametrize("name", NEEDS)
class TestEveryStrategy:
    @pytest.mark.parametrize("warmup", WARMUPS)
    @pytest.mark.parametrize("stop", STOPS)
    def test_ends_by_its_rules(self, name, stop, warmup) -> None:
        schedule = planned(name, stop=stop, warmup=warmup)
        assert [phase.name for phase in schedule.phases] == (["warmup"] if warmup else []) + ["profiling"]
        for phase, rule in zip(schedule.phases, ([warmup] if warmup else []) + [stop], strict=True):
            if phase.due_ns is None:
                seconds = rule.get("duration_s")
                assert (phase.requests, phase.duration_ns) == (rule.get("requests"), None if seconds is None else seconds * SECOND)
                continue
            assert 0 < len(phase.due_ns) <= rule.get("requests", 10**9)
            assert phase.due_ns[-1] < phase.duration_ns <= rule.get("duration_s", 10**6) * SECOND

    def test_arrivals_ascend_from_the_start_of_their_phase(self, name) -> None:
        for phase in planned(name, stop={"requests": 100}, warmup={"requests": 30}).phases:
            if phase.due_ns is None:
                continue
            assert phase.due_ns.dtype == np.int64
            assert (np.diff(phase.due_ns, prepend=0) >= 0).all()
            assert phase.conversations is None or len(phase.conversations) == len(phase.due_ns)

    def test_same_seed_same_plan(self, name) -> None:
        one, two = (planned(name, seed=9, stop={"duration_s": 10}, warmup={"duration_s": 2}) for _ in range(2))
        assert arrays(one) == arrays(two)

    def test_a_warmup_does_not_move_the_run(self, name) -> None:
        alone, warmed = planned(name, stop={"requests": 60}), planned(name, stop={"requests": 60}, warmup={"requests": 20})
        assert arrays(alone) == arrays(Schedule(warmed.phases[-1:], warmed.grace_ns))

    def test_grace_and_level_are_handed_on(self, name) -> None:
        schedule = planned(name, concurrency=3, stop={"requests": 5, "grace_s": 1.5}, warmup={"requests": 1})
        assert schedule.grace_ns == 1_500_000_000
        assert [phase.concurrency for phase in schedule.phases] == [3, 3]
