"""What a terminal is told, and what a pipe."""

import io

import pytest

from aiperf.config.terminal import Terminal, terminal


class Seen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "colour"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
        ({"TERM": None}, False),
    ],
)
def test_colours_are_for_who_wants_them(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None], colour: bool) -> None:
    for name, value in {"TERM": "xterm", "NO_COLOR": None, "COLUMNS": "77", **variables}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert terminal(Seen()) == Terminal(colour, 77)


def test_a_pipe_has_neither_colours_nor_columns() -> None:
    assert terminal(io.StringIO()) == Terminal(colour=False, columns=None)
