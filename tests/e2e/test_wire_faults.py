"""Every way in which a request can fail on the wire has its class, and no wait is without end."""

import contextlib
import queue
import socket
import struct
import time
from collections.abc import Callable

import pytest
from wired import END, EVENT, HEAD, ROLE, Client, against, chunk, read_request

LATER = 0.15


def refuse(sock: socket.socket, _: int) -> None:
    sock.close()


def reset(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_in_the_middle(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(HEAD + chunk(EVENT))
    time.sleep(0.03)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def truncated(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(HEAD + chunk(ROLE) + chunk(EVENT))


def garbage(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def endless(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(HEAD)
    while True:
        sock.sendall(chunk(EVENT * 100))


def silent(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.recv(1)


def stalls(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(HEAD + chunk(EVENT))
    sock.recv(1)


def trickles(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(HEAD)
    for _ in range(100):
        sock.sendall(chunk(EVENT))
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "error", "options"),
    [
        (reset, "reset", {}),
        (reset_in_the_middle, "reset", {}),
        (truncated, "truncated", {}),
        (garbage, "malformed", {}),
        (endless, "too_large", {"max_answer_bytes": 1_000_000}),
        (silent, "timeout_first_byte", {"timeout_s": {"first_byte": LATER}}),
        (stalls, "timeout_idle", {"timeout_s": {"idle": LATER}}),
        (trickles, "timeout_total", {"timeout_s": LATER * 2}),
    ],
)
def test_each_fault_has_its_class(script: Callable[[socket.socket, int], None], error: str, options: dict[str, object]) -> None:
    with against(script, **options) as (client, _):
        began = time.monotonic()
        exchange = client.ask(0)
        assert exchange.error == error
        assert exchange.reason
        assert exchange.end is not None
        assert exchange.sent is not None
        assert time.monotonic() - began < 20


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = Client(port)
    exchange = client.ask(0)
    assert exchange.error == "connect"
    assert "refused" in (exchange.reason or "").lower()
    assert exchange.sent is None
    client.close()


def test_a_connection_that_does_not_come_about_has_a_deadline() -> None:
    with contextlib.ExitStack() as held:  # a listener with a full queue: connections hang
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for filler in [held.enter_context(socket.socket()) for _ in range(4)]:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        client = Client(port, timeout_s={"connect": LATER})
        exchange = client.ask(0)
        assert exchange.error == "timeout_connect"
        client.close()


def test_what_is_abandoned_says_why() -> None:
    with against(silent) as (client, _):
        exchange = client.send(0)
        client.turn(0.05)
        client.wire.abandon("abandoned", "because")
        assert (exchange.error, exchange.reason) == ("abandoned", "because")
        assert client.over == [exchange]


def test_a_stream_that_ends_well_and_a_server_that_speaks_out_of_turn() -> None:
    answered: queue.SimpleQueue[None] = queue.SimpleQueue()
    spoken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def script(sock: socket.socket, _: int) -> None:
        while read_request(sock):
            sock.sendall(HEAD + chunk(EVENT) + chunk(END) + b"0\r\n\r\n")
            answered.get(timeout=60)
            sock.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            spoken.put(None)

    with against(script) as (client, server):
        for number in range(3):
            assert client.ask(number).error is None
            answered.put(None)
            spoken.get(timeout=60)
            client.turn(0.06)
        assert server.connections == 3
