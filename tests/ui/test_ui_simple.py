import fcntl
import io
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from screens import PATIENCE_S, Pty, Terminal, pulse

from aiperf import clock
from aiperf.clock import SECOND
from aiperf.results import Outlook
from aiperf.ui import simple
from aiperf.ui.simple import TQDMProgressUI

OUTLOOK = Outlook({"warmup": (None, 1.0), "profiling": (3000, 30.0)}, rate=100.0)
QUICK_S = 0.01


@pytest.fixture(autouse=True)
def terminal_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread that draws is given up because the machine stood still."""
    monkeypatch.setattr(simple, "_PATIENCE_S", PATIENCE_S)


def screen_on(terminal: Pty, every_s: float = QUICK_S) -> TQDMProgressUI:
    def write(text: str) -> None:
        terminal.stream.write(f"{text}\n")
        terminal.stream.flush()

    return TQDMProgressUI(write, stream=terminal.stream, every_s=every_s)


def load(screen: TQDMProgressUI, terminal: Pty) -> None:
    """Ten seconds of load in no time; it has been drawn when this returns."""
    for i in range(101):
        screen.pulse(pulse(i / 10, due=10 * i, sent=10 * i, done=10 * i - 3 if i else 0, in_flight=3 if i else 0))
    terminal.until("1,000")


def shown(text: str, columns: int = 100, lines: int = 24) -> list[str]:
    terminal = Terminal(columns, lines)
    terminal.feed(text)
    assert terminal.wrapped == 0
    return terminal.shown


LEFT = re.compile(r"profiling 1\d s: sent 1,000/3,000, in flight 3, done 997, failed 0, \d+\.\d requests/s")


class TestHoweverItEnds:
    """One line is left, everything that was said is there, and no mode of the terminal was touched: `Terminal` refuses those."""

    def test_as_it_should(self) -> None:
        terminal = Pty()
        screen = screen_on(terminal)
        screen.line("before")
        with screen.showing(OUTLOOK):
            load(screen, terminal)
            screen.line("amidst")
        screen.line("after")
        before, amidst, left, after = shown(terminal.ended())
        assert (before, amidst, after) == ("before", "amidst", "after")
        assert LEFT.fullmatch(left)

    @pytest.mark.parametrize("how", [KeyboardInterrupt, ValueError, SystemExit])
    def test_by_an_exception(self, how: type[BaseException]) -> None:
        terminal = Pty()
        screen = screen_on(terminal)
        with pytest.raises(how), screen.showing(OUTLOOK):  # noqa: PT012 - what comes before belongs to it
            load(screen, terminal)
            screen.line("last words")
            raise how
        screen.line("after")
        words, left, after = shown(terminal.ended())
        assert (words, after) == ("last words", "after")
        assert LEFT.fullmatch(left)

    def test_before_anything_was_drawn(self) -> None:
        terminal = Pty()
        screen = screen_on(terminal, every_s=60)
        with screen.showing(OUTLOOK):
            screen.line("said")
        assert terminal.ended() == "said\r\n"

    def test_with_nobody_at_the_terminal_any_more(self) -> None:
        terminal = Pty()
        screen = screen_on(terminal)
        with screen.showing(OUTLOOK):
            load(screen, terminal)
            nowhere = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nowhere, terminal.stream.fileno())  # writing fails from now on
            os.close(nowhere)
            for i in range(50):
                screen.pulse(pulse(11 + i / 10))
        terminal.ended()

    def test_with_a_terminal_that_takes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A paused terminal: whoever says something does not wait for it, and the end comes all the same."""
        monkeypatch.setattr(simple, "_PATIENCE_S", QUICK_S)
        ours, theirs = os.pipe()
        stream = PausedTerminal(theirs)
        written: list[str] = []
        screen = TQDMProgressUI(written.append, stream=stream, every_s=QUICK_S)
        with screen.showing(OUTLOOK):
            screen.pulse(pulse(0, sent=7))
            screen.line("x" * 200_000)  # more than a pipe takes: who draws it hangs once the pipe is full
            while not stream.is_full():
                clock.sleep(0.001)
            screen.line("said")
        assert written == ["said"]
        os.close(ours)
        for thread in threading.enumerate():  # what hung in writing has an error now; nobody writes to a number that is used anew
            if thread.name == "screen":
                thread.join()
        stream.close()


