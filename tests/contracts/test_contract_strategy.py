"""Every strategy of ours keeps its contract; a new one gets a case here: the options that it needs."""

import numpy as np
import pytest
from builtin import names

from aiperf.clock import SECOND
from aiperf.config.timing import Timing
from aiperf.plugin import plugins
from aiperf.testing import StrategyContract


class TestConcurrency(StrategyContract):
    name = "concurrency"
    timing = {"concurrency": 4}  # noqa: RUF012 - read only


class TestRequestRate(StrategyContract):
    name = "request_rate"
    timing = {"rate": 20.0, "concurrency": 8}  # noqa: RUF012 - read only


class TestFixedSchedule(StrategyContract):
    name = "fixed_schedule"
    timing = {"speedup": 2.0}  # noqa: RUF012 - read only


CASES = [TestConcurrency, TestRequestRate, TestFixedSchedule]


def planned(case, **more):
    timing = Timing.model_validate({"type": case.name, **case.timing, **more})
    return plugins.make("timing_strategy", case.name, timing, seed=9).schedule(np.arange(400) * (SECOND // 5) + 3 * SECOND)


def arrays(phase):
    return [None if array is None else array.tolist() for array in (phase.due_ns, phase.conversations)]


def test_every_strategy_has_a_case():
    assert sorted(case.name for case in CASES) == names("timing_strategy")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestEveryStrategy:
    def test_same_seed_same_plan_and_a_warmup_does_not_move_the_run(self, case):
        stop = {"requests": 60, "duration_s": 10}
        alone, again, warmed = (planned(case, stop=stop, warmup=warmup) for warmup in ({}, {}, {"requests": 20}))
        assert arrays(alone.run) == arrays(again.run) == arrays(warmed.run)
        assert arrays(warmed.phases[0]) == arrays(planned(case, stop=stop, warmup={"requests": 20}).phases[0])

    def test_a_level_is_handed_on(self, case):
        schedule = planned(case, concurrency=3, stop={"requests": 5}, warmup={"requests": 1})
        assert [phase.concurrency for phase in schedule.phases] == [3, 3]
