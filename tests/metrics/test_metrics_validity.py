import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from metric_records import T0, answer, facts, records, unsent

from aiperf.config.experiment import VerdictLimits
from aiperf.config.slos import Limit
from aiperf.metrics import validity
from aiperf.metrics.view import Case
from aiperf.results import REASONS, Reason, Verdict

P99 = Limit("request_latency", "p99", "<=", 1000.0, "ms")


def steady(count: int = 100, gap: float = 10, took: float = 50, **others: Any) -> list[dict]:
    """Arrivals at equal gaps, each answered by three tokens."""
    return [answer(i, i * gap, tokens=[i * gap + took - 2, i * gap + took - 1, i * gap + took], **others) for i in range(count)]


def judge(rows: list[dict], limits: VerdictLimits | None = None, promised: tuple[Limit, ...] = (), **about: Any) -> Verdict:
    said = {"mean_gap_ns": 10_000_000, "planned": len(rows), **about}
    return validity.verdict(Case(records(rows), facts(**said), limits or VerdictLimits(), promised))


def only(verdict: Verdict, name: str) -> Reason:
    assert [reason.reason for reason in verdict.reasons] == [name]
    return verdict.reasons[0]


def test_a_run_that_did_what_it_planned_is_valid() -> None:
    verdict = judge(steady())
    assert verdict == Verdict()
    assert verdict.word == "VALID"


def test_each_reason_has_its_check() -> None:
    assert tuple(check.__name__ for check in validity.CHECKS) == REASONS


def test_eight_arrivals_at_a_server_that_takes_half_a_second_with_one_slot() -> None:
    rows = [answer(i, 100 * i, ready=500 * i, sent=500 * i, tokens=[500 * i + 500]) for i in range(8)]
    table = records(rows)
    assert sum(table["planned_request_latency"].to_pylist()) / 8 == 1900.0
    assert set(table["request_latency"].to_pylist()) == {500.0}
    reason = only(judge(rows, end=800, mean_gap_ns=100_000_000, concurrency=1), "plan_not_met")
    assert "2 of 8 arrivals were sent in time (25 %)" in reason.detail
    assert "raise or unset timing.concurrency (1 slot)" in reason.advice
    assert ": 2 requests/s were answered" in reason.advice


def test_arrivals_that_were_not_planned_for_the_window_need_not_be_sent_in_it() -> None:
    assert judge(steady(), end=500, planned=None).valid
    assert judge(steady(), end=500, planned=50).valid


def test_without_a_cap_the_advice_is_the_rate() -> None:
    reason = only(judge([row | {"sent_ns": row["sent_ns"] + 2_000_000_000} | LATE for row in steady()]), "plan_not_met")
    assert "timing.rate" in reason.advice
    assert "timing.concurrency" not in reason.advice


LATE = dict.fromkeys(("first_token_ns", "first_token_low_ns", "last_token_ns", "end_ns"), T0 + 5000000000)


def test_a_late_generator_is_named_with_its_lateness() -> None:
    rows = [row | {"started_ns": row["due_ns"] + 2_500_000} for row in steady()]
    reason = only(judge(rows), "late_generator")
    assert "2.50 ms, over 1.00 ms" in reason.detail


@pytest.mark.parametrize(("took", "valid"), [(50, False), (300, True)])
def test_lateness_is_measured_against_the_latency(took: float, valid: bool) -> None:
    rows = [row | {"started_ns": row["due_ns"] + 2_500_000} for row in steady(took=took)]
    assert judge(rows).valid == valid


def test_one_late_request_in_two_hundred_is_not_a_late_generator() -> None:
    rows = steady(200, gap=5)
    rows[7]["started_ns"] += 500_000_000
    assert judge(rows).valid


def test_a_level_that_was_held_and_one_that_was_not() -> None:
    rows = [answer(i, 50 * i, tokens=[50 * i + 40, 50 * i + 50]) for i in range(20)]
    assert judge(rows, open_loop=False, concurrency=1).valid
    assert "1 of 2 requests were in flight" in only(judge(rows, open_loop=False, concurrency=2), "level_not_held").detail


@pytest.mark.parametrize(
    ("fact", "reason", "said"),
    [
        ({"busiest_second": 0.97}, "generator_saturated", "97 %"),
        ({"clock_step_ns": -3_200_000}, "clock_step", "-3.20 ms"),
        ({"dead_generators": ("generator-0: signal 9",)}, "generator_died", "generator-0: signal 9"),
        ({"lost_frames": 2}, "lost_frames", "2 frames"),
    ],
)
def test_what_befell_the_generators(fact: dict, reason: str, said: str) -> None:
    assert said in only(judge(steady(), **fact), reason).detail


@pytest.mark.parametrize("fact", [{"busiest_second": 0.9}, {"clock_step_ns": 900_000}])
def test_what_is_within_bounds_is_no_reason(fact: dict) -> None:
    assert judge(steady(), **fact).valid


