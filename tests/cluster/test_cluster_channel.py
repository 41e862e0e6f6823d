"""Lines between processes: whole messages, whatever the size, and last words that are not lost."""

import pickle
import socket
import struct
import threading

from hypothesis import given
from hypothesis import strategies as st

from aiperf.cluster.channel import SocketChannel

PATIENCE_S = 60.0
"""So long may the one who reads stand still."""


def pair() -> tuple[SocketChannel, SocketChannel]:
    return tuple(SocketChannel(sock) for sock in socket.socketpair())  # type: ignore[return-value]


def test_last_words_are_read_though_we_spoke_to_one_who_was_gone() -> None:
    ours, theirs = pair()
    theirs.tell({"window": (1, 2)})
    theirs.close()
    ours.tell("stop")
    ours.tell("stop")
    assert ours.told() == [{"window": (1, 2)}]
    assert ours.closed
    ours.close()


def test_an_end_is_noticed_by_one_who_only_listens() -> None:
    ours, theirs = pair()
    assert theirs.told() == []
    assert not theirs.closed
    ours.tell("unread")
    ours.close()
    assert theirs.told() == ["unread"]
    assert theirs.closed
    theirs.close()


def test_what_did_not_fit_goes_out_before_the_line_is_closed() -> None:
    ours, theirs = pair()
    words = b"x" * 3_000_000
    theirs.tell(words)
    closing = threading.Thread(target=theirs.close, args=(PATIENCE_S,))
    closing.start()
    heard: list[object] = []
    while not ours.closed:
        heard += ours.told()
    closing.join()
    assert heard == [words]
    ours.close()


def test_nobody_reads_and_more_than_4_mib_wait() -> None:
    ours, theirs = pair()
    for number in range(20):
        theirs.tell(bytes([number]) * 1_000_000)
    closing = threading.Thread(target=theirs.close, args=(PATIENCE_S,))
    closing.start()
    heard: list[bytes] = []
    while not ours.closed:
        heard += ours.told()
    closing.join()
    assert [len(message) for message in heard] == [1_000_000] * len(heard)
    assert [message[0] for message in heard] == list(range(len(heard)))
    assert 4 <= len(heard) <= 6
    ours.close()


@given(st.lists(st.tuples(st.binary(max_size=300), st.lists(st.integers(1, 400), max_size=3)), max_size=8))
def test_messages_are_whole_wherever_the_bytes_are_cut(messages: list[tuple[bytes, list[int]]]) -> None:
    sock, theirs = socket.socketpair()
    channel = SocketChannel(sock)
    packed = b"".join(struct.pack("<I", len(p)) + p for p in (pickle.dumps(m, protocol=5) for m, _ in messages))
    heard: list[bytes] = []
    for size in (*(size for _, cuts in messages for size in cuts), len(packed)):
        theirs.sendall(packed[:size])
        packed = packed[size:]
        heard += channel.told()
    assert heard == [message for message, _ in messages]
    theirs.close()
    assert channel.told() == []
    assert channel.closed
    channel.close()
