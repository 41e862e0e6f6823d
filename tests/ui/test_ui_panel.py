import dataclasses
import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from screens import Terminal

from aiperf.results import Outlook
from aiperf.ui.panel import Panel, clock_face, count, rate, time_ms
from aiperf.ui.progress import Standing

OPEN = Outlook({"warmup": (500, 5.0), "profiling": (3000, 30.0)}, rate=100.0)
CLOSED = Outlook({"profiling": (None, 60.0)}, concurrency=32)
STANDING = Standing(
    "profiling", 1440, 1402, {}, 38, 14.3, requests=3000, seconds=30.0, asked=100.2, reached=99.8, pace=99.0,
    first_ms=(5.06, 9.13), late_ms=0.05, busy=0.23,
)  # fmt: skip
WIDTHS = (40, 60, 80, 100, 160, 200)


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def rows(at: Standing | None = STANDING, columns: int = 100, outlook: Outlook = OPEN) -> list[str]:
    return Panel("utf-8", outlook).rows(at, columns)


def plain(found: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[\d;]*m", "", row) for row in found]


def at(**others: Any) -> Standing:
    return dataclasses.replace(STANDING, **others)


def figures(lines: list[str]) -> dict[str, str]:
    """The figures by their labels; a label is followed by at least a space, figures end where the gap begins."""
    labels = (
        "sent",
        "in flight",
        "done",
        "failed",
        "asked",
        "reached",
        "planned",
        "level",
        "cap",
        "first event",
        "its p99",
        "busy",
        "late",
    )
    found = re.findall(rf"({'|'.join(labels)}) +([!<]? ?[\d.,]+M?(?: ms| s| %|/s)?|-)", "\n".join(lines[1:]))
    return dict(found)


def test_what_is_seen_of_an_open_loop() -> None:
    lines = plain(rows())
    assert lines[0].startswith("profiling   ━")
    assert re.search(r"48 % +0:14 +0:16 left$", lines[0])
    assert figures(lines) == {
        "sent": "1,440", "in flight": "38", "done": "1,402", "failed": "0", "asked": "100.2/s", "reached": "99.8/s",
        "planned": "100.0/s", "first event": "5.06 ms", "its p99": "9.13 ms", "busy": "23 %", "late": "< 1 ms",
    }  # fmt: skip


def test_a_closed_loop_has_no_rate_that_was_asked() -> None:
    found = figures(plain(rows(outlook=CLOSED)))
    assert (found["reached"], found["level"]) == ("99.8/s", "32")
    assert not found.keys() & {"asked", "planned", "cap"}


def test_before_the_first_pulse() -> None:
    assert plain(rows(None)) == ["waiting for the load to begin"]


def test_failures_are_named_by_class_the_commonest_first() -> None:
    failed = {"reset": 9, "http_5xx": 1221, "malformed": 2, "timeout_idle": 4, "truncated": 1}
    for columns in WIDTHS:
        line = plain(rows(at(failed=failed), columns))[-1]
        assert line.startswith("failures    1,237: http_5xx 1,221,")
    assert plain(rows(at(failed=failed)))[-1].endswith("http_5xx 1,221, reset 9, timeout_idle 4, malformed 2, ...")
    assert "failures" not in "\n".join(plain(rows()))


def styled(found: list[str], value: str) -> str:
    """The codes before a value."""
    codes = re.search(rf"\x1b\[([\d;]+)m *{re.escape(value)}", "\n".join(found))
    assert codes
    return codes[1]


@pytest.mark.parametrize(
    ("others", "value", "code"),
    [
        ({"failed": {"reset": 7}}, "7", "1;31"),
        ({"late_ms": 1.01}, "1.01 ms", "1;33"),
        ({"busy": 0.97}, "! 97 %", "1;33"),
        ({"reached": 97.0}, "97.0/s", "33"),
    ],
)
def test_what_is_wrong_has_a_colour(others: dict[str, Any], value: str, code: str) -> None:
    assert styled(rows(at(**others)), value) == code


def test_what_is_in_order_has_none() -> None:
    assert not {"1;31", "31", "1;33", "33"} & set(re.findall(r"\x1b\[([\d;]+)m", "".join(rows())))


def test_a_full_generator_and_a_silent_one_are_told_at_every_width() -> None:
    for columns in WIDTHS:
        assert plain(rows(at(busy=0.91), columns))[-1] == "full        generator at its limit"
        assert plain(rows(at(silent_s=3.4), columns))[-1] == "silent      generator, for 3 s"
    assert "full" not in "".join(plain(rows(at(busy=0.89))))


def test_when_all_is_over_nobody_misses_a_pulse() -> None:
    over = at(sent=3000, done=3000, in_flight=0, silent_s=9.0)
    assert "silent" not in "".join(plain(rows(over)))
    assert re.search(r"100 % +0:14 +done$", plain(rows(over))[0])


def test_while_only_answers_are_awaited_it_is_finishing() -> None:
    assert plain(rows(at(sent=3000, elapsed_s=31.0)))[0].endswith("finishing")


def test_a_phase_without_a_known_end_shows_that_something_goes_on() -> None:
    heads = [plain(rows(at(requests=None, seconds=None, elapsed_s=seconds)))[0] for seconds in (0.25, 0.5, 4.0)]
    assert len(set(heads)) == 3
    assert not any("%" in head or "left" in head for head in heads)
    assert heads[0].endswith("0:00")


@pytest.mark.parametrize("columns", WIDTHS)
def test_figures_stay_in_their_places(columns: int) -> None:
    """Whatever the numbers, labels begin and values end in the same columns, and no line comes or goes."""
    few = at(sent=1, done=0, in_flight=1, asked=0.5, reached=0.4, first_ms=(None, None), busy=0.0, elapsed_s=0.3)
    many = at(
        sent=9_876_543, done=999_999, in_flight=12_345, asked=69_999.6, reached=70_001.2, first_ms=(9_999.4, 123_456.0), busy=1.0,
        late_ms=999.4, elapsed_s=35_999.0,
    )  # fmt: skip
    first, second = (plain(rows(one, columns)) for one in (few, many))
    second = [line for line in second if not line.startswith("full")]
    assert len(first) == len(second)
    assert [len(line) for line in first[1:]] == [len(line) for line in second[1:]]
    for line, other in itertools.islice(zip(first, second), 1, None):
        assert [found.span() for found in re.finditer("sent|in flight|done|reached|first event|its p99|busy|late", line)] == [
            found.span() for found in re.finditer("sent|in flight|done|reached|first event|its p99|busy|late", other)
        ]


@pytest.mark.parametrize("columns", WIDTHS)
def test_narrow_terminals_drop_columns_and_keep_what_counts(columns: int) -> None:
    found = figures(plain(rows(columns=columns)))
    assert found.keys() >= {"sent", "in flight", "asked", "reached", "first event", "its p99", "busy", "late"}
    assert ("failed" in found) == (columns >= 80)


@given(
    columns=st.integers(2, 220),
    numbers=st.tuples(*[st.integers(0, 10**7)] * 4),
    rates=st.tuples(*[st.one_of(st.none(), st.floats(0, 1e6))] * 2),
    times=st.tuples(*[st.floats(0, 1e7)] * 4),
    failed=st.dictionaries(st.sampled_from(["reset", "http_5xx", "timeout_first_byte"]), st.integers(1, 10**7)),
    outlook=st.sampled_from([OPEN, CLOSED, Outlook({})]),
    encoding=st.sampled_from(["utf-8", "ascii"]),
)
def test_no_line_is_as_wide_as_the_terminal(
    columns: int, numbers: tuple[int, ...], rates: tuple[float | None, ...], times: tuple[float, ...], failed: dict[str, int],
    outlook: Outlook, encoding: str,
) -> None:  # fmt: skip
    """So nothing wraps."""
    standing = at(
        sent=numbers[0], done=numbers[1], in_flight=numbers[2], requests=numbers[3] or None, asked=rates[0], reached=rates[1],
        first_ms=(times[0], times[1]), late_ms=times[2], elapsed_s=times[3], failed=failed, busy=0.95, silent_s=7.0,
    )  # fmt: skip
    ours = Panel(encoding, outlook)
    for found in (ours.rows(standing, columns), ours.last(standing, columns), ours.rows(None, columns)):
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
    assert "━" in plain(found)[0]
    assert "─" in plain(found)[0]


def test_what_is_left_is_one_line() -> None:
    over = at(sent=3000, done=2963, failed={"reset": 37}, in_flight=0, elapsed_s=30.0)
    assert plain(Panel("utf-8", OPEN).last(over, 100)) == ["profiling 0:30: 3,000 sent, 37 failed, 2,963 done (100.0/s)"]


def test_numbers_have_the_digits_that_mean_something() -> None:
    assert [count(n) for n in (0, 999_999, 1_234_567)] == ["0", "999,999", "1.235M"]
    assert [rate(n) for n in (None, 0.04, 999.94, 12_345.6)] == ["-", "0.0/s", "999.9/s", "12,346/s"]
    assert [time_ms(n) for n in (None, 0.127, 9.994, 12.34, 456.7, 9_876.0, 12_340.0)] == [
        "-", "0.13 ms", "9.99 ms", "12.3 ms", "457 ms", "9,876 ms", "12.3 s",
    ]  # fmt: skip
    assert [clock_face(n) for n in (0.9, 75, 3600 + 62)] == ["0:00", "1:15", "1:01:02"]
