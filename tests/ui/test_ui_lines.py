from typing import Any

from aiperf.clock import MILLISECOND, SECOND
from aiperf.results import Pulse
from aiperf.ui.lines import NoUI


def pulse(at_s: float, **others: Any) -> Pulse:
    said = {"at_ns": int(at_s * SECOND), "generator": 0, "phase": "profiling", "due": 0, "ready": 0, "sent": 0, "done": 0, "failed": {}}
    return Pulse(**{**said, "in_flight": 0, "lateness_ns": 0, "busy": 0.0, "first": {}, "total": {}, **others})


def shown(pulses: list[Pulse], total: int | None = None) -> list[str]:
    lines: list[str] = []
    screen = NoUI(lines.append)
    for told in pulses:
        screen.pulse(told, total)
    return lines


def test_a_line_is_written_at_once() -> None:
    lines: list[str] = []
    NoUI(lines.append).line("hello")
    assert lines == ["hello"]


def test_a_line_every_five_seconds_however_often_the_heart_beats() -> None:
    beats = [pulse(1000 + i / 10) for i in range(151)]
    assert len(shown(beats)) == 3
    assert shown([pulse(1000), pulse(1000 + 5 - 1 / MILLISECOND)]) == []


def test_what_a_line_says() -> None:
    beats = [pulse(100), pulse(105, sent=1200, done=1150, failed={"reset": 3, "http_5xx": 2}, in_flight=45)]
    assert shown(beats, 3000) == ["profiling 5 s: sent 1,200/3,000, in flight 45, done 1,150, failed 5, 230.0 requests/s"]
    assert "sent 1,200," in shown(beats)[0]


def test_the_rate_is_that_of_the_time_since_the_last_line() -> None:
    lines = shown([pulse(0), pulse(5, done=50), pulse(10, done=250)])
    assert [line.rsplit(", ", 1)[1] for line in lines] == ["10.0 requests/s", "40.0 requests/s"]


def test_counts_and_time_are_those_of_the_phase() -> None:
    beats = [
        pulse(0, phase="warmup"),
        pulse(4, phase="warmup", sent=40, done=30),
        pulse(4.5, sent=45, done=40),
        pulse(9.5, sent=95, done=80),
    ]
    assert shown(beats, 500) == [
        "profiling 5 s: sent 55/500, in flight 0, done 50, failed 0, 8.4 requests/s",
    ]


def test_a_warm_up_is_not_counted_against_the_run() -> None:
    assert "sent 7," in shown([pulse(0, phase="warmup"), pulse(5, phase="warmup", sent=7)], 500)[0]


def test_generators_are_added_up() -> None:
    beats = [pulse(0), pulse(0, generator=1), pulse(4, generator=1, sent=7, in_flight=2), pulse(5, sent=5, in_flight=1)]
    assert "sent 12, in flight 3" in shown(beats)[0]
