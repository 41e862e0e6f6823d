import dataclasses
import io
import itertools
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from screens import Terminal

from aiperf.ui.panel import Panel
from aiperf.ui.progress import Standing

STANDING = Standing(
    "profiling", 1440, 1402, {}, 38, 14.3, requests=3000, seconds=30.0, asked=100.2, reached=99.8, pace=99.0,
    first_ms=5.06, late_ms=0.05, busy=0.23,
)  # fmt: skip
WIDTHS = (45, 60, 80, 100, 160, 200)
LABELS = ("sent", "in flight", "done", "failed", "asked", "reached", "first event")


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


class Stream(io.TextIOWrapper):
    """Somebody's terminal, by its encoding alone: a panel that only makes rows writes nothing to it."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding)

    def fileno(self) -> int:
        return sys.__stdout__.fileno() if sys.__stdout__ else 1


def rows(at: Standing | None = STANDING, columns: int = 100, encoding: str = "utf-8") -> list[str]:
    return Panel(Stream(encoding)).rows(at, columns)


def plain(found: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[\d;]*m", "", row).rstrip() for row in found]


def at(**others: Any) -> Standing:
    return dataclasses.replace(STANDING, **others)


def figures(lines: list[str]) -> dict[str, str]:
    """The figures by their labels."""
    return dict(re.findall(rf"({'|'.join(LABELS)}) +([\d.,]+(?: ms|/s)?|-)", "\n".join(lines[1:])))


@pytest.mark.parametrize("columns", WIDTHS)
def test_what_is_seen_is_the_same_at_every_width(columns: int) -> None:
    lines = plain(rows(columns=columns))
    assert lines[0].startswith("profiling ━")
    assert re.search(r"48 % +0:00:14 +0:00:16 left$", lines[0])
    assert figures(lines) == {
        "sent": "1,440", "in flight": "38", "done": "1,402", "failed": "0", "asked": "100.2/s", "reached": "99.8/s",
        "first event": "5.06 ms",
    }  # fmt: skip


def test_what_is_not_known_is_not_told() -> None:
    found = figures(plain(rows(at(asked=None, reached=None, first_ms=None))))
    assert (found["asked"], found["reached"], found["first event"]) == ("-", "-", "-")


def test_before_the_first_pulse() -> None:
    assert plain(rows(None)) == ["waiting for the load to begin"]


def test_failures_are_named_by_class_the_commonest_first() -> None:
    failed = {"reset": 9, "http_5xx": 1221, "malformed": 2}
    for columns in WIDTHS:
        assert plain(rows(at(failed=failed), columns))[-1].startswith("failures    http_5xx 1,221, reset 9,")
    assert plain(rows(at(failed=failed)))[-1].endswith("http_5xx 1,221, reset 9, malformed 2")
    assert figures(plain(rows(at(failed=failed))))["failed"] == "1,232"
    assert "failures" not in "\n".join(plain(rows()))


@pytest.mark.parametrize(
    ("others", "text", "code"),
    [
        ({"failed": {"reset": 7}}, " *7", "1;31"),
        ({"failed": {"reset": 7}}, "failures", "31"),
        ({"late_ms": 1.01}, "generator", "33"),
        ({"busy": 0.97}, "generator", "33"),
    ],
)
def test_what_is_wrong_has_a_colour(others: dict[str, Any], text: str, code: str) -> None:
    assert re.search(rf"\x1b\[{code}m{text}", "\n".join(rows(at(**others))))


def test_what_is_in_order_has_none() -> None:
    assert not {"1;31", "31", "1;33", "33"} & set(re.findall(r"\x1b\[([\d;]+)m", "".join(rows())))


def test_a_generator_that_is_full_late_or_silent_is_told_of_at_every_width() -> None:
    for columns in WIDTHS:
        assert plain(rows(at(busy=0.91), columns))[-1] == "generator   at its limit (91 % busy)"
        assert plain(rows(at(late_ms=3.21), columns))[-1] == "generator   3.2 ms late"
        assert plain(rows(at(silent_s=3.4), columns))[-1] == "generator   silent for 3 s"
    assert plain(rows(at(busy=0.97, late_ms=34.0)))[-1] == "generator   at its limit (97 % busy), 34.0 ms late"
    assert "generator" not in "".join(plain(rows(at(busy=0.89, late_ms=0.9))))


def test_when_all_is_over_nobody_misses_a_pulse() -> None:
    over = at(sent=3000, done=3000, in_flight=0, silent_s=9.0)
    assert "silent" not in "".join(plain(rows(over)))
    assert re.search(r"100 % +0:00:14$", plain(rows(over))[0])


def test_while_only_answers_are_awaited_it_is_finishing() -> None:
    assert plain(rows(at(sent=3000, elapsed_s=31.0)))[0].endswith("finishing")


def test_a_phase_without_a_known_end_shows_that_something_goes_on() -> None:
    heads = [rows(at(requests=None, seconds=None, elapsed_s=seconds))[0] for seconds in (0.25, 0.5, 4.0)]
    assert len(set(heads)) == 3
    assert not any("%" in head or "left" in head for head in heads)
    assert plain(heads)[0].endswith("0:00:00")


@pytest.mark.parametrize("columns", WIDTHS)
def test_figures_stay_in_their_places(columns: int) -> None:
    """Whatever the numbers, labels begin and values end in the same columns, and no line comes or goes."""
    few = at(sent=1, done=0, in_flight=1, asked=0.5, reached=0.4, first_ms=None, busy=0.0, elapsed_s=0.3)
    many = at(
        sent=9_876_543, done=999_999, in_flight=12_345, asked=69_999.6, reached=70_001.2, first_ms=99_999.0, elapsed_s=35_999.0,
    )  # fmt: skip
    first, second = (plain(rows(one, columns)) for one in (few, many))
    assert [len(line) for line in first[1:]] == [len(line) for line in second[1:]]
    for line, other in itertools.islice(zip(first, second), 1, None):
        assert [found.span() for found in re.finditer("|".join(LABELS), line)] == [
            found.span() for found in re.finditer("|".join(LABELS), other)
        ]


@given(
    columns=st.integers(2, 220),
    numbers=st.tuples(*[st.integers(0, 10**7)] * 4),
    rates=st.tuples(*[st.one_of(st.none(), st.floats(0, 1e6))] * 2),
    times=st.tuples(*[st.floats(0, 1e7)] * 3),
    failed=st.dictionaries(st.sampled_from(["reset", "http_5xx", "timeout_first_byte"]), st.integers(1, 10**7)),
    encoding=st.sampled_from(["utf-8", "ascii"]),
)
def test_no_line_is_as_wide_as_the_terminal(
    columns: int, numbers: tuple[int, ...], rates: tuple[float | None, ...], times: tuple[float, ...], failed: dict[str, int],
    encoding: str,
) -> None:  # fmt: skip
    """So nothing wraps."""
    standing = at(
        sent=numbers[0], done=numbers[1], in_flight=numbers[2], requests=numbers[3] or None, asked=rates[0], reached=rates[1],
        first_ms=times[0], late_ms=times[1], elapsed_s=times[2], failed=failed, busy=0.95, silent_s=7.0,
    )  # fmt: skip
    for found in (rows(standing, columns, encoding), rows(None, columns, encoding)):
        assert all(len(line) < columns for line in plain(found))
        for row in found:
            terminal = Terminal(columns)
            terminal.feed(row)
            assert terminal.wrapped == 0
            row.encode(encoding)


def test_who_sets_no_color_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    found = rows(at(failed={"reset": 7}, late_ms=30.0))
    assert not re.search(r"\x1b\[[\d;]*3\d[\d;]*m", "".join(found))
    assert "━╸ " in plain(found)[0]
