"""What the sink says is what a server says: read by the same code as any answer."""

import httptools
from hypothesis import given
from hypothesis import strategies as st

from aiperf.app.ceilings import TOKEN, canned
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