def test_unsent_arrivals_by_their_reasons() -> None:
    lost = unsent(100, 1000, "the generator died")
    reason = only(judge([*steady(), lost]), "unsent")
    assert "1 of 101 arrivals were never sent (the generator died 1)" in reason.detail


@pytest.mark.parametrize("why", ["duration", "stopped by the user", "requests"])
def test_what_the_stop_rule_left_unsent_is_no_reason(why: str) -> None:
    assert judge([*steady(), unsent(100, 1000, why)]).valid


def test_errors_are_named_with_their_classes() -> None:
    rows = [row | {"error": "http_5xx" if i < 2 else "reset" if i < 3 else None} for i, row in enumerate(steady())]
    reason = only(judge(rows), "errors")
    assert "3 of 100 requests failed (3 %), over 1 %: http_5xx 2, reset 1" in reason.detail


CUT = {"error": "abandoned", "reason": "in flight when the grace was over"}


def cut(*reasons: str, rows: list[dict] | None = None) -> list[dict]:
    """The first of these rows are abandoned, each for its reason."""
    rows = steady() if rows is None else rows
    return [row | CUT | {"reason": why} for row, why in zip(rows, reasons)] + rows[len(reasons) :]


def test_abandoned_requests_are_no_errors() -> None:
    verdict = judge(cut(CUT["reason"], *["stopped by the user"] * 2))
    assert verdict.valid
    assert verdict.notes == (
        "2 requests abandoned (stopped by the user): in no latency, and no failure",
        "1 request abandoned (in flight when the grace was over): in no latency, and no failure",
    )


def test_too_many_that_outlived_their_grace_void_the_run() -> None:
    verdict = judge(cut(*[CUT["reason"]] * 3, "stopped by the user"))
    reason = only(verdict, "abandoned")
    assert "3 of 100 requests sent were abandoned when the grace was over (3 %), over 1 %" in reason.detail
    assert "timing.stop.grace_s" in reason.advice
    assert verdict.notes == ("1 request abandoned (stopped by the user): in no latency, and no failure",)
    assert judge(cut(*[CUT["reason"]] * 3), VerdictLimits(max_error_rate=0.03)).valid
    assert judge(cut(*[CUT["reason"]] * 3), VerdictLimits(ignore=("abandoned",))).valid


@pytest.mark.parametrize("why", ["stopped by the user", "the generator died"])
def test_what_was_cut_off_by_others_than_the_plan_is_no_reason(why: str) -> None:
    assert judge(cut(*[why] * 60)).valid


@pytest.mark.parametrize(
    ("row", "valid"), [({"sent_ns": None}, True), ({"phase": "warmup"}, True), ({"error": "cancelled"}, True), ({}, False)]
)
def test_only_requests_of_the_run_that_were_sent_can_be_abandoned(row: dict, valid: bool) -> None:
    rows = [one | CUT | row for one in steady(2)] + steady(150)[2:]
    assert judge(rows, planned=148, end=1500).valid == valid


@pytest.mark.parametrize(("end_s", "valid"), [(0.9, True), (0.99, False)])
def test_only_the_judged_window_is_asked_for_what_was_abandoned(end_s: float, valid: bool) -> None:
    rows = [*steady()[:96], *(row | CUT for row in steady()[96:])]
    assert judge(rows, VerdictLimits.model_validate({"window": {"end_s": end_s}})).valid == valid


SILENT = {
    **dict.fromkeys(("first_token_ns", "first_token_low_ns", "first_output_token_ns", "last_token_ns")),
    "chunk_ns": [], "chunk_channel": [], "chunk_tokens": [], "output_tokens": 0,
}  # fmt: skip


@pytest.mark.parametrize(("silent", "asked", "valid"), [(2, 3, False), (1, 3, True), (2, None, True)])
def test_streams_without_a_token_void_the_run_where_tokens_were_asked_for(silent: int, asked: int | None, valid: bool) -> None:
    rows = steady(asked_output_tokens=asked)
    verdict = judge([row | SILENT for row in rows[:silent]] + rows[silent:])
    if valid:
        assert verdict == Verdict(notes=(f"{silent} % of the answers held no token: they have no latency",))
    else:
        assert "2 of 100 good answers held no token (2 %), over 1 %" in only(verdict, "no_tokens").detail
        assert verdict.notes == ()


PIECE = SILENT | {"last_token_ns": T0 + 5_000_000_000, "end_ns": T0 + 5_000_000_000, "output_tokens": 3}


