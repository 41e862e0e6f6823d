import os
from typing import TextIO

from hypothesis import given
from hypothesis import strategies as st
from screens import Pty, Terminal

from aiperf.ui.panel import Panel


def piped() -> tuple[int, TextIO]:
    ours, theirs = os.pipe()
    return ours, os.fdopen(theirs, "w", encoding="utf-8")


class TestRegion:
    """What is drawn in place, on a pipe that is read into a terminal of our own."""

    def drawn(self, region: Panel, ours: int, *draws: list[str], above: tuple[str, ...] = ()) -> str:
        for rows in draws:
            region.draw(rows, above)
        return os.read(ours, 1 << 16).decode().replace("\n", "\r\n")

    def test_replaces_what_was_there(self) -> None:
        ours, theirs = piped()
        region, terminal = Panel(theirs), Terminal(80)
        terminal.feed(self.drawn(region, ours, ["one", "two", "three"], ["1"]))
        assert terminal.shown == ["1"]
        terminal.feed(self.drawn(region, ours, ["1", "2"], above=("a line", "another")))
        assert terminal.shown == ["a line", "another", "1", "2"]
        os.close(ours)
        theirs.close()

    @given(
        st.lists(st.tuples(st.lists(st.integers(0, 79), max_size=6), st.lists(st.integers(0, 300), max_size=3)), min_size=1, max_size=20)
    )
    def test_whatever_is_drawn_what_was_said_stays_and_the_rest_goes(self, draws: list[tuple[list[int], list[int]]]) -> None:
        ours, theirs = piped()
        region, terminal, said = Panel(theirs), Terminal(80), []
        for rows, above in draws:
            texts = tuple("a" * max(1, length) for length in above)
            terminal.feed(self.drawn(region, ours, ["r" * length for length in rows], above=texts))
            said += [text[start : start + 80] for text in texts for start in range(0, len(text), 80)]
        os.close(ours)
        theirs.close()
        expected = [*said, *("r" * length for length in draws[-1][0])]
        while expected and not expected[-1]:
            expected.pop()
        assert terminal.shown == expected

    def test_lines_that_a_narrower_terminal_has_folded_are_cleared_too(self) -> None:
        terminal = Pty(columns=100)
        region = Panel(terminal.stream)
        region.draw(["\x1b[2m" + "x" * 90 + "\x1b[0m", "y"])
        terminal.resize(40)
        region.draw(["z"])
        assert "\x1b[4A" in terminal.ended()  # 90 columns are three lines of 40

    def test_a_terminal_that_does_not_say_its_size_has_the_usual_one(self) -> None:
        ours, theirs = piped()
        assert Panel(theirs).size == (80, 24)
        os.close(ours)
        theirs.close()
        nowhere = Pty(columns=0, lines=0)
        assert Panel(nowhere.stream).size == (80, 24)
        nowhere.ended()
