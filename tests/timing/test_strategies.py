from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from aiperf.clock import MILLISECOND, SECOND
from aiperf.config.timing import Timing
from aiperf.errors import ConfigError
from aiperf.timing.strategies import ConcurrencyStrategy, FixedScheduleStrategy, RequestRateStrategy
from aiperf.workload import Schedule


def rate(seed: int = 1, **options: Any) -> Schedule:
    return RequestRateStrategy(Timing.model_validate({"type": "request_rate", **options}), seed=seed).schedule(None)


def fixed(recorded_s: Sequence[float] | None, **options: Any) -> Schedule:
    recorded = None if recorded_s is None else np.array([round(s * SECOND) for s in recorded_s], dtype=np.int64)
    return FixedScheduleStrategy(Timing.model_validate({"type": "fixed_schedule", **options}), seed=1).schedule(recorded)


def seconds(array: np.ndarray) -> list[float]:
    return [ns / SECOND for ns in array.tolist()]


class TestConcurrency:
    def test_is_a_level_without_arrivals(self) -> None:
        options = Timing.model_validate({"concurrency": 3, "warmup": {"duration_s": 1}, "stop": {"requests": 9, "grace_s": 2}})
        schedule = ConcurrencyStrategy(options, seed=1).schedule(None)
        warmup, run = schedule.phases
        assert (warmup.due_ns, warmup.concurrency, warmup.requests, warmup.duration_ns) == (None, 3, None, SECOND)
        assert (run.due_ns, run.concurrency, run.requests, run.duration_ns) == (None, 3, 9, None)
        assert schedule.grace_ns == 2 * SECOND


class TestRequestRate:
    def test_requests_end_it_a_gap_after_the_last(self) -> None:
        run = rate(rate=10, arrival="constant", stop={"requests": 5}).run
        assert (seconds(run.due_ns), run.duration_ns) == ([0, 0.1, 0.2, 0.3, 0.4], SECOND // 2)
        run = rate(rate=10, stop={"requests": 5}).run
        assert run.duration_ns == run.due_ns[-1] + 100 * MILLISECOND

    def test_a_duration_ends_it_at_its_end(self) -> None:
        run = rate(rate=10, arrival="constant", stop={"duration_s": 0.35}).run
        assert (seconds(run.due_ns), run.duration_ns) == ([0, 0.1, 0.2, 0.3], 350 * MILLISECOND)

    @pytest.mark.parametrize(("requests", "duration", "count", "length"), [(5, 10, 5, 0.5), (14, 1, 10, 1), (5, 0.45, 5, 0.45)])
    def test_of_both_the_first_counts(self, requests, duration, count, length) -> None:
        run = rate(rate=10, arrival="constant", stop={"requests": requests, "duration_s": duration}).run
        assert (len(run.due_ns), run.duration_ns / SECOND) == (count, length)

    def test_a_warmup_draws_other_arrivals_and_takes_its_time(self) -> None:
        warmup, run = rate(rate=50, warmup={"requests": 100}, stop={"requests": 100}).phases
        assert not set(warmup.due_ns.tolist()) & set(run.due_ns.tolist())
        assert warmup.duration_ns == warmup.due_ns[-1] + 20 * MILLISECOND
        assert warmup.duration_ns == pytest.approx(2 * SECOND, rel=0.4)
        assert rate(rate=50, arrival="constant", warmup={"requests": 100}, stop={"requests": 1}).phases[0].duration_ns == 2 * SECOND
        assert rate(rate=50, warmup={"duration_s": 3}, stop={"requests": 100}).phases[0].duration_ns == 3 * SECOND

    def test_seeds_draw_other_arrivals(self) -> None:
        one, two = (rate(seed, rate=50, stop={"requests": 20}).run.due_ns for seed in (1, 2))
        assert one.tolist() != two.tolist()

    def test_conversations_are_counted_up(self) -> None:
        assert all(phase.conversations is None for phase in rate(rate=50, warmup={"requests": 2}, stop={"requests": 20}).phases)

    def test_a_run_too_short_for_any_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"timing.rate=0.001: no request falls into the 0.5 s"):
            rate(rate=0.001, stop={"duration_s": 0.5})

    def test_an_hour_in_a_moment(self) -> None:
        run = rate(rate=300, stop={"duration_s": 3600}).run
        assert len(run.due_ns) == pytest.approx(300 * 3600, rel=0.01)