def test_answers_in_one_piece_are_named_where_streaming_was_asked_for() -> None:
    verdict = judge([row | PIECE for row in steady()])
    assert verdict == Verdict(notes=("100 % of the answers came in one piece though streaming was asked for: no time to first token",))
    assert judge([row | PIECE for row in steady()], streaming=False) == Verdict()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_tokens": None}, "100 % of the answers were held against their promised length by events alone"),
        (PIECE | {"input_tokens": None, "output_tokens": None}, "100 % of the answers could not be held against their promised length"),
    ],
)
def test_promised_lengths_that_the_server_does_not_say(row: dict, said: str) -> None:
    rows = [plain | row for plain in steady(asked_output_tokens=3)]
    verdict = judge(rows, output_promised=True)
    assert verdict.valid
    assert any(said in note for note in verdict.notes)
    assert not any("promised length" in note for note in judge(rows).notes)


@pytest.mark.parametrize("end", [0, 0.0003, 9])
def test_a_run_that_was_stopped_before_it_began(end: float) -> None:
    assert "stopped by the user before the run began" in judge(steady(), end=end, planned=1, stopped_by_user=True).notes
    assert "stopped by the user before the run began" not in judge(steady(), end=10, planned=1, stopped_by_user=True).notes


@pytest.mark.parametrize("end", [0, 50])
def test_a_level_cannot_be_judged_in_a_window_shorter_than_a_request(end: float) -> None:
    rows = [answer(i, 0, tokens=[49, 50]) for i in range(2)]
    verdict = judge(rows, end=end, open_loop=False, concurrency=10)
    assert verdict.valid
    assert any("whether timing.concurrency was held cannot be judged" in note for note in verdict.notes)


def test_no_more_can_be_in_flight_than_there_are_requests() -> None:
    rows = [answer(0, 0, tokens=[90, 100]), answer(1, 0, tokens=[90, 100]), answer(2, 0, tokens=[50, 60])]
    assert "2.6 of 3 requests" in only(judge(rows, end=100.001, open_loop=False, concurrency=10), "level_not_held").detail
    assert judge(rows[:2], end=100.001, open_loop=False, concurrency=10).valid


@pytest.mark.parametrize("failed", [0, 2])
def test_where_requests_fail_the_advice_is_to_see_the_errors_first(failed: int) -> None:
    rows = [row | {"error": "reset"} for row in steady()[:failed]] + steady()[failed:]
    verdict = judge(rows, open_loop=False, concurrency=9, busiest_second=0.97)
    advices = {reason.reason: reason.advice for reason in verdict.reasons}
    for name in ("generator_saturated", "level_not_held"):
        assert advices[name].startswith("failing requests may be the cause") == bool(failed)


@pytest.mark.parametrize(("promised", "template", "valid"), [(True, 3, True), (True, None, False), (True, 2, False), (False, None, True)])
def test_prompts_are_judged_where_they_were_promised_less_the_template(promised: bool, template: int | None, valid: bool) -> None:
    verdict = judge(steady(input_tokens=13), input_promised=promised, template_tokens=template)
    assert verdict.valid == valid
    if not valid:
        assert verdict.reasons[0].reason == "input_length"


def test_the_template_is_printed_where_it_is_subtracted() -> None:
    verdict = judge(steady(input_tokens=13), input_promised=True, template_tokens=3)
    assert any("3 tokens to each prompt" in note for note in verdict.notes)


@pytest.mark.parametrize(("promised", "valid"), [(True, False), (False, True)])
def test_answers_are_judged_where_they_were_promised(promised: bool, valid: bool) -> None:
    assert judge(steady(asked_output_tokens=4), output_promised=promised).valid == valid


def test_answers_of_the_promised_length_are_valid() -> None:
    assert judge(steady(asked_output_tokens=3), output_promised=True).valid


def test_first_tokens_within_wide_intervals_void_the_run() -> None:
    rows = steady()
    for row in rows[:2]:
        row["first_token_low_ns"] -= 5_000_000
    assert "2 % of first tokens" in only(judge(rows), "coalesced_first_tokens").detail
    assert judge(rows, streaming=False).valid


def test_one_wide_interval_in_a_hundred_is_a_note() -> None:
    rows = steady()
    rows[0]["first_token_low_ns"] -= 5_000_000
    verdict = judge(rows)
    assert verdict.valid
    assert any("1 % of first tokens" in note and "5.00 ms" in note for note in verdict.notes)


def test_narrow_intervals_do_not_void() -> None:
    assert judge([row | {"first_token_low_ns": row["first_token_ns"] - 500_000} for row in steady()]).valid


def test_a_promise_about_a_percentile_needs_its_samples() -> None:
    reason = only(judge(steady(231, gap=4), promised=(P99,)), "too_few_samples")
    assert reason.detail == "p99 of request_latency has 231 samples"
    assert reason.advice == "needs 431 more requests for p99"
    assert judge(steady(662, gap=1), promised=(P99,)).valid


