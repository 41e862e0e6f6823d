import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from screens import pulse

from aiperf.clock import SECOND
from aiperf.load.pulse import place
from aiperf.results import Outlook, Pulse
from aiperf.ui.progress import Progress, Standing

ENDLESS = Outlook({"warmup": (None, None), "profiling": (None, None)})


def followed(pulses: list[Pulse], outlook: Outlook = ENDLESS) -> Progress:
    progress = Progress(outlook)
    for told in pulses:
        progress.take(told)
    return progress


def at_end(pulses: list[Pulse], outlook: Outlook = ENDLESS, silent_s: float = 0) -> Standing:
    standing = followed(pulses, outlook).standing(round(silent_s * SECOND))
    assert standing is not None
    return standing


def steady(seconds: float, per_s: float, **others: object) -> list[Pulse]:
    """A load that sends at this rate and gets its answers at once."""
    counts = [(i / 10, round(i / 10 * per_s)) for i in range(round(seconds * 10) + 1)]
    return [pulse(at_s, **{"due": n, "sent": n, "done": n, **others}) for at_s, n in counts]


def test_before_the_first_pulse_nothing_is_known() -> None:
    assert Progress(ENDLESS).standing() is None


class TestCounts:
    def test_of_the_phase_over_all_generators(self) -> None:
        standing = at_end(
            [
                pulse(0, phase="warmup", sent=10, done=8, failed={"reset": 1}, in_flight=1),
                pulse(0, generator=1, phase="warmup", sent=20, done=18, in_flight=2),
                pulse(1, sent=30, done=20, failed={"reset": 1, "http_5xx": 4}, in_flight=5),
                pulse(1, generator=1, sent=21, done=19, failed={"http_5xx": 1}, in_flight=1),
            ]
        )
        assert (standing.phase, standing.sent, standing.done, standing.in_flight) == ("profiling", 21, 13, 6)
        assert standing.failed == {"http_5xx": 5}
        assert standing.failures == 5

    def test_what_is_not_the_servers_doing_has_not_failed(self) -> None:
        assert at_end([pulse(0, failed={"abandoned": 3, "cancelled": 2, "unsent": 1, "reset": 1})]).failed == {"reset": 1}

    def test_the_phase_is_that_of_the_generator_which_is_furthest(self) -> None:
        beats = [pulse(0, phase="warmup"), pulse(1), pulse(1, generator=1, phase="warmup", sent=7), pulse(1.1, phase="profiling", sent=3)]
        standing = at_end(beats)
        assert (standing.phase, standing.sent) == ("profiling", 3)
        assert standing.elapsed_s == pytest.approx(0.1)

    def test_all_in_flight_are_taken_for_those_of_the_phase(self) -> None:
        beats = [
            pulse(0, phase="warmup", sent=40, in_flight=40),
            pulse(1, sent=50, done=30, in_flight=20),
            pulse(2, sent=90, done=60, in_flight=30),
        ]
        assert [followed(beats[: n + 1]).standing().over for n in range(3)] == [0, 0, 20]  # type: ignore[union-attr]  # pulses have come


class TestRates:
    def test_are_those_of_the_last_two_seconds(self) -> None:
        beats = [*steady(10, 100), *(pulse(10 + i / 10, due=1000 + 50 * i, sent=1000 + 30 * i) for i in range(1, 21))]
        standing = at_end(beats, Outlook(ENDLESS.phases, rate=100.0))
        assert standing.asked == pytest.approx(500)
        assert standing.reached == pytest.approx(300)

    def test_in_a_closed_loop_nobody_asks_for_one(self) -> None:
        assert at_end(steady(5, 100)).asked is None

    def test_add_up_over_generators(self) -> None:
        assert at_end([*steady(5, 100), *steady(5, 50, generator=1)]).reached == pytest.approx(150)

    def test_one_that_has_fallen_silent_adds_nothing(self) -> None:
        assert at_end([*steady(5, 100, generator=1), *steady(8, 40)]).reached == pytest.approx(40)

    def test_one_pulse_has_no_rate(self) -> None:
        assert at_end([pulse(3, sent=10)]).reached is None

    def test_nobody_knows_them_while_no_pulse_comes(self) -> None:
        silent = at_end(steady(5, 100), Outlook(ENDLESS.phases, rate=100.0), silent_s=1.5)
        assert (silent.asked, silent.reached) == (None, None)
        assert at_end(steady(5, 100), silent_s=0.5).reached == pytest.approx(100)


