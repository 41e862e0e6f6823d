"""A stop rule ends a plan where it stands; pulses tell what the spool holds."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virtual import EPOCH, SECOND, Echo, Played, constant

from aiperf.load.generator import LEAD_NS, STOPPED
from aiperf.metrics.precision import STEP, position
from aiperf.results import Pulse
from aiperf.spool import Exchange
from aiperf.workload import WARMUP_FROM, Phase, Schedule

SHARED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def played(folder: Path, schedule: Schedule, service_ns: Callable[[int], int], *, end_ns: int, **options: object) -> Played:
    """A run that a stop rule ends with the first pulse at or after this time."""
    return Played(folder, schedule, service_ns, end=("enough", EPOCH + end_ns), **options)


def test_what_waits_is_unsent_what_flies_has_its_grace_and_what_would_have_come_is_not_planned(tmp_path: Path) -> None:
    run = played(tmp_path, constant(10, 100, concurrency=1), lambda _: SECOND // 2, end_ns=2 * SECOND)
    reasons = [(run.rows[number].error, run.rows[number].reason) for number in range(len(run.rows))]
    assert reasons == [(None, None)] * 4 + [("unsent", "enough")] * 16
    assert run.said["ended_by"] == "enough"
    assert run.said["cut_ns"] == 2 * SECOND - LEAD_NS
    start, end = run.said["window"]
    assert (start, end - start) == (EPOCH + LEAD_NS, run.said["cut_ns"])
    assert run.rows[3].end == EPOCH + LEAD_NS + 2 * SECOND


def test_what_outlives_its_grace_is_abandoned(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", due_ns=np.array([0, 9 * SECOND]), duration_ns=10 * SECOND),), grace_ns=5 * SECOND)
    run = played(tmp_path, schedule, lambda _: 100 * SECOND, end_ns=SECOND)
    assert [run.rows[0].error, *run.rows] == ["abandoned", 0]
    assert run.seconds == pytest.approx(6, abs=0.1)


def test_a_closed_loop_has_no_plan_to_cut(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", concurrency=2, duration_ns=60 * SECOND),), grace_ns=30 * SECOND)
    run = played(tmp_path, schedule, lambda _: 2 * SECOND, end_ns=5 * SECOND)
    assert len(run.sent) == len(run.rows) == 6
    assert all(row.error is None for row in run.sent)
    assert (run.said["ended_by"], run.said["cut_ns"]) == ("enough", None)
    assert run.said["window"][1] == EPOCH + 5 * SECOND


def test_an_end_in_the_warm_up_leaves_no_window(tmp_path: Path) -> None:
    warm = Phase("warmup", due_ns=np.arange(10) * SECOND, duration_ns=10 * SECOND)
    run = played(tmp_path, Schedule((warm, *constant(1, 10).phases), 9 * SECOND), lambda _: SECOND // 10, end_ns=3 * SECOND)
    assert sorted(run.rows) == [WARMUP_FROM + number for number in range(3)]
    assert run.said["window"][0] == run.said["window"][1]


def test_nothing_is_cut_once_all_has_been_sent_or_the_user_has_stopped(tmp_path: Path) -> None:
    late = played(tmp_path, constant(10, 10), lambda _: 5 * SECOND, end_ns=2 * SECOND)
    assert (late.said["ended_by"], late.said["cut_ns"], len(late.rows)) == (None, None, 10)
    (tmp_path / "b").mkdir()
    stopped = played(tmp_path / "b", constant(10, 100), lambda _: SECOND, end_ns=3 * SECOND, user_stop_ns=2 * SECOND)
    assert (stopped.said["ended_by"], stopped.said["cut_ns"], len(stopped.rows)) == (None, 2 * SECOND - LEAD_NS, 20)


def test_ctrl_c_in_the_grace_abandons_what_is_in_flight(tmp_path: Path) -> None:
    run = played(tmp_path, constant(10, 100), lambda _: 9 * SECOND, end_ns=SECOND, user_stop_ns=2 * SECOND)
    assert {row.error for row in run.rows.values()} == {"abandoned"}
    assert (len(run.rows), run.said["ended_by"]) == (10, "enough")
    assert run.seconds < 2.1


@SHARED
@given(
    gaps=st.lists(st.integers(0, SECOND // 2), min_size=1, max_size=60), service=st.integers(1, 2 * SECOND),
    slots=st.none() | st.integers(1, 3), end_ns=st.integers(0, 20 * SECOND), by_the_user=st.booleans(),
)  # fmt: skip
def test_every_arrival_to_the_cut_has_a_row_and_none_after_it(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], service: int, slots: int | None, end_ns: int, *, by_the_user: bool
) -> None:
    due = np.cumsum(gaps)
    schedule = Schedule((Phase("profiling", due_ns=due, concurrency=slots, duration_ns=int(due[-1]) + 1),), 60 * SECOND)
    when = {"user_stop_ns": end_ns} if by_the_user else {"end": ("enough", EPOCH + end_ns)}
    run = Played(tmp_path_factory.mktemp("cut"), schedule, lambda _: service, **when)
    cut_ns, reason = run.said["cut_ns"], STOPPED if by_the_user else "enough"
    assert sorted(run.rows) == list(range(int(np.searchsorted(due, cut_ns, side="right")) if cut_ns is not None else len(due)))
    assert all((row.sent is None) == (row.error == "unsent" and row.reason == reason) for row in run.rows.values())
    assert all(row.sent <= EPOCH + LEAD_NS + cut_ns for row in run.sent if cut_ns is not None)
    assert [one.sent for one in run.pulses] == sorted(one.sent for one in run.pulses)


class Streaming(Echo):
    """First body events at a third of the time."""

    def land(self, exchange: Exchange) -> None:
        if exchange.sent is not None:
            exchange.first_body = exchange.sent + self.service_ns(exchange.request) // 3
        super().land(exchange)


@pytest.mark.parametrize("spread", [0.05, 0.5, 1.5])
def test_quantiles_of_the_pulses_are_those_of_the_spool_to_two_percent(tmp_path: Path, spread: float) -> None:
    took = (np.random.default_rng(1).lognormal(17, spread, 3000)).astype(np.int64)
    run = Played(tmp_path, constant(100, 3000), lambda number: int(took[number]), server=Streaming)
    for name, stamp in (("first", "first_body"), ("total", "end")):
        counts = np.zeros(2000, np.int64)
        for one in run.pulses:
            for place, count in getattr(one, name).items():
                counts[place] += count
        held = np.array([getattr(row, stamp) - row.sent for row in run.sent])
        assert counts.sum() == len(held)
        for q in (0.01, 0.05, 0.25, 0.5, 0.9, 0.99, 0.999):
            true = float(np.quantile(held, q, method="inverted_cdf"))
            assert abs(STEP ** position(counts, q) * 1000 / true - 1) <= 0.02


def test_pulses_come_ten_times_a_second_and_each_is_judged_before_the_next(tmp_path: Path) -> None:
    run = played(tmp_path, constant(10, 100), lambda _: SECOND // 100, end_ns=3 * SECOND)
    assert {after.at_ns - before.at_ns for before, after in pairwise(run.pulses[:-1])} == {SECOND // 10}
    assert all(isinstance(one, Pulse) for one in run.pulses)
    assert run.pulses[-1].at_ns == EPOCH + 3 * SECOND  # the last of them ended it: nothing was in flight
