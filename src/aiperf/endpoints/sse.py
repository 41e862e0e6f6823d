"""Server-sent events out of bodies that were cut anywhere (WHATWG HTML, section 9.2), and which read brought each.

An event has arrived with the last byte of the blank line behind it, so that is the byte whose read is reported.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

_FRAME = b"data: %b\n\n"
_BETWEEN = b"\n\ndata: "
_INSIDE = slice(len(b"data: "), -len(b"\n\n"))
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


@dataclass(slots=True)
class Events:
    """What a stream held, as parallel lists; comments, keep-alives and events without data or a name are left out.

    `reads[i]` is the body that held the last byte of event i, `at_end[i]` whether that was the body's last byte.
    `names` has an entry for each event that was named. `unfinished`: the last event has no blank line behind it.
    """

    data: list[bytes] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    at_end: list[bool] = field(default_factory=list)
    names: dict[int, bytes] = field(default_factory=dict)
    unfinished: bool = False

    def drop_last(self) -> None:
        """Forget the last event, for one that turns out to be half of one."""
        self.names.pop(len(self.data) - 1, None)
        del self.data[-1], self.reads[-1], self.at_end[-1]
        self.unfinished = False


def is_stream(content_type: str | None) -> bool:
    """Whether a Content-Type announces events."""
    return content_type is not None and content_type.lstrip()[:17].lower() == "text/event-stream"


def split(bodies: Sequence[bytes]) -> Events:
    """Every event of the bodies, which are taken as one stream; nearly all are nothing but `data: …` and blank lines."""
    whole = b"".join(bodies)
    if bodies and bodies[0].find(b"\n") == len(bodies[0]) - 2 and _is_framed(data := [body[_INSIDE] for body in bodies], whole):
        return Events(data, list(range(len(data))), [True] * len(data))
    if _is_framed(data := whole[_INSIDE].split(_BETWEEN), whole):
        return _placed(Events(data), accumulate(len(one) + len(_BETWEEN) for one in data), bodies)
    blocks, ends = _blocks(whole)
    blocks[0] = blocks[0].removeprefix(_BOM)
    events, places = Events(), list[int]()
    for block, end in zip(blocks, ends):
        name, said = _fields(block)
        if name:
            events.names[len(events.data)] = name
        elif not said:
            continue
        events.data.append(said)
        places.append(end)
    events.unfinished = any(_fields(blocks[-1]))
    return _placed(events, places, bodies)


def _is_framed(data: Sequence[bytes], whole: bytes) -> bool:
    """Whether a stream is these data, a line each, and no more than their frames."""
    lines = b"".join(data)
    return b"\n" not in lines and b"\r" not in lines and all(data) and _FRAME % _BETWEEN.join(data) == whole


def _placed(events: Events, ends: Iterable[int], bodies: Sequence[bytes]) -> Events:
    """The events with the reads that completed them; `ends` are places in the whole stream, ascending."""
    reads, at_end, read, edge = events.reads, events.at_end, -1, 0
    for end in ends:
        while edge < end:
            read += 1
            edge += len(bodies[read])
        reads.append(read)
        at_end.append(edge == end)
    return events


def _blocks(whole: bytes) -> tuple[list[bytes], list[int]]:
    """What stands between blank lines, in lines that end in a line feed, and where each blank line ends; the last block has none."""
    if b"\r" in whole:  # alone or before a line feed, both may end a line
        gaps = [match.span() for match in _BLANK.finditer(whole)]
        starts, stops = [0, *(end for _, end in gaps)], [*(start for start, _ in gaps), len(whole)]
        blocks = [whole[start:stop].replace(b"\r\n", b"\n").replace(b"\r", b"\n") for start, stop in zip(starts, stops)]
        return blocks, [*starts[1:], len(whole)]
    blocks = whole.split(b"\n\n")
    return blocks, [*accumulate(len(block) + 2 for block in blocks[:-1]), len(whole)]


def _fields(block: bytes) -> tuple[bytes, bytes]:
    """Name and data of a block of lines; a field called `error`, which llama.cpp has sent, is an event of that name."""
    name, data = b"", []
    for line in block.split(b"\n"):
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key in (b"data", b"error"):
            data.append(value)
        if key == b"event":
            name = value
        elif key == b"error":
            name = key
    return name, b"\n".join(data)