class TestTime:
    def test_goes_on_between_pulses(self) -> None:
        standing = at_end(steady(5, 100), silent_s=3)
        assert standing.elapsed_s == pytest.approx(8)
        assert standing.silent_s == pytest.approx(3)

    def test_left_by_seconds(self) -> None:
        standing = at_end(steady(15, 100), Outlook({"profiling": (None, 60.0)}))
        assert standing.left_s == pytest.approx(45)
        assert standing.fraction == pytest.approx(0.25)

    def test_left_by_requests_at_the_present_pace(self) -> None:
        standing = at_end(steady(15, 100), Outlook({"profiling": (2000, None)}))
        assert standing.left_s == pytest.approx(5, abs=0.2)
        assert standing.fraction == pytest.approx(0.75)

    def test_the_pace_is_that_of_the_last_half_minute(self) -> None:
        slow, count = steady(60, 10), 600
        fast = [pulse(60 + i / 10, sent=count + 10 * i, done=count + 10 * i) for i in range(1, 401)]
        assert at_end([*slow, *fast]).pace == pytest.approx(100)

    @pytest.mark.parametrize(("requests", "seconds", "left"), [(2000, 60.0, 5), (8000, 20.0, 5)])
    def test_the_rule_that_ends_the_phase_first_counts(self, requests: int, seconds: float, left: float) -> None:
        standing = at_end(steady(15, 100), Outlook({"profiling": (requests, seconds)}))
        assert standing.left_s == pytest.approx(left, abs=0.2)
        assert standing.fraction == pytest.approx(0.75)

    def test_without_a_rule_neither_is_known(self) -> None:
        standing = at_end(steady(15, 100))
        assert (standing.left_s, standing.fraction) == (None, None)

    def test_is_not_over_while_something_is_in_flight(self) -> None:
        outlook = Outlook({"profiling": (100, 1.0)})
        waiting = at_end([pulse(0), pulse(3, sent=100, done=90, in_flight=10)], outlook)
        assert (waiting.is_over, waiting.fraction, waiting.left_s) == (False, 0.99, 0)
        over = at_end([pulse(0), pulse(3, sent=100, done=100)], outlook)
        assert (over.is_over, over.fraction) == (True, 1.0)


class TestFirstEvents:
    def test_median_within_a_step(self) -> None:
        times_ms = [5 + i / 100 for i in range(1000)]
        histogram: dict[int, int] = {}
        for ms in times_ms:
            histogram[place(round(ms * 1e6))] = histogram.get(place(round(ms * 1e6)), 0) + 1
        assert at_end([pulse(0, first=histogram)]).first_ms == pytest.approx(times_ms[499], rel=0.02)

    def test_are_the_latest(self) -> None:
        old, new = place(50_000_000), place(5_000_000)
        beats = [pulse(i / 10, first={old if i < 100 else new: 50}) for i in range(121)]
        assert at_end(beats).first_ms == pytest.approx(5, rel=0.02)

    def test_few_are_kept_for_longer_but_not_for_ever(self) -> None:
        few = [pulse(0, first={place(5_000_000): 4}), pulse(20)]
        assert at_end(few).first_ms is not None
        assert at_end([*few, pulse(31)]).first_ms is None

    @given(st.lists(st.dictionaries(st.integers(0, 900), st.integers(1, 50), max_size=4), max_size=60), st.floats(0.05, 2))
    def test_what_is_forgotten_leaves_no_trace(self, histograms: list[dict[int, int]], gap_s: float) -> None:
        beats = [pulse(i * gap_s, first=histogram) for i, histogram in enumerate(histograms)]
        late = 60 + len(beats) * gap_s
        quiet = [pulse(0), pulse(late, first={7: 100})]
        assert at_end([pulse(0), *beats, pulse(late, first={7: 100})]).first_ms == at_end(quiet).first_ms

    @given(st.dictionaries(st.integers(0, 900), st.integers(1, 50), min_size=1, max_size=20))
    def test_is_the_step_of_the_middle_one(self, histogram: dict[int, int]) -> None:
        places = sorted(place for place, count in histogram.items() for _ in range(count))
        middle = places[math.ceil(len(places) / 2) - 1]
        assert at_end([pulse(0, first=histogram)]).first_ms == pytest.approx(1.02 ** (middle + 0.5) / 1000)


class TestGenerator:
    def test_its_worst_lateness_of_the_last_second(self) -> None:
        beats = [pulse(i / 10, lateness_ns=90_000_000 if i == 5 else 3_000_000 if i == 25 else 10_000) for i in range(31)]
        assert at_end(beats[:16]).late_ms == pytest.approx(0.01)
        assert at_end(beats[:10]).late_ms == pytest.approx(90)
        assert at_end(beats).late_ms == pytest.approx(3)

    def test_the_busiest_counts(self) -> None:
        assert at_end([pulse(0, busy=0.3), pulse(0, generator=1, busy=0.95)]).busy == 0.95


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 40), st.integers(0, 3), st.booleans()), min_size=1, max_size=80
    ),
    st.one_of(st.none(), st.integers(1, 500)),
    st.one_of(st.none(), st.floats(0.1, 100)),
)
def test_no_load_makes_it_say_nonsense(steps: list[tuple[int, int, int, int, bool]], requests: int | None, seconds: float | None) -> None:
    """Whatever comes: counts do not go below zero, shares stay within 0 and 1, times are numbers."""
    progress = Progress(Outlook({"warmup": (None, 1.0), "profiling": (requests, seconds)}))
    counts = [[0, 0, 0] for _ in range(3)]
    in_run = [False] * 3
    for step, (generator, sent, done, failed, begins) in enumerate(steps):
        in_run[generator] = in_run[generator] or begins
        mine = counts[generator]
        mine[0] += sent
        mine[1] += min(done, mine[0] - mine[1] - mine[2])
        mine[2] += min(failed, mine[0] - mine[1] - mine[2])
        progress.take(
            pulse(
                1000 * generator + step / 10, generator=generator, phase="profiling" if in_run[generator] else "warmup", due=mine[0],
                sent=mine[0], done=mine[1], failed={"reset": mine[2]} if mine[2] else {}, in_flight=mine[0] - mine[1] - mine[2],
            )
        )  # fmt: skip
        at = progress.standing(step * SECOND // 100)
        assert at is not None
        assert min(at.sent, at.done, at.failures, at.in_flight, at.over, at.elapsed_s) >= 0
        assert at.fraction is None or 0 <= at.fraction <= 1
        known = (at.left_s, at.reached, at.asked, at.pace)
        assert all(value is None or (value >= 0 and math.isfinite(value)) for value in known)
