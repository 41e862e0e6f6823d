"""What is left of an answer when its framing is gone, however the network cut it."""

from hypothesis import given
from hypothesis import strategies as st

from aiperf.transports.response import Response

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@given(st.lists(st.lists(st.binary(min_size=1, max_size=40), max_size=8), min_size=1, max_size=3), st.lists(st.integers(1, 60)))
def test_bodies_are_whole_whatever_the_chunks_and_the_reads(answers: list[list[bytes]], cuts: list[int]) -> None:
    response, sizes = Response(), iter(cuts)
    for chunks in answers:
        wire = HEAD + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        got, at = list[bytes](), 0
        while at < len(wire):
            assert not response.complete
            size = next(sizes, len(wire))
            piece = response.feed(wire[at : at + size])
            assert piece is None or piece
            got.append(piece or b"")
            at += size
        assert response.complete
        assert b"".join(got) == b"".join(chunks)
        response.begin()
