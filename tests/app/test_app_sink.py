"""What the sink says is what a server says: read by the same code as any answer."""

import httptools
from hypothesis import given
from hypothesis import strategies as st

from aiperf.app.ceilings import TOKEN, _steps, canned
from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.seams import Answer


class Read:
    """An HTTP answer, taken apart."""

    def __init__(self, data: bytes) -> None:
        self.kind, self.bodies, self.complete = "", list[bytes](), False
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)
        self.status = self.parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.kind = value.decode()

    def on_body(self, body: bytes) -> None:
        self.bodies.append(body)

    def on_message_complete(self) -> None:
        self.complete, self.keep_alive = True, self.parser.should_keep_alive()


def said(read: Read, *, streaming: bool):
    endpoint = ChatEndpoint(Endpoint(url=("http://127.0.0.1:1",), streaming=streaming), model="sink", exact=False, usage=True)
    return endpoint.answer(Answer(read.status, read.kind, read.bodies, read.complete))


def test_a_plain_answer() -> None:
    (write,) = canned(0)
    read = Read(write)
    assert (read.status, read.complete, read.keep_alive) == (200, True, True)
    answer = said(read, streaming=False)
    assert (answer.error, answer.finish_reason, answer.text) == (None, "stop", " word")


@given(st.integers(1, 200))
def test_a_stream_has_as_many_tokens_as_writes(events: int) -> None:
    writes = canned(events)
    assert [write.count(TOKEN) for write in writes] == [1] * events
    read = Read(b"".join(writes))
    assert (read.status, read.complete, read.keep_alive) == (200, True, True)
    answer = said(read, streaming=True)
    assert (answer.error, answer.text) == (None, " word" * events)


@given(st.integers(1, 400), st.floats(0.0005, 0.05), st.booleans())
def test_the_paced_measure_ends_near_what_is_carried(ceiling: int, busy_each: float, exactly: bool) -> None:
    """Whether stamps or time give out first: what it settles on holds, and is never far below where it would not."""
    carried = min(ceiling, int(0.9 / busy_each)) if exactly else int(0.9 / busy_each)
    played = list[int]()

    def play(level: int):
        played.append(level)
        exact = 0.999 if not exactly or level <= ceiling else 0.98
        return {"level": level, "exact_share": exact, "busy": {"generator": min(1.0, level * busy_each)}}

    found = _steps(play)["level"]
    assert len(played) <= 4
    assert found == max((level for level in played if level <= carried), default=played[0])
    assert (1.8 if carried < 144 else 3) * found + 1 >= min(carried, 400)
    assert carried >= 16 or played == [16] * 4


def test_a_first_level_that_others_have_spoiled_is_tried_again() -> None:
    played = list[int]()

    def play(level: int):
        played.append(level)
        return {"level": level, "exact_share": 0.9 if len(played) == 1 or level > 40 else 1.0, "busy": {"generator": level / 160}}

    assert _steps(play)["level"] == 28
    assert played == [16, 16, 48, 28]
