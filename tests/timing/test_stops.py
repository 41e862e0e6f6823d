"""Rules over pulses: what is counted, what is not, and whose word comes first."""

from hypothesis import given
from hypothesis import strategies as st

from aiperf.records import NOT_FAILURES, STOP_RULES
from aiperf.results import Pulse
from aiperf.timing.stops import MaxErrors, Precise, Until, first_of


def pulse(failed: dict[str, int] | None = None, *, phase: str = "profiling", generator: int = 0) -> Pulse:
    return Pulse(0, generator, phase, 0, 0, 0, 0, failed or {}, 0, 0, 0.0, {}, {})


def test_more_errors_than_allowed_end_the_run_and_as_many_do_not() -> None:
    rule = MaxErrors(2)
    assert [rule(pulse({"reset": 1})), rule(pulse({"reset": 1, "http_5xx": 1})), rule(pulse({"reset": 2, "http_5xx": 1}))] == [
        None, None, "max_errors",
    ]  # fmt: skip


def test_none_may_be_allowed() -> None:
    assert MaxErrors(0)(pulse()) is None
    assert MaxErrors(0)(pulse({"connect": 1})) == "max_errors"


def test_what_is_our_own_doing_is_no_error() -> None:
    assert MaxErrors(0)(pulse(dict.fromkeys(NOT_FAILURES, 9))) is None


def test_errors_of_the_warm_up_are_not_those_of_the_run() -> None:
    rule = MaxErrors(1)
    assert rule(pulse({"reset": 50}, phase="warmup")) is None
    assert rule(pulse({"reset": 51})) is None
    assert rule(pulse({"reset": 52})) == "max_errors"


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), max_size=60), st.integers(0, 20))
def test_failures_of_several_generators_are_added_up_each_from_its_own_warm_up(steps: list[tuple[int, bool, int]], count: int) -> None:
    rule, total, before, over = MaxErrors(count), dict[int, int](), dict[int, int](), False
    running: set[int] = set()
    for generator, warm, more in steps:
        total[generator] = total.get(generator, 0) + more
        warms = warm and generator not in running
        if warms:
            before[generator] = total[generator]
        else:
            running.add(generator)
            over = sum(total[one] - before.get(one, 0) for one in running) > count
        said = rule(pulse({"reset": total[generator]}, phase="warmup" if warms else "profiling", generator=generator))
        assert said == ("max_errors" if over and not warms else None)


def test_precision_is_judged_by_pulses_of_the_run_alone() -> None:
    seen: list[Pulse] = []

    def judge(one: Pulse) -> bool:
        seen.append(one)
        return len(seen) == 2

    rule = Precise(judge)
    assert [rule(pulse(phase=phase)) for phase in ("warmup", "profiling", "warmup", "profiling")] == [None, None, None, "precision"]
    assert {one.phase for one in seen} == {"profiling"}


def test_a_function_from_outside_says_why_in_its_own_words_or_just_yes() -> None:
    said = iter([None, False, "", True, "cold enough"])
    rule = Until(lambda _: next(said))
    assert [rule(pulse()) for _ in range(5)] == [None, None, None, "until", "until: cold enough"]


def test_every_rule_sees_every_pulse_and_the_first_of_them_has_the_word() -> None:
    seen = [0, 0]

    def rule(place: int, word: str | None):  # type: ignore[no-untyped-def]
        def judge(_: Pulse) -> str | None:
            seen[place] += 1
            return word

        return judge

    assert first_of([rule(0, "one"), rule(1, "two")])(pulse()) == "one"
    assert first_of([rule(0, None), rule(1, "two")])(pulse()) == "two"
    assert first_of([rule(0, None), rule(1, None)])(pulse()) is None
    assert seen == [3, 3]


def test_each_reason_is_known_as_a_stop_rule() -> None:
    words = [MaxErrors(0)(pulse({"reset": 1})), Precise(lambda _: True)(pulse()), Until(lambda _: "x")(pulse())]
    assert all(word is not None and word.startswith(STOP_RULES) for word in words)
