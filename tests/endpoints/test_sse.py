import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.endpoints import sse

PIECES = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"\n\n", b"data", b"data:", b"data: ", b"event: ", b"error", b": ping", b"x", b" ", b":", b'{"a":1}', b"[DONE]"]
)
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)


def slow(whole):
    """The specification line by line: (name, data, place behind the blank line) of each event; the last may have no blank line."""
    events, name, data, at = [], b"", None, 0
    lines = [(match[1], match.end()) for match in re.finditer(rb"([^\r\n]*)(\r\n|\n|\r|$)", whole) if match.end() > match.start()]
    for line, at in [*lines, (b"", len(whole))]:
        key, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if name or data:
                events.append((name, data or b"", at))
            name, data = b"", None
        elif key in (b"data", b"error"):
            data = value if data is None else data + b"\n" + value
        if key == b"event":
            name = value
        elif key == b"error":
            name = b"error"
    return events


def cut(whole, places):
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[a:b] for a, b in pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 1000), max_size=8))
def test_reads_what_the_specification_says_wherever_it_is_cut(whole, places):
    bodies = cut(whole, places)
    events = sse.split(bodies)
    expected = slow(whole)
    assert events.data == [data for _, data, _ in expected]
    assert [events.names.get(i, b"") for i in range(len(events.data))] == [name for name, _, _ in expected]
    edges = [sum(map(len, bodies[: i + 1])) for i in range(len(bodies))]
    ends = [at for _, _, at in expected]
    assert events.reads == [next(i for i, edge in enumerate(edges) if edge >= at) for at in ends]
    assert events.at_end == [at in edges for at in ends]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_every_kind(end):
    stream = b"event: a" + end + b"data: 1" + end + b"data: 2" + end + end + b":ping" + end + end + b"data:3" + end + end
    events = sse.split([stream])
    assert events.data == [b"1\n2", b"3"]
    assert events.names == {0: b"a"}
    assert not events.unfinished


def test_the_blank_line_decides_which_read_completed_an_event():
    events = sse.split([b"data: 1\n", b"\ndata: 2\n\n", b"data: 3\n\nda", b"ta: 4\n\n", b"\n\n"])
    assert events.data == [b"1", b"2", b"3", b"4"]
    assert events.reads == [1, 1, 2, 3]
    assert events.at_end == [False, True, False, True]


def test_an_event_without_its_blank_line_is_marked():
    events = sse.split([b"data: 1\n\ndata", b": 2", b""])
    assert (events.data, events.reads, events.at_end, events.unfinished) == ([b"1", b"2"], [0, 1], [False, True], True)
    events.drop_last()
    assert (events.data, events.reads, events.at_end, events.unfinished) == ([b"1"], [0], [False], False)


def test_a_byte_order_mark_is_no_part_of_the_first_field():
    assert sse.split([b"\xef\xbb\xbfdata: 1\n\n"]).data == [b"1"]


@pytest.mark.parametrize("bodies", [[], [b""], [b"\n\n\n"], [b": keep-alive\n\n", b":\n\n"]])
def test_nothing_said_is_no_event(bodies):
    events = sse.split(bodies)
    assert (events.data, events.unfinished) == ([], False)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("text/event-stream", True), ("Text/Event-Stream; charset=utf-8", True), ("application/json", False), (None, False), ("", False)],
)
def test_streams_are_told_by_content_type(content_type, expected):
    assert sse.is_stream(content_type) is expected