class PausedTerminal(io.TextIOWrapper):
    """Claims to be a terminal; is a pipe that nobody reads."""

    def __init__(self, fd: int) -> None:
        super().__init__(os.fdopen(fd, "wb"), encoding="utf-8")
        self._fd = fd

    def isatty(self) -> bool:
        return True

    def is_full(self) -> bool:
        waiting = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4))[0]
        return bool(waiting > fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ) - 8192)


DRIVER = """
import itertools, os, signal, sys
os.open(os.ttyname(0), os.O_RDWR)  # it is ours to be signalled by

def term(*_):
    raise SystemExit

signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
if sys.argv[2:] == ["background"]:
    import subprocess
    sys.exit(subprocess.call([sys.executable, "-c", sys.argv[1], sys.argv[1]], process_group=0))
from aiperf import clock
from aiperf.results import Outlook, Pulse
from aiperf.ui import simple
simple._PATIENCE_S = 60
screen = simple.TQDMProgressUI(lambda text: print(text, flush=True), every_s=0.02)
try:
    with screen.showing(Outlook({"profiling": (None, 30.0)})):
        for i in range(100) if os.tcgetpgrp(0) != os.getpgrp() else itertools.count():
            screen.pulse(Pulse(i * 10**8, 0, "profiling", i, i, i, 0, {}, i, 0, 0.1, {}, {}))
            clock.sleep(0.005)
        screen.line("said")
except KeyboardInterrupt:
    print("interrupted")
except SystemExit:
    print("ended")
"""


