"""Who is told what, and when: a cluster that follows a script says what workers say."""

import signal
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from aiperf.app.conduct import HURRY_NS, LEAD_NS, Conductor, Interrupts, Outcome, interrupts
from aiperf.clock import SECOND
from aiperf.cluster.inline import InlineCluster
from aiperf.load.generator import READY
from aiperf.results import Outlook, Pulse
from aiperf.seams import Channel, Event, Job, StopRule

GENERATORS = [Job("generator-0", "m:f", None), Job("generator-1", "m:f", None)]
PROCESSORS = [Job("processor-0", "m:f", None), Job("processor-1", "m:f", None)]


def pulse(sent: int = 1) -> Pulse:
    return Pulse(0, 0, "profiling", sent, sent, sent, 0, {}, 0, 0, 0.0, {}, {})


def said(name: str) -> list[Event]:
    """A worker's last words and its end, as it should be."""
    return [Event(name, {"done": True, "who": name}), Event(name, ended=True)]


@dataclass
class Scripted:
    """Says one entry of the script at each wait; `log` holds what it was told, and between what."""

    script: deque[list[Event] | Callable[[], list[Event]]]
    log: list[tuple[str, object]] = field(default_factory=list)

    def start(self, job: Job) -> None:
        self.log.append((job.name, "start"))

    def tell(self, worker: str, message: object) -> None:
        self.log.append((worker, message))

    def wait(self, timeout_s: float, hear: Callable[[Event], None]) -> None:
        assert 0 < timeout_s <= 1
        entry = self.script.popleft()
        for event in entry() if callable(entry) else entry:
            hear(event)

    def end(self, worker: str) -> None:
        self.log.append((worker, "end"))

    def close(self) -> None:
        self.log.append(("", "close"))

    def told(self, message: object) -> list[str]:
        return sorted(name for name, what in self.log if what == message)


@dataclass
class Seen:
    lines: list[str] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def showing(self, outlook: Outlook) -> nullcontext[None]:
        return nullcontext()

    def pulse(self, pulse: Pulse) -> None:
        self.pulses.append(pulse)


def conducted(*script: list[Event] | Callable[[], list[Event]], heard: Interrupts | None = None) -> tuple[Outcome, Scripted, Seen]:
    cluster, seen = Scripted(deque(script)), Seen()
    outcome = Conductor(cluster, seen).run(GENERATORS, PROCESSORS, heard or Interrupts())
    assert not cluster.script, "it returned before the last had ended"
    return outcome, cluster, seen


def test_a_run_that_ends_as_it_should() -> None:
    outcome, cluster, seen = conducted(
        [Event("generator-0", pulse())],
        [*said("generator-0")],
        [*said("generator-1")],
        [*said("processor-1"), *said("processor-0")],
    )
    assert cluster.told("start") == ["generator-0", "generator-1", "processor-0", "processor-1"]
    assert sorted(outcome.generators) == ["generator-0", "generator-1"]
    assert outcome.processors["processor-1"] == {"done": True, "who": "processor-1"}
    assert (outcome.dead, outcome.stopped) == ({}, False)
    assert seen.pulses == [pulse()]
    assert seen.lines == []


def begun(cluster: Scripted) -> dict[str, int]:
    """Who was told to begin, and when."""
    return {name: what[1] for name, what in cluster.log if isinstance(what, tuple) and what[0] == "begin"}


def test_several_generators_begin_at_one_instant_when_the_last_is_ready() -> None:
    late = Late()
    ready = [Event(job.name, READY) for job in GENERATORS]
    told: list[dict[str, int]] = []

    def look() -> list[Event]:
        told.append(begun(cluster))
        return []

    script = (
        [ready[0]], late.after(3, ready[0]), look, late.after(4, ready[1]), look, [ready[0]],
        said("generator-0"), said("generator-1"), [*said("processor-0"), *said("processor-1")],
    )  # fmt: skip
    cluster = Scripted(deque(script))
    Conductor(cluster, Seen(), now=lambda: late.s * SECOND).run(GENERATORS, PROCESSORS, Interrupts())
    assert told == [{}, {"generator-0": 7 * SECOND + LEAD_NS, "generator-1": 7 * SECOND + LEAD_NS}]
    assert [what for name, what in cluster.log if name == "generator-0"] == ["start", ("begin", 7 * SECOND + LEAD_NS)]


def test_one_that_dies_before_it_is_ready_does_not_hold_the_others() -> None:
    _, cluster, _ = conducted(
        [Event("generator-1", READY)], [Event("generator-0", ended=True, error="was killed by signal 9")],
        said("generator-1"), [*said("processor-0"), *said("processor-1")],
    )  # fmt: skip
    assert list(begun(cluster)) == ["generator-1"]


