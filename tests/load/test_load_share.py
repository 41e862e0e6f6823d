"""Several generators share one plan: nothing is sent twice, nothing is left out, and all begin at the same instant."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virtual import EPOCH, SECOND, Played, constant

from aiperf.load.generator import READY, STOPPED
from aiperf.workload import WARMUP_FROM, Phase, Schedule, Share

BEGIN = EPOCH + SECOND // 4
TRACE = Phase("profiling", due_ns=np.arange(50) * SECOND // 10, duration_ns=5 * SECOND, conversations=np.arange(90, 140)[::-1])
WARM = Phase("warmup", due_ns=np.arange(7) * SECOND // 5, duration_ns=2 * SECOND)
SCHEDULES = {
    "open": Schedule((WARM, *constant(20, 61).phases), 60 * SECOND),
    "capped": constant(20, 61, concurrency=5),
    "trace": Schedule((TRACE,), 60 * SECOND),
    "closed": Schedule((Phase("warmup", concurrency=5, requests=8), Phase("profiling", concurrency=5, requests=61)), 60 * SECOND),
}


def shares(generators: int, level: int | None) -> list[Share]:
    return [Share(number, generators, level) for number in range(generators)]


def all_of(folder: Path, schedule: Schedule, generators: int, service_ns: int = SECOND // 3, **options: object) -> list[Played]:
    """What each generator did, one after the other; each on a clock of its own."""
    runs = []
    for share in shares(generators, schedule.run.concurrency):
        place = folder / f"{generators}-{share.generator}"
        place.mkdir()
        runs.append(Played(place, schedule, lambda _: service_ns, share=share, **options))
    return runs


@given(total=st.integers(0, 300), generators=st.integers(1, 9), more=st.none() | st.integers(0, 40))
def test_shares_are_disjoint_complete_ascending_and_go_by_the_slots(total: int, generators: int, more: int | None) -> None:
    level = None if more is None else generators + more
    parts = [list(share.places(total)) for share in shares(generators, level)]
    assert sorted(place for part in parts for place in part) == list(range(total))
    assert all(part == sorted(part) for part in parts)
    for share, part in zip(shares(generators, level), parts):
        assert share.size(total) == len(part)
        assert list(islice(share.places(None), len(part))) == part
        own = len(share.slots(level or generators))
        assert abs(len(part) - total * own / (level or generators)) <= own
    if level is not None:
        assert sorted(slot for share in shares(generators, level) for slot in share.slots(level)) == list(range(level))
        sizes = [len(share.slots(level)) for share in shares(generators, level)]
        assert max(sizes) - min(sizes) <= 1


@given(total=st.integers(0, 300), generators=st.integers(1, 9), times=st.integers(1, 9))
def test_where_all_have_as_many_slots_it_is_every_nth_place(total: int, generators: int, times: int) -> None:
    for level in (None, generators * times):
        for share in shares(generators, level):
            assert list(share.places(total)) == list(range(share.generator, total, generators))


@pytest.mark.parametrize("name", SCHEDULES)
def test_requests_are_what_one_generator_would_have_sent(tmp_path: Path, name: str) -> None:
    schedule = SCHEDULES[name]
    seen = []
    for generators in (1, 2, 3):
        runs = all_of(tmp_path, schedule, generators)
        rows = {number: row for run in runs for number, row in run.rows.items()}
        assert len(rows) == sum(len(run.rows) for run in runs), "one was sent twice"
        assert all(row.error is None for row in rows.values())
        start = EPOCH + 10_000_000 if generators == 1 else BEGIN
        due = {number: None if row.due is None else row.due - start for number, row in rows.items()}
        seen.append(sorted((n, row.phase, row.conversation, row.asked_input, row.asked_output, due[n]) for n, row in rows.items()))
        if schedule.run.concurrency is not None:
            assert sorted(run.server.peak for run in runs) == sorted(len(s.slots(5)) for s in shares(generators, 5))
    assert seen[0] == seen[1] == seen[2]


def test_slots_that_are_not_as_many_end_together(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", concurrency=5, requests=400),), SECOND)
    ends = [run.said["window"][1] - BEGIN for run in all_of(tmp_path, schedule, 2)]
    assert abs(ends[0] - ends[1]) < SECOND
    assert all(25 * SECOND < end < 28 * SECOND for end in ends)  # 400 / 5 thirds of a second


def test_an_endless_plan_is_shared_without_end(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", concurrency=4, duration_ns=5 * SECOND),), SECOND)
    runs = all_of(tmp_path, schedule, 2, SECOND * 2 // 5)
    assert [sorted(run.rows) for run in runs] == [list(range(number, 13 * 4, 2)) for number in (0, 1)]


def test_all_begin_at_the_instant_that_they_are_told_and_send_nothing_before(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        runs = all_of(tmp_path / name, SCHEDULES[name], 3, begin_ns=EPOCH + 40 * SECOND + 1)
        firsts = [min(row.started for row in run.rows.values()) - EPOCH - 40 * SECOND - 1 for run in runs]
        assert firsts == ([0, SECOND // 5, 2 * SECOND // 5] if name == "open" else [0, 0, 0])
        for run in runs:
            words = [message for message in run.channel.up if message == READY]
            assert run.channel.up[: len(words)] == words
            assert len(words) > 390, "one that waits for the others says ten times a second that it is there"
            assert all(one.at_ns > EPOCH + 39 * SECOND for one in run.pulses)


@pytest.mark.parametrize("name", ["open", "closed"])
def test_a_stop_before_the_word_ends_it_without_a_request(tmp_path: Path, name: str) -> None:
    (run, _) = all_of(tmp_path, SCHEDULES[name], 2, begin_ns=None, user_stop_ns=SECOND)
    assert (run.rows, run.pulses) == ({}, [])
    assert run.seconds < 1.1
    assert run.said["cut_ns"] == (-1 if name == "open" else None)
    assert run.said["window"] in (None, (EPOCH + SECOND, EPOCH + SECOND))


def test_a_word_that_comes_with_the_stop_begins_nothing(tmp_path: Path) -> None:
    begin = EPOCH + 2 * SECOND + SECOND // 5
    run = Played(tmp_path, SCHEDULES["open"], lambda _: SECOND, share=Share(0, 2), begin_ns=begin, user_stop_ns=2 * SECOND)
    assert run.rows == {}
    assert len(run.pulses) == 1, "it has heard both"
    assert run.seconds < 2.1


def test_one_for_whom_nothing_is_left_ends_at_once_and_has_no_window(tmp_path: Path) -> None:
    closed = Schedule((Phase("warmup", concurrency=3, requests=2), Phase("profiling", concurrency=3, requests=1)), SECOND)
    for number, schedule in enumerate((closed, constant(1, 1))):
        (tmp_path / str(number)).mkdir()
        runs = all_of(tmp_path / str(number), schedule, 3)
        assert [sum(row.phase == 1 for row in run.rows.values()) for run in runs] == [1, 0, 0]
        assert sum(run.seconds < 0.4 for run in runs) >= 1
    closed_runs = all_of(tmp_path, closed, 3)
    assert sorted(number for run in closed_runs for number in run.rows) == [0, WARMUP_FROM, WARMUP_FROM + 1]
    assert [run.said["window"] is None for run in closed_runs] == [False, True, True]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(generators=st.integers(2, 4), slots=st.none() | st.integers(4, 9), stop=st.integers(1, 12 * SECOND), by_the_user=st.booleans())
def test_every_arrival_to_the_cut_has_one_row_whoever_should_have_sent_it(
    tmp_path_factory: pytest.TempPathFactory, generators: int, slots: int | None, stop: int, *, by_the_user: bool
) -> None:
    when = {"user_stop_ns": stop} if by_the_user else {"end": ("enough", EPOCH + stop)}
    schedule = constant(20, 200, concurrency=slots)
    runs = all_of(tmp_path_factory.mktemp("cut"), schedule, generators, SECOND, **when)
    cuts = {run.said["cut_ns"] for run in runs} - {None}
    assert len(cuts) <= 1, "each hears it at the same time here"
    assert schedule.run.due_ns is not None
    reached = int(np.searchsorted(schedule.run.due_ns, min(cuts), side="right")) if cuts else 200
    rows = [(number, row) for run in runs for number, row in run.rows.items()]
    assert sorted(number for number, _ in rows) == list(range(reached))
    assert {row.reason for _, row in rows if row.error == "unsent"} <= {STOPPED if by_the_user else "enough"}