@contextmanager
def program_on(terminal: Pty, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    fd = terminal.stream.fileno()
    process = subprocess.Popen([sys.executable, "-c", DRIVER, DRIVER, *how], stdin=fd, stdout=fd, stderr=fd, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class TestInAProcess:
    """By signals that come in the midst of drawing; `Terminal` refuses every mode that would have to be switched back."""

    @pytest.mark.parametrize(("key", "number", "word"), [("\x03", None, "interrupted"), ("", signal.SIGTERM, "ended")])
    def test_ended_by_a_key_or_a_signal(self, key: str, number: int | None, word: str) -> None:
        terminal = Pty()
        before = termios.tcgetattr(terminal.stream.fileno())
        with program_on(terminal) as process:
            terminal.until("first event")
            if number is None:
                terminal.type(key)
            else:
                process.send_signal(number)
            process.wait(PATIENCE_S)
            assert termios.tcgetattr(terminal.stream.fileno()) == before
        *_, left, last = shown(terminal.ended())
        assert re.match(r"profiling \d+(/30)? s: sent ", left)
        assert last == word

    def test_killed(self) -> None:
        terminal = Pty()
        before = termios.tcgetattr(terminal.stream.fileno())
        with program_on(terminal) as process:
            terminal.until("first event", times=3)
            process.kill()
            process.wait(PATIENCE_S)
        assert termios.tcgetattr(terminal.stream.fileno()) == before
        whole = terminal.ended().rpartition("\x1b[J")[0]  # the last drawing may have been cut off
        assert shown(whole)[0].startswith("profiling")

    def test_in_the_background_it_says_what_it_must_and_draws_nothing(self) -> None:
        terminal = Pty()
        with program_on(terminal, "background") as process:
            assert process.wait(PATIENCE_S) == 0
        assert "\x1b[J" not in terminal.ended()
        said, left = shown(terminal.text)
        assert said == "said"
        assert re.match(r"profiling \d+(/30)? s: sent ", left)


def test_what_is_drawn_follows_the_pulses() -> None:
    terminal = Pty()
    screen = screen_on(terminal)
    with screen.showing(OUTLOOK):
        terminal.until("waiting for the load to begin")
        load(screen, terminal)
        twice_more = terminal.text.count("first event") + 2  # the one before the last is whole
        drawn = shown(terminal.until("first event", times=twice_more).rpartition("\x1b[J")[0])
    terminal.ended()
    assert drawn[0].startswith("profiling")
    assert drawn[1].split()[:3] == ["sent", "1,000", "in"]


def test_the_clock_goes_on_while_no_pulse_comes() -> None:
    terminal, seconds = Pty(), iter(range(0, 10_000 * SECOND, SECOND // 10))
    screen = TQDMProgressUI(str, stream=terminal.stream, now=lambda: next(seconds), every_s=QUICK_S)
    with screen.showing(OUTLOOK):
        screen.pulse(pulse(0, sent=7, in_flight=7))
        terminal.until("silent")
        terminal.until("0:00:04")
    terminal.ended()


def test_it_draws_in_place_and_not_too_often() -> None:
    terminal, began = Pty(), clock.monotonic_ns()
    screen = screen_on(terminal, every_s=0.1)
    with screen.showing(OUTLOOK):
        for i in range(40):
            screen.pulse(pulse(i / 10, sent=i))
            screen.line(f"line {i}")
        terminal.until("first event", times=3)
    text, gone_s = terminal.ended(), (clock.monotonic_ns() - began) / SECOND
    assert text.count("first event") <= gone_s / 0.1 + 1
    assert [line for line in shown(text, lines=60) if line.startswith("line")] == [f"line {i}" for i in range(40)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_the_thread_that_draws_lets_others_go_first() -> None:
    terminal = Pty()
    screen = screen_on(terminal)
    with screen.showing(OUTLOOK):
        terminal.until("waiting")
        (drawing,) = (thread.native_id for thread in threading.enumerate() if thread.name == "screen")
        own, its = (os.getpriority(os.PRIO_PROCESS, tid or 0) for tid in (threading.get_native_id(), drawing))
    terminal.ended()
    assert its == min(own + 10, 19)


@pytest.mark.parametrize("columns", [40, 100, 200])
def test_nothing_wraps_and_nothing_scrolls(columns: int) -> None:
    terminal, kept = Pty(columns, lines=12), Terminal(columns, lines=12)
    screen = screen_on(terminal)
    with screen.showing(OUTLOOK):
        load(screen, terminal)
        screen.pulse(pulse(10.1, sent=1001, failed={"reset": 5}, busy=0.99))
        terminal.until("at its limit", times=5)
    kept.feed(terminal.ended())
    assert (kept.wrapped, kept.scrolled) == (0, 0)
    assert len(kept.shown) == 1


def test_a_low_terminal_shows_the_first_rows() -> None:
    terminal, kept = Pty(100, lines=3), Terminal(100, lines=3)
    screen = screen_on(terminal)
    with screen.showing(OUTLOOK):
        load(screen, terminal)
    kept.feed(terminal.ended())
    assert kept.scrolled == 0


class TestWhereNothingIsDrawn:
    def test_in_a_pipe_there_are_lines(self) -> None:
        written: list[str] = []
        screen = TQDMProgressUI(written.append, stream=io.StringIO())
        with screen.showing(OUTLOOK):
            screen.pulse(pulse(0))
            screen.pulse(pulse(5, sent=500, done=490, in_flight=10))
            screen.line("amidst")
        assert written == ["profiling 5 s: sent 500/3,000, in flight 10, done 490, failed 0, 98.0 requests/s", "amidst"]

    def test_on_a_dumb_terminal_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "dumb")
        terminal = Pty()
        screen = screen_on(terminal)
        with screen.showing(OUTLOOK):
            screen.line("said")
            screen.pulse(pulse(0))
            screen.pulse(pulse(5, sent=500, done=490, in_flight=10))
            terminal.until("98.0 requests/s")
        assert terminal.ended() == "said\r\nprofiling 5 s: sent 500/3,000, in flight 10, done 490, failed 0, 98.0 requests/s\r\n"


def test_standard_error_goes_above_where_it_is_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Pty()
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    screen = screen_on(terminal)
    with screen.showing(OUTLOOK):
        load(screen, terminal)
        for text in ("one\ntwo, unfin", "ished\n", "no end"):
            sys.stderr.write(text)
    assert sys.stderr is terminal.stream
    *errors, left = shown(terminal.ended())
    assert errors == ["one", "two, unfinished", "no end"]
    assert LEFT.fullmatch(left)