class TestFixedSchedule:
    times = (1, 1, 2, 4, 8, 16)

    def test_is_the_recorded_times_from_the_first_row(self) -> None:
        run = fixed(self.times).run
        assert seconds(run.due_ns) == [0, 0, 1, 3, 7, 15]
        assert run.conversations.tolist() == [0, 1, 2, 3, 4, 5]
        assert run.duration_ns == 18 * SECOND  # a mean gap of 3 s after the last
        assert run.concurrency is None

    def test_a_speedup_divides(self) -> None:
        assert seconds(fixed(self.times, speedup=2).run.due_ns) == [0, 0, 0.5, 1.5, 3.5, 7.5]

    def test_a_span_of_the_traces_own_time(self) -> None:
        run = fixed(self.times, start_s=2, end_s=16, speedup=2).run
        assert (seconds(run.due_ns), run.conversations.tolist()) == ([0, 1, 3], [2, 3, 4])

    def test_stop_rules_cut_it_further(self) -> None:
        run = fixed(self.times, stop={"requests": 3}).run
        assert (seconds(run.due_ns), run.conversations.tolist(), run.duration_ns) == ([0, 0, 1], [0, 1, 2], 4 * SECOND)
        run = fixed(self.times, stop={"duration_s": 3}).run
        assert (seconds(run.due_ns), run.duration_ns) == ([0, 0, 1], 3 * SECOND)
        run = fixed(self.times, stop={"duration_s": 100}).run
        assert (len(run.due_ns), run.duration_ns) == (6, 18 * SECOND)

    def test_a_warmup_is_its_own_beginning(self) -> None:
        warmup, run = fixed(self.times, start_s=2, speedup=2, warmup={"duration_s": 1.5}).phases
        assert (seconds(warmup.due_ns), warmup.conversations.tolist(), warmup.duration_ns) == ([0, 1], [2, 3], 3 * SECOND // 2)
        assert (seconds(run.due_ns), run.conversations.tolist()) == ([0, 1, 3, 7], [2, 3, 4, 5])
        warmup, _ = fixed(self.times, warmup={"requests": 3}).phases
        assert (seconds(warmup.due_ns), warmup.duration_ns) == ([0, 0, 1], 4 * SECOND)

    def test_a_kept_offset_waits_as_long_as_the_trace_does(self) -> None:
        assert seconds(fixed(self.times, offset="kept").run.due_ns) == [1, 1, 2, 4, 8, 16]
        run = fixed(self.times, offset="kept", start_s=3, speedup=2).run
        assert (seconds(run.due_ns), run.conversations.tolist()) == ([0.5, 2.5, 6.5], [3, 4, 5])
        assert run.duration_ns == 9.5 * SECOND  # a mean gap of 3 s after the last

    def test_a_single_row_lasts_a_second(self) -> None:
        run = fixed([5]).run
        assert (run.due_ns.tolist(), run.duration_ns) == ([0], SECOND)

    def test_times_beyond_a_year_are_of_another_unit(self) -> None:
        times = [0, 40_000_000]
        with pytest.raises(ConfigError, match=r"last row is due after 4e\+07 s; expected at most 31,536,000 s, .* milliseconds\?"):
            fixed(times)
        with pytest.raises(ConfigError, match="last row is due after"):
            fixed([0, 1], speedup=1e-15)
        assert seconds(fixed(times, speedup=4).run.due_ns) == [0, 10_000_000]
        assert seconds(fixed(times, stop={"duration_s": 1}).run.due_ns) == [0]

    @pytest.mark.parametrize("recorded", [None, []])
    def test_needs_recorded_times(self, recorded) -> None:
        with pytest.raises(ConfigError, match="fixed_schedule needs a dataset with recorded times"):
            fixed(recorded)

    @pytest.mark.parametrize("span", [{"start_s": 17}, {"start_s": 17, "end_s": 90}, {"start_s": 9, "end_s": 10}, {"end_s": 1}])
    def test_a_span_without_rows_names_the_traces(self, span) -> None:
        with pytest.raises(ConfigError, match=r"start_s=\d+.* keeps? no row; the trace goes from 1 s to 16 s"):
            fixed(self.times, **span)
