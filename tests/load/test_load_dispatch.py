"""The schedule is kept whatever the server does, and the ledger says what happened to each planned request."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virtual import EPOCH, SECOND, Played, constant

from aiperf.load.generator import LEAD_NS, STOPPED
from aiperf.workload import WARMUP_FROM, Phase, Schedule


def test_a_slow_server_does_not_slow_the_schedule_of_an_hour(tmp_path: Path) -> None:
    played = Played(tmp_path, constant(1, 3600), lambda _: 20 * SECOND)
    assert len(played.sent) == 3600
    assert {row.sent - row.due for row in played.sent} == {0}
    assert {row.started - row.ready for row in played.sent} == {0}
    assert {row.end - row.due for row in played.sent} == {20 * SECOND}
    assert played.server.peak in (20, 21)
    start, end = played.said["window"]
    assert end - start == 3600 * SECOND


def test_an_arrival_that_finds_no_slot_waits_and_none_is_dropped(tmp_path: Path) -> None:
    played = Played(tmp_path, constant(10, 8, concurrency=1), lambda _: SECOND // 2)
    rows = [played.rows[i] for i in range(8)]
    assert played.server.peak == 1
    assert [row.sent - rows[0].sent for row in rows] == [i * SECOND // 2 for i in range(8)]
    assert sum(row.end - row.due for row in rows) / 8 == 1.9 * SECOND
    assert all(row.ready == max(row.due, rows[i - 1].end if i else 0) for i, row in enumerate(rows))


def test_after_the_duration_nothing_new_is_sent_and_what_waits_is_unsent(tmp_path: Path) -> None:
    played = Played(tmp_path, constant(10, 20, concurrency=1), lambda _: SECOND // 2, stop_ns=2 * SECOND)
    assert len(played.rows) == 20
    assert len(played.sent) == 4
    assert {row.reason for row in played.rows.values() if row.sent is None} == {"duration"}
    assert {row.error for row in played.rows.values() if row.sent is None} == {"unsent"}


def test_what_is_in_flight_has_its_grace_and_is_then_abandoned(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", due_ns=np.array([0, SECOND]), duration_ns=2 * SECOND),), grace_ns=5 * SECOND)
    played = Played(tmp_path, schedule, lambda number: SECOND * (1 if number else 100))
    assert played.rows[1].error is None
    assert played.rows[0].error == "abandoned"
    assert 7 < played.seconds < 7.1  # the run is 2 s long, its grace 5 s


def test_ctrl_c_sends_nothing_more_writes_down_what_waits_and_the_plan_ends_there(tmp_path: Path) -> None:
    played = Played(tmp_path, constant(10, 100, concurrency=8), lambda _: SECOND, user_stop_ns=2 * SECOND)
    by_error = {error: sum(row.error == error for row in played.rows.values()) for error in (None, "abandoned", "unsent")}
    assert sorted(played.rows) == list(range(20))
    assert by_error == {None: 8, "abandoned": 8, "unsent": 4}
    assert {row.reason for row in played.rows.values() if row.error} == {STOPPED}
    assert played.said["cut_ns"] == 2 * SECOND - LEAD_NS
    assert played.seconds < 2.2
    start, end = played.said["window"]
    assert end - start < 2.2 * SECOND


def test_a_closed_loop_keeps_its_level_and_ends_after_its_requests(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", concurrency=4, requests=40),), grace_ns=SECOND)
    played = Played(tmp_path, schedule, lambda number: SECOND + number)
    assert sorted(played.rows) == list(range(40))
    assert played.server.peak == 4
    assert all(row.due is None and row.started == row.ready for row in played.sent)
    assert 9.9 < (played.said["window"][1] - played.said["window"][0]) / SECOND + 1 < 10.1  # the last four go out with the ninth wave's end


def test_a_closed_loop_ends_after_its_duration(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", concurrency=2, duration_ns=5 * SECOND),), grace_ns=30 * SECOND)
    played = Played(tmp_path, schedule, lambda _: SECOND * 2)
    assert len(played.rows) == 6
    assert all(row.error is None for row in played.rows.values())


@pytest.mark.parametrize("warmup", [{"requests": 10}, {"duration_ns": 5 * SECOND}])
def test_a_warm_up_hands_over_without_draining(tmp_path: Path, warmup: dict[str, int]) -> None:
    schedule = Schedule((Phase("warmup", concurrency=2, **warmup), Phase("profiling", concurrency=2, requests=10)), grace_ns=SECOND * 9)
    played = Played(tmp_path, schedule, lambda _: SECOND)
    warm = sorted(number for number in played.rows if number >= WARMUP_FROM)
    assert warm == list(range(WARMUP_FROM, WARMUP_FROM + 10))
    assert sorted(set(played.rows) - set(warm)) == list(range(10))
    gaps = np.diff(sorted(row.sent for row in played.sent))
    assert gaps.max() == SECOND  # never an idle slot in between


def test_a_warm_up_in_open_loop_comes_before_the_run(tmp_path: Path) -> None:
    due = np.arange(10) * SECOND // 10
    phases = (Phase("warmup", due_ns=due, duration_ns=SECOND), Phase("profiling", due_ns=due, duration_ns=SECOND))
    played = Played(tmp_path, Schedule(phases, grace_ns=SECOND), lambda _: SECOND // 3)
    assert len(played.rows) == 20
    assert played.rows[0].due - played.rows[WARMUP_FROM].due == SECOND
    assert played.said["window"][0] == played.rows[0].due
    assert played.rows[WARMUP_FROM].phase == 0


def test_requests_that_fail_at_once_do_not_recurse(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", concurrency=3, requests=20_000),), grace_ns=SECOND)
    played = Played(tmp_path, schedule, lambda _: 0)
    assert len(played.rows) == 20_000
    assert {row.error for row in played.rows.values()} == {"connect"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    gaps=st.lists(st.integers(0, 2 * SECOND), min_size=1, max_size=40),
    level=st.integers(1, 5) | st.none(),
    services=st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=7),
    stop=st.integers(1, 30 * SECOND) | st.none(),
)
def test_every_planned_request_has_exactly_one_end(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], level: int | None, services: list[int], stop: int | None
) -> None:
    due = np.cumsum(gaps).astype(np.int64)
    schedule = Schedule((Phase("profiling", due_ns=due, concurrency=level, duration_ns=int(due[-1]) + 1),), grace_ns=SECOND)
    played = Played(tmp_path_factory.mktemp("run"), schedule, lambda number: services[number % len(services)], stop_ns=stop)
    assert sorted(played.rows) == list(range(len(due)))
    assert level is None or played.server.peak <= level
    assert not played.server.flying
    for number, row in played.rows.items():
        assert row.due - EPOCH - LEAD_NS == due[number]
        assert (row.sent is None) == (row.error == "unsent")
        assert row.sent is None or row.sent >= row.ready >= row.due