def test_one_that_hangs_before_it_is_ready_holds_the_others_no_longer_than_its_patience() -> None:
    late = Late()
    ready, killed = Event("generator-0", READY), Event("generator-1", ended=True, error="was killed by signal 9")
    waits = [late.after(10, ready) for _ in range(5)]
    outcome, cluster, _ = silent(*waits, late.after(0, killed), said("generator-0"), said("processor-0"), said("processor-1"), late=late)
    assert cluster.told("end") == ["generator-1"]
    assert list(begun(cluster)) == ["generator-0"]
    assert outcome.dead == {"generator-1": "was killed by signal 9"}


def test_one_alone_waits_for_nobody() -> None:
    cluster = Scripted(deque([[Event("generator-0", READY)], said("generator-0"), [*said("processor-0"), *said("processor-1")]]))
    outcome = Conductor(cluster, Seen()).run(GENERATORS[:1], PROCESSORS, Interrupts())
    assert begun(cluster) == {}
    assert list(outcome.generators) == ["generator-0"]


def test_the_newest_pulse_of_each_generator_is_kept_also_of_one_that_died() -> None:
    outcome, _, _ = conducted(
        [Event("generator-0", pulse(1)), Event("generator-1", pulse(2)), Event("generator-0", pulse(3))],
        [Event("generator-1", ended=True, error="was killed by signal 9"), *said("generator-0")],
        [*said("processor-0"), *said("processor-1")],
    )
    assert {name: one.sent for name, one in outcome.pulses.items()} == {"generator-0": 3, "generator-1": 2}


def test_processors_are_told_to_finish_once_and_only_after_the_last_generator() -> None:
    logs: list[list[str]] = []
    cluster = Scripted(deque())

    def look() -> list[Event]:
        logs.append(cluster.told("finish"))
        return []

    cluster.script = deque([said("generator-1"), look, said("generator-0"), look, [*said("processor-0"), *said("processor-1")]])
    Conductor(cluster, Seen()).run(GENERATORS, PROCESSORS, Interrupts())
    assert logs == [[], ["processor-0", "processor-1"]]
    assert cluster.told("finish") == ["processor-0", "processor-1"]


@pytest.mark.parametrize(("known", "told"), [({}, ["finish"]), ({"cut_ns": 5}, [("cut", 5), "finish"])])
def test_of_a_load_that_is_over_processors_are_told_at_once_where_its_plan_ended(known: dict[str, int], told: list[object]) -> None:
    cluster = Scripted(deque([[*said("processor-0"), *said("processor-1")]]))
    outcome = Conductor(cluster, Seen(), outcome=Outcome({"generator-0": known})).run([], PROCESSORS, Interrupts())
    assert [what for name, what in cluster.log if name == "processor-1"] == ["start", *told]
    assert set(outcome.processors) == {"processor-0", "processor-1"}


def test_a_generator_that_dies_is_named_and_the_rest_goes_on() -> None:
    outcome, cluster, seen = conducted(
        [Event("generator-1", ended=True, error="was killed by signal 9")],
        said("generator-0"),
        [*said("processor-0"), *said("processor-1")],
    )
    assert outcome.dead == {"generator-1": "was killed by signal 9"}
    assert list(outcome.generators) == ["generator-0"]
    assert seen.lines == ["generator-1 was killed by signal 9"]
    assert cluster.told("finish") == ["processor-0", "processor-1"]


def test_all_generators_die_and_the_processors_finish_all_the_same() -> None:
    dead = [Event(job.name, ended=True, error="ended with code 1") for job in GENERATORS]
    outcome, cluster, _ = conducted(dead, [*said("processor-0"), *said("processor-1")])
    assert sorted(outcome.dead) == ["generator-0", "generator-1"]
    assert cluster.told("finish") == ["processor-0", "processor-1"]


def test_a_processor_that_dies_begins_again_once_and_does_not_stop_the_load() -> None:
    outcome, cluster, seen = conducted(
        [Event("processor-0", ended=True, error="was killed by signal 9")],
        [Event("generator-0", pulse(2))],
        [*said("generator-0"), *said("generator-1")],
        [*said("processor-1"), Event("processor-0", ended=True, error="was killed by signal 11")],
    )
    assert outcome.dead == {"processor-0": "was killed by signal 11"}
    assert cluster.told("start") == ["generator-0", "generator-1", "processor-0", "processor-0", "processor-1"]
    assert cluster.told("stop") == []
    assert cluster.told("finish") == ["processor-0", "processor-1"]
    assert "begins again from the spool" in seen.lines[0]


