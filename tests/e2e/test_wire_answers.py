"""What the wire transport makes of answers: every framing, cut anywhere, and connections kept or not."""

import socket
import struct
import threading
import time

import pytest
from wired import END, EVENT, HEAD, ROLE, against, body, chunk, read_request

from aiperf import spool
from aiperf.transports.fetch import HttpFetch

STREAM = HEAD + chunk(ROLE) + chunk(EVENT) + chunk(EVENT + END) + b"0\r\n\r\n"
WORDS = ROLE + EVENT + EVENT + END
FRAMINGS = {
    "chunked": STREAM,
    "length": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(WORDS), WORDS),
    "close": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + WORDS,
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_cut_at_every_byte_is_the_same_answer(framing: str) -> None:
    answer = FRAMINGS[framing]

    def script(sock: socket.socket, _: int) -> None:
        while request := read_request(sock):
            cut = int(request.split(b"abc-")[1].split(b"\r\n")[0])
            sock.sendall(answer[:cut])
            time.sleep(0.0005)
            sock.sendall(answer[cut:])
            if framing == "close":
                return

    with against(script) as (client, _):
        for cut in range(1, len(answer)):
            client.send(cut)
        client.until(len(answer) - 1)
        for exchange in client.over:
            assert exchange.error is None
            assert body(exchange) == WORDS
            assert exchange.status == 200
            assert exchange.sent <= exchange.first_byte <= exchange.end
            assert len(exchange.stamps) == len(exchange.bodies)


def test_a_connection_is_used_again_and_one_that_asks_to_be_closed_is_not() -> None:
    def script(sock: socket.socket, _: int) -> None:
        for close in (False, True):
            assert read_request(sock)
            extra = b"Connection: close\r\n" if close else b""
            sock.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % extra)

    with against(script, streaming=False) as (client, server):
        reused = [client.ask(number).reused for number in range(4)]
        assert reused == [False, True, False, True]
        assert server.connections == 2


def test_new_connections_where_they_are_asked_for() -> None:
    def script(sock: socket.socket, _: int) -> None:
        while read_request(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with against(script, connection="new") as (client, server):
        assert [client.ask(number).reused for number in range(3)] == [False] * 3
        assert server.connections == 3


def test_a_server_that_closes_after_every_stream_loses_no_request() -> None:
    """What the probe finds out makes each request open its own connection: on a pooled one some would meet the close."""

    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(STREAM)  # promises to stay, and closes

    with against(script, connection="new") as (client, server):
        fetch = HttpFetch({})
        assert fetch.watched(f"http://127.0.0.1:{server.port}/", b"{}", timeout_s=60, watch_s=20)[1]
        for number in range(50):
            exchange = client.ask(number)
            assert exchange.error is None, exchange.reason
            assert body(exchange) == WORDS
        assert server.connections == 51


def test_a_pooled_connection_that_was_closed_before_the_request_came_is_opened_anew_once() -> None:
    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(STREAM)
        # what comes now finds a closed door: RST, and not a byte acknowledged

    with against(script) as (client, server):
        first = client.send(0)
        client.until(1)
        server.threads[0].join(60)
        time.sleep(0.05)  # the server's FIN has come, and the loop has not looked yet
        second = client.send(1)
        client.until(2)
        assert (first.error, second.error) == (None, None)
        assert client.wire.reopened == 1
        assert not second.reused


def test_a_reset_after_the_request_was_taken_in_is_not_tried_again() -> None:
    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(STREAM)
        assert read_request(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with against(script) as (client, server):
        client.ask(0)
        second = client.ask(1)
        assert (second.error, second.reused) == ("reset", True)
        assert "before the first byte" in (second.reason or "")
        assert server.connections == 1


def test_the_first_event_is_read_alone_whatever_waits_behind_it() -> None:
    """Segments some milliseconds apart, read together much later: each stamp must be its own segment's."""
    sent: list[tuple[int, int]] = []
    all_sent = threading.Event()

    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(HEAD)
        for piece in (ROLE, EVENT, EVENT):
            time.sleep(0.01)
            before = time.time_ns()
            sock.sendall(chunk(piece))
            sent.append((before, time.time_ns()))
        time.sleep(0.01)
        sock.sendall(chunk(END) + b"0\r\n\r\n")
        all_sent.set()

    with against(script) as (client, _):
        exchange = client.send(0)
        client.loop.run(lambda: exchange.sent is not None)
        assert all_sent.wait(60)  # stalled: everything is there before the first read
        client.until(1)
        first_token = next(i for i, piece in enumerate(exchange.bodies) if b"word" in piece)
        marks = {exchange.marks[i]: exchange.marks[i + 1 : i + 3] for i in range(0, len(exchange.marks), 3)}
        kind, low = marks[first_token]
        assert exchange.bodies[first_token] == EVENT
        if kind == spool.APART:
            assert sent[1][0] <= exchange.stamps[first_token] <= sent[1][1]
        else:
            assert kind == spool.MERGED
            assert low <= sent[1][0] <= exchange.stamps[first_token]


def test_a_large_body_goes_out_as_the_server_takes_it() -> None:
    sizes = []

    def script(sock: socket.socket, _: int) -> None:
        assert sock.recv(1, socket.MSG_PEEK)
        time.sleep(0.05)
        sizes.append(len(read_request(sock).partition(b"\r\n\r\n")[2]))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with against(script, streaming=False) as (client, _):
        exchange = client.ask(0, b"x" * 20_000_000)
        assert exchange.error is None
        assert sizes == [20_000_000]
        assert exchange.body_sent - exchange.sent > 10_000_000


def test_a_long_answer_comes_in_parts() -> None:
    read, reads = threading.Semaphore(0), 0

    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(HEAD)
        for _ in range(400):
            sock.sendall(chunk(EVENT))
            assert read.acquire(timeout=60)
        sock.sendall(chunk(END) + b"0\r\n\r\n")

    with against(script) as (client, _):
        exchange = client.send(0)

        def over() -> bool:
            nonlocal reads
            while reads < len(exchange.stamps):
                reads += 1
                read.release()
            return len(client.over) == 1

        client.reach(over)
        assert exchange.error is None
        assert len(client.parts) >= 3
