from screens import pulse

from aiperf.clock import MILLISECOND
from aiperf.results import Outlook, Pulse
from aiperf.ui.simple import NoUI

ENDLESS = Outlook({"warmup": (None, None), "profiling": (None, None)})


def shown(pulses: list[Pulse], outlook: Outlook = ENDLESS) -> list[str]:
    lines: list[str] = []
    screen = NoUI(lines.append)
    with screen.showing(outlook):
        for told in pulses:
            screen.pulse(told)
    return lines


def profiling(requests: int | None, seconds: float | None = None) -> Outlook:
    return Outlook({"warmup": (None, 4.5), "profiling": (requests, seconds)})


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
    assert shown(beats, profiling(3000, 60)) == ["profiling 5 s: sent 1,200/3,000, in flight 45, done 1,150, failed 5, 230.0 requests/s"]
    assert "sent 1,200," in shown(beats)[0]


def test_where_no_number_of_requests_ends_the_phase_its_seconds_do() -> None:
    beats = [pulse(100), pulse(105, sent=7)]
    assert shown(beats, profiling(None, 60))[0].startswith("profiling 5/60 s: sent 7,")


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
    assert shown(beats, profiling(500)) == [
        "profiling 5 s: sent 55/500, in flight 0, done 50, failed 0, 8.4 requests/s",
    ]


def test_a_warm_up_is_not_counted_against_the_run() -> None:
    assert "sent 7," in shown([pulse(0, phase="warmup"), pulse(5, phase="warmup", sent=7)], profiling(500))[0]


def test_generators_are_added_up_whatever_their_clocks_say() -> None:
    beats = [pulse(0), pulse(900, generator=1), pulse(904, generator=1, sent=7, in_flight=2), pulse(5, sent=5, in_flight=1)]
    assert len(shown(beats)) == 1
    assert "sent 12, in flight 3" in shown(beats)[0]