def test_a_processor_that_dies_after_the_load_is_told_to_finish_anew() -> None:
    outcome, cluster, _ = conducted(
        [*said("generator-0"), *said("generator-1")],
        [Event("processor-0", ended=True, error="was killed by signal 9")],
        [*said("processor-1"), *said("processor-0")],
    )
    assert outcome.dead == {}
    assert set(outcome.processors) == {"processor-0", "processor-1"}
    assert cluster.told("finish") == ["processor-0", "processor-0", "processor-1"]


def test_stop_is_told_once_to_those_that_still_send() -> None:
    heard = Interrupts()
    heard.patient = True

    def interrupt() -> list[Event]:
        heard(signal.SIGINT, None)
        return said("generator-1")

    outcome, cluster, seen = conducted(
        interrupt, [Event("generator-0", pulse())], said("generator-0"), [*said("processor-0"), *said("processor-1")], heard=heard
    )
    assert outcome.stopped
    assert cluster.told("stop") == ["generator-0", "generator-1"]
    assert len(seen.lines) == 1
    assert "stopping" in seen.lines[0]


def test_before_there_is_a_load_the_first_ctrl_c_ends_it() -> None:
    with interrupts() as heard, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert heard.count == 1


def test_during_a_load_the_second_ctrl_c_ends_it_and_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with interrupts() as heard:
        heard.patient = True
        signal.raise_signal(signal.SIGTERM)
        assert heard.count == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


class Late:
    """A clock that a script moves on."""

    def __init__(self) -> None:
        self.s = 0

    def after(self, seconds: int, *events: Event) -> Callable[[], list[Event]]:
        def told() -> list[Event]:
            self.s += seconds
            return list(events)

        return told


def silent(*script: list[Event] | Callable[[], list[Event]], late: Late, heard: Interrupts | None = None) -> tuple[Outcome, Scripted, Seen]:
    cluster, seen = Scripted(deque(script)), Seen()
    conductor = Conductor(cluster, seen, now=lambda: late.s * SECOND)
    return conductor.run(GENERATORS, PROCESSORS, heard or Interrupts()), cluster, seen


def test_a_processor_that_says_nothing_once_the_load_is_over_is_ended_and_begins_again() -> None:
    late = Late()
    beat, killed = Event("processor-1", {"rows": 1}), Event("processor-0", ended=True, error="was killed by signal 9")
    outcome, cluster, seen = silent(
        late.after(20, Event("generator-0", pulse())), late.after(20, Event("generator-1", pulse()), Event("generator-0", pulse())),
        said("generator-0"), said("generator-1"), late.after(20, beat), late.after(20, beat), late.after(0, killed),
        late.after(20, beat), said("processor-0"), said("processor-1"), late=late,
    )  # fmt: skip
    assert cluster.told("end") == ["processor-0"]
    assert [name for name, what in cluster.log if what == "start"].count("processor-0") == 2
    assert outcome.dead == {}
    assert "processor-0 has said nothing for 30 s and is ended" in seen.lines


def test_a_generator_that_says_nothing_is_ended_and_counted_as_dead() -> None:
    late = Late()
    told, killed = Event("generator-1", pulse()), Event("generator-0", ended=True, error="was killed by signal 9")
    outcome, cluster, _ = silent(
        late.after(31, told), late.after(31, told, Event("generator-0", pulse())), late.after(31, told), late.after(0, killed),
        said("generator-1"), said("processor-0"), said("processor-1"), late=late,
    )  # fmt: skip
    assert cluster.told("end") == ["generator-0"]
    assert outcome.dead == {"generator-0": "was killed by signal 9"}


def test_a_generator_that_was_told_to_stop_and_does_not_is_soon_ended() -> None:
    late, heard = Late(), Interrupts()
    heard.patient = True

    def interrupt() -> list[Event]:
        late.s += 20
        heard(signal.SIGINT, None)
        return []

    told, killed = Event("generator-1", pulse()), Event("generator-0", ended=True, error="was killed by signal 9")
    seconds = HURRY_NS // SECOND
    outcome, cluster, seen = silent(
        interrupt, late.after(seconds, told), late.after(1, told), late.after(0, killed),
        said("generator-1"), late.after(20, Event("processor-0", {})), said("processor-0"), said("processor-1"), late=late, heard=heard,
    )  # fmt: skip
    assert cluster.told("end") == ["generator-0"]
    assert outcome.dead == {"generator-0": "was killed by signal 9"}
    assert f"generator-0 has said nothing for {seconds} s and is ended" in seen.lines


def test_a_second_ctrl_c_does_not_wait_for_generators() -> None:
    heard = Interrupts()
    heard.patient = True
    cluster = Scripted(deque())

    def interrupt() -> list[Event]:
        heard(signal.SIGINT, None)
        return []

    cluster.script = deque([interrupt, interrupt])
    with pytest.raises(KeyboardInterrupt):
        Conductor(cluster, Seen()).run(GENERATORS, PROCESSORS, heard)
    assert cluster.told("end") == ["generator-0", "generator-1"]