def test_samples_that_hang_together_count_for_fewer() -> None:
    rows = [answer(i, i, tokens=[i + 50 + (i // 100 % 2)]) for i in range(2000)]
    reason = only(judge(rows, end=2000, mean_gap_ns=1_000_000, promised=(P99,)), "too_few_samples")
    found = re.fullmatch(r"p99 of request_latency has 2,000 samples, as much as (\d+) independent ones", reason.detail)
    assert found is not None
    effective = int(found[1])
    more = int(re.fullmatch(r"needs ([\d,]+) more requests for p99", reason.advice)[1].replace(",", ""))
    assert effective < 662
    assert more == pytest.approx((662 - effective) * 2000 / effective, rel=0.1)


LATENCIES = 50 * np.random.default_rng(1).lognormal(0, 0.2, 3000)


@pytest.mark.parametrize(("off", "broken"), [(0, False), (30, True), (-20, True)])
def test_littles_law_holds_within_its_interval(off: float, broken: bool) -> None:
    table = records([answer(i, 4 * i, tokens=[4 * i + took]) for i, took in enumerate(LATENCIES)])
    place = table.column_names.index("request_latency")
    moved = table.set_column(place, "request_latency", pa.chunked_array([pa.array(LATENCIES + off)]))
    verdict = validity.verdict(Case(moved, facts(0, 12_000, planned=3000, mean_gap_ns=4_000_000), VerdictLimits()))
    assert [reason.reason for reason in verdict.reasons] == ["invariant"] * broken
    assert all("Little's law" in reason.detail for reason in verdict.reasons)


def test_no_result_is_a_reason_of_its_own() -> None:
    verdict = judge([row | {"error": "connect"} for row in steady()], promised=(P99,))
    assert [reason.reason for reason in verdict.reasons] == ["no_results", "errors"]
    assert "connect 100" in verdict.reasons[0].detail


def test_a_run_of_nothing_is_void() -> None:
    assert [reason.reason for reason in judge([]).reasons] == ["no_results"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sent_ns": T0 + 9_000_000_000}, "before its request"),
        ({"first_token_ns": T0 + 9_000_000_000}, "after the last"),
        ({"first_token_low_ns": T0 + 9_000_000_000}, "ends before it begins"),
        ({"chunk_tokens": [1, 1, 2]}, "event by event"),
    ],
)
def test_what_cannot_be_is_found(change: dict, said: str) -> None:
    rows = steady()
    rows[3] |= change
    assert said in only(judge(rows), "invariant").detail


def test_tokens_that_the_server_counted_event_by_event_may_add_up_or_be_left_out() -> None:
    assert judge(steady(chunk_tokens=[1, 1, 1])).valid
    assert judge(steady(chunk_tokens=[0, 1, 1], output_tokens=3)).valid


def test_more_in_flight_than_the_cap_cannot_be() -> None:
    reason = only(judge(steady(took=50), concurrency=4), "invariant")
    assert "5 requests in flight at once, over timing.concurrency=4" in reason.detail
    assert judge(steady(took=50), concurrency=5).valid


def test_ignored_reasons_are_kept_beside_the_verdict() -> None:
    verdict = judge(steady(), VerdictLimits(ignore=("clock_step",)), clock_step_ns=5_000_000, busiest_second=0.99)
    assert [reason.reason for reason in verdict.reasons] == ["generator_saturated"]
    assert [reason.reason for reason in verdict.ignored] == ["clock_step"]


@pytest.mark.parametrize(
    ("row", "fact", "said"),
    [
        ({"input_tokens": None}, {}, "came without usage"),
        ({"stamp": "user"}, {}, "stamped in user space"),
        ({}, {"spool_waits": 1}, "waited 1 time for the disk"),
        ({}, {"stopped_by_user": True}, "stopped by the user"),
    ],
)
def test_notes_void_nothing(row: dict, fact: dict, said: str) -> None:
    verdict = judge(steady(**row), **fact)
    assert verdict.valid
    assert any(said in note for note in verdict.notes)


def test_answers_that_the_client_counted_are_named() -> None:
    by_client = "of the answers were counted by the client's tokenizer, as the server did not count them"
    rows = steady(input_tokens=None, asked_output_tokens=3)
    every = judge(rows, client_counted=100, output_promised=True).notes
    assert every == ("100 % of the answers came without usage: prompts count as what was asked for", f"100 % {by_client}")
    some = judge(rows, client_counted=25, output_promised=True).notes
    assert f"25 % {by_client}" in some
    assert any("the events that came" in note for note in some)
    assert any(note.startswith("75 % of the answers were held against their promised length by events alone") for note in some)
    assert judge(steady(), client_counted=100).notes == (f"100 % {by_client}",)


def test_notes_of_others_come_first() -> None:
    verdict = validity.verdict(Case(records(steady()), facts(), VerdictLimits()), ["answers hold <think> tags"])
    assert verdict.notes[0] == "answers hold <think> tags"