def ruled(rule: StopRule, *script: list[Event] | Callable[[], list[Event]], heard: Interrupts | None = None) -> tuple[Scripted, Seen]:
    cluster, seen = Scripted(deque(script)), Seen()
    Conductor(cluster, seen, stop=rule).run(GENERATORS, PROCESSORS, heard or Interrupts())
    return cluster, seen


def after(sent: int) -> StopRule:
    return lambda one: "enough" if one.sent >= sent else None


def cut(name: str, cut_ns: int | None) -> list[Event]:
    return [Event(name, {"cut_ns": cut_ns}), Event(name, ended=True)]


def test_a_stop_rule_s_word_is_told_once_to_every_generator_and_no_ctrl_c_is_needed() -> None:
    pulses = [Event("generator-0", pulse(sent)) for sent in (1, 2, 3, 4)]
    cluster, seen = ruled(after(2), pulses, said("generator-0"), said("generator-1"), [*said("processor-0"), *said("processor-1")])
    assert cluster.told(("end", "enough")) == ["generator-0", "generator-1"]
    assert cluster.told("stop") == []
    assert seen.lines == ["ending: enough; nothing new is sent"]
    assert [one.sent for one in seen.pulses] == [1, 2, 3, 4]


def test_processors_are_told_where_the_plan_was_cut_before_they_finish_also_one_that_begins_again() -> None:
    killed = Event("processor-1", ended=True, error="was killed by signal 9")
    cluster, _ = ruled(
        after(1), [Event("generator-0", pulse())], cut("generator-0", 7), cut("generator-1", 5),
        [*said("processor-0"), killed], said("processor-1"),
    )  # fmt: skip
    for name, times in (("processor-0", 1), ("processor-1", 2)):
        assert [what for who, what in cluster.log if who == name and what != "start"] == [("cut", 5), "finish"] * times


def test_a_plan_that_was_not_cut_is_whole() -> None:
    cluster, _ = ruled(after(9), cut("generator-0", None), cut("generator-1", None), [*said("processor-0"), *said("processor-1")])
    assert cluster.told("finish") == ["processor-0", "processor-1"]
    assert not [what for _, what in cluster.log if isinstance(what, tuple)]


def test_ctrl_c_goes_before_a_stop_rule() -> None:
    heard = Interrupts()
    heard.patient = True

    def interrupt() -> list[Event]:
        heard(signal.SIGINT, None)
        return [Event("generator-0", pulse(5))]

    ends = said("generator-0"), said("generator-1"), [*said("processor-0"), *said("processor-1")]
    cluster, _ = ruled(after(1), interrupt, *ends, heard=heard)
    assert cluster.told("stop") == ["generator-0", "generator-1"]
    assert cluster.told(("end", "enough")) == []


def told_at_once(channel: Channel, count: int) -> None:
    """A generator that ends when it is told to, and says how many pulses that took."""
    told: list[object] = []
    for sent in range(count):
        channel.tell(pulse(sent))
        if told := channel.told():
            break
    channel.tell({"sent": sent, "told": told, "cut_ns": None})


def told_to_finish(channel: Channel, _: object) -> None:
    channel.tell({"done": True, "told": channel.told()})


def test_in_one_process_a_rule_acts_at_the_very_pulse_and_a_screen_sees_each_as_it_comes() -> None:
    cluster, seen = InlineCluster(), Seen()
    jobs = [Job("g", f"{__name__}:told_at_once", 1000)], [Job("p", f"{__name__}:told_to_finish", None)]
    outcome = Conductor(cluster, seen, stop=after(7)).run(*jobs, Interrupts())
    assert outcome.generators["g"] == {"sent": 7, "told": [("end", "enough")], "cut_ns": None}
    assert outcome.processors["p"] == {"done": True, "told": ["finish"]}
    assert [one.sent for one in seen.pulses] == list(range(8))


def test_in_one_process_ctrl_c_reaches_the_load_at_once() -> None:
    heard, seen = Interrupts(), Seen()
    heard.patient = True

    def interrupt(one: Pulse) -> None:
        if one.sent == 5:
            heard(signal.SIGINT, None)

    jobs = [Job("g", f"{__name__}:told_at_once", 1000)], [Job("p", f"{__name__}:told_to_finish", None)]
    outcome = Conductor(InlineCluster(), seen, stop=interrupt).run(*jobs, heard)
    assert outcome.stopped
    assert outcome.generators["g"] == {"sent": 5, "told": ["stop"], "cut_ns": None}
    assert len(seen.lines) == 1
